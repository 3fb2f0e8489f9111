//! Records that a command writes in transactions of its own, alongside the relay and without its position: all of a
//! batch or nothing of it.
//!
//! Each record is a Kafka batch of its own (`batch.size` of 1), so that a refusal is about that record and not about
//! a neighbour. A later writer with the same transactional id fences this one, and finds nothing half done.
//!
//! The first record of a batch is delivered before the others are sent. A coordinator that knows of no partition in a
//! transaction can end neither it nor the producer (`INVALID_TXN_STATE`), which happens if the first partition is one
//! that this client may not write to.

use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode as Code;

use super::calls::{self, Ended};
use super::producer_factory::{Producers, blocking};
use crate::relay::boundary::{OwnedRecord, Refusal, Ticket};
use crate::sink::client::connection::Connection;
use crate::sink::client::context::LogGate;
use crate::sink::client::error_code::{RecordFate, fate};
use crate::sink::client::options::{ProducerOptions, TopicRules};
use crate::sink::client::partition_load::Route;
use crate::sink::client::producer_client::{ProducerClient, Returned};
use crate::sink::error::{SinkError, TransactionsError};
use crate::sink::limits::{BATCH_TICK, BATCH_TIMEOUT};

/// Writes batches.
pub struct BatchWriter {
    producers: Producers,
    client: Option<ProducerClient>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// All of it is in Kafka.
    Committed,
    /// Nothing of it is.
    Aborted {
        /// Records that will never be accepted, by index in the batch.
        refused: Vec<(usize, Refusal)>,
        /// Some topic accepts nothing from this client; Kafka does not say which one.
        topic_refused: Option<Refusal>,
        /// The first reason, for people.
        reason: String,
    },
}

/// Nothing more can be written.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// Another writer has taken over the transactional id.
    #[error(
        "another command took over and fenced the transactional id {id}; this command's open transaction was aborted"
    )]
    Fenced {
        /// The transactional id.
        id: String,
    },
    /// The topic of a batch's first record accepts nothing from this client.
    #[error("{}", .0.detail)]
    Refused(Refusal),
    /// Kafka does not answer.
    #[error(
        "Kafka did not answer within {} s; the last records may or may not have been published; run the command again: it checks before publishing",
        BATCH_TIMEOUT.as_secs()
    )]
    Unanswered,
    /// The client has failed.
    #[error(
        "the Kafka client failed: {reason}; the last records may or may not have been published; run the command again: it checks before publishing"
    )]
    Fatal {
        /// What it says.
        reason: String,
    },
    /// The client could not be created, or may not write transactions.
    #[error(transparent)]
    Sink(SinkError),
}

impl BatchWriter {
    /// Acquires the transactional id. Its previous owner is fenced, and a transaction it left open is ended.
    ///
    /// # Errors
    /// [`BatchError`].
    pub async fn open(mut options: ProducerOptions, transactional_id: String) -> Result<Self, BatchError> {
        options.properties.insert("batch.size".to_owned(), "1".to_owned());
        let (rules, connection) = (TopicRules::default(), std::sync::Arc::<Connection>::default());
        let mut producers = Producers { options, transactional_id, rules, connection, log: LogGate::default() };
        // Records time out after half of it, which leaves time to abort.
        let timeout = producers.transaction_timeout().min(BATCH_TIMEOUT / 3 * 2).as_millis().to_string();
        producers.options.properties.insert("transaction.timeout.ms".to_owned(), timeout);
        let owned = tokio::time::timeout(BATCH_TIMEOUT, producers.clone().own(deadline())).await;
        match owned {
            Ok(Ok(client)) => Ok(Self { producers, client: Some(client) }),
            Ok(Err(SinkError::Stopped)) | Err(_) => Err(BatchError::Unanswered),
            Ok(Err(error)) => Err(BatchError::Sink(error)),
        }
    }

    /// How long a transaction may take; its records time out after half of that.
    #[must_use]
    pub fn transaction_timeout(&self) -> Duration {
        self.producers.transaction_timeout()
    }

    /// Writes all of these records or none, in this order. The first one should be for a topic that the batch depends
    /// on.
    ///
    /// # Errors
    /// [`BatchError`]; after that nothing more can be written.
    pub async fn write(&mut self, records: Vec<OwnedRecord>) -> Result<BatchOutcome, BatchError> {
        let Some(client) = self.client.take() else {
            return Err(BatchError::Fatal { reason: "it failed earlier".to_owned() });
        };
        let id = self.producers.transactional_id.clone();
        let work = move |stopped| write(client, &records, &stopped);
        let (client, ended) = blocking(&deadline(), work).await;
        match ended {
            Ok(batch) => {
                self.client = Some(client);
                Ok(batch)
            }
            Err(broken) => {
                client.retire();
                Err(match broken {
                    Broken::Refused(refusal) => BatchError::Refused(refusal),
                    Broken::Ended(ended) => error(ended, id),
                })
            }
        }
    }
}

/// Why a producer has failed.
enum Broken {
    Refused(Refusal),
    Ended(Ended),
}

impl From<Ended> for Broken {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

fn error(ended: Ended, id: String) -> BatchError {
    match ended {
        Ended::Fenced(_) => BatchError::Fenced { id },
        Ended::Stopped => BatchError::Unanswered,
        Ended::Fatal(Code::TransactionalIdAuthorizationFailed, _) => {
            BatchError::Sink(TransactionsError::NotAuthorized { id }.into())
        }
        Ended::Fatal(_, reason) | Ended::Lost(reason) => BatchError::Fatal { reason },
        Ended::Done => BatchError::Fatal { reason: "it ended without a reason".to_owned() },
    }
}

impl Drop for BatchWriter {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            client.retire();
        }
    }
}

