//! Dead letters for a transaction that Postgres can't send: what is known about its events, without their values.

use std::time::SystemTime;

use tokio::time::Instant;

use super::assemble::{self, KafkaSide};
use crate::config::{Config, Delivery};
use crate::driver::limits::{SET_ASIDE_PAUSE, SET_ASIDE_TIMEOUT};
use crate::fault::{Fault, chain};
use crate::relay::boundary::{Lsn, OwnedRecord, Position, PositionProof, RefusalCode, Ticket, Verdict};
use crate::relay::confirm::StreamStart;
use crate::relay::publish::encode::names;
use crate::relay::route::destination::dead_letter_settings;
use crate::sink::{Deliveries, KafkaSink, SendError, Sink, StepError, StepPast, SteppedPast, Topics};
use crate::source::{SlotBefore, Unsent};

/// What Kafka has of a transaction that Postgres can't send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetAside {
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
pub(crate) async fn set_aside(config: &Config, before: &SlotBefore, unsent: &Unsent) -> Result<SetAside, Fault> {
    let dead_letters = dead_letters(config, unsent);
    // Until the rows from before the slot are published, nothing of the stream has a position.
    if config.kafka.delivery == Delivery::ExactlyOnce && before.begun.first == StreamStart::Continued {
        return step_past(config, before, unsent.commit, dead_letters).await;
    }
    let count = dead_letters.len();
    write(config, dead_letters).await?;
    Ok(SetAside { dead_letters: Some(count), stored: None })
}

async fn step_past(
    config: &Config,
    before: &SlotBefore,
    commit: Lsn,
    dead_letters: Vec<OwnedRecord>,
) -> Result<SetAside, Fault> {
    let kafka = assemble::connect_kafka(config, assemble::client_id(config)).await?;
    ensure_topic(config, &kafka.topics, Instant::now() + SET_ASIDE_TIMEOUT).await?;
    let SlotBefore { begun, secrets } = before.clone();
    let step = StepPast { commit, slot: config.postgres.slot.as_str().to_owned(), begun, keys: secrets.positions };
    let count = dead_letters.len();
    let stepped = kafka.exactly_once(config).sink.step_past(&step, dead_letters).await;
    let SteppedPast { is_new, proof } = stepped.map_err(|error| match error {
        StepError::Sink(error) => Fault::from(error),
        StepError::Position(error) => Fault::from(error),
        StepError::DeadLetters(reason) => failed(config, reason),
    })?;
    Ok(SetAside { dead_letters: is_new.then_some(count), stored: Some(proof) })
}

fn failed(config: &Config, reason: String) -> Fault {
    Fault::NotSetAside { topic: config.relay.dead_letter_topic.as_str().to_owned(), reason }
}

/// Makes sure that there is a dead-letter topic.
async fn ensure_topic(config: &Config, topics: &Topics, until: Instant) -> Result<(), Fault> {
    let topic = config.relay.dead_letter_topic.as_str();
    loop {
        match topics.ensure(topic, &dead_letter_settings(), config.relay.create_topics).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(refusal)) => return Err(failed(config, refusal.detail)),
            Err(error) if Instant::now() >= until => return Err(failed(config, chain(&error))),
            Err(_) => tokio::time::sleep(SET_ASIDE_PAUSE).await,
        }
    }
}

async fn write(config: &Config, dead_letters: Vec<OwnedRecord>) -> Result<(), Fault> {
    let client = format!("{}-skip", assemble::client_id(config));
    let KafkaSide::<KafkaSink> { mut sink, topics, .. } = assemble::connect_kafka(config, client).await?;
    let until = Instant::now() + SET_ASIDE_TIMEOUT;
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
                return Err(failed(format!("Kafka did not acknowledge it within {} s", SET_ASIDE_TIMEOUT.as_secs())));
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
    sink.close(SET_ASIDE_PAUSE).await;
    Ok(())
}

fn dead_letters(config: &Config, unsent: &Unsent) -> Vec<OwnedRecord> {
    let rows: Vec<Option<String>> = unsent.rows.iter().map(|(_, id)| id.clone()).collect();
    let rows = if rows.is_empty() { vec![None] } else { rows };
    rows.into_iter().map(|id| dead_letter(config, unsent, id)).collect()
}

/// Uses the current time, because a broker may reject the commit's timestamp.
fn dead_letter(config: &Config, unsent: &Unsent, id: Option<String>) -> OwnedRecord {
    let Unsent { commit, committed_at, xid, error, sent, .. } = unsent;
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
