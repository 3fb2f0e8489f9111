//! A schema version as its contract file defines it.

use serde_json::Value;

use super::compatibility::Compatibility;
use super::diagnostic::Place;
use crate::relay::boundary::{Format, OnViolation, TopicSettings};

/// One version of one schema, and the topic that it goes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Where it is defined.
    pub place: Place,
    /// What the event is, such as `order.placed`: the schema object's `name`.
    pub name: String,
    /// The contract's `version`.
    pub version: String,
    /// Where its events go.
    pub topic: String,
    /// What a payload is.
    pub format: Format,
    /// The payload's schema; none for a payload that is not JSON.
    pub schema: Option<JsonSchema>,
    /// What it keeps to.
    pub compatibility: Compatibility,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it means.
    pub description: Option<String>,
    /// What is promised of its freshness and the like.
    pub sla: Option<Value>,
    /// What it is made from.
    pub lineage: Option<Value>,
    /// What becomes of an event whose payload breaks the schema; none: the relay's `on_rejected` decides.
    pub on_violation: Option<OnViolation>,
    /// How its topic is to be.
    pub topic_settings: TopicSettings,
    /// Whether it may be emitted.
    pub status: Status,
}

/// A JSON Schema.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonSchema {
    /// What it says.
    pub value: Value,
    /// How it is kept: as its author wrote it, where there is an author.
    pub text: String,
}

/// A contract's `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `proposed` or `draft`: not registered.
    Draft,
    /// Nothing: registered as active, and later left as it is.
    Unsaid,
    /// `active`.
    Active,
    /// `deprecated`: may be emitted by those who name its version.
    Deprecated,
    /// `retired`: nothing new may be emitted.
    Retired,
}

impl Status {
    /// As `outbox.schema_version` has it; `None`: the contract asks for none.
    #[must_use]
    pub const fn registered(self) -> Option<&'static str> {
        match self {
            Self::Draft | Self::Unsaid => None,
            Self::Active => Some("active"),
            Self::Deprecated => Some("deprecated"),
            Self::Retired => Some("retired"),
        }
    }
}

impl Definition {
    /// The format as `outbox.schema_version` has it.
    #[must_use]
    pub const fn format_column(&self) -> &'static str {
        match self.format {
            Format::Json => "json",
            Format::Avro => "avro",
            Format::Protobuf => "protobuf",
            Format::Text => "text",
            Format::Bytes => "bytes",
        }
    }

    /// `topic_config` as `outbox.schema_version` has it; `None`: all is left to the broker.
    #[must_use]
    pub fn topic_config(&self) -> Option<Value> {
        let settings = &self.topic_settings;
        let mut config = serde_json::Map::new();
        if let Some(partitions) = settings.partitions {
            config.insert("partitions".to_owned(), partitions.into());
        }
        if let Some(factor) = settings.replication_factor {
            config.insert("replication_factor".to_owned(), factor.into());
        }
        if !settings.config.is_empty() {
            let properties = settings.config.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            config.insert("config".to_owned(), properties.collect());
        }
        (!config.is_empty()).then_some(Value::Object(config))
    }
}
