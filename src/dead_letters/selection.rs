//! Which dead letters are meant. Pure.

use std::collections::BTreeSet;

use super::letter::{Letter, LetterId};
use crate::relay::boundary::RefusalCode;
use crate::sink::Span;

/// Letters that keep to all of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// These letters; none named: any.
    pub ids: BTreeSet<LetterId>,
    /// The schema's name, or `name/version`.
    pub contract: Option<String>,
    /// Why it is a dead letter.
    pub code: Option<RefusalCode>,
    /// Its record's timestamp is not before, in milliseconds since the Unix epoch.
    pub since: Option<i64>,
    /// Its record's timestamp is before.
    pub until: Option<i64>,
}

impl Selection {
    /// Whether a letter is meant.
    #[must_use]
    pub fn takes(&self, letter: &Letter) -> bool {
        let is_contract = |wanted: &String| {
            let named = letter.contract();
            named
                .is_some_and(|named| named.name == *wanted || (named.version.is_some() && named.to_string() == *wanted))
        };
        let at = letter.record.timestamp_millis;
        (self.ids.is_empty() || self.ids.contains(&letter.id))
            && self.contract.as_ref().is_none_or(is_contract)
            && self.code.is_none_or(|code| letter.code() == Some(code))
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
    }

    /// What of a partition needs to be read.
    #[must_use]
    pub fn narrow(&self, span: Span) -> Span {
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
    use super::super::letter::tests::letter;
    use super::*;

    const HEADERS: [(&str, &str); 5] = [
        ("ce_specversion", "1.0"),
        ("ce_type", "order.placed"),
        ("ce_dataschema", "order.placed/2"),
        ("outbox-position", "0/1/1"),
        ("outbox-error", "too_large"),
    ];

    #[test]
    fn a_letter_must_keep_to_everything_that_is_asked() {
        let found = letter(&HEADERS, None);
        let all = Selection::default();
        let by = |contract: &str| Selection { contract: Some(contract.to_owned()), ..all.clone() };
        assert!(all.takes(&found) && by("order.placed").takes(&found) && by("order.placed/2").takes(&found));
        assert!(!by("order.placed/1").takes(&found) && !by("order").takes(&found));
        let code = |code| Selection { code: Some(code), ..by("order.placed") };
        assert!(code(RefusalCode::TooLarge).takes(&found) && !code(RefusalCode::NoTopic).takes(&found));
        let time = |since, until| Selection { since, until, ..all.clone() }.takes(&found);
        assert!(
            time(Some(1_000), None) && time(None, Some(1_001)) && !time(Some(1_001), None) && !time(None, Some(1_000))
        );
        let at = |offset| Selection { ids: [LetterId { partition: 0, offset }].into(), ..all.clone() };
        assert!(at(12).takes(&found) && !at(13).takes(&found));
    }

    #[test]
    fn only_what_can_be_meant_is_read() {
        let span = |start, end| Span { partition: 1, start, end };
        assert_eq!(Selection::default().narrow(span(5, 50)), span(5, 50));
        let ids = |ids: &[(i32, i64)]| Selection {
            ids: ids.iter().map(|&(partition, offset)| LetterId { partition, offset }).collect(),
            ..Selection::default()
        };
        assert_eq!(ids(&[(1, 7), (1, 20), (0, 40)]).narrow(span(5, 50)), span(7, 21));
        assert_eq!(ids(&[(1, 1), (1, i64::MAX)]).narrow(span(5, 50)), span(5, 50));
        assert_eq!(ids(&[(0, 7)]).narrow(span(5, 50)), span(5, 5));
    }
}
