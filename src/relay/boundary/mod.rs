//! Every type that crosses an edge of the core.
//!
//! Edge 1 (the replication stream) delivers [`Batch`]es, edge 2 (Kafka) takes [`Record`]s and answers with
//! acknowledged [`Ticket`]s or [`Failure`]s, edge 3 (contracts and topics) answers [`Request`]s. None of these types
//! knows a socket, a clock or a client library.

mod contract;
pub(crate) mod keys;
mod position_keys;
mod header_style;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

pub use self::contract::{
    ContractNumber, Format, OnRejected, OnViolation, SchemaVersion, SchemaVersionId, TopicSettings,
};
pub use self::header_style::HeaderStyle;
pub(crate) use self::keys::Signed;
pub use self::keys::{MacKey, MessageKeys};
pub use self::position_keys::{PositionKey, PositionKeys, PositionProof, Signature};

/// The prefix of logical messages that are events.
pub const MESSAGE_PREFIX: &str = "outbox";

/// A log sequence number: a byte offset in the write-ahead log, written as Postgres does (`16/B374D848`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// The text is not an LSN: two hexadecimal numbers of at most eight digits, separated by a slash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a log sequence number like 16/B374D848")]
pub struct InvalidLsn(String);

impl FromStr for Lsn {
    type Err = InvalidLsn;

    fn from_str(text: &str) -> Result<Self, InvalidLsn> {
        let invalid = || InvalidLsn(text.to_owned());
        let half = |digits: &str| u32::from_str_radix(digits, 16).map_err(|_| invalid());
        let (high, low) = text.split_once('/').ok_or_else(invalid)?;
        Ok(Self(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
    }
}

/// Where the server's earlier timelines ended: up to there an LSN on them means what it means now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ancestry(pub Vec<(u32, Lsn)>);

impl Ancestry {
    /// Where this timeline ended; `None` if the server's timeline does not descend from it.
    #[must_use]
    pub fn end_of(&self, timeline: u32) -> Option<Lsn> {
        self.0.iter().find(|(earlier, _)| *earlier == timeline).map(|(_, end)| *end)
    }
}

/// An event's place among all events of a slot: the LSN of its transaction's commit record, then its ordinal in the
/// transaction, from 1.
///
/// The commit LSN is the one in pgoutput's Begin, so it is known with the first row of a transaction of any size. The
/// end of the commit record is known only with Commit, by when the rows must long have been sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The LSN of the commit record.
    pub commit: Lsn,
    /// The event's ordinal in its transaction, from 1.
    pub ordinal: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.commit, self.ordinal)
    }
}

impl FromStr for Position {
    type Err = InvalidLsn;

    fn from_str(text: &str) -> Result<Self, InvalidLsn> {
        let invalid = || InvalidLsn(text.to_owned());
        let (commit, ordinal) = text.rsplit_once('/').ok_or_else(invalid)?;
        Ok(Self { commit: commit.parse()?, ordinal: ordinal.parse().map_err(|_| invalid())? })
    }
}

/// How far everything is in Kafka: what exactly-once delivery stores there, in the transaction that makes it true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last event in Kafka; all events before it are there too.
    pub position: Position,
    /// When its transaction committed; `None` if unknown.
    pub committed_at: Option<Timestamp>,
    /// The end of the last commit that is completely in Kafka: what may be confirmed to the slot.
    pub flush: Lsn,
}

/// A point in time, in microseconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Seconds from the Unix epoch to Postgres's own, 2000-01-01 00:00:00 UTC.
    const POSTGRES_EPOCH_SECONDS: i64 = 946_684_800;

    /// From microseconds since Postgres's epoch, as in its binary formats.
    #[must_use]
    pub const fn from_postgres(micros: i64) -> Self {
        Self(micros.saturating_add(Self::POSTGRES_EPOCH_SECONDS * 1_000_000))
    }

    /// Milliseconds since the Unix epoch, as in Kafka timestamps.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }
}

/// Complete CopyData messages, one after the other, as they came off the wire: the byte `d`, the length (four bytes,
/// big endian, counting itself) and the body that starts with `w` (XLogData) or `k` (keepalive).
///
/// The source has checked that every message is complete and is CopyData; decoding the contents is up to the core.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The messages.
    pub bytes: Bytes,
}

/// Identifies one attempt to get a record into Kafka; counts up from 0 in the order of first sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A header of a record. The value may be any bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The header's key.
    pub name: &'a str,
    /// The header's value; `None` is Kafka's null.
    pub value: Option<&'a [u8]>,
}

/// A record for Kafka. Everything is borrowed: a sink that keeps it copies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The message key; `None` is no key.
    pub key: Option<&'a [u8]>,
    /// The message value; `None` is a tombstone, an empty slice an empty value.
    pub value: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [Header<'a>],
    /// The record's timestamp in milliseconds since the Unix epoch; or [`Self::TIME_OF_SENDING`], or [`Self::NO_TIME`].
    pub timestamp_millis: i64,
}

impl Record<'_> {
    /// As timestamp: the time at which the record is sent, updated on each attempt. librdkafka's convention.
    pub const TIME_OF_SENDING: i64 = 0;
    /// As timestamp: none (Kafka's `NO_TIMESTAMP`). No topic rejects that.
    pub const NO_TIME: i64 = -1;
}