/// Ends calls that take too long.
fn deadline() -> impl Fn() -> bool + Clone + Send + 'static {
    let deadline = Instant::now() + BATCH_TIMEOUT;
    move || Instant::now() >= deadline
}

/// One transaction. Blocks.
fn write(
    mut client: ProducerClient,
    records: &[OwnedRecord],
    stopped: &impl Fn() -> bool,
) -> (ProducerClient, Result<BatchOutcome, Broken>) {
    let ended = transact(&mut client, records, stopped);
    (client, ended)
}

fn transact(
    client: &mut ProducerClient,
    records: &[OwnedRecord],
    stopped: &impl Fn() -> bool,
) -> Result<BatchOutcome, Broken> {
    done(calls::begin(client))?;
    let mut failed = Vec::new();
    for (ticket, record) in (0..).map(Ticket).zip(records) {
        send(client, ticket, record, &mut failed, stopped)?;
        let is_first = ticket == Ticket(0);
        while is_first && client.outstanding() > 0 {
            wait(client, &mut failed, stopped)?;
        }
        if !failed.is_empty() {
            break;
        }
    }
    while client.outstanding() > 0 && failed.is_empty() {
        wait(client, &mut failed, stopped)?;
    }
    if failed.is_empty() {
        match calls::commit(client, stopped) {
            Ended::Done => return Ok(BatchOutcome::Committed),
            Ended::Lost(_) => {}
            other => return Err(other.into()),
        }
    }
    let lost_for = calls::lost_for(client);
    let is_first = failed.iter().any(|returned| returned.ticket == Ticket(0));
    if let (true, BatchOutcome::Aborted { topic_refused: Some(refusal), .. }) = (is_first, aborted(&failed, lost_for)) {
        return Err(Broken::Refused(refusal));
    }
    done(calls::abort(client, stopped))?;
    while client.outstanding() > 0 {
        wait(client, &mut failed, stopped)?;
    }
    client.inbox().recover();
    Ok(aborted(&failed, lost_for))
}

fn send(
    client: &mut ProducerClient,
    ticket: Ticket,
    record: &OwnedRecord,
    failed: &mut Vec<Returned>,
    stopped: &impl Fn() -> bool,
) -> Result<(), Ended> {
    let headers = record.header_list();
    let borrowed = record.borrow(&headers);
    while let Err(code) = client.send(ticket, &borrowed, Route::default()) {
        if code != Code::QueueFull {
            client.fail(ticket, &borrowed, code);
            return Ok(());
        }
        wait(client, failed, stopped)?;
    }
    Ok(())
}

fn done(ended: Ended) -> Result<(), Ended> {
    if ended == Ended::Done { Ok(()) } else { Err(ended) }
}

fn wait(client: &mut ProducerClient, failed: &mut Vec<Returned>, stopped: &impl Fn() -> bool) -> Result<(), Ended> {
    client.push();
    std::thread::sleep(BATCH_TICK);
    client.take(&mut Vec::new(), failed);
    if let Some((code, reason)) = client.fatal() {
        return Err(calls::fatal(code, reason));
    }
    if stopped() { Err(Ended::Stopped) } else { Ok(()) }
}

/// The meaning of the codes. A topic that accepts nothing loses the whole transaction, and every record is returned
/// with that code.
fn aborted(failed: &[Returned], lost_for: Option<Code>) -> BatchOutcome {
    let codes = failed.iter().map(|returned| returned.code);
    let topic_refused = codes.chain(lost_for).find_map(|code| match fate(code) {
        RecordFate::TopicRefused(refusal) => Some(refusal),
        RecordFate::RecordRefused(_) | RecordFate::Returned => None,
    });
    let refused = failed.iter().filter_map(|returned| match fate(returned.code) {
        RecordFate::RecordRefused(refusal) => Some((usize::try_from(returned.ticket.0).ok()?, refusal)),
        RecordFate::TopicRefused(_) | RecordFate::Returned => None,
    });
    let reason = lost_for.or_else(|| failed.first().map(|returned| returned.code));
    BatchOutcome::Aborted {
        refused: refused.collect(),
        topic_refused,
        reason: reason.map_or_else(|| "the transaction was aborted".to_owned(), |code| code.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::boundary::RefusalCode;

    fn returned(ticket: u64, code: Code) -> Returned {
        let record =
            OwnedRecord { topic: "t".to_owned(), key: None, value: None, headers: Vec::new(), timestamp_millis: 0 };
        Returned { ticket: Ticket(ticket), record, partition: 0, code }
    }

    #[test]
    fn refused_records_are_distinguished_from_those_that_failed_with_them() {
        let failed = [returned(0, Code::PurgeQueue), returned(1, Code::MessageSizeTooLarge)];
        let BatchOutcome::Aborted { refused, topic_refused, .. } = aborted(&failed, None) else {
            panic!("it was aborted")
        };
        assert_eq!(
            refused.iter().map(|(place, refusal)| (*place, refusal.code)).collect::<Vec<_>>(),
            [(1, RefusalCode::TooLarge)]
        );
        assert_eq!(topic_refused, None);
        let BatchOutcome::Aborted { refused, topic_refused, .. } =
            aborted(&[returned(0, Code::PurgeQueue)], Some(Code::TopicAuthorizationFailed))
        else {
            panic!("it was aborted")
        };
        assert_eq!((refused.len(), topic_refused.map(|refusal| refusal.code)), (0, Some(RefusalCode::NotAuthorized)));
    }
}
