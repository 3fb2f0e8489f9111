//! Dead letters for a transaction that Postgres can't send: what is known of its events, without their values.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::assemble::{self, KafkaSide};
use crate::config::Config;
use crate::fault::{Fault, chain};
use crate::relay::boundary::{Lsn, OwnedRecord, Position, RefusalCode, Ticket, TopicSettings, Verdict};
use crate::relay::publish::encode::names;
use crate::sink::{Deliveries, KafkaSink, SendError, Sink};
use crate::source::Unsent;

/// How long Kafka may take to have all of them.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an outage is waited for before the topic is asked for again.
const PAUSE: Duration = Duration::from_millis(500);

/// Writes a dead letter for each row that is known of the transaction, or one for it as a whole; how many.
///
/// # Errors
/// [`Fault`]: Kafka may have some of them.
pub(crate) async fn set_aside(config: &Config, unsent: &Unsent) -> Result<usize, Fault> {
    let client = format!("{}-skip", assemble::client_id(config));
    let KafkaSide::<KafkaSink> { mut sink, topics, .. } = assemble::connect_kafka(config, client).await?;
    let topic = config.relay.dead_letter_topic.as_str();
    let failed = |reason: String| Fault::NotSetAside { topic: topic.to_owned(), reason };
    let until = Instant::now() + PATIENCE;
    loop {
        match topics.ensure(topic, &TopicSettings::default(), config.relay.create_topics).await {
            Ok(Ok(_)) => break,
            Ok(Err(refusal)) => return Err(failed(refusal.detail)),
            Err(error) if Instant::now() >= until => return Err(failed(chain(&error))),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    let letters = letters(config, unsent);
    let (mut next, mut acked, mut deliveries) = (0, 0, Deliveries::default());
    while acked < letters.len() {
        while let Some(letter) = letters.get(next) {
            match sink.send(Ticket(next as u64), &letter.borrow(&letter.header_list())) {
                Ok(()) => next += 1,
                Err(SendError::Full) => break,
                Err(SendError::Refused(refusal)) => return Err(failed(refusal.detail)),
                Err(SendError::Fatal(error)) => return Err(error.into()),
            }
        }
        match tokio::time::timeout_at(until, sink.deliveries(&mut deliveries)).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(failed(format!("Kafka did not acknowledge it within {} s", PATIENCE.as_secs()))),
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
    sink.close(PAUSE).await;
    Ok(letters.len())
}

fn letters(config: &Config, unsent: &Unsent) -> Vec<OwnedRecord> {
    let rows: Vec<Option<String>> = unsent.rows.iter().map(|(_, id)| id.clone()).collect();
    let rows = if rows.is_empty() { vec![None] } else { rows };
    rows.into_iter().map(|id| letter(config, unsent, id)).collect()
}

/// The time is now: a broker may refuse that of the commit.
fn letter(config: &Config, unsent: &Unsent, id: Option<String>) -> OwnedRecord {
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
