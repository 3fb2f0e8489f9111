//! Marks: which dead letters were redriven or discarded. One record each in a compacted topic; for a redrive, written in the
//! transaction that publishes the record. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dead_letter::{DeadLetter, DeadLetterId, Fingerprint};
use crate::relay::boundary::{OwnedRecord, TopicSettings};

/// The topic of marks, shared by all dead-letter topics of a Kafka cluster.
pub(crate) use crate::relay::route::destination::REDRIVEN_TOPIC;

/// Settings for creating the topic: compacted, since a mark is needed as long as its dead letter exists.
#[must_use]
pub(crate) fn topic_settings() -> TopicSettings {
    let config = [("cleanup.policy", "compact"), ("segment.bytes", "16777216")];
    let config = config.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    TopicSettings { partitions: Some(1), replication_factor: None, config }
}

/// A mark's value. The record key identifies the dead letter.
#[derive(Debug, Serialize, Deserialize)]
struct Value {
    fingerprint: String,
    /// When it was redriven (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redriven_at: Option<String>,
    /// The topic it was redriven to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// When it was discarded (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    discarded_at: Option<String>,
    /// The operator's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The event's id, for readers of the topic.
    event: Option<String>,
}

/// The state that a mark records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It was published again.
    Redriven,
    Discarded(Discarded),
}

/// When and why a dead letter was discarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// When (RFC 3339).
    pub at: Arc<str>,
    /// The operator's reason.
    pub reason: Arc<str>,
}

/// The mark of a dead letter that is redriven to `topic` at this time (RFC 3339).
#[must_use]
pub(crate) fn mark(
    dead_letter_topic: &str,
    dead_letter: &DeadLetter,
    topic: &str,
    at: &str,
    at_millis: i64,
) -> OwnedRecord {
    let value = Value {
        fingerprint: dead_letter.fingerprint().to_string(),
        redriven_at: Some(at.to_owned()),
        topic: Some(topic.to_owned()),
        discarded_at: None,
        reason: None,
        event: dead_letter.event_id().map(str::to_owned),
    };
    let value = serde_json::to_vec(&value).expect("texts are JSON");
    record(dead_letter_topic, dead_letter.id, Some(value), at_millis)
}

/// The mark of a discarded dead letter.
#[must_use]
pub(crate) fn discard(
    dead_letter_topic: &str,
    dead_letter: &DeadLetter,
    discarded: &Discarded,
    at_millis: i64,
) -> OwnedRecord {
    let value = Value {
        fingerprint: dead_letter.fingerprint().to_string(),
        redriven_at: None,
        topic: None,
        discarded_at: Some(discarded.at.to_string()),
        reason: Some(discarded.reason.to_string()),
        event: dead_letter.event_id().map(str::to_owned),
    };
    let value = serde_json::to_vec(&value).expect("texts are JSON");
    record(dead_letter_topic, dead_letter.id, Some(value), at_millis)
}

/// A tombstone for the mark of a dead letter that no longer exists.
#[must_use]
pub(crate) fn unmark(dead_letter_topic: &str, id: DeadLetterId, at_millis: i64) -> OwnedRecord {
    record(dead_letter_topic, id, None, at_millis)
}

fn record(dead_letter_topic: &str, id: DeadLetterId, value: Option<Vec<u8>>, timestamp_millis: i64) -> OwnedRecord {
    OwnedRecord {
        topic: REDRIVEN_TOPIC.to_owned(),
        key: Some(format!("{dead_letter_topic}/{id}").into_bytes()),
        value,
        headers: Vec::new(),
        timestamp_millis,
    }
}

/// The marks of one dead-letter topic, about 80 bytes each.
#[derive(Debug)]
pub(crate) struct Marks {
    prefix: String,
    marks: HashMap<DeadLetterId, (Fingerprint, Mark)>,
    /// Shared between marks: many dead letters are discarded with one reason.
    last: Option<Discarded>,
}

impl Marks {
    /// No marks, for the given dead-letter topic.
    #[must_use]
    pub(crate) fn of(dead_letter_topic: &str) -> Self {
        Self { prefix: format!("{dead_letter_topic}/"), marks: HashMap::new(), last: None }
    }

