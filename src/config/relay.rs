//! `[relay]`: the relay's name, its handling of refused events, and its limits.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::destinations::{dead_letter_topic, patterns};
use super::error::Complaint;
use super::names::{TopicName, default_relay_name, relay_name};
use super::quantity;
use super::reader::{Section, choice};
use super::tree::{TreeValue, shown};
use super::uri;
use crate::relay::HeaderStyle;
use crate::relay::OnRejected;
use crate::relay::delivery::window::InFlightWindow;
use crate::relay::route::data_schema;
use crate::relay::route::destination::{Destinations, TopicPattern};

/// Default and most of `relay.max_new_topics`.
const MAX_NEW_TOPICS_DEFAULT: u64 = 1_000;
const MAX_NEW_TOPICS_MOST: u64 = 1_000_000;

/// Default of `relay.max_in_flight`, in records. At 1 kB per record (a small event, its headers and
/// librdkafka's overhead) that is 10 MB; at 150,000 records per second it spans 65 ms, several round trips to a busy broker.
const MAX_IN_FLIGHT_DEFAULT: u64 = 10_000;

/// Largest `relay.max_in_flight`, in records: the limit of `queue.buffering.max.messages`, less room for dead letters.
const MAX_IN_FLIGHT_MOST: u64 = 10_000_000;

/// Default of `relay.max_in_flight_bytes`, in bytes.
const MAX_IN_FLIGHT_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;

/// Largest `relay.max_in_flight_bytes`, in bytes.
const MAX_IN_FLIGHT_BYTES_MOST: u64 = 64 * 1024 * 1024 * 1024;

/// Default of `relay.shutdown_timeout`: below the 30 s after which Kubernetes kills by default, with room to report.
const SHUTDOWN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(25);

/// Longest `relay.shutdown_timeout`.
const SHUTDOWN_TIMEOUT_MOST: Duration = Duration::from_secs(3_600);

/// Default of `relay.retention`.
const RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 86_400);

/// Shortest and longest `relay.retention`: partitions are of a day.
const RETENTION_LEAST: Duration = Duration::from_secs(86_400);
const RETENTION_MOST: Duration = Duration::from_secs(3_650 * 86_400);

/// Smallest `relay.max_retained_wal`, in bytes: a segment of WAL.
const MAX_RETAINED_WAL_LEAST: u64 = 16 * 1024 * 1024;
/// Shortest and longest duration of `relay.rewind`.
const REWIND_AGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);

/// Smallest and largest size of `relay.rewind`, in bytes: Postgres keeps the log in files of 16 MiB.
const REWIND_BYTES: RangeInclusive<u64> = 16 << 20..=1 << 50;

