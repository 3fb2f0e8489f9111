//! The sink that writes to Kafka at least once.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use super::client::connection::Connection;
use super::client::context::LogGate;
use super::client::error_code::{RecordFate, fate, unfit};
use super::client::flush;
use super::client::options::{ProducerOptions, TopicRules, batch_bytes, pace, producer_config};
use super::client::partition_load::Route;
use super::client::producer_client::{ProducerClient, Returned};
use super::client::routes::Routes;
use super::client::warmup::{Admission, Warmup};
use super::delivery_loop::{self, DeliveryLoop, Room, hand_over, send_taken};
use super::refusal_isolation::{RefusalIsolation, Reports};
use crate::relay::back_off::BackOff;
use crate::relay::boundary::{Failure, OwnedRecord, Record, Ticket, Verdict};
use crate::sink::boundary::{Closed, Deliveries, Sink};
use crate::sink::error::{SendError, SinkError};
use crate::sink::limits::{COLLECT_PAUSE, COLLECTED_TOGETHER, DRAIN_TICK, QUEUE_TICK, REPLACE_BACK_OFF};

/// Writes records to Kafka with an idempotent producer; a record is acknowledged once every in-sync replica has it.
pub struct KafkaSink {
    options: ProducerOptions,
    rules: TopicRules,
    connection: Arc<Connection>,
    log: LogGate,
    client: ProducerClient,
    phase: Phase,
    /// Failures, held back until nothing is outstanding.
    failed: Vec<Returned>,
    isolation: RefusalIsolation,
    /// For the current producer, as is `warmup`.
    routes: Routes,
    warmup: Warmup,
    /// Consecutive producers that failed without publishing anything.
    back_off: BackOff,
    room: Room,
    /// An offer was `Full` because another record must be answered first.
    is_held_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Records are taken.
    Open,
    /// The producer has failed: everything outstanding is being answered.
    Draining,
    /// Nothing is taken before this time.
    Waiting(Instant),
}

impl KafkaSink {
    /// Starts a producer. Does not wait for a broker.
    ///
    /// # Errors
    /// [`SinkError::Create`].
    pub fn new(options: ProducerOptions, rules: TopicRules, connection: Arc<Connection>) -> Result<Self, SinkError> {
        let log = LogGate::default();
        let client = start(&options, &rules, &connection, &log)?;
        Ok(Self {
            options,
            rules,
            connection,
            log,
            client,
            phase: Phase::Open,
            failed: Vec::new(),
            isolation: RefusalIsolation::default(),
            routes: Routes::default(),
            warmup: Warmup::default(),
            back_off: REPLACE_BACK_OFF,
            room: Room::default(),
            is_held_up: false,
        })
    }

    /// Number of records taken and not yet answered.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.client.outstanding() + self.warmup.held_records()
    }

    /// Whether the producer has failed, or its batches are too large for a topic that has come into use.
    fn must_end(&self) -> bool {
        self.client.inbox().is_broken() || self.client.batch_bytes() > self.rules.batch_bytes()
    }

    /// Sends what was held, where the partition knows the producer by now.
    fn send_released(&mut self) {
        while !self.client.inbox().is_broken()
            && let Some((ticket, record, route)) = self.warmup.next_released()
        {
            let is_sent = {
                let headers = record.header_list();
                send_taken(&mut self.client, &mut self.room, ticket, &record.borrow(&headers), route)
            };
            if !is_sent {
                return;
            }
            self.warmup.pop_released();
        }
    }

    /// Replaces a producer that has nothing outstanding, and hands out what failed.
    fn replace(&mut self, into: &mut Deliveries) -> Result<(), SinkError> {
        let next = start(&self.options, &self.rules, &self.connection, &self.log)?;
        let last = std::mem::replace(&mut self.client, next);
        // The next one may meet topics with more partitions.
        self.routes = Routes::default();
        let fatal = last.fatal();
        let mut reports = std::mem::take(&mut self.failed);
        reports.extend(std::mem::take(&mut self.warmup).end().map(unsent));
        reports.sort_unstable_by_key(|report| report.ticket);
        if fatal.is_some() || !reports.is_empty() {
            self.connection.count_restart();
            let first = reports.first().map(|report| (report.code, report.record.topic.as_str()));
            tracing::warn!(
                fatal = fatal.as_ref().map(|(code, reason)| format!("{code:?}: {reason}")),
                first.code = first.map(|(code, _)| format!("{code:?}")),
                first.topic = first.map(|(_, topic)| topic),
                records = reports.len(),
                "kafka producer failed; replacing it"
            );
        }
        let fates = self.isolation.judge(&reports, Reports::All, &self.rules);
        let blamed = reports.iter().any(|report| fate(report.code) != RecordFate::Returned);
        let healthy = fatal.is_none() && reports.is_empty();
        into.failed.extend(reports.into_iter().zip(fates).map(failure));
        // Knowing the guilty record is progress; a producer that published nothing at all would fail again at once.
        let progress = healthy || blamed || last.has_acked();
        self.phase = if progress {
            self.back_off.reset();
            Phase::Open
        } else {
            Phase::Waiting(Instant::now() + self.back_off.wait())
        };
        self.room.is_back = self.phase == Phase::Open;
        last.retire();
        Ok(())
    }
}