    /// Adds a record of the topic of marks; the last per key wins. Records that are not marks of this dead-letter topic are ignored.
    pub(crate) fn take(&mut self, record: &OwnedRecord) {
        let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let id = key.and_then(|key| key.strip_prefix(&self.prefix)).and_then(|id| id.parse().ok());
        let Some(id) = id else { return };
        let Some(value) = record.value.as_deref() else {
            self.marks.remove(&id);
            return;
        };
        let Some(value) = serde_json::from_slice::<Value>(value).ok() else { return };
        let Ok(fingerprint) = value.fingerprint.parse() else { return };
        let mark = match (value.redriven_at, value.discarded_at) {
            (_, Some(at)) => Mark::Discarded(self.discarded(&at, &value.reason.unwrap_or_default())),
            (Some(_), None) => Mark::Redriven,
            (None, None) => return,
        };
        self.marks.insert(id, (fingerprint, mark));
    }

    fn discarded(&mut self, at: &str, reason: &str) -> Discarded {
        let is_same = |last: &&Discarded| *last.at == *at && *last.reason == *reason;
        let discarded = match self.last.as_ref().filter(is_same) {
            Some(last) => last.clone(),
            None => Discarded { at: at.into(), reason: reason.into() },
        };
        self.last = Some(discarded.clone());
        discarded
    }

    /// The mark of this dead letter; `None` if it is open.
    #[must_use]
    pub(crate) fn of_dead_letter(&self, dead_letter: &DeadLetter) -> Option<&Mark> {
        // Most dead letters have no mark, and a fingerprint hashes the whole record.
        let (fingerprint, mark) = self.marks.get(&dead_letter.id)?;
        (*fingerprint == dead_letter.fingerprint()).then_some(mark)
    }

    /// The marks whose dead letters no longer exist according to `is_gone`, in order.
    #[must_use]
    pub(crate) fn stale(&self, is_gone: impl Fn(DeadLetterId) -> bool) -> Vec<DeadLetterId> {
        let mut stale: Vec<DeadLetterId> = self.marks.keys().copied().filter(|id| is_gone(*id)).collect();
        stale.sort_unstable();
        stale
    }
}

#[cfg(test)]
mod tests {
    use super::super::dead_letter::tests::dead_letter;
    use super::*;

    #[test]
    fn a_mark_applies_to_one_dead_letter_of_one_topic() {
        let found = dead_letter(&[("a", "1")], Some("v"));
        let mark = mark("letters", &found, "orders", "2026-11-21T20:00:00Z", 1);
        assert_eq!(mark.key.as_deref(), Some(&b"letters/0/12"[..]));
        let mut marks = Marks::of("letters");
        assert_eq!(marks.of_dead_letter(&found), None);
        marks.take(&mark);
        assert_eq!(marks.of_dead_letter(&found), Some(&Mark::Redriven));
        // The topic was recreated and has another dead letter at this offset.
        assert_eq!(marks.of_dead_letter(&dead_letter(&[("a", "2")], Some("v"))), None);
        let mut others = Marks::of("letter");
        others.take(&mark);
        assert_eq!(others.of_dead_letter(&found), None);
        assert_eq!(marks.stale(|id| id.offset < 13), [found.id]);
        marks.take(&unmark("letters", found.id, 2));
        assert!(marks.of_dead_letter(&found).is_none() && marks.stale(|_| true).is_empty());
    }

    #[test]
    fn a_discarded_mark_has_time_and_reason_until_redriven() {
        let found = dead_letter(&[("a", "1")], Some("v"));
        let discarded = Discarded { at: "2026-11-29T20:00:00Z".into(), reason: "a test".into() };
        let mut marks = Marks::of("letters");
        marks.take(&discard("letters", &found, &discarded, 1));
        assert_eq!(marks.of_dead_letter(&found), Some(&Mark::Discarded(discarded)));
        marks.take(&mark("letters", &found, "orders", "2026-11-29T21:00:00Z", 2));
        assert_eq!(marks.of_dead_letter(&found), Some(&Mark::Redriven));
    }

    #[test]
    fn foreign_records_are_not_marks() {
        let found = dead_letter(&[], None);
        let mut marks = Marks::of("letters");
        let mut record = mark("letters", &found, "t", "", 1);
        for value in [&b""[..], b"{}", b"[]", b"\xff", b"{\"fingerprint\": \"x\"}"] {
            record.value = Some(value.to_vec());
            marks.take(&record);
        }
        record = mark("letters", &found, "t", "", 1);
        for key in [&b""[..], b"letters/", b"letters/0/-1", b"\xff"] {
            record.key = Some(key.to_vec());
            marks.take(&record);
        }
        record.key = None;
        marks.take(&record);
        assert_eq!(marks.of_dead_letter(&found), None);
    }
}
