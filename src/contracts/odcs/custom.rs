//! walpost's custom properties of a contract or a schema object; an object's take precedence over the contract's.
//!
//! | property | value | default |
//! |---|---|---|
//! | `compatibility` | `none`, `backward`, `forward`, `full`, or one of these with `_transitive` | `none` |
//! | `partitions` | a whole number from 1 | the broker's |
//! | `replicationFactor` | a whole number from 1 to 32767 | the broker's |
//! | `topicConfiguration` | Kafka's topic properties by name | the broker's |
//! | `onViolation` | `dead-letter`, `halt` or `warn`: what to do with an event whose payload violates the schema | the relay's `on_rejected` |
//! | `jsonSchema` | a JSON Schema file, by its path relative to the contract | the schema comes from the object's `properties` |

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::compatibility::Compatibility;
use super::cursor::Cursor;
use crate::config::nearest::nearest;
use crate::contracts::diagnostic::{ContractRule, Diagnostic};
use crate::relay::boundary::{OnViolation, TopicSettings};

const NAMES: [&str; 6] =
    ["compatibility", "partitions", "replicationFactor", "topicConfiguration", "onViolation", "jsonSchema"];

/// The custom properties of a contract or an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Custom<'a> {
    pub(super) compatibility: Option<Compatibility>,
    pub(super) settings: TopicSettings,
    pub(super) on_violation: Option<OnViolation>,
    /// The file's path, with its place.
    pub(super) json_schema: Option<(&'a str, Cursor<'a>)>,
}

impl<'a> Custom<'a> {
    /// Reads the `customProperties` of this element over those of its parent. Properties of other tools are ignored.
    pub(super) fn read(element: &Cursor<'a>, around: &Self, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut custom = around.clone();
        let mut seen: Vec<&str> = Vec::new();
        for property in element.items("customProperties") {
            let name = property.text("property").unwrap_or_default();
            let vendor = property.text("vendor").unwrap_or("walpost");
            if vendor != "walpost" {
                continue;
            }
            if !NAMES.contains(&name) {
                if let Some(meant) = nearest(name, NAMES) {
                    let what = format!(
                        "walpost has no custom property {name}; did you mean {meant}? If it belongs to another tool, set vendor (version 3.2)"
                    );
                    diagnostics.push(property.diagnostic(ContractRule::CustomProperty, what));
                }
                continue;
            }
            if seen.contains(&name) {
                diagnostics.push(property.diagnostic(ContractRule::CustomProperty, format!("{name} is given twice")));
            }
            seen.push(name);
            // The standard requires a value, which may be null.
            let value = property.get("value").unwrap_or_else(|| property.clone());
            if let Err(wanted) = custom.take(name, &value) {
                diagnostics.push(value.diagnostic(ContractRule::CustomProperty, format!("{name} must be {wanted}")));
            }
        }
        custom
    }

    fn take(&mut self, name: &str, value: &Cursor<'a>) -> Result<(), String> {
        match name {
            "compatibility" => {
                let kind = value.value.as_str().and_then(Compatibility::parse);
                let kinds = || Compatibility::ALL.map(Compatibility::as_str).join(", ");
                self.compatibility = Some(kind.ok_or_else(|| format!("one of {}", kinds()))?);
            }
            "partitions" => {
                let number =
                    value.value.as_i64().and_then(|number| i32::try_from(number).ok()).filter(|number| *number >= 1);
                self.settings.partitions = Some(number.ok_or("a whole number from 1 to 2147483647")?);
            }
            "replicationFactor" => {
                let number =
                    value.value.as_i64().and_then(|number| i16::try_from(number).ok()).filter(|number| *number >= 1);
                self.settings.replication_factor = Some(number.ok_or("a whole number from 1 to 32767")?);
            }
            "onViolation" => {
                let policy = value.value.as_str().and_then(OnViolation::parse);
                let policies = || OnViolation::ALL.map(OnViolation::as_str).join(", ");
                self.on_violation = Some(policy.ok_or_else(|| format!("one of {}", policies()))?);
            }
            "topicConfiguration" => self.settings.config = properties(value.value)?,
            _ => {
                let path = value.value.as_str().filter(|path| !path.is_empty());
                self.json_schema = Some((path.ok_or("a file path")?, value.clone()));
            }
        }
        Ok(())
    }
}

/// Kafka takes strings, so numbers and booleans are converted.
fn properties(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let object = value.as_object().ok_or("a map of Kafka topic properties, such as {retention.ms: 604800000}")?;
    let property = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        Value::Number(number) => Ok((name.clone(), number.to_string())),
        Value::Bool(truth) => Ok((name.clone(), truth.to_string())),
        _ => Err(format!("a map in which {name} is a string, number or boolean")),
    };
    object.iter().map(property).collect()
}
