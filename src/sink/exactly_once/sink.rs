//! The driver's side of the transactional sink.

use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use super::super::refusals::now_millis;
use super::calls::{self, Ended, Stop};
use super::{Answer, POSITION, Phase, TransactionalSink, retire};
use crate::relay::boundary::{Ancestry, Checkpoint, Lsn, PositionKey, PositionKeys, PositionProof, Record, Ticket};
use crate::relay::resume::flush_on;
use crate::relay::route::destination::POSITIONS_TOPIC;
use crate::sink::boundary::{Closed, Deliveries, Sink, Urgency};
use crate::sink::client::error_code::unfit;
use crate::sink::client::partition_load::Route;
use crate::sink::delivery_loop::{self, DeliveryLoop, Room, hand_over};
use crate::sink::error::{SendError, SinkError};
use crate::sink::limits::TRANSACTION_TICK;
use crate::sink::stored_position::{Cluster, StoredPosition};

impl TransactionalSink {
    /// Begins a transaction if there is none. Returns whether records may be sent.
    pub(super) fn begin(&mut self) -> bool {
        match self.phase {
            Phase::Open => return true,
            Phase::Idle if !self.must_renew() && self.rest_until.is_none_or(|until| Instant::now() >= until) => {}
            _ => return false,
        }
        let Some(client) = &mut self.client else { return false };
        match calls::begin(client) {
            Ended::Done => {
                self.open.begin(Instant::now());
                client.partition_load().begin();
                self.phase = Phase::Open;
                true
            }
            // `deliveries` finds out why.
            _ => {
                client.inbox().break_off();
                false
            }
        }
    }
}

impl DeliveryLoop for TransactionalSink {
    const QUEUE_TICK: Duration = TRANSACTION_TICK;

    fn collect(&mut self, into: &mut Deliveries) -> Result<(), SinkError> {
        Self::collect(self, into)
    }

    fn is_due(&self) -> bool {
        self.due().is_some_and(|due| Instant::now() >= due)
    }

    fn push(&mut self) {
        if let (Phase::Open, Some(client)) = (&self.phase, &mut self.client) {
            match self.awaited {
                true => client.push_all(),
                false => client.push(),
            }
        }
    }

    async fn wait(&mut self) {
        let due = self.due();
        let filled = self.client.as_ref().map(|client| client.inbox().filled.notified());
        match (&mut self.phase, filled) {
            (Phase::Calling(task), _) => {
                let answer = task.await.expect("a call to kafka does not panic");
                self.answer = Some(answer);
                self.phase = Phase::Closed;
            }
            (Phase::Idle, Some(filled)) => match self.rest_until {
                None => filled.await,
                Some(until) => {
                    self.room.is_back = tokio::time::timeout_at(until, filled).await.is_err();
                    self.rest_until = self.rest_until.filter(|_| !self.room.is_back);
                }
            },
            (Phase::Open, Some(filled)) => {
                // An incomplete one is checked periodically: it must not grow old.
                let until = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
                drop(tokio::time::timeout_at(until, filled).await);
            }
            (Phase::Sealing | Phase::Aborted, Some(filled)) => {
                drop(tokio::time::timeout(TRANSACTION_TICK, filled).await)
            }
            (Phase::Closed, _) | (_, None) => std::future::pending().await,
        }
    }

    fn room(&mut self) -> &mut Room {
        &mut self.room
    }

    fn wind_down(&mut self) -> bool {
        // Nobody seals it any more, and readers would wait for it until it times out.
        if let (Phase::Open, Some(client)) = (&self.phase, &self.client) {
            client.inbox().break_off();
        }
        matches!(self.phase, Phase::Idle | Phase::Closed) && self.answer.is_none()
    }
}

impl Sink for TransactionalSink {
    fn partitions(&self) -> usize {
        self.open.partitions()
    }

    fn open(&mut self, cluster: &Cluster, ancestry: &Ancestry, keys: &PositionKeys) -> bool {
        self.cluster = Some(cluster.clone());
        self.keys = keys.clone();
        self.ancestry = ancestry.clone();
        // Definite faults are returned by `deliveries`.
        let _ = self.recover();
        true
    }

    fn withdraw(&mut self) {
        if self.is_open {
            return;
        }
        // Its blocking calls end with the old one.
        self.stop = Stop::default();
        if let Phase::Calling(task) = std::mem::replace(&mut self.phase, Phase::Closed) {
            self.withdrawn = Some(task);
        }
        if let Some(Answer::Recovered(recovered)) = self.answer.take() {
            retire(*recovered);
        }
        (self.is_disowned, self.is_expected) = (false, false);
    }

