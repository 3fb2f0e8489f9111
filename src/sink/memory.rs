//! An in-memory sink for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::relay::boundary::{Failure, OwnedRecord, Record, Refusal, Ticket, Verdict};
use crate::sink::boundary::{Closed, Deliveries, Sink};
use crate::sink::error::{SendError, SinkError};

/// The sink: takes records up to a capacity.
#[derive(Debug)]
pub struct MemorySink(Arc<Shared>);

/// The test's side: sees what was sent and decides the outcome.
#[derive(Clone, Debug)]
pub struct MemoryBroker(Arc<Shared>);

/// A record that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The ticket it was sent under.
    pub ticket: Ticket,
    pub record: OwnedRecord,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    capacity: usize,
    outstanding: VecDeque<Taken>,
    log: Vec<OwnedRecord>,
    answers: Deliveries,
    refuse_next: VecDeque<Refusal>,
    automatic: bool,
    was_full: bool,
}

impl MemorySink {
    /// A sink that holds at most `capacity` unanswered records, and its other side.
    #[must_use]
    pub fn new(capacity: usize) -> (Self, MemoryBroker) {
        let state = State { capacity, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        (Self(Arc::clone(&shared)), MemoryBroker(shared))
    }
}

impl MemoryBroker {
    /// From now on every record is acknowledged when it is sent.
    pub fn acknowledge_always(&self) {
        self.change(|state| {
            state.automatic = true;
            state.acknowledge(usize::MAX);
        });
    }

    /// Acknowledges the oldest `records` that are outstanding.
    pub fn acknowledge(&self, records: usize) {
        self.change(|state| state.acknowledge(records));
    }

    /// Fails everything outstanding, as the sink does when its producer is replaced: `verdict` decides for each
    /// record.
    pub fn fail_all(&self, verdict: impl Fn(&Taken) -> Verdict) {
        self.change(|state| {
            for taken in std::mem::take(&mut state.outstanding) {
                let verdict = verdict(&taken);
                state.answers.failed.push(Failure { ticket: taken.ticket, record: taken.record, verdict });
            }
        });
    }

    /// The next offer is refused.
    pub fn refuse_next(&self, refusal: Refusal) {
        self.change(|state| state.refuse_next.push_back(refusal));
    }

    /// Changes how many records may be outstanding.
    pub fn set_capacity(&self, records: usize) {
        self.change(|state| state.capacity = records);
    }

    /// What is outstanding, oldest first.
    #[must_use]
    pub fn outstanding(&self) -> Vec<Taken> {
        self.0.lock().outstanding.iter().cloned().collect()
    }

    /// What was acknowledged, in order: what a consumer would read.
    #[must_use]
    pub fn log(&self) -> Vec<OwnedRecord> {
        self.0.lock().log.clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock());
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn acknowledge(&mut self, records: usize) {
        let records = records.min(self.outstanding.len());
        for taken in self.outstanding.drain(..records) {
            self.answers.acked.push(taken.ticket);
            self.log.push(taken.record);
        }
    }

    /// Moves the answers out. Returns whether there is something to report.
    fn collect(&mut self, into: &mut Deliveries) -> bool {
        into.acked.append(&mut self.answers.acked);
        into.failed.append(&mut self.answers.failed);
        let room = self.was_full && self.outstanding.len() < self.capacity;
        self.was_full &= !room;
        room || !into.is_empty()
    }
}

impl Sink for MemorySink {
    fn send(&mut self, ticket: Ticket, record: &Record<'_>) -> Result<(), SendError> {
        let mut state = self.0.lock();
        if state.outstanding.len() >= state.capacity || !state.answers.failed.is_empty() {
            state.was_full = true;
            return Err(SendError::Full);
        }
        if let Some(refusal) = state.refuse_next.pop_front() {
            return Err(SendError::Refused(refusal));
        }
        state.outstanding.push_back(Taken { ticket, record: OwnedRecord::copy(record) });
        if state.automatic {
            state.acknowledge(usize::MAX);
            drop(state);
            self.0.changed.notify_one();
        }
        Ok(())
    }

    async fn deliveries(&mut self, into: &mut Deliveries) -> Result<(), SinkError> {
        while !self.0.lock().collect(into) {
            self.0.changed.notified().await;
        }
        Ok(())
    }

    async fn close(self, timeout: Duration) -> Closed {
        let mut deliveries = Deliveries::default();
        let answered = async {
            loop {
                self.0.lock().collect(&mut deliveries);
                if self.0.lock().outstanding.is_empty() {
                    return;
                }
                self.0.changed.notified().await;
            }
        };
        drop(tokio::time::timeout(timeout, answered).await);
        Closed { deliveries, unanswered: self.0.lock().outstanding.len(), stored: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record<'static> =
        Record { topic: "t", key: None, value: Some(b"v"), headers: &[], timestamp_millis: 1 };

    #[tokio::test]
    async fn takes_up_to_its_capacity_and_says_when_there_is_room() {
        let (mut sink, broker) = MemorySink::new(1);
        sink.send(Ticket(0), &RECORD).expect("there is room");
        assert!(matches!(sink.send(Ticket(1), &RECORD), Err(SendError::Full)));
        broker.acknowledge(1);
        let mut deliveries = Deliveries::default();
        sink.deliveries(&mut deliveries).await.expect("a memory sink has no end");
        assert_eq!(deliveries.acked, [Ticket(0)]);
        sink.send(Ticket(1), &RECORD).expect("there is room again");
        assert_eq!(sink.close(Duration::ZERO).await.unanswered, 1);
    }

    #[tokio::test]
    async fn room_alone_ends_the_wait_once() {
        let (mut sink, broker) = MemorySink::new(0);
        assert!(matches!(sink.send(Ticket(0), &RECORD), Err(SendError::Full)));
        broker.set_capacity(1);
        let mut deliveries = Deliveries::default();
        sink.deliveries(&mut deliveries).await.expect("a memory sink has no end");
        assert!(deliveries.is_empty());
        let again = tokio::time::timeout(Duration::from_millis(1), sink.deliveries(&mut deliveries)).await;
        assert!(again.is_err(), "nothing has changed since");
    }

    #[tokio::test]
    async fn failures_are_taken_before_anything_new_is_sent() {
        let (mut sink, broker) = MemorySink::new(9);
        sink.send(Ticket(0), &RECORD).expect("there is room");
        broker.fail_all(|_| Verdict::Returned("outage".to_owned()));
        assert!(matches!(sink.send(Ticket(1), &RECORD), Err(SendError::Full)));
        let mut deliveries = Deliveries::default();
        sink.deliveries(&mut deliveries).await.expect("a memory sink has no end");
        assert_eq!(deliveries.failed[0].record, OwnedRecord::copy(&RECORD));
        sink.send(Ticket(1), &RECORD).expect("there is room again");
    }
}
