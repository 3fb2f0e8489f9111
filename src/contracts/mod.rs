//! Edge 3: schema versions in the database, and the contract files that define them.
//!
//! A registered schema version is immutable, so the core looks each up once, by a single statement that the caller runs.
//!
//! # From a file to a schema version
//!
//! ```text
//! files -> yaml -> odcs -> definition --+
//!                                       +--> plan --> apply: one transaction, then Kafka, then its commit
//! outbox.schema_version -> registered --+
//! Kafka -> broker ----------------------+
//! ```
//!
//! - [`files`]: finds and reads them, and checks what they must agree on
//! - [`yaml`]: text to values with places, so that every [`diagnostic`] has file, line and rule
//! - [`odcs`]: the Open Data Contract Standard to [`definition`]s; its properties to JSON Schema
//! - [`compatibility`]: whether consumers of one version can read another's events; pure
//! - [`plan`]: what to change, and what is refused; pure. [`difference`]: how a file differs from a registered version
//! - [`apply`]: applies a plan, through [`registered`] to the database and [`broker`] to Kafka
//! - [`emissions`]: counts emitted events

pub mod files;
mod text_file;
pub mod yaml;
pub mod odcs;
pub mod definition;
pub mod version;
pub mod compatibility;
pub mod difference;
pub mod diagnostic;
pub mod registered;
pub mod plan;
pub mod broker;
pub mod apply;
pub mod emissions;
#[cfg(test)]
mod cases;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::relay::boundary::{Format, OnViolation, SchemaVersion, SchemaVersionId, TopicSettings};

/// Looks up schema versions, whose names (`$1`) and versions (`$2`) are arrays.
const LOOK_UP: &str = "select s.topic, s.format, s.topic_config::text, s.schema::text, s.on_violation, \
     s.sla ->> 'freshness_seconds', s.name, s.version from outbox.schema_version s \
     where (s.name, s.version) in (select * from unnest($1::text[], $2::text[]))";

/// Topic, format, topic settings, schema, violation policy and promised freshness, in Postgres' text format.
pub(crate) type Columns = [Option<String>; 6];

/// What is wrong with a registered schema version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The format is unknown.
    #[error("format \"{0}\" is not one of json, avro, protobuf, text and bytes")]
    Format(String),
    /// The violation policy is unknown.
    #[error("on_violation \"{0}\" is not one of dead-letter, halt and warn")]
    OnViolation(String),
    /// `topic_config` is not a JSON object.
    #[error("topic_config is not a JSON object")]
    NoObject,
    /// `topic_config` has an unknown key.
    #[error("topic_config has the unknown key \"{0}\"; the keys are partitions, replication_factor and config")]
    UnknownKey(String),
    /// A value of `topic_config` has the wrong type or range.
    #[error("topic_config: {key} is not {wanted}")]
    Value {
        /// The key, with `config.` before a topic's property.
        key: String,
        /// What it takes.
        wanted: &'static str,
    },
}

/// The statement and parameters that look up schema versions, for callers that run it themselves. Each row has the
/// [`Columns`], then name and version.
pub(crate) fn look_up_query<'a>(ids: impl Iterator<Item = &'a SchemaVersionId> + Clone) -> (&'static str, [String; 2]) {
    (LOOK_UP, [array(ids.clone().map(|id| &*id.name)), array(ids.map(|id| &*id.version))])
}

/// An array in Postgres' text format.
fn array<'a>(elements: impl Iterator<Item = &'a str>) -> String {
    let quoted = elements.map(|element| format!("\"{}\"", element.replace('\\', "\\\\").replace('"', "\\\"")));
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

/// Builds a schema version from its columns.
pub(crate) fn parse(id: &SchemaVersionId, columns: Columns) -> Result<SchemaVersion, Malformed> {
    let [topic, format, topic_config, schema, on_violation, freshness] = columns;
    let format = format.unwrap_or_default();
    let policy = |text: String| OnViolation::parse(&text).ok_or(Malformed::OnViolation(text));
    Ok(SchemaVersion {
        id: id.clone(),
        topic: topic.filter(|topic| !topic.is_empty()).map(Arc::from),
        format: Format::from_column(&format).ok_or(Malformed::Format(format))?,
        // A JSON null means no schema, like SQL's null.
        schema: schema.filter(|schema| schema.trim() != "null").map(Arc::from),
        on_violation: on_violation.map(policy).transpose()?,
        freshness: freshness.as_deref().and_then(seconds),
        topic_settings: topic_config.as_deref().map(topic_settings).transpose()?.unwrap_or_default(),
    })
}

/// A promise in seconds. SQL can register anything; what is not a positive number promises nothing.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|promise| !promise.is_zero())
}

/// Reads `{"partitions": 6, "replication_factor": 3, "config": {"cleanup.policy": "compact"}}`; each key may be missing or
/// null, which is the broker's default.
pub(crate) fn topic_settings(json: &str) -> Result<TopicSettings, Malformed> {
    let value: Value = serde_json::from_str(json).map_err(|_| Malformed::NoObject)?;
    let object = match value {
        Value::Null => return Ok(TopicSettings::default()),
        Value::Object(object) => object,
        _ => return Err(Malformed::NoObject),
    };
    let mut settings = TopicSettings::default();
    for (key, value) in object {
        match key.as_str() {
            "partitions" => settings.partitions = positive(&key, &value, "a whole number from 1 to 2147483647")?,
            "replication_factor" => {
                settings.replication_factor = positive(&key, &value, "a whole number from 1 to 32767")?
            }
            "config" => settings.config = properties(value)?,
            _ => return Err(Malformed::UnknownKey(key)),
        }
    }
    Ok(settings)
}

