//! A schema version as defined by its contract file.

use serde_json::Value;

use super::compatibility::Compatibility;
use super::diagnostic::Place;
use crate::relay::boundary::{Format, OnViolation, TopicSettings};

/// One version of one schema, and its topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Where it is defined.
    pub place: Place,
    /// The schema's name, such as `order.placed`: the schema object's `name`.
    pub name: String,
    /// The contract's `version`.
    pub version: String,
    /// The topic of its events: the object's `physicalName`.
    pub topic: String,
    /// The payload format.
    pub format: Format,
    /// The payload's schema; `None` if the payload is not JSON.
    pub schema: Option<JsonSchema>,
    /// What it must be compatible with.
    pub compatibility: Compatibility,
    /// Who owns it.
    pub owner: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its service levels, as JSON.
    pub sla: Option<Value>,
    /// Its lineage, as JSON.
    pub lineage: Option<Value>,
    /// What to do with an event whose payload violates the schema; `None`: the relay's `on_rejected` decides.
    pub on_violation: Option<OnViolation>,
    /// Settings of its topic.
    pub topic_settings: TopicSettings,
    /// Its status.
    pub status: Status,
}

/// A JSON Schema.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonSchema {
    /// The schema as a value.
    pub value: Value,
    /// The schema as stored: the author's own text, if it comes from a file.
    pub text: String,
}

/// A contract's `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `proposed` or `draft`: not registered.
    Draft,
    /// Not given: registered as active, and later left unchanged.
    Unsaid,
    /// `active`.
    Active,
    /// `deprecated`: may be emitted only by naming its version.
    Deprecated,
    /// `retired`: may not be emitted.
    Retired,
}

impl Status {
    /// The status as in `outbox.schema_version`; `None` if the contract gives none.
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
    /// The format as in `outbox.schema_version`.
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

    /// `topic_config` as in `outbox.schema_version`; `None` if everything is left to the broker.
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