/// `[relay]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// `relay.name`, `WALPOST_RELAY__NAME`: the relay's name, header `outbox-relay`; 1 to 128 of a topic name's
    /// characters. It is part of the transactional id, of the position's key and of consumer groups, and identifies the relay's dead letters.
    /// Default: the name of the database; characters that a name does not allow become `-`, followed by a short hash.
    pub name: String,
    /// `relay.on_rejected`, `WALPOST_RELAY__ON_REJECTED`: what to do with an event that can't be published under its
    /// contract; `dead-letter-always` overrides a contract's `halt`. Default `dead-letter`.
    pub on_rejected: OnRejected,
    /// `relay.dead_letter_topic`, `WALPOST_RELAY__DEAD_LETTER_TOPIC`. Default `outbox.dead-letter`.
    pub dead_letter_topic: TopicName,
    /// `relay.topics`, `WALPOST_RELAY__TOPICS` (comma-separated): patterns of the topics that events may go to, with `*` for any
    /// characters. Default `["*"]`.
    pub topics: Vec<TopicPattern>,
    /// `relay.create_topics`, `WALPOST_RELAY__CREATE_TOPICS`: whether to create missing topics, with the schema version's
    /// settings. Default true.
    pub create_topics: bool,
    /// `relay.max_new_topics`, `WALPOST_RELAY__MAX_NEW_TOPICS`: most topics that are created in 24 hours because rows name them;
    /// those of schema versions do not count. Default 1,000.
    pub max_new_topics: usize,
    /// `relay.headers`, `WALPOST_RELAY__HEADERS`: the header style of records. Default `cloudevents`.
    pub headers: HeaderStyle,
    /// `relay.source`, `WALPOST_RELAY__SOURCE`: header `ce_source`, a URI reference. Default (`None`) `/<database>`,
    /// percent-encoded.
    pub source: Option<String>,
    /// `relay.schema_base`, `WALPOST_RELAY__SCHEMA_BASE`: the prefix of header `ce_dataschema`, an absolute URI;
    /// `<name>/<version>` follows, percent-encoded. Default `urn:walpost:schema:`.
    pub schema_base: String,
    /// `relay.max_in_flight`, `WALPOST_RELAY__MAX_IN_FLIGHT`: most records that Kafka has not acknowledged; at the limit the
    /// relay stops reading. Default 10,000, and 30 more for each further partition in use, up to 55,000.
    pub max_in_flight: usize,
    /// `relay.max_in_flight_bytes`, `WALPOST_RELAY__MAX_IN_FLIGHT_BYTES`: the same in bytes of keys, values and headers: a
    /// number or a size such as "16MiB". A single larger record is still sent, alone. Default 16 MiB, and 30 KiB more for
    /// each further partition in use. If either is set, neither grows.
    pub max_in_flight_bytes: usize,
    /// Whether neither limit is set, so that both grow with the number of partitions in use.
    pub window_grows: bool,
    /// `relay.shutdown_timeout`, `WALPOST_RELAY__SHUTDOWN_TIMEOUT`: how long a stopping relay waits for Kafka's
    /// acknowledgements: seconds or a duration such as "25s". Default 25 s.
    pub shutdown_timeout: Duration,
    /// `relay.retention`, `WALPOST_RELAY__RETENTION`: the age at which whole daily partitions of `outbox.event` are
    /// dropped, such as "7d", or "off" to keep all (`None`). Future partitions are created in any case. Default 7 days.
    pub retention: Option<Duration>,
    /// `relay.max_retained_wal`, `WALPOST_RELAY__MAX_RETAINED_WAL`: how much WAL the slot may retain on the server, in bytes or a size
    /// such as "10GiB", before the relay warns and is not ready. Default (`None`): three quarters of the server's
    /// `max_slot_wal_keep_size`, where it has one.
    pub max_retained_wal: Option<u64>,
    /// `relay.rewind`, `WALPOST_RELAY__REWIND`: how far back any position can be replayed: a duration such as "24h", a size
    /// of WAL such as "10GiB", or both ("24h 10GiB": whichever is less); or "off" (`None`). Default off.
    pub rewind: Option<Rewind>,
}

/// `relay.rewind`: how much WAL to retain for replays. At least one of the two is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewind {
    pub age: Option<Duration>,
    /// By size, in bytes.
    pub bytes: Option<u64>,
}

pub(super) const STYLES: [(&str, HeaderStyle); 3] =
    [("cloudevents", HeaderStyle::CloudEvents), ("plain", HeaderStyle::Plain), ("debezium", HeaderStyle::Debezium)];

impl RelayConfig {
    pub(super) fn read(mut section: Section<'_>, database: &str) -> Self {
        let words = [
            ("dead-letter", OnRejected::DeadLetter),
            ("halt", OnRejected::Halt),
            ("dead-letter-always", OnRejected::DeadLetterAlways),
        ];
        let name = section.optional("name", |value| relay_name(value.as_text()?));
        let on_rejected = section.or("on_rejected", OnRejected::DeadLetter, |value| choice(value, &words));
        let dead_letter_topic = section.or("dead_letter_topic", TopicName::dead_letters(), dead_letter_topic);
        let topics = section.or("topics", vec![TopicPattern::any()], patterns);
        let create_topics = section.or("create_topics", true, TreeValue::as_boolean);
        let max_new_topics =
            section.or("max_new_topics", MAX_NEW_TOPICS_DEFAULT, |value| value.as_integer(0, MAX_NEW_TOPICS_MOST));
        let headers = section.or("headers", HeaderStyle::CloudEvents, |value| choice(value, &STYLES));
        let source = section.optional("source", uri::source);
        let schema_base = section.or("schema_base", data_schema::DEFAULT_BASE.to_owned(), uri::schema_base);
        let max_in_flight =
            section.or("max_in_flight", MAX_IN_FLIGHT_DEFAULT, |value| value.as_integer(1, MAX_IN_FLIGHT_MOST));
        let max_in_flight_bytes = section.or("max_in_flight_bytes", MAX_IN_FLIGHT_BYTES_DEFAULT, |value| {
            quantity::bytes(value, 1..=MAX_IN_FLIGHT_BYTES_MOST)
        });
        let window_grows = !section.is_given("max_in_flight") && !section.is_given("max_in_flight_bytes");
        let shutdown_timeout = section.or("shutdown_timeout", SHUTDOWN_TIMEOUT_DEFAULT, |value| {
            quantity::duration(value, Duration::ZERO..=SHUTDOWN_TIMEOUT_MOST)
        });
        let retention = section.or("retention", Some(RETENTION_DEFAULT), retention);
        let max_retained_wal =
            section.optional("max_retained_wal", |value| quantity::bytes(value, MAX_RETAINED_WAL_LEAST..=u64::MAX));
        let rewind = section.or("rewind", None, rewind);
        section.finish();
        Self {
            name: name.unwrap_or_else(|| default_relay_name(database)),
            on_rejected,
            dead_letter_topic,
            topics,
            create_topics,
            max_new_topics: usize::try_from(max_new_topics).unwrap_or(usize::MAX),
            headers,
            source,
            schema_base,
            max_in_flight: usize::try_from(max_in_flight).unwrap_or(usize::MAX),
            max_in_flight_bytes: usize::try_from(max_in_flight_bytes).unwrap_or(usize::MAX),
            window_grows,
            shutdown_timeout,
            retention,
            max_retained_wal,
            rewind,
        }
    }

