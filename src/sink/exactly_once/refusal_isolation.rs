//! Finds the record that caused the loss of a transaction.
//!
//! Kafka refuses whole batches. A record is refused if it was named or was alone in its batch; the others of a
//! refused batch are suspects, and are sent alone in the next transaction until one of them is refused.
//!
//! All records of a lost transaction are returned, including those at fault. The verdict is given when such a record
//! is offered again: its dead letter then takes the record's place, and the transaction can end before or after it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::relay::boundary::{Refusal, Ticket};
use crate::sink::client::error_code::{RecordFate, fate, judged};
use crate::sink::client::options::TopicRules;
use crate::sink::client::producer_client::Returned;
use rdkafka::types::RDKafkaErrorCode as Code;

/// What is known of a lost transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reports<'a> {
    /// All of its records were reported.
    All,
    /// The producer failed before that.
    Some {
        /// The topics that caused the loss, as far as known.
        refusing: &'a [String],
    },
}

/// What is known of refusals.
#[derive(Debug, Default)]
pub(super) struct TransactionRefusals {
    isolated: BTreeSet<Ticket>,
    /// The suspect in flight.
    alone: Option<Ticket>,
    /// Refused records that will be offered again, each with its topic.
    guilty: HashMap<Ticket, (String, Refusal)>,
}

impl TransactionRefusals {
    /// Why this topic refused this record, if it did. Returned once.
    pub(super) fn verdict(&mut self, ticket: Ticket, topic: &str) -> Option<Refusal> {
        if self.guilty.is_empty() {
            return None;
        }
        // The ticket may belong to something else by now.
        self.guilty.remove(&ticket).filter(|(refusing, _)| refusing == topic).map(|(_, refusal)| refusal)
    }

    /// Whether a record may be sent now, with this many in flight.
    pub(super) fn may_send(&self, ticket: Ticket, on_their_way: usize) -> bool {
        self.alone.is_none() && (on_their_way == 0 || !self.isolated.contains(&ticket))
    }

    pub(super) fn sent(&mut self, ticket: Ticket) {
        if self.isolated.contains(&ticket) {
            self.alone = Some(ticket);
        }
    }

    /// The record was not queued. Its ticket now belongs to another.
    pub(super) fn refused(&mut self, ticket: Ticket) {
        self.isolated.remove(&ticket);
    }

    /// These records were delivered.
    pub(super) fn arrived(&mut self, tickets: &[Ticket]) {
        if let Some(alone) = self.alone.take_if(|alone| tickets.contains(alone)) {
            self.isolated.remove(&alone);
        }
    }

    /// A transaction was committed: none of its records is a suspect any more.
    pub(super) fn committed(&mut self, tickets: &[Ticket]) {
        if let Some(highest) = tickets.iter().max() {
            self.isolated.retain(|suspect| suspect > highest);
            self.guilty.retain(|guilty, _| guilty > highest);
        }
    }

