//! Which letters have been redriven: a record each in a compacted topic, written in the transaction that redrives the letter. Pure.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::letter::{Fingerprint, Letter, LetterId};
use crate::relay::boundary::{OwnedRecord, TopicSettings};

/// The topic's name: one for all dead-letter topics of a Kafka.
pub const REDRIVEN_TOPIC: &str = "walpost.redriven";

/// How the topic is made: small and kept for ever, as every mark counts for as long as its letter is there.
#[must_use]
pub fn topic_settings() -> TopicSettings {
    let config = [("cleanup.policy", "compact"), ("segment.bytes", "16777216")];
    let config = config.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    TopicSettings { partitions: Some(1), replication_factor: None, config }
}

/// A mark's value. The key says which letter.
#[derive(Debug, Serialize, Deserialize)]
struct Value {
    fingerprint: String,
    /// When, in RFC 3339's form.
    redriven_at: String,
    /// Where to.
    topic: String,
    /// The event's id, for people.
    event: Option<String>,
}

/// The mark of a letter that goes to `topic` at this time (RFC 3339).
#[must_use]
pub fn mark(dead_letter_topic: &str, letter: &Letter, topic: &str, at: &str, at_millis: i64) -> OwnedRecord {
    let value = Value {
        fingerprint: letter.fingerprint().to_string(),
        redriven_at: at.to_owned(),
        topic: topic.to_owned(),
        event: letter.event_id().map(str::to_owned),
    };
    let value = serde_json::to_vec(&value).expect("texts are JSON");
    record(dead_letter_topic, letter.id, Some(value), at_millis)
}

/// Takes away the mark of a letter that is not there any more.
#[must_use]
pub fn unmark(dead_letter_topic: &str, id: LetterId, at_millis: i64) -> OwnedRecord {
    record(dead_letter_topic, id, None, at_millis)
}

fn record(dead_letter_topic: &str, id: LetterId, value: Option<Vec<u8>>, timestamp_millis: i64) -> OwnedRecord {
    OwnedRecord {
        topic: REDRIVEN_TOPIC.to_owned(),
        key: Some(format!("{dead_letter_topic}/{id}").into_bytes()),
        value,
        headers: Vec::new(),
        timestamp_millis,
    }
}

/// The marks of one dead-letter topic: some 50 bytes each.
#[derive(Debug)]
pub struct Marks {
    prefix: String,
    marks: HashMap<LetterId, Fingerprint>,
}

impl Marks {
    /// None yet.
    #[must_use]
    pub fn of(dead_letter_topic: &str) -> Self {
        Self { prefix: format!("{dead_letter_topic}/"), marks: HashMap::new() }
    }

    /// Takes a record of the topic; the last of a key counts. What is no mark of this dead-letter topic is passed over.
    pub fn take(&mut self, record: &OwnedRecord) {
        let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let id = key.and_then(|key| key.strip_prefix(&self.prefix)).and_then(|id| id.parse().ok());
        let Some(id) = id else { return };
        let Some(value) = record.value.as_deref() else {
            self.marks.remove(&id);
            return;
        };
        let value: Option<Value> = serde_json::from_slice(value).ok();
        if let Some(fingerprint) = value.and_then(|value| value.fingerprint.parse().ok()) {
            self.marks.insert(id, fingerprint);
        }
    }

    /// Whether this letter has been redriven.
    #[must_use]
    pub fn has(&self, letter: &Letter) -> bool {
        // Most letters have none, and a fingerprint is over all of a letter.
        self.marks.get(&letter.id).is_some_and(|mark| *mark == letter.fingerprint())
    }

    /// Marks of letters that `is_gone` knows to be gone, in order.
    #[must_use]
    pub fn stale(&self, is_gone: impl Fn(LetterId) -> bool) -> Vec<LetterId> {
        let mut stale: Vec<LetterId> = self.marks.keys().copied().filter(|id| is_gone(*id)).collect();
        stale.sort_unstable();
        stale
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::*;

    #[test]
    fn a_mark_is_of_one_letter_of_one_topic() {
        let found = letter(&[("a", "1")], Some("v"));
        let mark = mark("letters", &found, "orders", "2026-11-21T20:00:00Z", 1);
        assert_eq!(mark.key.as_deref(), Some(&b"letters/0/12"[..]));
        let mut marks = Marks::of("letters");
        assert!(!marks.has(&found));
        marks.take(&mark);
        assert!(marks.has(&found));
        // The topic was deleted and made again, and has another letter there.
        assert!(!marks.has(&letter(&[("a", "2")], Some("v"))));
        let mut others = Marks::of("letter");
        others.take(&mark);
        assert!(!others.has(&found));
        assert_eq!(marks.stale(|id| id.offset < 13), [found.id]);
        marks.take(&unmark("letters", found.id, 2));
        assert!(!marks.has(&found) && marks.stale(|_| true).is_empty());
    }

    #[test]
    fn what_others_wrote_is_no_mark() {
        let found = letter(&[], None);
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
        assert!(!marks.has(&found));
    }
}
