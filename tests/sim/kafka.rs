//! The simulator's Kafka, as seen through an idempotent producer: one log per topic, records appended in the order in which they were
//! sent, acknowledged late and in any order.

use std::collections::{BTreeMap, VecDeque};

use walpost::relay::Offer;
use walpost::relay::boundary::{Failure, OwnedRecord, Record, Refusal, RefusalCode, Ticket, Verdict};

use crate::postgres::POISON;
use walpost::random::Random;

#[derive(Default)]
pub(crate) struct Kafka {
    /// What consumers read.
    pub(crate) log: BTreeMap<String, Vec<OwnedRecord>>,
    /// Sent, not yet at the broker, by topic.
    queued: BTreeMap<String, VecDeque<(Ticket, OwnedRecord)>>,
    /// At the broker, the acknowledgement in flight.
    unacknowledged: Vec<Ticket>,
    failed: Vec<Failure>,
    /// The topic is gone: records are returned.
    pub(crate) outage: Option<String>,
    capacity: usize,
}

impl Kafka {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self { capacity: random.index(20) + 1, ..Self::default() }
    }

    /// The core offers a record to the producer.
    pub(crate) fn offer(&mut self, ticket: Ticket, record: &Record<'_>, random: &mut Random) -> Offer {
        let queued: usize = self.queued.values().map(VecDeque::len).sum();
        // While a failure waits to be polled, nothing may pass it.
        if queued >= self.capacity || !self.failed.is_empty() || random.chance(5) {
            return Offer::Full;
        }
        let owned = OwnedRecord::copy(record);
        self.queued.entry(owned.topic.clone()).or_default().push_back((ticket, owned));
        Offer::Taken
    }

    /// A step of the producer's thread.
    pub(crate) fn work(&mut self, random: &mut Random) {
        let topics: Vec<String> = self.queued.keys().cloned().collect();
        let Some(topic) = (!topics.is_empty()).then(|| topics[random.index(topics.len())].clone()) else { return };
        let queue = self.queued.get_mut(&topic).expect("listed just now");
        if self.outage.as_ref() == Some(&topic) {
            // All queued records of the topic fail together.
            for (ticket, record) in queue.drain(..) {
                let verdict = Verdict::Returned("the topic is gone".to_owned());
                self.failed.push(Failure { ticket, record, verdict });
            }
            self.queued.remove(&topic);
            return;
        }
        let Some((ticket, record)) = queue.pop_front() else {
            self.queued.remove(&topic);
            return;
        };
        if is_poisoned(&record) {
            let refusal = Refusal { code: RefusalCode::TooLarge, detail: "poison".to_owned() };
            self.failed.push(Failure { ticket, record, verdict: Verdict::Refused(refusal) });
        } else {
            self.log.entry(topic).or_default().push(record);
            self.unacknowledged.push(ticket);
        }
    }

    /// An acknowledgement arrives, any of those in flight.
    pub(crate) fn acknowledge(&mut self, random: &mut Random) -> Option<Ticket> {
        let count = self.unacknowledged.len();
        (count > 0).then(|| self.unacknowledged.swap_remove(random.index(count)))
    }

    /// Failures arrive: all that there are, in any order.
    pub(crate) fn failures(&mut self, random: &mut Random) -> Vec<Failure> {
        let mut failures = std::mem::take(&mut self.failed);
        for last in (1..failures.len()).rev() {
            failures.swap(last, random.index(last + 1));
        }
        failures
    }

    /// An outage may end only when all of its records have been returned: the producer fails a topic's records together and accepts no
    /// new ones before the relay has seen it.
    pub(crate) fn end_outage(&mut self) {
        let concerned = self.outage.as_ref().and_then(|topic| self.queued.get(topic)).is_some_and(|q| !q.is_empty());
        if !concerned && self.failed.is_empty() {
            self.outage = None;
        }
    }

    /// The relay crashes: of the records queued for a topic, a prefix may still arrive.
    pub(crate) fn crash_relay(&mut self, random: &mut Random) {
        for (topic, queue) in std::mem::take(&mut self.queued) {
            if self.outage.as_ref() == Some(&topic) {
                continue;
            }
            let arrive = random.index(queue.len() + 1);
            let arrived = queue.into_iter().take(arrive).map(|(_, record)| record);
            self.log.entry(topic.clone()).or_default().extend(arrived.filter(|record| !is_poisoned(record)));
        }
        self.unacknowledged.clear();
        self.failed.clear();
    }
}

/// Whether a record's topic refuses it. A dead letter is never refused.
pub(crate) fn is_poisoned(record: &OwnedRecord) -> bool {
    record.topic != "outbox.dead-letter" && record.value.as_deref() == Some(format!("\"{POISON}\"").as_bytes())
}