    /// A transaction was lost with these reports.
    pub(super) fn judge(&mut self, reports: &[Returned], extent: Reports<'_>, rules: &TopicRules) {
        let place = |report: &Returned| (report.record.topic.clone(), report.partition);
        // If a broker names the faulty records of a batch (Produce v8), librdkafka marks the others.
        let mut named = BTreeSet::new();
        let mut batches: HashMap<(String, i32), usize> = HashMap::new();
        for report in reports {
            match fate(report.code) {
                _ if report.code == Code::InvalidDifferentRecord => drop(named.insert(place(report))),
                RecordFate::RecordRefused(_) => *batches.entry(place(report)).or_default() += 1,
                RecordFate::Returned | RecordFate::TopicRefused(_) => {}
            }
        }
        for report in reports {
            match fate(report.code) {
                // If the topics were asked one by one, librdkafka's code says nothing about each record.
                RecordFate::TopicRefused(_) if matches!(extent, Reports::Some { refusing: [_, ..] }) => {}
                RecordFate::TopicRefused(refusal) => {
                    rules.refusals().refuse_topic(&report.record.topic, refusal, Duration::ZERO);
                }
                // It may only seem alone, if others of its batch are not reported.
                RecordFate::RecordRefused(refusal)
                    if named.contains(&place(report)) || (extent == Reports::All && batches[&place(report)] == 1) =>
                {
                    let refusal = judged(&report.record, report.code, refusal, rules);
                    self.guilty.insert(report.ticket, (report.record.topic.clone(), refusal));
                }
                RecordFate::RecordRefused(_) => drop(self.isolated.insert(report.ticket)),
                RecordFate::Returned => {}
            }
        }
        self.isolated.retain(|suspect| !self.guilty.contains_key(suspect));
        self.alone = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::boundary::OwnedRecord;

    fn report(ticket: u64, code: Code) -> Returned {
        let record =
            OwnedRecord { topic: "t".to_owned(), key: None, value: None, headers: Vec::new(), timestamp_millis: 0 };
        Returned { ticket: Ticket(ticket), record, partition: 0, code }
    }

    /// The tickets of the records at fault.
    fn judge(refusals: &mut TransactionRefusals, reports: &[Returned], extent: Reports<'_>) -> Vec<u64> {
        refusals.judge(reports, extent, &TopicRules::default());
        let mut guilty: Vec<_> = refusals.guilty.keys().map(|ticket| ticket.0).collect();
        guilty.sort_unstable();
        guilty
    }

    #[test]
    fn the_only_record_of_a_refused_batch_is_at_fault() {
        let mut refusals = TransactionRefusals::default();
        let reports = [report(1, Code::PurgeQueue), report(2, Code::MessageSizeTooLarge)];
        assert_eq!(judge(&mut refusals, &reports, Reports::All), [2]);
        assert!(refusals.may_send(Ticket(1), 5));
    }

    #[test]
    fn the_verdict_is_given_once_and_only_for_its_record() {
        let mut refusals = TransactionRefusals::default();
        judge(&mut refusals, &[report(2, Code::MessageSizeTooLarge), report(3, Code::PurgeQueue)], Reports::All);
        assert!(refusals.verdict(Ticket(3), "t").is_none());
        assert!(refusals.verdict(Ticket(2), "t").is_some() && refusals.verdict(Ticket(2), "t").is_none());
        judge(&mut refusals, &[report(2, Code::MessageSizeTooLarge)], Reports::All);
        assert!(refusals.verdict(Ticket(2), "letters").is_none(), "it has become a dead letter meanwhile");
    }

    #[test]
    fn a_refused_record_that_may_not_have_been_alone_is_a_suspect() {
        let mut refusals = TransactionRefusals::default();
        let extent = Reports::Some { refusing: &[] };
        assert!(judge(&mut refusals, &[report(2, Code::MessageSizeTooLarge)], extent).is_empty());
        assert!(!refusals.may_send(Ticket(2), 1) && refusals.may_send(Ticket(2), 0));
        refusals.refused(Ticket(2));
        assert!(refusals.may_send(Ticket(2), 1), "its dead letter is no suspect");
    }

    #[test]
    fn only_a_named_record_is_at_fault() {
        let mut refusals = TransactionRefusals::default();
        let codes = [Code::InvalidDifferentRecord, Code::InvalidRecord, Code::InvalidRecord];
        let reports: Vec<_> = (0..).zip(codes).map(|(ticket, code)| report(ticket, code)).collect();
        assert_eq!(judge(&mut refusals, &reports, Reports::All), [1, 2]);
        assert!(refusals.may_send(Ticket(0), 5));
    }

    #[test]
    fn suspects_travel_alone_until_one_is_refused() {
        let mut refusals = TransactionRefusals::default();
        let reports: Vec<_> = (4..7).map(|ticket| report(ticket, Code::MessageSizeTooLarge)).collect();
        assert!(judge(&mut refusals, &reports, Reports::All).is_empty());
        assert!(refusals.may_send(Ticket(3), 5));
        assert!(!refusals.may_send(Ticket(4), 1) && refusals.may_send(Ticket(4), 0));
        refusals.sent(Ticket(4));
        assert!(!refusals.may_send(Ticket(7), 1), "nothing may join its batch");
        refusals.arrived(&[Ticket(3)]);
        assert!(!refusals.may_send(Ticket(7), 1), "another's arrival says nothing");
        refusals.arrived(&[Ticket(4)]);
        assert!(refusals.may_send(Ticket(7), 1));
        refusals.sent(Ticket(5));
        assert_eq!(judge(&mut refusals, &[report(5, Code::MessageSizeTooLarge)], Reports::All), [5]);
        assert!(!refusals.may_send(Ticket(6), 1), "still a suspect");
        refusals.committed(&[Ticket(4), Ticket(5), Ticket(6)]);
        assert!(refusals.may_send(Ticket(6), 1));
    }

    #[test]
    fn a_topic_that_refuses_is_remembered_unless_the_topics_were_asked_one_by_one() {
        let (rules, reports) = (TopicRules::default(), [report(1, Code::TopicAuthorizationFailed)]);
        let others = ["other".to_owned()];
        TransactionRefusals::default().judge(&reports, Reports::Some { refusing: &others }, &rules);
        assert!(!rules.refusals().is_suspect("t"));
        TransactionRefusals::default().judge(&reports, Reports::Some { refusing: &[] }, &rules);
        assert!(rules.refusals().is_suspect("t") && !rules.refusals().is_suspect("other"));
    }
}
