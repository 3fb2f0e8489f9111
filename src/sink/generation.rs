//! One librdkafka producer, from its start to the last answer.
//!
//! A producer lives until the first failure that librdkafka does not retry. It is then at its end: it takes nothing more, what
//! it holds is answered, and a new one takes its place. So no record can be sent behind one that has to be sent again.

use std::sync::Arc;
use std::thread;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header as ClientHeader, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, PurgeConfig, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::SinkError;
use super::connection::Connection;
use super::context::{Context, Inbox, LogGate, Report};
use crate::relay::boundary::{OwnedRecord, Record, Ticket};

/// A producer and what it owes.
pub(super) struct Generation {
    producer: ThreadedProducer<Context>,
    inbox: Arc<Inbox>,
    batch_bytes: usize,
    outstanding: usize,
    acked: bool,
}

impl Generation {
    pub(super) fn start(
        config: &ClientConfig,
        batch_bytes: usize,
        connection: &Arc<Connection>,
        log: &LogGate,
    ) -> Result<Self, SinkError> {
        let inbox = Arc::new(Inbox::default());
        let context = Context { inbox: Arc::clone(&inbox), connection: Arc::clone(connection), log: log.clone() };
        let producer = ThreadedProducer::from_config_and_context(config, context).map_err(SinkError::Create)?;
        Ok(Self { producer, inbox, batch_bytes, outstanding: 0, acked: false })
    }

    /// `batch.size` of this producer, in bytes.
    pub(super) fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// Records taken and not yet answered.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Whether any record got through.
    pub(super) fn has_acked(&self) -> bool {
        self.acked
    }

    pub(super) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Hands a record to librdkafka; the error is librdkafka's, and then the record was not taken.
    pub(super) fn send(&mut self, ticket: Ticket, record: &Record<'_>) -> Result<(), RDKafkaErrorCode> {
        let opaque = usize::try_from(ticket.0).expect("the relay runs on 64-bit systems");
        let message = BaseRecord::<[u8], [u8], usize> {
            topic: record.topic,
            partition: None,
            payload: record.value,
            key: record.key,
            timestamp: Some(record.timestamp_millis),
            headers: headers(record),
            delivery_opaque: opaque,
        };
        match self.producer.send(message) {
            Ok(()) => {
                self.outstanding += 1;
                Ok(())
            }
            Err((error, _)) => Err(code_of(&error)),
        }
    }

    /// Takes a record that librdkafka did not take, so that it comes back as a failure in its place among the others.
    pub(super) fn fail(&mut self, ticket: Ticket, record: &Record<'_>, code: RDKafkaErrorCode) {
        self.outstanding += 1;
        self.inbox.fail(Report { ticket, record: OwnedRecord::from(record), partition: -1, code });
    }

    /// Moves what was reported to the ends of `acked` and `failed`.
    pub(super) fn take(&mut self, acked: &mut Vec<Ticket>, failed: &mut Vec<Report>) {
        let mut reports = self.inbox.lock();
        let answered = reports.acked.len() + reports.failed.len();
        self.acked |= !reports.acked.is_empty();
        if acked.is_empty() {
            // The usual case: the two vectors change places and neither is ever freed.
            std::mem::swap(acked, &mut reports.acked);
        } else {
            acked.append(&mut reports.acked);
        }
        failed.append(&mut reports.failed);
        drop(reports);
        self.outstanding = self.outstanding.checked_sub(answered).expect("a record is answered once");
    }

    /// The fatal error, if there is one: librdkafka sends nothing any more.
    pub(super) fn fatal(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.producer.client().fatal_error()
    }

    /// Has librdkafka give back what it has not sent. What is on its way is left alone: its answer may be an acknowledgement.
    pub(super) fn give_back_unsent(&self) {
        self.producer.purge(PurgeConfig::default().queue().non_blocking());
    }

    /// Ends the producer on a thread of its own: librdkafka waits for its threads, up to a second.
    pub(super) fn retire(self) {
        // If no thread can be had, the closure is dropped here, and the producer with it.
        let _ = thread::Builder::new().name("kafka producer end".to_owned()).spawn(move || drop(self));
    }
}

fn headers(record: &Record<'_>) -> Option<OwnedHeaders> {
    if record.headers.is_empty() {
        return None;
    }
    let empty = OwnedHeaders::new_with_capacity(record.headers.len());
    let add = |headers: OwnedHeaders, header: &crate::relay::boundary::Header<'_>| {
        headers.insert(ClientHeader { key: header.name, value: header.value })
    };
    Some(record.headers.iter().fold(empty, add))
}

fn code_of(error: &KafkaError) -> RDKafkaErrorCode {
    match error {
        // A zero byte in the topic's name.
        KafkaError::Nul(_) => RDKafkaErrorCode::InvalidTopic,
        error => error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
    }
}
