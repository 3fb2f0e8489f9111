//! Which letters have been redriven or discarded: a record each in a compacted topic, for a redriven letter in the transaction that
//! redrives it. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dead_letter::{DeadLetter, DeadLetterId, Fingerprint};
use crate::relay::boundary::{OwnedRecord, TopicSettings};

/// The topic's name: one for all dead-letter topics of a Kafka.
pub use crate::relay::route::destination::REDRIVEN_TOPIC;

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
    /// When it was redriven, in RFC 3339's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redriven_at: Option<String>,
    /// Where to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// When it was discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    discarded_at: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The event's id, for people.
    event: Option<String>,
}

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It was published again.
    Redriven,
    /// Somebody decided that it never is.
    Discarded(Discarded),
}

/// The decision that a letter is not published again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// When, in RFC 3339's form.
    pub at: Arc<str>,
    /// Why.
    pub reason: Arc<str>,
}

/// The mark of a letter that goes to `topic` at this time (RFC 3339).
#[must_use]
pub fn mark(dead_letter_topic: &str, dead_letter: &DeadLetter, topic: &str, at: &str, at_millis: i64) -> OwnedRecord {
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

/// The mark of a letter that is not published again.
#[must_use]
pub fn discard(
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

/// Takes away the mark of a letter that is not there any more.
#[must_use]
pub fn unmark(dead_letter_topic: &str, id: DeadLetterId, at_millis: i64) -> OwnedRecord {
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

/// The marks of one dead-letter topic: some 80 bytes each.
#[derive(Debug)]
pub struct Marks {
    prefix: String,
    marks: HashMap<DeadLetterId, (Fingerprint, Mark)>,
    /// As the last mark has it: letters are discarded many at a time.
    last: Option<Discarded>,
}

impl Marks {
    /// None yet.
    #[must_use]
    pub fn of(dead_letter_topic: &str) -> Self {
        Self { prefix: format!("{dead_letter_topic}/"), marks: HashMap::new(), last: None }
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

    /// What became of this letter; none: it is open.
    #[must_use]
    pub fn of_letter(&self, dead_letter: &DeadLetter) -> Option<&Mark> {
        // Most letters have none, and a fingerprint is over all of a letter.
        let (fingerprint, mark) = self.marks.get(&dead_letter.id)?;
        (*fingerprint == dead_letter.fingerprint()).then_some(mark)
    }

    /// Marks of letters that `is_gone` knows to be gone, in order.
    #[must_use]
    pub fn stale(&self, is_gone: impl Fn(DeadLetterId) -> bool) -> Vec<DeadLetterId> {
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
    fn a_mark_is_of_one_letter_of_one_topic() {
        let found = dead_letter(&[("a", "1")], Some("v"));
        let mark = mark("letters", &found, "orders", "2026-11-21T20:00:00Z", 1);
        assert_eq!(mark.key.as_deref(), Some(&b"letters/0/12"[..]));
        let mut marks = Marks::of("letters");
        assert_eq!(marks.of_letter(&found), None);
        marks.take(&mark);
        assert_eq!(marks.of_letter(&found), Some(&Mark::Redriven));
        // The topic was deleted and made again, and has another letter there.
        assert_eq!(marks.of_letter(&dead_letter(&[("a", "2")], Some("v"))), None);
        let mut others = Marks::of("letter");
        others.take(&mark);
        assert_eq!(others.of_letter(&found), None);
        assert_eq!(marks.stale(|id| id.offset < 13), [found.id]);
        marks.take(&unmark("letters", found.id, 2));
        assert!(marks.of_letter(&found).is_none() && marks.stale(|_| true).is_empty());
    }

    #[test]
    fn a_discarded_letter_says_when_and_why_until_it_is_redriven() {
        let found = dead_letter(&[("a", "1")], Some("v"));
        let discarded = Discarded { at: "2026-11-29T20:00:00Z".into(), reason: "a test's".into() };
        let mut marks = Marks::of("letters");
        marks.take(&discard("letters", &found, &discarded, 1));
        assert_eq!(marks.of_letter(&found), Some(&Mark::Discarded(discarded)));
        marks.take(&mark("letters", &found, "orders", "2026-11-29T21:00:00Z", 2));
        assert_eq!(marks.of_letter(&found), Some(&Mark::Redriven));
    }

    #[test]
    fn what_others_wrote_is_no_mark() {
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
        assert_eq!(marks.of_letter(&found), None);
    }
}
