//! A dead letter as read from its topic. Pure. Anyone with write access to the topic may have written it, so everything in it is
//! checked.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use walpost_producer::schema::moment::Moment;

use crate::relay::boundary::{OwnedRecord, RefusalCode};
use crate::relay::publish::encode::names;
use crate::relay::route::data_schema;
use crate::sink::Found;

/// A dead letter's place in its topic, written `<partition>/<offset>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId {
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

/// The text is not a dead letter's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an id as shown by `walpost dead-letter list`: <partition>/<offset>, such as 0/12")]
pub struct InvalidDeadLetterId;

impl FromStr for DeadLetterId {
    type Err = InvalidDeadLetterId;

    fn from_str(text: &str) -> Result<Self, InvalidDeadLetterId> {
        let (partition, offset) = text.split_once('/').ok_or(InvalidDeadLetterId)?;
        // Digits only: the number parser also accepts signs.
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(partition) || !digits(offset) {
            return Err(InvalidDeadLetterId);
        }
        let offset = offset.parse().map_err(|_| InvalidDeadLetterId)?;
        Ok(Self { partition: partition.parse().map_err(|_| InvalidDeadLetterId)?, offset })
    }
}

/// A record of the dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    /// Its place in the topic.
    pub id: DeadLetterId,
    /// The record as read.
    pub record: OwnedRecord,
    /// Whether all header names are UTF-8.
    pub is_text: bool,
}

/// The header style, which determines where the contract is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// CloudEvents.
    CloudEvents,
    /// `id`, `schema`, `schema-version`.
    Plain,
    /// `id` alone, or nothing known.
    Bare,
}

/// A schema name and, if the headers give it, its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedSchema {
    pub name: String,
    pub version: Option<String>,
}

impl fmt::Display for NamedSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "/{version}"))
    }
}

impl From<Found> for DeadLetter {
    fn from(found: Found) -> Self {
        let Found { partition, offset, record, is_text } = found;
        Self { id: DeadLetterId { partition, offset }, record, is_text }
    }
}

impl DeadLetter {
    /// How many of the leading headers are the relay's own, up to and including the position; the row's headers follow.
    pub(super) fn own_headers(&self) -> usize {
        self.record.headers.iter().position(|(name, _)| name == names::POSITION).unwrap_or(0)
    }

    /// The header style, judged by the relay's own headers only: a row's headers can have any name.
    #[must_use]
    pub(crate) fn style(&self) -> Style {
        let own = &self.record.headers[..self.own_headers()];
        let name = |index: usize| own.get(index).map(|(name, _)| name.as_str());
        match (name(0), name(1), name(2)) {
            (Some("ce_specversion"), ..) => Style::CloudEvents,
            (Some("id"), Some("schema"), Some("schema-version")) => Style::Plain,
            _ => Style::Bare,
        }
    }

    /// The relay's own header with this name, if it is UTF-8.
    fn own(&self, name: &str) -> Option<&str> {
        let own = self.record.headers[..self.own_headers()].iter().find(|(found, _)| found == name);
        own.and_then(|(_, value)| std::str::from_utf8(value.as_deref()?).ok())
    }

    /// The last header with this name, if it is UTF-8: the dead-letter headers come after all others.
    fn last(&self, name: &str) -> Option<&str> {
        let last = self.record.headers.iter().rev().find(|(found, _)| found == name);
        last.and_then(|(_, value)| std::str::from_utf8(value.as_deref()?).ok())
    }

