//! Reads the topic in which each relay stores its position.

use std::sync::Once;
use std::time::{Duration, Instant};

use super::position_keys::Check;
use super::position_scan::{PositionPlace, ReadError};
use crate::relay::boundary::{Signature, TopicSettings};
use crate::relay::route::destination::POSITIONS_TOPIC;
use crate::sink::client::options::ProducerOptions;
use crate::sink::client::topic_reader::{Isolation, Span, TopicReader};
use crate::sink::error::SinkError;
use crate::sink::limits::{HIDDEN_LOG_INTERVAL, HIDDEN_WARNING, POSITION_ANSWER, POSITION_COPIES_TAIL, POSITION_TAIL};
use crate::sink::stored_position::{PositionEntry, StoredPosition};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// Settings for creating the topic: a small one, because only the last position of each relay counts, and all of it
/// may be read at a start.
pub(super) fn topic_settings() -> TopicSettings {
    let config = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "16777216"),
        ("min.cleanable.dirty.ratio", "0.1"),
        ("max.message.bytes", "1048588"),
    ];
    let config = config.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    TopicSettings { partitions: Some(1), replication_factor: None, config }
}

/// Which part of the topic to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadScope {
    /// What is committed now, unless another relay's transaction hides it.
    Visible,
    /// Everything committed before the call. If an open transaction of another relay hides it, waits for its end:
    /// that of a dead relay ends when Kafka times it out.
    Everything,
}

/// Reads positions.
pub(super) struct PositionReader(TopicReader);

impl PositionReader {
    /// Does not wait for a broker.
    ///
    /// # Errors
    /// [`SinkError::Create`].
    pub(super) fn new(options: &ProducerOptions) -> Result<Self, SinkError> {
        TopicReader::new(options, &format!("{}-positions", options.client_id), POSITION_ANSWER).map(Self)
    }

    /// Reads the last position under `key`. Blocks; call it on a blocking thread.
    pub(super) fn read(
        &self,
        key: &str,
        extent: ReadScope,
        check: Option<&Check>,
        stopped: &impl Fn() -> bool,
    ) -> Result<PositionEntry, ReadError> {
        // A broker that does not know the topic yet says nothing about the position.
        let layout = self.0.layout(POSITIONS_TOPIC)?.ok_or_else(unknown_topic)?;
        check_layout(layout.partitions.len())?;
        tell_of_risk(layout.brokers, layout.replicas);
        let place = PositionPlace { reader: &self.0, key, stopped };
        let mut found = PositionEntry::Nothing;
        for partition in layout.partitions {
            let span = match extent {
                ReadScope::Visible => self.0.span(POSITIONS_TOPIC, partition, Isolation::Committed)?,
                ReadScope::Everything => self.everything(&place, partition)?,
            };
            let tail = Span { start: span.start.max(span.end - POSITION_TAIL), ..span };
            let mut last = place.last(tail, Isolation::Committed)?;
            if last.is_none() && tail.start > span.start {
                last = place.last(span, Isolation::Committed)?;
            }
            if last.is_some() {
                found = entry(last.clone(), key, check)?;
            }
            // Each is written once. Whoever can read the topic can copy one: an old one, or one of a transaction that was aborted.
            // Before somebody is fenced, whose position it is matters alone.
            if extent == ReadScope::Everything
                && let (Some(Some(value)), PositionEntry::Position(StoredPosition { signed_by: Some(_), .. })) =
                    (&last, &found)
            {
                let all = self.0.span(POSITIONS_TOPIC, partition, Isolation::Uncommitted)?;
                let copies = Span { start: all.start.max(all.end - POSITION_COPIES_TAIL), ..all };
                if place.count(copies, Isolation::Uncommitted, value)? > 1 {
                    return Err(ReadError::Copied);
                }
            }
        }
        Ok(found)
    }

    /// What a partition holds once everything before the call is committed or aborted, unless it is other relays'.
    fn everything(&self, place: &PositionPlace<'_>, partition: i32) -> Result<Span, ReadError> {
        let shown = self.0.span(POSITIONS_TOPIC, partition, Isolation::Committed)?;
        let all = self.0.span(POSITIONS_TOPIC, partition, Isolation::Uncommitted)?;
        // Only a position of this relay is waited for, whether it was committed or not: others may hang for long.
        let hidden = Span { start: shown.end, ..all };
        if place.last(hidden, Isolation::Uncommitted)?.is_none() {
            return Ok(shown);
        }
        let (since, mut tell_at) = (Instant::now(), Instant::now());
        let mut goes_on = || {
            if Instant::now() >= tell_at {
                tell_at += HIDDEN_LOG_INTERVAL;
                tell_of_wait(since.elapsed(), partition, shown.end);
            }
            !(place.stopped)()
        };
        self.0.committed_to(POSITIONS_TOPIC, all, &mut goes_on)?.ok_or(ReadError::Stopped)
    }
}

/// What the last record under the key says, if there is one: its value, which may be null.
fn entry(last: Option<Option<Vec<u8>>>, key: &str, check: Option<&Check>) -> Result<PositionEntry, ReadError> {
    let value = match last {
        None => return Ok(PositionEntry::Nothing),
        Some(None) => return Ok(PositionEntry::Forgotten),
        Some(Some(value)) => value,
    };
    let mut stored = StoredPosition::decode(&value).ok_or(ReadError::Malformed)?;
    // Another cluster's position has other keys, and is refused for being another cluster's.
    if let Some(check) = check.filter(|check| check.system_identifier == stored.cluster.system_identifier) {
        stored.signed_by = match check.keys.signature(key.as_bytes(), &value) {
            Signature::By(id) => Some(id),
            Signature::Missing if !check.keys.must_be_signed => None,
            Signature::Missing | Signature::Invalid => return Err(ReadError::Forged),
        };
        if !check.keys.accepts(stored.epoch) {
            return Err(ReadError::Forgotten);
        }
    }
    Ok(PositionEntry::Position(stored))
}

/// Reports that a transaction that begins at this offset hides the position.
fn tell_of_wait(waited: Duration, partition: i32, offset: i64) {
    let topic = POSITIONS_TOPIC;
    if waited < HIDDEN_WARNING {
        tracing::info!(topic, partition, offset, "waiting for another relay's transaction to end");
    } else {
        tracing::warn!(
            topic,
            partition,
            offset,
            waited_seconds = waited.as_secs(),
            "another relay's transaction does not end and hides this relay's position: abort it with kafka-transactions.sh"
        );
    }
}

fn unknown_topic() -> ReadError {
    ReadError::Passing(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition))
}

/// Positions must be totally ordered.
const fn check_layout(partitions: usize) -> Result<(), ReadError> {
    if partitions > 1 { Err(ReadError::Partitioned(partitions)) } else { Ok(()) }
}

/// Warns once if positions are on a single broker although there are more.
fn tell_of_risk(brokers: usize, replicas: Option<usize>) {
    static TOLD: Once = Once::new();
    if is_at_risk(brokers, replicas) {
        TOLD.call_once(|| {
            tracing::warn!(
                topic = POSITIONS_TOPIC,
                brokers,
                "topic has a single replica: if its broker loses it, events are published twice; raise its replication factor"
            );
        });
    }
}

fn is_at_risk(brokers: usize, replicas: Option<usize>) -> bool {
    brokers > 1 && replicas == Some(1)
}

#[cfg(test)]
#[path = "positions_tests.rs"]
mod tests;
