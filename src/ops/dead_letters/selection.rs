//! Selects dead letters. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::dead_letter::{DeadLetter, DeadLetterId};
use crate::relay::boundary::RefusalCode;
use crate::sink::Span;

/// Criteria that a dead letter must all match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeadLetterSelection {
    /// These ids; empty: any.
    pub ids: BTreeSet<DeadLetterId>,
    /// The relay that wrote it; `None`: any. A record that no relay wrote matches every relay.
    pub relay: Option<String>,
    /// The schema's name, or `name/version`.
    pub contract: Option<String>,
    pub code: Option<RefusalCode>,
    /// Earliest event time, inclusive, in milliseconds since the Unix epoch.
    pub since: Option<i64>,
    /// Latest event time, exclusive, in milliseconds since the Unix epoch.
    pub until: Option<i64>,
}

/// Most relays counted separately, and the longest name kept, in characters: the names are untrusted.
const RELAYS: usize = 100;
const NAME_CHARS: usize = 128;

/// Dead letters that match except for their relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Others {
    /// How many.
    pub dead_letters: u64,
    /// How many, by relay.
    pub relays: BTreeMap<String, u64>,
    /// Those selected by id.
    pub named: BTreeSet<DeadLetterId>,
}

impl Others {
    pub(super) fn count(&mut self, relay: &str, named: Option<DeadLetterId>) {
        self.dead_letters += 1;
        self.named.extend(named);
        let name: String = relay.chars().take(NAME_CHARS).collect();
        if self.relays.len() < RELAYS || self.relays.contains_key(&name) {
            *self.relays.entry(name).or_default() += 1;
        }
    }
}

impl DeadLetterSelection {
    /// The relay that wrote this, if it is not the selected one.
    #[must_use]
    pub(crate) fn other_relay<'a>(&self, dead_letter: &'a DeadLetter) -> Option<&'a str> {
        let wanted = self.relay.as_deref()?;
        dead_letter.relay().filter(|relay| *relay != wanted)
    }

    /// Whether a dead letter matches, regardless of its relay.
    #[must_use]
    pub(crate) fn takes(&self, dead_letter: &DeadLetter) -> bool {
        let is_contract = |wanted: &String| {
            let named = dead_letter.contract();
            named
                .is_some_and(|named| named.name == *wanted || (named.version.is_some() && named.to_string() == *wanted))
        };
        let at = dead_letter.timestamp_millis();
        (self.ids.is_empty() || self.ids.contains(&dead_letter.id))
            && self.contract.as_ref().is_none_or(is_contract)
            && self.code.is_none_or(|code| dead_letter.code() == Some(code))
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
    }

    /// The offsets of a partition that need to be read.
    #[must_use]
    pub(crate) fn narrow(&self, span: Span) -> Span {
        if self.ids.is_empty() {
            return span;
        }
        let offsets = self.ids.iter().filter(|id| id.partition == span.partition).map(|id| id.offset);
        let (first, last) = offsets.fold((i64::MAX, i64::MIN), |(first, last), at| (first.min(at), last.max(at)));
        if first > last {
            return Span { end: span.start, ..span };
        }
        Span { start: span.start.max(first), end: span.end.min(last.saturating_add(1)), ..span }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dead_letter::tests::dead_letter;
    use super::*;

    const HEADERS: [(&str, &str); 5] = [
        ("ce_specversion", "1.0"),
        ("ce_type", "order.placed"),
        ("ce_dataschema", "order.placed/2"),
        ("outbox-position", "0/1/1"),
        ("outbox-error", "too_large"),
    ];

    #[test]
    fn a_dead_letter_must_match_all_criteria() {
        let found = dead_letter(&HEADERS, None);
        let all = DeadLetterSelection::default();
        let by = |contract: &str| DeadLetterSelection { contract: Some(contract.to_owned()), ..all.clone() };
        assert!(all.takes(&found) && by("order.placed").takes(&found) && by("order.placed/2").takes(&found));
        assert!(!by("order.placed/1").takes(&found) && !by("order").takes(&found));
        let code = |code| DeadLetterSelection { code: Some(code), ..by("order.placed") };
        assert!(code(RefusalCode::TooLarge).takes(&found) && !code(RefusalCode::NoTopic).takes(&found));
        let time = |since, until| DeadLetterSelection { since, until, ..all.clone() }.takes(&found);
        assert!(
            time(Some(1_000), None) && time(None, Some(1_001)) && !time(Some(1_001), None) && !time(None, Some(1_000))
        );
        let at = |offset| DeadLetterSelection { ids: [DeadLetterId { partition: 0, offset }].into(), ..all.clone() };
        assert!(at(12).takes(&found) && !at(13).takes(&found));
    }

    #[test]
    fn case_39_dead_letters_of_other_relays_are_skipped_and_counted() {
        let of = |relay: Option<&str>| match relay {
            Some(relay) => {
                dead_letter(&[("outbox-position", "0/1/1"), ("outbox-relay", relay), ("outbox-relay", "forged")], None)
            }
            None => dead_letter(&[], None),
        };
        let own = DeadLetterSelection { relay: Some("shop".to_owned()), ..DeadLetterSelection::default() };
        assert_eq!(own.other_relay(&of(Some("shop"))), None);
        assert_eq!(own.other_relay(&of(Some("billing"))), Some("billing"));
        assert_eq!(own.other_relay(&of(None)), None);
        assert_eq!(DeadLetterSelection::default().other_relay(&of(Some("billing"))), None);
        let mut others = Others::default();
        for number in 0..RELAYS + 10 {
            others.count(&format!("r{number}"), None);
            others.count("r0", None);
        }
        assert_eq!((others.dead_letters, others.relays.len(), others.relays["r0"]), (220, RELAYS, 111));
    }

    #[test]
    fn only_offsets_that_can_match_are_read() {
        let span = |start, end| Span { partition: 1, start, end };
        assert_eq!(DeadLetterSelection::default().narrow(span(5, 50)), span(5, 50));
        let ids = |ids: &[(i32, i64)]| DeadLetterSelection {
            ids: ids.iter().map(|&(partition, offset)| DeadLetterId { partition, offset }).collect(),
            ..DeadLetterSelection::default()
        };
        assert_eq!(ids(&[(1, 7), (1, 20), (0, 40)]).narrow(span(5, 50)), span(7, 21));
        assert_eq!(ids(&[(1, 1), (1, i64::MAX)]).narrow(span(5, 50)), span(5, 50));
        assert_eq!(ids(&[(0, 7)]).narrow(span(5, 50)), span(5, 5));
    }
}
