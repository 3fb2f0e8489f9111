//! Finds the record that Kafka refused.
//!
//! Kafka refuses whole batches. A record is at fault if it was named or was alone in its batch; the others of a
//! refused batch are suspects. Each of them is sent alone, and nothing else of its topic with it, until it is
//! delivered or refused.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::error_code::{RecordFate, fate, judged};
use super::client::options::TopicRules;
use super::client::producer_client::Returned;
use crate::relay::boundary::Ticket;

/// What is known of the records of a producer or a transaction that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reports<'a> {
    /// All of them were reported.
    All,
    /// The producer failed before that.
    Some {
        /// The topics that caused the failure, as far as known.
        refusing: &'a [String],
    },
}

/// Topics with a refused batch whose faulty record is unknown.
#[derive(Debug, Default)]
pub(super) struct RefusalIsolation {
    topics: HashMap<String, SuspectTopic>,
}

#[derive(Debug, Default)]
struct SuspectTopic {
    /// Records that must be sent alone.
    suspects: BTreeSet<Ticket>,
    in_flight: HashSet<Ticket>,
    /// The suspect in flight.
    alone: Option<Ticket>,
}

impl RefusalIsolation {
    /// Whether a record may be sent now.
    pub(super) fn may_send(&self, ticket: Ticket, topic: &str) -> bool {
        self.topics.get(topic).is_none_or(|topic| {
            topic.alone.is_none() && (topic.in_flight.is_empty() || !topic.suspects.contains(&ticket))
        })
    }

    /// Whether no topic is being isolated.
    pub(super) fn is_idle(&self) -> bool {
        self.topics.is_empty()
    }

    /// A record was sent.
    pub(super) fn sent(&mut self, ticket: Ticket, topic: &str) {
        if self.topics.is_empty() {
            return;
        }
        // A suspect that is sent to another topic is a dead letter by now.
        self.forget_suspect(ticket, Some(topic));
        if let Some(topic) = self.topics.get_mut(topic) {
            assert!(topic.alone.is_none(), "a record was sent beside a suspect of its topic");
            topic.in_flight.insert(ticket);
            topic.alone = topic.suspects.get(&ticket).copied();
        }
    }

    /// A record was refused before it was sent. Its ticket now belongs to its dead letter.
    pub(super) fn refused(&mut self, ticket: Ticket) {
        self.forget_suspect(ticket, None);
    }

    /// These records were delivered.
    pub(super) fn delivered(&mut self, tickets: &[Ticket]) {
        self.topics.retain(|_, topic| {
            for ticket in tickets {
                topic.suspects.remove(ticket);
                topic.in_flight.remove(ticket);
            }
            topic.alone = topic.alone.filter(|alone| topic.in_flight.contains(alone));
            !topic.suspects.is_empty()
        });
    }

    /// Judges the failed records of a producer or a transaction that has nothing in flight any more. A record whose
    /// fate is [`RecordFate::RecordRefused`] is itself at fault; what topics refuse is remembered.
    pub(super) fn judge(&mut self, reports: &[Returned], extent: Reports<'_>, rules: &TopicRules) -> Vec<RecordFate> {
        let place = |report: &Returned| (report.record.topic.clone(), report.partition);
        // If a broker names the faulty records of a batch (Produce v8), librdkafka marks the others.
        let mut named = HashSet::new();
        let mut batches: HashMap<(String, i32), usize> = HashMap::new();
        for report in reports {
            match fate(report.code) {
                _ if report.code == Code::InvalidDifferentRecord => drop(named.insert(place(report))),
                RecordFate::RecordRefused(_) => *batches.entry(place(report)).or_default() += 1,
                RecordFate::Returned | RecordFate::TopicRefused(_) => {}
            }
        }
        let is_at_fault = |report: &Returned| {
            let is_alone = self.topics.get(&report.record.topic).is_some_and(|it| it.alone == Some(report.ticket));
            // It may only seem alone, if others of its batch are not reported.
            is_alone || named.contains(&place(report)) || (extent == Reports::All && batches[&place(report)] == 1)
        };
        let mut suspects = Vec::new();
        let judge = |report: &Returned| match fate(report.code) {
            // If the topics were asked one by one, librdkafka's code says nothing about each record.
            RecordFate::TopicRefused(_) if matches!(extent, Reports::Some { refusing: [_, ..] }) => {
                RecordFate::Returned
            }
            RecordFate::TopicRefused(refusal) => {
                rules.refusals().refuse_topic(&report.record.topic, refusal.clone(), Duration::ZERO);
                RecordFate::TopicRefused(refusal)
            }
            RecordFate::RecordRefused(refusal) if is_at_fault(report) => {
                RecordFate::RecordRefused(judged(&report.record, report.code, refusal, rules))
            }
            RecordFate::RecordRefused(_) => {
                suspects.push((report.ticket, report.record.topic.clone()));
                RecordFate::Returned
            }
            RecordFate::Returned => RecordFate::Returned,
        };
        let fates: Vec<_> = reports.iter().map(judge).collect();
        for (ticket, topic) in suspects {
            self.topics.entry(topic).or_default().suspects.insert(ticket);
        }
        let refused =
            |(report, fate): (&Returned, &RecordFate)| (*fate != RecordFate::Returned).then_some(report.ticket);
        self.nothing_in_flight(&reports.iter().zip(&fates).filter_map(refused).collect());
        fates
    }

    fn nothing_in_flight(&mut self, refused: &BTreeSet<Ticket>) {
        self.topics.retain(|_, topic| {
            topic.in_flight.clear();
            topic.alone = None;
            topic.suspects.retain(|suspect| !refused.contains(suspect));
            !topic.suspects.is_empty()
        });
    }

    fn forget_suspect(&mut self, ticket: Ticket, except: Option<&str>) {
        self.topics.retain(|name, topic| {
            if except != Some(name.as_str()) {
                topic.suspects.remove(&ticket);
            }
            !topic.suspects.is_empty()
        });
    }
}

#[cfg(test)]
#[path = "refusal_isolation_tests.rs"]
mod tests;
