//! Which record a transaction was lost for.
//!
//! Kafka refuses whole batches. A record is refused when it was named or stood alone in its batch; the others of a refused
//! batch are suspects, and travel alone in the next transaction until one of them is refused.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::super::generation::Returned;
use super::super::outcome::{Outcome, outcome};
use crate::relay::boundary::{Refusal, Ticket};
use rdkafka::types::RDKafkaErrorCode as Code;

/// How long records to a topic that refuses them are refused without asking Kafka.
const REFUSAL_MEMORY: Duration = Duration::from_secs(10);

/// What is known of a transaction that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reports {
    /// All of its records were reported on.
    All,
    /// The producer was at its end before that.
    Some,
}

/// What is known of refusals.
#[derive(Debug, Default)]
pub(super) struct Blame {
    suspects: BTreeSet<Ticket>,
    /// The suspect that is on its way.
    alone: Option<Ticket>,
    /// Topics that take nothing from this client, each with when to try again.
    refusing: HashMap<String, (Instant, Refusal)>,
}

impl Blame {
    /// Why a record to `topic` would be refused, as far as that is known.
    pub(super) fn refusal(&mut self, topic: &str) -> Option<Refusal> {
        if self.refusing.is_empty() {
            return None;
        }
        self.refusing.retain(|_, (until, _)| Instant::now() < *until);
        self.refusing.get(topic).map(|(_, refusal)| refusal.clone())
    }

    /// A topic takes nothing from this client.
    pub(super) fn refuse(&mut self, topic: String, refusal: Refusal) {
        self.refusing.insert(topic, (Instant::now() + REFUSAL_MEMORY, refusal));
    }

    /// Whether a record may be sent now, while so many are on their way.
    pub(super) fn may_send(&self, ticket: Ticket, on_their_way: usize) -> bool {
        self.alone.is_none() && (on_their_way == 0 || !self.suspects.contains(&ticket))
    }

    pub(super) fn sent(&mut self, ticket: Ticket) {
        if self.suspects.contains(&ticket) {
            self.alone = Some(ticket);
        }
    }

    /// These records have arrived.
    pub(super) fn arrived(&mut self, tickets: &[Ticket]) {
        if let Some(alone) = self.alone.take_if(|alone| tickets.contains(alone)) {
            self.suspects.remove(&alone);
        }
    }

    /// A transaction was committed: nobody in it is a suspect any more.
    pub(super) fn committed(&mut self, tickets: &[Ticket]) {
        if let Some(highest) = tickets.iter().max() {
            self.suspects.retain(|suspect| suspect > highest);
        }
    }

    /// A transaction was lost with these reports. The records that were refused.
    pub(super) fn judge(&mut self, reports: &[Returned], extent: Reports) -> HashMap<Ticket, Refusal> {
        let place = |report: &Returned| (report.record.topic.clone(), report.partition);
        // Where a broker names the guilty records of a batch (Produce v8), librdkafka marks the others.
        let mut named = BTreeSet::new();
        let mut batches: HashMap<(String, i32), usize> = HashMap::new();
        for report in reports {
            match outcome(report.code) {
                _ if report.code == Code::InvalidDifferentRecord => drop(named.insert(place(report))),
                Outcome::RecordRefused(_) => *batches.entry(place(report)).or_default() += 1,
                Outcome::Returned | Outcome::TopicRefused(_) => {}
            }
        }
        let mut guilty = HashMap::new();
        for report in reports {
            match outcome(report.code) {
                Outcome::TopicRefused(refusal) => {
                    self.refuse(report.record.topic.clone(), refusal.clone());
                    guilty.insert(report.ticket, refusal);
                }
                // It may only look alone, where others of its batch are not reported on.
                Outcome::RecordRefused(refusal)
                    if named.contains(&place(report)) || (extent == Reports::All && batches[&place(report)] == 1) =>
                {
                    guilty.insert(report.ticket, refusal);
                }
                Outcome::RecordRefused(_) => drop(self.suspects.insert(report.ticket)),
                Outcome::Returned => {}
            }
        }
        self.suspects.retain(|suspect| !guilty.contains_key(suspect));
        self.alone = None;
        guilty
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

    #[test]
    fn the_only_record_of_a_refused_batch_is_guilty() {
        let mut blame = Blame::default();
        let guilty = blame.judge(&[report(1, Code::PurgeQueue), report(2, Code::MessageSizeTooLarge)], Reports::All);
        assert_eq!(guilty.into_keys().collect::<Vec<_>>(), [Ticket(2)]);
        assert!(blame.may_send(Ticket(1), 5));
    }

    #[test]
    fn a_refused_record_that_may_have_had_company_is_a_suspect() {
        let mut blame = Blame::default();
        assert!(blame.judge(&[report(2, Code::MessageSizeTooLarge)], Reports::Some).is_empty());
        assert!(!blame.may_send(Ticket(2), 1) && blame.may_send(Ticket(2), 0));
    }

    #[test]
    fn a_named_record_is_guilty_and_its_neighbours_are_not() {
        let mut blame = Blame::default();
        let codes = [Code::InvalidDifferentRecord, Code::InvalidRecord, Code::InvalidRecord];
        let reports: Vec<_> = (0..).zip(codes).map(|(ticket, code)| report(ticket, code)).collect();
        let mut guilty: Vec<_> = blame.judge(&reports, Reports::All).into_keys().collect();
        guilty.sort_unstable();
        assert_eq!(guilty, [Ticket(1), Ticket(2)]);
        assert!(blame.may_send(Ticket(0), 5));
    }

    #[test]
    fn suspects_travel_alone_until_one_is_refused() {
        let mut blame = Blame::default();
        let reports: Vec<_> = (4..7).map(|ticket| report(ticket, Code::MessageSizeTooLarge)).collect();
        assert!(blame.judge(&reports, Reports::All).is_empty());
        assert!(blame.may_send(Ticket(3), 5));
        assert!(!blame.may_send(Ticket(4), 1) && blame.may_send(Ticket(4), 0));
        blame.sent(Ticket(4));
        assert!(!blame.may_send(Ticket(7), 1), "nothing may join its batch");
        blame.arrived(&[Ticket(3)]);
        assert!(!blame.may_send(Ticket(7), 1), "another's arrival says nothing");
        blame.arrived(&[Ticket(4)]);
        assert!(blame.may_send(Ticket(7), 1));
        blame.sent(Ticket(5));
        let guilty = blame.judge(&[report(5, Code::MessageSizeTooLarge)], Reports::All);
        assert_eq!(guilty.into_keys().collect::<Vec<_>>(), [Ticket(5)]);
        assert!(!blame.may_send(Ticket(6), 1), "still a suspect");
        blame.committed(&[Ticket(4), Ticket(5), Ticket(6)]);
        assert!(blame.may_send(Ticket(6), 1));
    }

    #[test]
    fn a_topic_that_refuses_is_not_asked_again_at_once() {
        let mut blame = Blame::default();
        assert_eq!(blame.judge(&[report(1, Code::TopicAuthorizationFailed)], Reports::All).len(), 1);
        assert!(blame.refusal("t").is_some() && blame.refusal("other").is_none());
    }
}
