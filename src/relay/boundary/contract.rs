//! What a registered schema version says, as far as publishing needs it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The name of a schema version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaVersionId {
    /// The schema's (and contract's) name.
    pub name: Arc<str>,
    /// The version as its owner writes it.
    pub version: Arc<str>,
}

impl fmt::Display for SchemaVersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// A registered schema version, as far as publishing needs it. Immutable once registered, so it is looked up once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaVersion {
    /// Its name and version.
    pub id: SchemaVersionId,
    /// The topic of its events; `None` if each row names it.
    pub topic: Option<Arc<str>>,
    /// The payload's format.
    pub format: Format,
    /// The payload's JSON Schema as registered; `None` promises nothing.
    pub schema: Option<Arc<str>>,
    /// What happens to an event whose payload violates the schema; `None` leaves it to the relay.
    pub on_violation: Option<OnViolation>,
    /// How soon after its commit a record is promised to be in Kafka; `None` promises nothing.
    pub freshness: Option<Duration>,
    /// Settings for creating its topic.
    pub topic_settings: TopicSettings,
}

impl SchemaVersion {
    /// A version with JSON payloads that promises nothing but its topic.
    #[must_use]
    pub fn plain(id: SchemaVersionId, topic: Option<Arc<str>>) -> Self {
        Self {
            id,
            topic,
            format: Format::Json,
            schema: None,
            on_violation: None,
            freshness: None,
            topic_settings: TopicSettings::default(),
        }
    }
}

/// Identifies the schema version whose statistics a record counts for; small, because each record in flight carries
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContractNumber(u16);

impl ContractNumber {
    /// For records without a contract, and for contracts beyond the limit.
    pub const NONE: Self = Self(u16::MAX);

    /// How many schema versions have statistics of their own: the first that a relay meets. Each is some twenty time
    /// series.
    pub const LIMIT: u16 = 500;

    /// The number for this index; `None` beyond the limit.
    #[must_use]
    pub fn nth(place: usize) -> Option<Self> {
        u16::try_from(place).ok().filter(|place| *place < Self::LIMIT).map(Self)
    }

    /// The index of this number; `None` for [`Self::NONE`].
    #[must_use]
    pub fn place(self) -> Option<usize> {
        (self != Self::NONE).then_some(usize::from(self.0))
    }
}

/// What happens to an event whose payload violates its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnViolation {
    /// It goes to the dead-letter topic with the reason.
    DeadLetter,
    /// The relay stops in front of it.
    Halt,
    /// It is published, with a header that describes the violation.
    Warn,
}

impl OnViolation {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::DeadLetter, Self::Halt, Self::Warn];

    /// The policy's name in contract files and `outbox.schema_version.on_violation`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetter => "dead-letter",
            Self::Halt => "halt",
            Self::Warn => "warn",
        }
    }

    /// The policy with that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text)
    }
}

/// A payload's format, for the `content-type` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    /// Apache Avro, binary.
    Avro,
    /// Protocol Buffers, binary.
    Protobuf,
    /// UTF-8 text.
    Text,
    Bytes,
}

impl Format {
    /// The format's name in `outbox.schema_version.format`.
    #[must_use]
    pub fn from_column(text: &str) -> Option<Self> {
        Some(match text {
            "json" => Self::Json,
            "avro" => Self::Avro,
            "protobuf" => Self::Protobuf,
            "text" => Self::Text,
            "bytes" => Self::Bytes,
            _ => return None,
        })
    }

    /// The media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Avro => "application/avro",
            Self::Protobuf => "application/protobuf",
            Self::Text => "text/plain; charset=utf-8",
            Self::Bytes => "application/octet-stream",
        }
    }
}

/// How to create a missing topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicSettings {
    /// Number of partitions; `None` for the broker's default.
    pub partitions: Option<i32>,
    /// Replication factor; `None` for the broker's default.
    pub replication_factor: Option<i16>,
    /// Topic configuration, such as `cleanup.policy`.
    pub config: BTreeMap<String, String>,
}

/// What happens to an event that can't be published under its contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRejected {
    /// It goes to the dead-letter topic with the reason.
    #[default]
    DeadLetter,
    /// The relay stops in front of it.
    Halt,
    /// As `DeadLetter`, even if a contract says that the relay stops.
    DeadLetterAlways,
}
