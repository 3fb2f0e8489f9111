//! librdkafka's transactional calls, which block, repeated until they have an outcome.
//!
//! What librdkafka says of an error decides: *retriable* means that the same call goes on where it was, *requires abort* that the
//! transaction is lost and the producer is not, *fatal* that the producer is. See `rd_kafka_commit_transaction` and its
//! neighbours in `rdkafka.h`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka::producer::Producer;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::sink::client::producer_client::ProducerClient;

/// How long one call may block, so that a relay that ends is not held up.
const CALL: Duration = Duration::from_secs(5);
/// How long after an error that may pass a call is made again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often the log tells that a call is still being tried.
const TELL: Duration = Duration::from_secs(10);
/// How long librdkafka's own count of records may lag behind its reports.
const COUNT_LAG: Duration = Duration::from_millis(50);
/// How often it is looked at.
const COUNT_TICK: Duration = Duration::from_micros(100);

/// Tells blocking calls that nobody waits for them any more. Set when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// What a thread looks at.
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

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// As it should.
    Done,
    /// The transaction must be aborted.
    Lost(String),
    /// Another producer has this transactional id, or the coordinator has timed the transaction out: the client can't tell.
    Fenced(String),
    /// The producer is at its end.
    Fatal(Code, String),
    /// Nobody waits any more.
    Stopped,
}

/// Asks the coordinator for the transactional id: who had it before is fenced, and what he left open is aborted or, where its
/// commit had begun, committed.
pub(super) fn init(client: &ProducerClient, stopped: &impl Fn() -> bool) -> Ended {
    repeat("init_transactions", stopped, || client.producer().init_transactions(CALL))
}

/// Begins a transaction: a matter of the client alone.
pub(super) fn begin(client: &ProducerClient) -> Ended {
    repeat("begin_transaction", &|| true, || client.producer().begin_transaction())
}

/// Why the open transaction is lost, as librdkafka has been told; `None` if it is not. Where a transaction is open, beginning another
/// does nothing but tell.
pub(super) fn lost_for(client: &ProducerClient) -> Option<Code> {
    match client.producer().begin_transaction() {
        Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => Some(error.code()),
        _ => None,
    }
}

/// Commits. All delivery reports must have come: with a record on its way this takes 100 ms, as librdkafka looks at its own
/// count in such steps.
pub(super) fn commit(client: &ProducerClient, stopped: &impl Fn() -> bool) -> Ended {
    let since = Instant::now();
    while client.producer().in_flight_count() > 0 && since.elapsed() < COUNT_LAG {
        thread::sleep(COUNT_TICK);
    }
    repeat("commit_transaction", stopped, || client.producer().commit_transaction(CALL))
}

/// Aborts; what was on its way is reported as failed.
pub(super) fn abort(client: &ProducerClient, stopped: &impl Fn() -> bool) -> Ended {
    repeat("abort_transaction", stopped, || client.producer().abort_transaction(CALL))
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
            // Retriable, or the flush before a commit has run out of time.
            _ => {}
        }
        if stopped() {
            return Ended::Stopped;
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            tracing::warn!(call = name, error = text, "kafka does not answer; still waiting");
        }
        thread::sleep(PAUSE);
    }
}

pub(super) fn fatal(code: Code, text: String) -> Ended {
    match code {
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => Ended::Fenced(text),
        code => Ended::Fatal(code, text),
    }
}
