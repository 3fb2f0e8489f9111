//! One librdkafka producer, from its start to the last answer.
//!
//! A producer lives until the first failure that librdkafka does not retry. It then takes nothing more, what it holds
//! is answered, and a new one replaces it. So no record can be sent behind one that must be sent again.

use std::sync::Arc;
use std::thread;
use std::time::{Instant, SystemTime};

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::producer::{Producer, PurgeConfig, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::connection::Connection;
use super::context::{Context, Inbox, LogGate, Report};
use super::flush::{FlushSchedule, Flusher, REQUESTS};
use super::gathering::{Gathering, Wait};
use super::in_flight::{Entry, InFlight};
use super::native::{self, Bootstrap, TopicHandles};
use super::options::Pace;
use super::partition_load::{PartitionLoad, Route};
use crate::relay::boundary::{OwnedRecord, Record, Ticket};
use crate::relay::delivery::window::InFlightWindow;
use crate::sink::error::SinkError;

/// A producer and what it owes.
pub(crate) struct ProducerClient {
    /// `None` if the user has set how long batches wait. This and the topics are dropped before the producer that
    /// they use.
    flusher: Option<Flusher>,
    topics: TopicHandles,
    producer: ThreadedProducer<Context>,
    inbox: Arc<Inbox>,
    batch_bytes: usize,
    in_flight: InFlight,
    schedule: FlushSchedule,
    partition_load: PartitionLoad,
    gathering: Gathering,
    sending: Sending,
    acked: bool,
    /// Empty between two calls; kept for its memory.
    scratch: Vec<usize>,
}

/// When incomplete batches are sent; see [`super::flush`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// At beats.
    Beats,
    /// At the end of this, or once enough has gathered.
    Held(Wait),
    /// All the time.
    Open,
}

/// A returned record.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) ticket: Ticket,
    pub(crate) record: OwnedRecord,
    /// The partition it was meant for; -1 if none was chosen yet.
    pub(crate) partition: i32,
    pub(crate) code: RDKafkaErrorCode,
}

impl ProducerClient {
    pub(crate) fn start(
        config: &ClientConfig,
        pace: Pace,
        batch_bytes: usize,
        window: InFlightWindow,
        connection: &Arc<Connection>,
        log: &LogGate,
    ) -> Result<Self, SinkError> {
        let inbox = Arc::new(Inbox::default());
        let context = Context {
            inbox: Arc::clone(&inbox),
            connection: Arc::clone(connection),
            log: log.clone(),
            bootstrap: Bootstrap::new(config.get("bootstrap.servers").unwrap_or_default()),
        };
        let producer = ThreadedProducer::from_config_and_context(config, context).map_err(SinkError::Create)?;
        producer.context().bootstrap.belongs_to(&producer);
        let flusher = match pace {
            Pace::Flusher { again } => Some(Flusher::start(producer.clone(), again).map_err(SinkError::Thread)?),
            Pace::Linger => None,
        };
        Ok(Self {
            flusher,
            topics: TopicHandles::default(),
            producer,
            inbox,
            batch_bytes,
            in_flight: InFlight::new(),
            schedule: FlushSchedule::default(),
            partition_load: PartitionLoad::default(),
            gathering: Gathering::new(window),
            sending: Sending::Beats,
            acked: false,
            scratch: Vec::new(),
        })
    }

