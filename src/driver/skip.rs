//! Dead letters for a transaction that Postgres can't send: what is known about its events, without their values.

use std::time::SystemTime;

use tokio::time::Instant;

use super::assemble::{self, KafkaSide};
use crate::config::{Config, Delivery};
use crate::driver::limits::{SKIP_PAUSE, SKIP_TIMEOUT};
use crate::fault::{Fault, chain};
use crate::relay::boundary::{Lsn, OwnedRecord, Position, PositionProof, RefusalCode, Ticket, Verdict};
use crate::relay::confirm::StreamStart;
use crate::relay::publish::encode::names;
use crate::relay::route::destination::dead_letter_settings;
use crate::sink::{Deliveries, KafkaSink, PositionSkip, SendError, Sink, SkipError, SkipStored, Topics};
use crate::source::{SlotBefore, UnsendableTransaction};

/// What Kafka has of a transaction that Postgres can't send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SkippedInKafka {
    /// How many dead letters were written; `None` if an earlier run has written them.
    pub(crate) dead_letters: Option<usize>,
    /// With exactly-once delivery: what the position past the transaction bears.
    pub(crate) stored: Option<PositionProof>,
}

/// Writes a dead letter for each row that is known of the transaction, or one for it as a whole; with exactly-once delivery in the same
/// Kafka transaction as the position past it.
///
/// # Errors
/// [`Fault`]: with at-least-once delivery, Kafka may have some of them.
pub(crate) async fn write_skipped(
    config: &Config,
    before: &SlotBefore,
    unsendable: &UnsendableTransaction,
) -> Result<SkippedInKafka, Fault> {
    let dead_letters = dead_letters(config, unsendable);
    // Until the rows from before the slot are published, nothing of the stream has a position.
    if config.kafka.delivery == Delivery::ExactlyOnce && before.begun.first == StreamStart::Continued {
        return write_with_position(config, before, unsendable.commit, dead_letters).await;
    }
    let count = dead_letters.len();
    write(config, dead_letters).await?;
    Ok(SkippedInKafka { dead_letters: Some(count), stored: None })
}

async fn write_with_position(
    config: &Config,
    before: &SlotBefore,
    commit: Lsn,
    dead_letters: Vec<OwnedRecord>,
) -> Result<SkippedInKafka, Fault> {
    let kafka = assemble::connect_kafka(config, assemble::client_id(config)).await?;
    ensure_topic(config, &kafka.topics, Instant::now() + SKIP_TIMEOUT).await?;
    let SlotBefore { begun, secrets } = before.clone();
    let skip = PositionSkip { commit, slot: config.postgres.slot.as_str().to_owned(), begun, keys: secrets.positions };
    let count = dead_letters.len();
    let skipped = kafka.exactly_once(config).sink.skip(&skip, dead_letters).await;
    let SkipStored { is_new, proof } = skipped.map_err(|error| match error {
        SkipError::Sink(error) => Fault::from(error),
        SkipError::Position(error) => Fault::from(error),
        SkipError::DeadLetters(reason) => failed(config, reason),
    })?;
    Ok(SkippedInKafka { dead_letters: is_new.then_some(count), stored: Some(proof) })
}

fn failed(config: &Config, reason: String) -> Fault {
    Fault::SkipNotWritten { topic: config.relay.dead_letter_topic.as_str().to_owned(), reason }
}

/// Makes sure that there is a dead-letter topic.
async fn ensure_topic(config: &Config, topics: &Topics, until: Instant) -> Result<(), Fault> {
    let topic = config.relay.dead_letter_topic.as_str();
    loop {
        match topics.ensure(topic, &dead_letter_settings(), config.relay.create_topics).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(refusal)) => return Err(failed(config, refusal.detail)),
            Err(error) if Instant::now() >= until => return Err(failed(config, chain(&error))),
            Err(_) => tokio::time::sleep(SKIP_PAUSE).await,
        }
    }
}

async fn write(config: &Config, dead_letters: Vec<OwnedRecord>) -> Result<(), Fault> {
    let client = format!("{}-skip", assemble::client_id(config));
    let KafkaSide::<KafkaSink> { mut sink, topics, .. } = assemble::connect_kafka(config, client).await?;
    let until = Instant::now() + SKIP_TIMEOUT;
    ensure_topic(config, &topics, until).await?;
    let failed = |reason: String| failed(config, reason);
    let (mut next, mut acked, mut deliveries) = (0, 0, Deliveries::default());
    while acked < dead_letters.len() {
        while let Some(dead_letter) = dead_letters.get(next) {
            match sink.send(Ticket(next as u64), &dead_letter.borrow(&dead_letter.header_list())) {
                Ok(()) => next += 1,
                Err(SendError::Full) => break,
                Err(SendError::Refused(refusal)) => return Err(failed(refusal.detail)),
                Err(SendError::Fatal(error)) => return Err(error.into()),
            }
        }
        match tokio::time::timeout_at(until, sink.deliveries(&mut deliveries)).await {
            Ok(outcome) => outcome?,
            Err(_) => {
                return Err(failed(format!("Kafka did not acknowledge it within {} s", SKIP_TIMEOUT.as_secs())));
            }
        }
        acked += deliveries.acked.len();
        if let Some(failure) = deliveries.failed.first() {
            return Err(failed(match &failure.verdict {
                Verdict::Refused(refusal) => refusal.detail.clone(),
                Verdict::Returned(reason) => reason.clone(),
                Verdict::Along => "another record of its batch was refused".to_owned(),
            }));
        }
        deliveries.clear();
    }
    sink.close(SKIP_PAUSE).await;
    Ok(())
}

fn dead_letters(config: &Config, unsendable: &UnsendableTransaction) -> Vec<OwnedRecord> {
    let rows: Vec<Option<String>> = unsendable.rows.iter().map(|(_, id)| id.clone()).collect();
    let rows = if rows.is_empty() { vec![None] } else { rows };
    rows.into_iter().map(|id| dead_letter(config, unsendable, id)).collect()
}

/// Uses the current time, because a broker may reject the commit's timestamp.
fn dead_letter(config: &Config, unsendable: &UnsendableTransaction, id: Option<String>) -> OwnedRecord {
    let UnsendableTransaction { commit, committed_at, xid, error, sent, .. } = unsendable;
    let detail = format!(
        "Postgres can't send transaction {xid}, committed at {committed_at} (LSN {commit}): {error}; it had sent {sent} of the events, which are published unless the relay stopped before Kafka acknowledged them"
    );
    let position = Position { commit: Lsn(commit.0), ordinal: 0 }.to_string();
    let header = |name: &str, value: String| (name.to_owned(), Some(value.into_bytes()));
    let id = id.map(|id| header("id", id));
    let rest = [
        header(names::POSITION, position),
        header(names::RELAY, config.relay.name.clone()),
        header(names::VALUE_OMITTED, "0".to_owned()),
        header(names::ERROR, RefusalCode::Undecodable.as_str().to_owned()),
        header(names::ERROR_DETAIL, detail),
        header(names::TOPIC, String::new()),
    ];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    OwnedRecord {
        topic: config.relay.dead_letter_topic.as_str().to_owned(),
        key: None,
        value: None,
        headers: id.into_iter().chain(rest).collect(),
        timestamp_millis: i64::try_from(now).unwrap_or(i64::MAX),
    }
}