fn positive<N: TryFrom<i64> + PartialOrd + From<i8>>(
    key: &str,
    value: &Value,
    wanted: &'static str,
) -> Result<Option<N>, Malformed> {
    if value.is_null() {
        return Ok(None);
    }
    let number = value.as_i64().and_then(|number| N::try_from(number).ok()).filter(|number| *number >= N::from(1));
    number.map(Some).ok_or_else(|| Malformed::Value { key: key.to_owned(), wanted })
}

/// A topic's properties. Kafka takes strings, so numbers and booleans are converted.
fn properties(value: Value) -> Result<BTreeMap<String, String>, Malformed> {
    let object: Map<String, Value> = match value {
        Value::Null => return Ok(BTreeMap::new()),
        Value::Object(object) => object,
        _ => return Err(Malformed::Value { key: "config".to_owned(), wanted: "an object" }),
    };
    let property = |(name, value): (String, Value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Number(number) => Ok((name, number.to_string())),
        Value::Bool(truth) => Ok((name, truth.to_string())),
        _ => Err(Malformed::Value { key: format!("config.{name}"), wanted: "a string, number or boolean" }),
    };
    object.into_iter().map(property).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> SchemaVersionId {
        SchemaVersionId { name: "orders.placed".into(), version: "2.1.0".into() }
    }

    fn found(topic: Option<&str>, format: &str, config: Option<&str>) -> Result<SchemaVersion, Malformed> {
        found_row([topic, Some(format), config, None, None, None])
    }

    fn found_row(row: [Option<&str>; 6]) -> Result<SchemaVersion, Malformed> {
        let row = row.map(|text| text.map(str::to_owned));
        parse(&id(), row)
    }

    #[test]
    fn versions_are_looked_up_by_name_and_version() {
        let quoted = SchemaVersionId { name: "a\"b\\".into(), version: "1".into() };
        let (sql, parameters) = look_up_query([id(), quoted].iter());
        assert_eq!(sql, LOOK_UP);
        assert_eq!(parameters, [r#"{"orders.placed","a\"b\\"}"#, r#"{"2.1.0","1"}"#]);
    }

    #[test]
    fn all_columns_are_read() {
        let config = r#"{"partitions": 6, "replication_factor": 3,
            "config": {"cleanup.policy": "compact", "retention.ms": 1000, "preallocate": true}}"#;
        let version = found(Some("orders"), "json", Some(config)).expect("it is well formed");
        assert_eq!(version.topic.as_deref(), Some("orders"));
        assert_eq!(version.format, Format::Json);
        assert_eq!(version.topic_settings.partitions, Some(6));
        assert_eq!(version.topic_settings.replication_factor, Some(3));
        let properties = [("cleanup.policy", "compact"), ("preallocate", "true"), ("retention.ms", "1000")];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(version.topic_settings.config, BTreeMap::from(properties));
    }

    #[test]
    fn schema_policy_and_freshness_are_read() {
        let row = |schema, policy, freshness| {
            let version = found_row([None, Some("json"), None, schema, policy, freshness]);
            version
                .map(|version| (version.schema.map(|text| text.to_string()), version.on_violation, version.freshness))
        };
        let schema = r#"{"type": "object"}"#;
        let promised = (Some(schema.to_owned()), Some(OnViolation::Halt), Some(Duration::from_millis(2_500)));
        assert_eq!(row(Some(schema), Some("halt"), Some("2.5")), Ok(promised));
        let nothing = Ok((None, None, None));
        assert_eq!(row(None, None, None), nothing);
        for none in ["soon", "-1", "0", "NaN", "1e300", "[5]"] {
            assert_eq!(row(Some("null"), None, Some(none)), nothing, "{none}");
        }
        assert_eq!(row(None, Some("shrug"), None), Err(Malformed::OnViolation("shrug".to_owned())));
    }

    #[test]
    fn missing_settings_are_the_default() {
        for config in [None, Some("null"), Some("{}"), Some(r#"{"partitions": null, "config": null}"#)] {
            let version = found(None, "avro", config).expect("it is well formed");
            assert_eq!((version.topic, version.topic_settings), (None, TopicSettings::default()), "{config:?}");
        }
    }

    #[test]
    fn malformed_registrations_name_the_fault() {
        let value = |key: &str, wanted| Malformed::Value { key: key.to_owned(), wanted };
        let partitions = || value("partitions", "a whole number from 1 to 2147483647");
        let replicas = || value("replication_factor", "a whole number from 1 to 32767");
        for (config, expected) in [
            ("[]", Malformed::NoObject),
            ("{", Malformed::NoObject),
            (r#"{"partition": 1}"#, Malformed::UnknownKey("partition".to_owned())),
            (r#"{"partitions": 0}"#, partitions()),
            (r#"{"partitions": 2147483648}"#, partitions()),
            (r#"{"partitions": 1.5}"#, partitions()),
            (r#"{"partitions": "6"}"#, partitions()),
            (r#"{"replication_factor": 32768}"#, replicas()),
            (r#"{"replication_factor": -1}"#, replicas()),
            (r#"{"config": []}"#, value("config", "an object")),
            (r#"{"config": {"a": [1]}}"#, value("config.a", "a string, number or boolean")),
        ] {
            assert_eq!(found(None, "json", Some(config)), Err(expected), "{config}");
        }
        assert_eq!(found(None, "xml", None), Err(Malformed::Format("xml".to_owned())));
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(found(None, "json", Some(&deep)), Err(Malformed::NoObject));
    }
}