/// A record returned by Kafka, with everything needed to send it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The topic's name.
    pub topic: String,
    /// The message key.
    pub key: Option<Vec<u8>>,
    /// The message value.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The record's timestamp in milliseconds since the Unix epoch.
    pub timestamp_millis: i64,
}

/// Why an event can't be published under its contract. The text form is the `outbox-error` header of the dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalCode {
    /// No schema version with that name and version is registered.
    UnknownSchema,
    /// The payload violates its schema.
    ContractViolation,
    /// Neither the row nor its schema version names a topic.
    NoTopic,
    /// The topic does not exist and may not be created.
    UnknownTopic,
    /// The record is larger than the topic accepts.
    TooLarge,
    /// Kafka does not let the relay write to the topic, or events may not go there: the topic is reserved or outside
    /// the allow-list.
    NotAuthorized,
    /// A column of the row can't be converted to its part of a record.
    Undecodable,
}

impl RefusalCode {
    /// Every code, in order of declaration.
    pub const ALL: [Self; 7] = [
        Self::UnknownSchema,
        Self::ContractViolation,
        Self::NoTopic,
        Self::UnknownTopic,
        Self::TooLarge,
        Self::NotAuthorized,
        Self::Undecodable,
    ];

    /// The code as it appears in headers, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownSchema => "unknown_schema",
            Self::ContractViolation => "contract_violation",
            Self::NoTopic => "no_topic",
            Self::UnknownTopic => "unknown_topic",
            Self::TooLarge => "too_large",
            Self::NotAuthorized => "not_authorized",
            Self::Undecodable => "undecodable",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of refusal.
    pub code: RefusalCode,
    /// The details, in a sentence without the payload.
    pub detail: String,
}

/// A record that Kafka did not accept.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The ticket it was sent under.
    pub ticket: Ticket,
    /// The record, given back.
    pub record: OwnedRecord,
    /// What to do with it.
    pub verdict: Verdict,
}

/// What a failed send means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This record will never be accepted, however often it is sent; others are not affected.
    Refused(Refusal),
    /// The record is fine: send it again, in order, when Kafka is back. The text is for the log.
    Returned(String),
    /// The same, and its topic is fine too: the failure of another record took it along.
    Along,
}

/// What the core asks the outside before it can continue. One at a time: the next event may need the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Look up a registered schema version.
    SchemaVersion(SchemaVersionId),
    /// Ensure that a topic exists, creating it if necessary.
    Topic(WantedTopic),
    /// Look up a column's type by its OID.
    Type(u32),
    /// Read the keys for logical messages again.
    MessageKeys,
}

/// A topic that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedTopic {
    pub name: Arc<str>,
    /// How to create it.
    pub settings: TopicSettings,
    /// Who says that it is needed.
    pub named_by: NamedBy,
}

/// Who names a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamedBy {
    /// The schema version or the configuration; or the topic existed before.
    #[default]
    Owner,
    /// A row. Whoever writes it may name any number of topics.
    Row,
}

/// A column's type whose OID does not tell how its values are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnType {
    /// Its name in SQL.
    pub name: String,
    /// The OID of the built-in type in whose binary format its values are sent; `None` if their format is another.
    pub sent_as: Option<u32>,
}

/// A topic that can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The largest record batch that the topic accepts (`max.message.bytes`), in bytes.
    pub max_message_bytes: usize,
}

/// The answer to a [`Request`]. A lookup that failed because of an outage is retried, not answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The schema version, or `None` if it is not registered.
    SchemaVersion(SchemaVersionId, Option<SchemaVersion>),
    /// The topic, or why records can't go there.
    Topic(Arc<str>, Result<Topic, Refusal>),
    /// The type with this OID, or `None` if there is none (any more).
    Type(u32, Option<ColumnType>),
    /// The keys for logical messages.
    MessageKeys(MessageKeys),
}

/// The answer is not known yet: a [`Request`] is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lsn_is_written_and_read_as_postgres_does() {
        let lsn: Lsn = "16/B374D848".parse().expect("the manual's own example");
        assert_eq!(lsn, Lsn(0x16_B374_D848));
        assert_eq!(lsn.to_string(), "16/B374D848");
        assert_eq!(Lsn(0).to_string(), "0/0");
        for bad in ["", "16", "16/", "/1", "16/B374D848/2", "G/1", "123456789/1", "-1/2"] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad} was taken for an LSN");
        }
    }

    #[test]
    fn positions_order_by_commit_then_by_place_in_the_transaction() {
        let at = |commit, ordinal| Position { commit: Lsn(commit), ordinal };
        assert!(at(1, 9) < at(2, 1));
        assert!(at(2, 1) < at(2, 2));
        assert_eq!(at(0x1_0000_00FF, 3).to_string(), "1/FF/3");
        assert_eq!("1/FF/3".parse(), Ok(at(0x1_0000_00FF, 3)));
        assert!("1/FF".parse::<Position>().is_err());
    }

    #[test]
    fn postgres_time_starts_in_2000() {
        assert_eq!(Timestamp::from_postgres(0).millis(), 946_684_800_000);
        assert_eq!(Timestamp(-1).millis(), -1);
        assert_eq!(Timestamp::from_postgres(1).to_string(), "2000-01-01T00:00:00.000001Z");
    }
}
