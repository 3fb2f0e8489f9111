//! Dead letters in a line each: the newest, in bounded memory. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde::Serialize;

use super::dead_letter::{DeadLetter, DeadLetterId};
use super::marks::{Discarded, Mark};
use crate::relay::boundary::Timestamp;
use crate::relay::publish::encode::rfc3339;

/// Longest text that is kept of a header, in bytes: whoever wrote it may have written much.
const TEXT_BYTES: usize = 500;
/// Kinds of letters that are counted apart.
const KINDS: usize = 100;

/// A letter without its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// `<partition>/<offset>`.
    pub dead_letter: String,
    /// The event's id.
    pub event: Option<String>,
    /// `<name>/<version>`.
    pub contract: Option<String>,
    /// The code of the refusal; none if no relay has written it.
    pub code: Option<&'static str>,
    /// The reason in words.
    pub detail: Option<String>,
    /// Where it should have gone.
    pub topic: Option<String>,
    /// The event's position.
    pub position: Option<String>,
    /// The event's time.
    pub time: Option<String>,
    /// Bytes of key, value and headers.
    pub bytes: usize,
    /// `open`, `redriven` or `discarded`.
    pub state: &'static str,
    /// Whether it was redriven.
    pub redriven: bool,
    /// When it was discarded.
    pub discarded_at: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The relay that wrote it.
    pub relay: Option<String>,
}

impl Summary {
    /// Of a letter.
    #[must_use]
    pub fn of(dead_letter: &DeadLetter, mark: Option<&Mark>) -> Self {
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

/// Letters by their time, then by their place, so that the newest are told.
type Order = (i64, DeadLetterId);

/// Gathers the newest.
#[derive(Debug)]
pub struct Listing {
    limit: usize,
    /// The oldest first, which gives way.
    newest: BinaryHeap<Reverse<(Order, usize)>>,
    kept: Vec<Summary>,
    /// How many there are in all.
    pub dead_letters: u64,
    /// How many of them were redriven.
    pub redriven: u64,
    /// How many were discarded.
    pub discarded: u64,
    /// How many by code, of those that are open.
    pub open: BTreeMap<&'static str, u64>,
}

impl Listing {
    /// Keeps so many.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (newest, kept) = (BinaryHeap::new(), Vec::new());
        Self { limit, newest, kept, dead_letters: 0, redriven: 0, discarded: 0, open: BTreeMap::new() }
    }

    /// Takes a letter.
    pub fn take(&mut self, dead_letter: &DeadLetter, mark: Option<&Mark>) {
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

    /// The letters that were kept, the oldest first.
    #[must_use]
    pub fn summaries(&self) -> Vec<&Summary> {
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
    fn the_newest_are_kept_and_all_are_counted() {
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
    fn a_giant_header_is_cut_at_the_end_of_a_character() {
        let detail = "ä".repeat(100_000);
        let found = dead_letter(&[("outbox-error", "no_topic"), ("outbox-error-detail", &detail)], None);
        let summary = Summary::of(&found, None);
        assert_eq!(summary.detail.map(|detail| detail.len()), Some(TEXT_BYTES));
        assert!(summary.bytes > 200_000);
        assert_eq!(summary.time.as_deref(), Some("1970-01-01T00:00:01.000000Z"));
        assert_eq!(Summary::of(&at(1, -1), None).time, None);
    }
}
