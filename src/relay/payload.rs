//! What a payload promises by its schema version, compiled once.

use std::fmt;

use super::boundary::{Format, SchemaVersion};
use crate::schema::{Schema, SchemaFault};

/// What the payloads of a schema version are checked with.
#[derive(Debug)]
pub enum PayloadCheck {
    /// Nothing: it has no schema, or its payloads are not JSON.
    Nothing,
    /// Its schema.
    Schema(Schema),
    /// It promises something that no check can tell. It was registered by another hand than `walpost contract apply`, and never
    /// changes: none of its events is known to keep to it.
    Impossible(SchemaFault),
}

impl PayloadCheck {
    /// Compiles what a schema version promises.
    pub(super) fn of(version: &SchemaVersion) -> Self {
        match &version.schema {
            Some(schema) if version.format == Format::Json => {
                Schema::parse(schema).map_or_else(Self::Impossible, Self::Schema)
            }
            _ => Self::Nothing,
        }
    }

    /// How a payload breaks the contract of this name, in a sentence without the payload's values. A tombstone breaks none: it
    /// says that there is nothing, and a schema says what there is.
    pub(super) fn violation(&self, contract: impl fmt::Display, payload: Option<&[u8]>) -> Option<String> {
        let payload = payload?;
        match self {
            Self::Nothing => None,
            Self::Schema(schema) => {
                let violation = schema.check(payload).err()?;
                Some(format!("the payload breaks {contract}: {violation}"))
            }
            Self::Impossible(fault) => Some(format!(
                "the payload can't be checked: the schema of {contract}, as it is registered, is none that a check can take: {fault}; \
                 register a new version with another"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::relay::boundary::SchemaVersionId;

    fn violation(format: Format, schema: Option<&str>, payload: Option<&str>) -> Option<String> {
        let id = SchemaVersionId { name: "order.placed".into(), version: "1".into() };
        let version = SchemaVersion { format, schema: schema.map(Arc::from), ..SchemaVersion::plain(id, None) };
        PayloadCheck::of(&version).violation("order.placed/1", payload.map(str::as_bytes))
    }

    #[test]
    fn only_json_with_a_schema_is_checked_and_no_tombstone() {
        let schema = r#"{"type": "integer"}"#;
        let checked = |payload| violation(Format::Json, Some(schema), payload);
        assert_eq!((checked(Some("7")), checked(None)), (None, None));
        let detail = "the payload breaks order.placed/1: type at \"\": value is not of type \"integer\"";
        assert_eq!(checked(Some("\"secret\"")).as_deref(), Some(detail));
        assert!(checked(Some("null")).is_some(), "JSON's null is a value");
        assert!(checked(Some("")).is_some(), "an empty value is not JSON");
        assert_eq!(violation(Format::Json, None, Some("\"x\"")), None);
        assert_eq!(violation(Format::Text, Some(schema), Some("x")), None);
    }

    #[test]
    fn case_31_a_payload_nested_10_000_deep_breaks_its_contract() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let detail = violation(Format::Json, Some("{}"), Some(&deep)).expect("it can't be checked");
        assert!(
            detail.starts_with("the payload breaks order.placed/1: json at \"\": not JSON: recursion limit"),
            "{detail}"
        );
    }

    #[test]
    fn a_schema_that_no_check_can_take_is_said_with_its_fault() {
        for schema in [
            r##"{"$ref": "#"}"##,
            r#"{"type": "text"}"#,
            "{",
            r#"{"$schema": "http://json-schema.org/draft-07/schema#"}"#,
        ] {
            let detail = violation(Format::Json, Some(schema), Some("1")).expect("it can't be checked");
            assert!(detail.contains("the schema of order.placed/1, as it is registered"), "{detail}");
            assert_eq!(violation(Format::Json, Some(schema), None), None, "a tombstone");
        }
    }
}