impl DeliveryLoop for KafkaSink {
    const QUEUE_TICK: Duration = QUEUE_TICK;

    fn collect(&mut self, into: &mut Deliveries) -> Result<(), SinkError> {
        let known = into.acked.len();
        self.client.take(&mut into.acked, &mut self.failed);
        self.warmup.acked(&into.acked[known..]);
        self.isolation.delivered(&into.acked[known..]);
        self.send_released();
        self.connection.set_outstanding(self.outstanding());
        if self.phase == Phase::Open && self.must_end() {
            self.phase = Phase::Draining;
        }
        if self.phase == Phase::Draining {
            let holds = self.warmup.held_records() > 0 && !self.client.inbox().is_broken();
            if self.client.outstanding() == 0 && !holds {
                self.replace(into)?;
            } else if self.client.fatal().is_some() {
                self.client.give_back_unsent();
            }
        }
        if matches!(self.phase, Phase::Waiting(until) if Instant::now() >= until) {
            self.phase = Phase::Open;
            self.room.is_back = true;
        }
        Ok(())
    }

    fn push(&mut self) {
        match std::mem::take(&mut self.is_held_up) || self.warmup.is_probing() {
            true => self.client.push_all(),
            false => self.client.push(),
        }
    }

    async fn wait(&mut self) {
        let filled = self.client.inbox().filled.notified();
        match self.phase {
            Phase::Open => {
                filled.await;
                // Each answer to one of many requests would wake the relay for a few records.
                if self.client.outstanding() > COLLECTED_TOGETHER && self.client.is_behind() {
                    tokio::time::sleep(COLLECT_PAUSE).await;
                }
            }
            // Nothing signals when to check for a purged record or a lower batch limit.
            Phase::Draining => drop(tokio::time::timeout(DRAIN_TICK, filled).await),
            Phase::Waiting(until) => drop(tokio::time::timeout_at(until, filled).await),
        }
    }

    fn room(&mut self) -> &mut Room {
        &mut self.room
    }

    fn wind_down(&mut self) -> bool {
        self.client.push_all();
        self.outstanding() == 0
    }
}

impl Sink for KafkaSink {
    fn partitions(&self) -> usize {
        self.client.busy_partitions()
    }

    fn send(&mut self, ticket: Ticket, record: &Record<'_>) -> Result<(), SendError> {
        if self.phase == Phase::Open && self.must_end() {
            self.phase = Phase::Draining;
            // Wakes `deliveries`, which ends the phase even if nothing is outstanding.
            self.client.inbox().filled.notify_one();
        }
        if self.phase != Phase::Open {
            return Err(SendError::Full);
        }
        if let Some(refusal) = unfit(record, &self.rules) {
            self.isolation.refused(ticket);
            return Err(SendError::Refused(refusal));
        }
        let partitions = || self.rules.partitions(record.topic);
        if !self.isolation.may_send(ticket, record.topic) {
            self.is_held_up = true;
            return Err(SendError::Full);
        }
        match self.warmup.admit(self.routes.find(record.topic, record.key, partitions)) {
            Admission::Free(route) => hand_over(&mut self.client, &mut self.room, ticket, record, route)?,
            Admission::First(to) => {
                let route = Route { index: to.index, warm: None };
                hand_over(&mut self.client, &mut self.room, ticket, record, route)?;
                self.warmup.sent(ticket, to);
            }
            Admission::Held(to) => self.warmup.hold(ticket, OwnedRecord::copy(record), to),
        }
        self.isolation.sent(ticket, record.topic);
        Ok(())
    }

    async fn deliveries(&mut self, into: &mut Deliveries) -> Result<(), SinkError> {
        delivery_loop::deliveries(self, into).await
    }

    async fn close(mut self, timeout: Duration) -> Closed {
        let deliveries = delivery_loop::drain(&mut self, timeout).await;
        let unanswered = self.outstanding();
        delivery_loop::shut_down(Some(self.client)).await;
        Closed { deliveries, unanswered, stored: None }
    }
}

/// A record that was held for its partition.
fn unsent((ticket, record): (Ticket, OwnedRecord)) -> Returned {
    Returned { ticket, record, partition: -1, code: Code::PurgeQueue }
}

fn failure((report, fate): (Returned, RecordFate)) -> Failure {
    let Returned { ticket, record, code, .. } = report;
    let verdict = match fate {
        RecordFate::Returned => Verdict::Returned(code.to_string()),
        RecordFate::TopicRefused(refusal) | RecordFate::RecordRefused(refusal) => Verdict::Refused(refusal),
    };
    Failure { ticket, record, verdict }
}

fn start(
    options: &ProducerOptions,
    rules: &TopicRules,
    connection: &Arc<Connection>,
    log: &LogGate,
) -> Result<ProducerClient, SinkError> {
    let batch_bytes = batch_bytes(options, rules);
    ProducerClient::start(
        &producer_config(options, batch_bytes),
        pace(options, flush::AGAIN),
        batch_bytes,
        options.window,
        connection,
        log,
    )
}
