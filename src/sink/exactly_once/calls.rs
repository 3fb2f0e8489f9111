//! librdkafka's blocking transactional calls, repeated until they have an outcome.
//!
//! librdkafka's classification of an error decides: *retriable* means that the same call continues where it was,
//! *requires abort* that the transaction is lost but the producer is not, *fatal* that the producer is. See
//! `rd_kafka_commit_transaction` and its neighbours in `rdkafka.h`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use rdkafka::error::KafkaError;
use rdkafka::producer::Producer;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::sink::client::producer_client::ProducerClient;
use crate::sink::limits::{CALL_LOG_INTERVAL, CALL_PAUSE, CALL_TIMEOUT, COUNT_LAG, COUNT_TICK};

/// Tells blocking calls that nobody waits for them any more. Set when dropped.
#[derive(Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// What a thread checks.
    pub(super) fn flag(&self) -> impl Fn() -> bool + Clone + Send + 'static {
        let flag = Arc::clone(&self.0);
        move || flag.load(Ordering::Relaxed)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Successfully.
    Done,
    /// The transaction must be aborted.
    Lost(String),
    /// Another producer has this transactional id, or the coordinator has timed out the transaction: the client can't
    /// tell which.
    Fenced(String),
    /// The producer has failed.
    Fatal(Code, String),
    /// Nobody waits any more.
    Stopped,
}

/// Requests the transactional id from the coordinator: its previous owner is fenced, and a transaction it left open
/// is aborted or, if its commit had started, committed.
pub(super) fn init(client: &ProducerClient, stopped: &impl Fn() -> bool) -> Ended {
    repeat("init_transactions", stopped, || client.producer().init_transactions(CALL_TIMEOUT))
}

/// Begins a transaction: local to the client.
pub(super) fn begin(client: &ProducerClient) -> Ended {
    repeat("begin_transaction", &|| true, || client.producer().begin_transaction())
}

/// Why the open transaction is lost, as far as librdkafka knows; `None` if it is not. With an open transaction,
/// beginning another one does nothing but report this.
pub(super) fn lost_for(client: &ProducerClient) -> Option<Code> {
    match client.producer().begin_transaction() {
        Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => Some(error.code()),
        _ => None,
    }
}

/// Commits. All delivery reports must have arrived: with a record in flight this takes 100 ms, because librdkafka
/// checks its own count in such steps.
pub(super) fn commit(client: &ProducerClient, stopped: &impl Fn() -> bool) -> Ended {
    let since = Instant::now();
    while client.producer().in_flight_count() > 0 && since.elapsed() < COUNT_LAG {
        thread::sleep(COUNT_TICK);
    }
    repeat("commit_transaction", stopped, || client.producer().commit_transaction(CALL_TIMEOUT))
}

/// Aborts; what was in flight is reported as failed.
pub(super) fn abort(client: &ProducerClient, stopped: &impl Fn() -> bool) -> Ended {
    repeat("abort_transaction", stopped, || client.producer().abort_transaction(CALL_TIMEOUT))
}

fn repeat(name: &'static str, stopped: &impl Fn() -> bool, mut call: impl FnMut() -> Result<(), KafkaError>) -> Ended {
    let mut told = Instant::now();
    loop {
        let error = match call() {
            Ok(()) => return Ended::Done,
            Err(error) => error,
        };
        let text = error.to_string();
        match &error {
            KafkaError::Transaction(error) if error.is_fatal() => return fatal(error.code(), text),
            KafkaError::Transaction(error) if error.txn_requires_abort() => return Ended::Lost(text),
            KafkaError::Transaction(error) if !error.is_retriable() => return fatal(error.code(), text),
            // Retriable, or the flush before a commit has timed out.
            _ => {}
        }
        if stopped() {
            return Ended::Stopped;
        }
        if told.elapsed() >= CALL_LOG_INTERVAL {
            told = Instant::now();
            tracing::warn!(call = name, error = text, "kafka has not answered a transaction request; still waiting");
        }
        thread::sleep(CALL_PAUSE);
    }
}

pub(super) fn fatal(code: Code, text: String) -> Ended {
    match code {
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => Ended::Fenced(text),
        code => Ended::Fatal(code, text),
    }
}