    /// How much may be in flight.
    #[must_use]
    pub const fn window(&self) -> InFlightWindow {
        match self.window_grows {
            true => InFlightWindow::growing(self.max_in_flight, self.max_in_flight_bytes),
            false => InFlightWindow::fixed(self.max_in_flight, self.max_in_flight_bytes),
        }
    }

    /// The topics that events may go to.
    #[must_use]
    pub fn destinations(&self) -> Destinations {
        Destinations::new(self.dead_letter_topic.as_str(), &self.topics)
    }
}

fn retention(value: &TreeValue) -> Result<Option<Duration>, Complaint> {
    match value {
        TreeValue::Text(text) | TreeValue::Variable(text) if text == "off" => Ok(None),
        other => quantity::duration(other, RETENTION_LEAST..=RETENTION_MOST).map(Some),
    }
}

/// A duration, a size, or both.
fn rewind(value: &TreeValue) -> Result<Option<Rewind>, Complaint> {
    let (text, fix) = (
        value.as_text()?,
        "write a duration such as \"24h\", a size such as \"10GiB\", both as \"24h 10GiB\", or \"off\"",
    );
    if text == "off" {
        return Ok(None);
    }
    let mut rewind = Rewind { age: None, bytes: None };
    for part in text.split_whitespace() {
        let part = TreeValue::Text(part.to_owned());
        match (quantity::duration(&part, Duration::ZERO..=Duration::MAX), quantity::bytes(&part, 0..=u64::MAX)) {
            // A plain number could be either.
            (Ok(_), Err(_)) if rewind.age.is_none() => rewind.age = Some(quantity::duration(&part, REWIND_AGE)?),
            (Err(_), Ok(_)) if rewind.bytes.is_none() => rewind.bytes = Some(quantity::bytes(&part, REWIND_BYTES)?),
            _ => return Err(Complaint::new(format!("{} is neither a duration nor a size", shown(text)), fix)),
        }
    }
    match rewind {
        Rewind { age: None, bytes: None } => Err(Complaint::new(format!("{} is empty", shown(text)), fix)),
        said => Ok(Some(said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewind_is_a_duration_a_size_or_both() {
        let read = |text: &str| rewind(&TreeValue::Text(text.to_owned()));
        let (age, bytes) = (Some(Duration::from_secs(86_400)), Some(10 << 30));
        assert_eq!(read("off"), Ok(None));
        assert_eq!(read("24h"), Ok(Some(Rewind { age, bytes: None })));
        assert_eq!(read("10GiB"), Ok(Some(Rewind { age: None, bytes })));
        assert_eq!(read("10GiB 1d"), Ok(Some(Rewind { age, bytes })));
        for bad in ["", " ", "5", "24h 2h", "1GiB 2GiB", "24h10GiB", "24 h", "1MiB", "0s", "2TB", "24h off", "on"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(rewind(&TreeValue::Number("86400".to_owned())).is_err(), "of what?");
    }
}