    /// `batch.size` of this producer, in bytes.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// Records taken and not yet answered.
    pub(crate) fn outstanding(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether any record was delivered.
    pub(crate) fn has_acked(&self) -> bool {
        self.acked
    }

    /// Partitions with records in flight.
    pub(crate) fn busy_partitions(&self) -> usize {
        self.partition_load.busy()
    }

    /// Whether the last record is of a backlog.
    pub(crate) fn is_behind(&self) -> bool {
        self.gathering.is_behind(SystemTime::now())
    }

    /// Whether the last record is of a large backlog.
    pub(crate) fn is_far_behind(&self) -> bool {
        self.gathering.is_far_behind(SystemTime::now())
    }

    /// Which partitions the records go to.
    pub(crate) fn partition_load(&mut self) -> &mut PartitionLoad {
        &mut self.partition_load
    }

    /// For transactional calls.
    pub(crate) fn producer(&self) -> &ThreadedProducer<Context> {
        &self.producer
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Passes a record to librdkafka; the error is librdkafka's, and then the record was not queued.
    pub(crate) fn send(&mut self, ticket: Ticket, record: &Record<'_>, route: Route) -> Result<(), RDKafkaErrorCode> {
        let slot = self.note(ticket, record, route);
        native::produce(&self.producer, &mut self.topics, record, slot).inspect_err(|_| {
            let entry = self.in_flight.remove(slot);
            self.partition_load.answered(entry.route.index);
            self.gathering.answered(entry.bytes);
        })
    }

    /// Makes librdkafka send what was handed over, or lets more of it gather; see [`super::flush`].
    pub(crate) fn push(&mut self) {
        let Some(flusher) = &self.flusher else { return };
        if self.partition_load.busy() <= REQUESTS {
            self.narrow();
            return;
        }
        let now = Instant::now();
        let may_wait = || self.gathering.may_wait(self.in_flight.len(), self.partition_load.busy());
        match self.sending {
            Sending::Open if !(self.schedule.rests() || self.schedule.is_mostly_answered() && may_wait()) => {}
            Sending::Held(mut wait) if now < wait.until && may_wait() => {
                if self.gathering.is_far_behind(SystemTime::now()) && wait.extend(self.schedule.sent(), now) {
                    flusher.postpone(wait.until);
                    self.sending = Sending::Held(wait);
                }
            }
            Sending::Beats | Sending::Open if may_wait() => {
                let wait = Wait::begin(self.schedule.sent(), now);
                self.sending = Sending::Held(wait);
                flusher.open(wait.until);
            }
            _ => self.push_all(),
        }
    }

    /// Makes librdkafka send what was handed over, whatever is in flight.
    pub(crate) fn push_all(&mut self) {
        let Some(flusher) = &self.flusher else { return };
        self.schedule.beat(self.in_flight.len());
        if self.partition_load.busy() <= REQUESTS {
            flusher.beat();
        } else if self.sending != Sending::Open {
            self.sending = Sending::Open;
            flusher.open(Instant::now());
        }
    }

    /// All partitions with records in flight fit into the requests that may be.
    fn narrow(&mut self) {
        let Some(flusher) = &self.flusher else { return };
        if self.sending != Sending::Beats {
            self.sending = Sending::Beats;
            flusher.close();
            // For what was not flushed yet.
            if !self.in_flight.is_empty() {
                self.push_all();
            }
        } else if self.schedule.beats(self.in_flight.len()) {
            flusher.beat();
        }
    }

    /// Takes a record that librdkafka did not accept, so that it is returned as a failure in its place among the
    /// others.
    pub(crate) fn fail(&mut self, ticket: Ticket, record: &Record<'_>, code: RDKafkaErrorCode) {
        let slot = self.note(ticket, record, Route::default());
        self.inbox.fail(Report { slot, record: OwnedRecord::copy(record), partition: -1, code });
    }

    fn note(&mut self, ticket: Ticket, record: &Record<'_>, route: Route) -> usize {
        let number = self.schedule.number();
        self.partition_load.sent(route.index);
        let bytes = self.gathering.sent(record);
        self.in_flight.insert(Entry { ticket, timestamp_millis: record.timestamp_millis, number, route, bytes })
    }

    fn answered(&mut self, slot: usize) -> Entry {
        let entry = self.in_flight.remove(slot);
        self.schedule.answered(entry.number);
        self.partition_load.answered(entry.route.index);
        self.gathering.answered(entry.bytes);
        entry
    }

    /// Appends reports to `acked` and `failed`.
    pub(crate) fn take(&mut self, acked: &mut Vec<Ticket>, failed: &mut Vec<Returned>) {
        let mut reports = self.inbox.lock();
        // The two vectors are swapped under the lock, and neither is ever freed.
        std::mem::swap(&mut self.scratch, &mut reports.acked);
        let mut reported = std::mem::take(&mut reports.failed);
        let implied = std::mem::take(&mut reports.implied);
        drop(reports);
        self.acked |= !self.scratch.is_empty();
        let known = (acked.len(), failed.len());
        let mut slots = std::mem::take(&mut self.scratch);
        let now = Instant::now();
        for slot in slots.drain(..) {
            let entry = self.answered(slot);
            self.partition_load.acknowledged(entry.route.index, now);
            acked.push(entry.ticket);
        }
        self.scratch = slots;
        for report in implied {
            // The partition took a later record. If it knew this producer, it has this one too: then it takes no gap.
            if self.partition_load.is_known(self.in_flight[report.slot].route, report.partition, now) {
                acked.push(self.answered(report.slot).ticket);
            } else {
                self.inbox.break_off();
                reported.push(report);
            }
        }
        failed.extend(reported.into_iter().map(|Report { slot, record, partition, code }| {
            let Entry { ticket, timestamp_millis, .. } = self.answered(slot);
            Returned { ticket, record: OwnedRecord { timestamp_millis, ..record }, partition, code }
        }));
        if known != (acked.len(), failed.len()) {
            if let Some(flusher) = &self.flusher {
                flusher.answered(self.schedule.rests());
            }
            if self.sending != Sending::Beats && self.partition_load.busy() <= REQUESTS {
                self.narrow();
            }
        }
    }

    /// The fatal error, if any: librdkafka sends nothing any more.
    pub(crate) fn fatal(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.producer.client().fatal_error()
    }

    /// Makes librdkafka return what it has not sent. What is in flight is left alone: its answer may be an
    /// acknowledgement.
    pub(crate) fn give_back_unsent(&self) {
        self.producer.purge(PurgeConfig::default().queue().non_blocking());
    }

    /// Drops the producer on a thread of its own: librdkafka waits for its threads, up to a second.
    pub(crate) fn retire(self) {
        // If no thread can be started, the closure is dropped here, and the producer with it.
        let _ = thread::Builder::new().name("kafka producer end".to_owned()).spawn(move || drop(self));
    }
}
