//! Lists the newest dead letters in bounded memory. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde::Serialize;

use super::dead_letter::{DeadLetter, DeadLetterId};
use super::marks::{Discarded, Mark};
use crate::relay::boundary::Timestamp;
use crate::relay::publish::encode::rfc3339;

/// Longest text kept of a header, in bytes: its size is up to the writer.
const TEXT_BYTES: usize = 500;
/// Most codes that are counted separately.
const KINDS: usize = 100;

/// A dead letter without its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    /// `<partition>/<offset>`.
    #[serde(rename = "letter")]
    pub dead_letter: String,
    /// The event's id.
    pub event: Option<String>,
    /// `<name>/<version>`.
    pub contract: Option<String>,
    /// The refusal code; `None` if no relay wrote it.
    pub code: Option<&'static str>,
    /// The reason in words.
    pub detail: Option<String>,
    /// The event's topic.
    pub topic: Option<String>,
    /// The event's position.
    pub position: Option<String>,
    /// The event's time.
    pub time: Option<String>,
    /// Size of key, value and headers, in bytes.
    pub bytes: usize,
    /// `open`, `redriven` or `discarded`.
    pub state: &'static str,
    pub redriven: bool,
    /// When it was discarded.
    pub discarded_at: Option<String>,
    /// Why it was discarded.
    pub reason: Option<String>,
    /// The relay that wrote it.
    pub relay: Option<String>,
}

impl Summary {
    /// Summarizes a dead letter and its mark.
    #[must_use]
    pub(crate) fn of(dead_letter: &DeadLetter, mark: Option<&Mark>) -> Self {
        let text = |text: Option<&str>| text.map(cut);
        let millis = Some(dead_letter.timestamp_millis()).filter(|millis| *millis >= 0);
        Self {
            dead_letter: dead_letter.id.to_string(),
            event: text(dead_letter.event_id()),
            contract: dead_letter.contract().map(|named| cut(&named.to_string())),
            code: dead_letter.code().map(|code| code.as_str()),
            detail: text(dead_letter.detail()),
            topic: text(dead_letter.topic().filter(|topic| !topic.is_empty())),
            position: text(dead_letter.position()),
            time: millis.map(|millis| rfc3339(Timestamp(millis.saturating_mul(1_000)))),
            bytes: dead_letter.record.size(),
            state: state(mark),
            redriven: mark == Some(&Mark::Redriven),
            discarded_at: discarded(mark).map(|discarded| cut(&discarded.at)),
            reason: discarded(mark).map(|discarded| cut(&discarded.reason)),
            relay: text(dead_letter.relay()),
        }
    }
}

const fn state(mark: Option<&Mark>) -> &'static str {
    match mark {
        None => "open",
        Some(Mark::Redriven) => "redriven",
        Some(Mark::Discarded(_)) => "discarded",
    }
}

const fn discarded(mark: Option<&Mark>) -> Option<&Discarded> {
    match mark {
        Some(Mark::Discarded(discarded)) => Some(discarded),
        _ => None,
    }
}

fn cut(text: &str) -> String {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= TEXT_BYTES).last();
    text[..end.unwrap_or(0)].to_owned()
}

/// Orders dead letters by time, then by place.
type Order = (i64, DeadLetterId);

/// Collects the newest dead letters and counts all.
#[derive(Debug)]
pub(crate) struct Listing {
    limit: usize,
    /// A heap with the oldest on top, which is evicted first.
    newest: BinaryHeap<Reverse<(Order, usize)>>,
    kept: Vec<Summary>,
    /// How many were taken.
    pub dead_letters: u64,
    /// How many of them are redriven.
    pub redriven: u64,
    pub discarded: u64,
    /// How many are open, by code.
    pub open: BTreeMap<&'static str, u64>,
}

impl Listing {
    /// A listing that keeps the newest `limit`.
    #[must_use]
    pub(crate) fn new(limit: usize) -> Self {
        let (newest, kept) = (BinaryHeap::new(), Vec::new());
        Self { limit, newest, kept, dead_letters: 0, redriven: 0, discarded: 0, open: BTreeMap::new() }
    }

    /// Adds a dead letter.
    pub(crate) fn take(&mut self, dead_letter: &DeadLetter, mark: Option<&Mark>) {
        self.dead_letters += 1;
        match mark {
            Some(Mark::Redriven) => self.redriven += 1,
            Some(Mark::Discarded(_)) => self.discarded += 1,
            None if self.open.len() < KINDS => {
                *self.open.entry(dead_letter.code().map_or("not_a_dead_letter", |code| code.as_str())).or_default() +=
                    1;
            }
            None => {}
        }
        let order = (dead_letter.timestamp_millis(), dead_letter.id);
        if self.kept.len() < self.limit {
            self.newest.push(Reverse((order, self.kept.len())));
            self.kept.push(Summary::of(dead_letter, mark));
        } else if let Some(Reverse((oldest, place))) = self.newest.peek().copied()
            && order > oldest
        {
            self.newest.pop();
            self.newest.push(Reverse((order, place)));
            self.kept[place] = Summary::of(dead_letter, mark);
        }
    }

    /// The kept dead letters, oldest first.
    #[must_use]
    pub(crate) fn summaries(&self) -> Vec<&Summary> {
        let mut places: Vec<_> = self.newest.iter().map(|Reverse(entry)| *entry).collect();
        places.sort_unstable();
        places.into_iter().map(|(_, place)| &self.kept[place]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::dead_letter::tests::dead_letter;
    use super::*;

    fn at(offset: i64, millis: i64) -> DeadLetter {
        let mut dead_letter = dead_letter(&[("outbox-error", "no_topic")], None);
        dead_letter.id.offset = offset;
        dead_letter.record.timestamp_millis = millis;
        dead_letter
    }

    #[test]
    fn only_the_newest_are_kept_and_all_are_counted() {
        let mut listing = Listing::new(3);
        for (offset, millis) in [(0, 50), (1, 10), (2, 40), (3, 20), (4, 30), (5, 40)] {
            listing.take(&at(offset, millis), (offset == 4).then_some(&Mark::Redriven));
        }
        let kept: Vec<_> = listing.summaries().iter().map(|summary| summary.dead_letter.as_str()).collect();
        assert_eq!(kept, ["0/2", "0/5", "0/0"]);
        assert_eq!((listing.dead_letters, listing.redriven), (6, 1));
        assert_eq!(listing.open, BTreeMap::from([("no_topic", 5)]));
        assert!(Listing::new(0).summaries().is_empty());
    }

    #[test]
    fn a_giant_header_is_cut_at_a_character_boundary() {
        let detail = "ä".repeat(100_000);
        let found = dead_letter(&[("outbox-error", "no_topic"), ("outbox-error-detail", &detail)], None);
        let summary = Summary::of(&found, None);
        assert_eq!(summary.detail.map(|detail| detail.len()), Some(TEXT_BYTES));
        assert!(summary.bytes > 200_000);
        assert_eq!(summary.time.as_deref(), Some("1970-01-01T00:00:01.000000Z"));
        assert_eq!(Summary::of(&at(1, -1), None).time, None);
    }
}