    /// The relay that wrote it; `None` if no relay did.
    #[must_use]
    pub(crate) fn relay(&self) -> Option<&str> {
        let (_, value) = self.record.headers.iter().find(|(name, _)| name == names::RELAY)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    #[must_use]
    pub(crate) fn event_id(&self) -> Option<&str> {
        self.own("ce_id").or_else(|| self.own("id"))
    }

    /// The contract that the event names.
    #[must_use]
    pub(crate) fn contract(&self) -> Option<NamedSchema> {
        let (name, version) = match self.style() {
            Style::CloudEvents => {
                let name = self.own("ce_type")?;
                (name, self.own("ce_dataschema").and_then(|uri| data_schema::version_of(uri, name)))
            }
            Style::Plain => (self.own("schema")?, self.own("schema-version").map(str::to_owned)),
            Style::Bare => return None,
        };
        Some(NamedSchema { name: name.to_owned(), version })
    }

    /// The refusal code in its headers; `None` if missing or unknown.
    #[must_use]
    pub(crate) fn code(&self) -> Option<RefusalCode> {
        let code = self.last(names::ERROR)?;
        RefusalCode::ALL.into_iter().find(|known| known.as_str() == code)
    }

    /// The reason in words.
    #[must_use]
    pub(crate) fn detail(&self) -> Option<&str> {
        self.last(names::ERROR_DETAIL)
    }

    /// The event's topic. `None` if there is no such header; empty if neither row nor schema version named a topic.
    #[must_use]
    pub(crate) fn topic(&self) -> Option<&str> {
        self.last(names::TOPIC)
    }

    /// The event's time in milliseconds since the Unix epoch: the header's if the topic refused the timestamp, else the record's.
    #[must_use]
    pub(crate) fn timestamp_millis(&self) -> i64 {
        self.refused_time().map_or(self.record.timestamp_millis, |(_, millis)| millis)
    }

    /// The index and value of the header with the event's original time. One before the relay's own headers is the row's.
    pub(super) fn refused_time(&self) -> Option<(usize, i64)> {
        let headers = &self.record.headers;
        let own = headers.iter().rposition(|(name, _)| name == names::TOPIC)?;
        let place = headers.iter().rposition(|(name, _)| name == names::TIMESTAMP).filter(|place| *place > own)?;
        let text = std::str::from_utf8(headers[place].1.as_deref()?).ok()?;
        Some((place, Moment::parse(text)?.unix_millis()?))
    }

    /// The event's position, as in its header.
    #[must_use]
    pub(crate) fn position(&self) -> Option<&str> {
        let position = self.record.headers.iter().find(|(name, _)| name == names::POSITION);
        position.and_then(|(_, value)| std::str::from_utf8(value.as_deref()?).ok())
    }

    /// The size of the omitted value, as in its header.
    #[must_use]
    pub(crate) fn omitted(&self) -> Option<&str> {
        self.last(names::VALUE_OMITTED)
    }

    /// Distinguishes this dead letter from another at the same offset of a recreated topic.
    #[must_use]
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        let mut part = |bytes: Option<&[u8]>| {
            hash.update(bytes.map_or(u64::MAX, |bytes| bytes.len() as u64).to_be_bytes());
            hash.update(bytes.unwrap_or_default());
        };
        part(self.record.key.as_deref());
        part(self.record.value.as_deref());
        for (name, value) in &self.record.headers {
            part(Some(name.as_bytes()));
            part(value.as_deref());
        }
        hash.update(self.record.timestamp_millis.to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let (half, _) = digest.split_first_chunk().expect("32 bytes are more than 16");
        Fingerprint(u128::from_be_bytes(*half))
    }
}

/// 128 bits of a hash over the whole dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub u128);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn dead_letter(headers: &[(&str, &str)], value: Option<&str>) -> DeadLetter {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Some(value.as_bytes().to_vec())));
        let record = OwnedRecord {
            topic: "letters".to_owned(),
            key: Some(b"k".to_vec()),
            value: value.map(|value| value.as_bytes().to_vec()),
            headers: headers.collect(),
            timestamp_millis: 1_000,
        };
        DeadLetter { id: DeadLetterId { partition: 0, offset: 12 }, record, is_text: true }
    }

    #[test]
    fn only_a_partition_and_an_offset_parse_as_an_id() {
        assert_eq!("3/12".parse(), Ok(DeadLetterId { partition: 3, offset: 12 }));
        for bad in ["", "3", "3/", "/3", "-1/2", "+1/2", "1/2/3", "a/b", "99999999999/1", "1/99999999999999999999"] {
            assert_eq!(bad.parse::<DeadLetterId>(), Err(InvalidDeadLetterId), "{bad}");
        }
    }

    #[test]
    fn a_rows_headers_are_not_mistaken_for_the_relays() {
        let own = [("id", "7"), ("outbox-position", "0/1/1"), ("outbox-relay", "w")];
        let of_row =
            [("schema", "other"), ("ce_type", "other"), ("outbox-error", "no_topic"), ("outbox-topic", "other")];
        let refused = [("outbox-error", "too_large"), ("outbox-error-detail", "why"), ("outbox-topic", "orders")];
        let found = dead_letter(&[&own[..], &of_row, &refused].concat(), Some("{}"));
        assert_eq!((found.style(), found.contract(), found.event_id()), (Style::Bare, None, Some("7")));
        assert_eq!(found.code(), Some(RefusalCode::TooLarge));
        assert_eq!((found.detail(), found.topic()), (Some("why"), Some("orders")));
    }

    #[test]
    fn case_34_a_dead_letter_has_its_events_time_and_a_row_cannot_forge_it() {
        let (of_row, of_relay) = (("outbox-timestamp", "1999-01-01T00:00:00Z"), ("outbox-topic", "orders"));
        let time = |headers: &[(&str, &str)]| dead_letter(headers, None).timestamp_millis();
        assert_eq!(time(&[of_row, of_relay]), 1_000);
        let refused = ("outbox-timestamp", "2099-01-01T00:00:00.123000Z");
        assert_eq!(time(&[of_row, of_relay, refused]), 4_070_908_800_123);
        assert_eq!(time(&[of_relay, ("outbox-timestamp", "soon")]), 1_000);
        assert_eq!(time(&[of_relay, ("outbox-timestamp", "9999-12-31T23:59:59.999999Z")]), 253_402_300_799_999);
    }

    #[test]
    fn the_contract_is_read_from_the_headers_of_each_style() {
        let end = [("outbox-position", "0/1/1")];
        let cloud = [("ce_specversion", "1.0"), ("ce_type", "a/b"), ("ce_dataschema", "a/b/2/x")];
        let named = |name: &str, version: Option<&str>| {
            Some(NamedSchema { name: name.to_owned(), version: version.map(str::to_owned) })
        };
        assert_eq!(dead_letter(&[&cloud[..], &end].concat(), None).contract(), named("a/b", Some("2/x")));
        for absolute in ["urn:walpost:schema:a%2Fb/2%2Fx", "https://schemas.example.com/a%2Fb/2%2Fx"] {
            let cloud = [("ce_specversion", "1.0"), ("ce_type", "a/b"), ("ce_dataschema", absolute)];
            assert_eq!(dead_letter(&[&cloud[..], &end].concat(), None).contract(), named("a/b", Some("2/x")));
        }
        let foreign = [("ce_specversion", "1.0"), ("ce_type", "a"), ("ce_dataschema", "b/1")];
        assert_eq!(dead_letter(&[&foreign[..], &end].concat(), None).contract(), named("a", None));
        let plain = [("id", "7"), ("schema", "a"), ("schema-version", "1")];
        assert_eq!(dead_letter(&[&plain[..], &end].concat(), None).contract(), named("a", Some("1")));
        assert_eq!(dead_letter(&plain, None).contract(), None, "every relay writes a position");
    }

    #[test]
    fn records_that_no_relay_wrote_have_no_fields() {
        for headers in [&[][..], &[("outbox-error", "fun")], &[("outbox-error", "")]] {
            let found = dead_letter(headers, None);
            assert_eq!((found.code(), found.contract(), found.topic()), (None, None, None));
        }
    }

    #[test]
    fn any_difference_changes_the_fingerprint() {
        let base = dead_letter(&[("a", "1"), ("b", "")], Some("v"));
        let mut others = vec![dead_letter(&[("a", "1")], Some("v")), dead_letter(&[("a", "1"), ("b", "")], None)];
        others.push(dead_letter(&[("a", "1"), ("b", "")], Some("")));
        others.push(dead_letter(&[("a", ""), ("b", "1")], Some("v")));
        let mut later = base.clone();
        later.record.timestamp_millis += 1;
        others.push(later);
        assert!(others.iter().all(|other| other.fingerprint() != base.fingerprint()));
        assert_eq!(base.fingerprint().to_string().parse(), Ok(base.fingerprint()));
    }
}