    fn sealing(&mut self, urgency: Urgency) -> Option<Ticket> {
        let is_time = self.is_due() || urgency == Urgency::Now || self.must_renew();
        self.open.whole().filter(|_| is_time && matches!(self.phase, Phase::Open))
    }

    fn seal(&mut self, checkpoint: Checkpoint) -> bool {
        let Some(cluster) = self.cluster.clone() else { return false };
        let is_whole = self.open.whole().is_some() || self.open.is_empty() && self.ahead.is_empty();
        if !is_whole || !self.begin() {
            return false;
        }
        let Some(client) = &mut self.client else { return false };
        let stored = StoredPosition::new(checkpoint, cluster, &self.keys);
        let key = self.factory.identity.position_key();
        let value = stored.encode(&key, &self.keys);
        let record = Record {
            topic: POSITIONS_TOPIC,
            key: Some(key.as_bytes()),
            value: Some(&value),
            headers: &[],
            timestamp_millis: now_millis(),
        };
        match client.send(POSITION, &record, Route::default()) {
            Ok(()) => {}
            Err(RDKafkaErrorCode::QueueFull) => {
                self.room.is_queue_full = true;
                return false;
            }
            Err(code) => client.fail(POSITION, &record, code),
        }
        client.push_all();
        self.open.seal(Instant::now());
        self.in_doubt = Some(stored);
        self.phase = Phase::Sealing;
        // What was offered before may follow in the next transaction.
        self.room.is_back = true;
        // Wakes `deliveries` in case everything has already been delivered.
        client.inbox().filled.notify_one();
        true
    }

    fn disown_stored(&mut self) {
        self.is_disowned = true;
    }

    fn expect_stored(&mut self) {
        self.is_expected = true;
    }

    fn stored(&self) -> Option<Lsn> {
        let stored = self.stored.as_ref().filter(|_| !self.is_disowned);
        let of_this_log =
            |stored: &StoredPosition| flush_on(&self.ancestry, stored.cluster.timeline, stored.checkpoint.flush);
        Some(stored.map(of_this_log).unwrap_or_default())
    }

    fn stored_proof(&self) -> PositionProof {
        let stored = self.stored.as_ref().filter(|_| !self.is_disowned);
        stored.map(|stored| stored.proof(&self.keys)).unwrap_or_default()
    }

    fn renew_keys(&mut self, keys: &[PositionKey]) {
        self.keys.keys = keys.to_vec();
    }

    fn send(&mut self, ticket: Ticket, record: &Record<'_>) -> Result<(), SendError> {
        let is_ahead = self.gathers_ahead();
        if !is_ahead && !matches!(self.phase, Phase::Idle | Phase::Open) || self.must_renew() {
            return Err(SendError::Full);
        }
        // The driver seals it before it offers this again.
        if !is_ahead && matches!(self.phase, Phase::Open) && self.open.is_full() {
            return Err(SendError::Full);
        }
        let known = self.verdicts.take(ticket, record.topic).or_else(|| unfit(record, &self.factory.producers.rules));
        if let Some(refusal) = known {
            self.isolation.refused(ticket);
            return Err(SendError::Refused(refusal));
        }
        if is_ahead {
            return self.gather(ticket, record);
        }
        let partitions = || self.factory.producers.rules.partitions(record.topic);
        let to = self.routes.find(record.topic, record.key, partitions);
        if !self.isolation.may_send(ticket, record.topic) {
            self.awaited = true;
            return Err(SendError::Full);
        }
        if !self.begin() {
            return Err(SendError::Full);
        }
        let Some(client) = &mut self.client else { return Err(SendError::Full) };
        // No warm-up is needed: implied acknowledgements don't count, and a transaction in which a later batch was
        // accepted before an earlier one is aborted.
        let route = Route { index: to.index, warm: None };
        hand_over(client, &mut self.room, ticket, record, route)?;
        self.open.note_load(client.partition_load().touched(), client.is_far_behind());
        self.open.keep(ticket, record, Instant::now());
        self.isolation.sent(ticket, record.topic);
        Ok(())
    }

    async fn deliveries(&mut self, into: &mut Deliveries) -> Result<(), SinkError> {
        delivery_loop::deliveries(self, into).await
    }

    async fn close(mut self, timeout: Duration) -> Closed {
        self.is_closing = true;
        let deliveries = delivery_loop::drain(&mut self, timeout).await;
        let unanswered = self.outstanding();
        delivery_loop::shut_down(self.client.take()).await;
        Closed { deliveries, unanswered, stored: self.stored() }
    }
}
