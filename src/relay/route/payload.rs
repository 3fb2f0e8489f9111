//! What a schema version promises about payloads, compiled once.

use std::fmt;

use walpost_producer::schema::{COST, Schema, SchemaFault};

use crate::relay::boundary::{Format, Position, SchemaVersion};
use crate::relay::limits::{KEPT_WORK, TURN_WORK};

/// What the payloads of a schema version are checked with.
#[derive(Debug)]
pub enum PayloadCheck {
    /// Nothing: it has no schema, or its payloads are not JSON.
    Nothing,
    Schema(Box<Schema>),
    /// It promises something that can't be checked. It was registered by something other than `walpost contract
    /// apply`, and never changes: none of its events is known to keep to it.
    Impossible(SchemaFault),
}

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    /// How the payload violates its contract, in a sentence without its values.
    pub(crate) violation: Option<String>,
    /// The most work that the check can have taken, in units of about a nanosecond.
    pub(crate) work: u64,
}

impl PayloadCheck {
    /// Compiles what a schema version promises.
    pub(crate) fn of(version: &SchemaVersion) -> Self {
        match &version.schema {
            Some(schema) if version.format == Format::Json => {
                Schema::parse(schema).map_or_else(Self::Impossible, |schema| Self::Schema(Box::new(schema)))
            }
            _ => Self::Nothing,
        }
    }

    /// Checks a payload against the contract of this name. A tombstone violates none: it says that there is nothing,
    /// and a schema says what there is.
    pub(crate) fn check(&self, contract: impl fmt::Display, payload: Option<&[u8]>) -> Checked {
        let Some(payload) = payload else { return Checked::default() };
        match self {
            Self::Nothing => Checked::default(),
            Self::Schema(schema) => {
                let (work, outcome) = schema.check_counted(payload);
                let violation = outcome.err().map(|violation| match violation.rule.as_str() {
                    COST => format!(
                        "the payload was not validated: it is too large to check against the schema of {contract}: {}",
                        violation.detail
                    ),
                    _ => format!("the payload violates {contract}: {violation}"),
                });
                Checked { violation, work }
            }
            Self::Impossible(fault) => {
                let detail = format!(
                    "the payload can't be validated: the registered schema of {contract} is not usable: {fault}; \
                     register a new version with a valid schema"
                );
                Checked { violation: Some(detail), work: 0 }
            }
        }
    }
}

/// What checks have cost, so that many expensive ones together don't keep the relay from anything else.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// Since the turn started.
    work: u64,
    /// The event being published.
    position: Position,
    /// The result for an event that could not be sent: it will be asked for again.
    kept: Option<(Position, Option<String>)>,
}

impl Checks {
    /// Others have had their turn.
    pub(crate) const fn begin_turn(&mut self) {
        self.work = 0;
    }

    /// Whether others must get their turn.
    pub(crate) const fn is_turn_over(&self) -> bool {
        self.work >= TURN_WORK
    }

    /// The next checks are for the event at this position.
    pub(crate) const fn begin(&mut self, position: Position) {
        self.position = position;
    }

    /// From here on a position can belong to a different event.
    pub(crate) fn forget(&mut self) {
        self.kept = None;
    }

    /// How the event's payload violates the contract of this name.
    pub(crate) fn violation(
        &mut self,
        check: &PayloadCheck,
        contract: impl fmt::Display,
        payload: Option<&[u8]>,
    ) -> Option<String> {
        if let Some((_, violation)) = self.kept.as_ref().filter(|(position, _)| *position == self.position) {
            return violation.clone();
        }
        let Checked { violation, work } = check.check(contract, payload);
        self.work = self.work.saturating_add(work);
        if work >= KEPT_WORK {
            self.kept = Some((self.position, violation.clone()));
        }
        violation
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
        PayloadCheck::of(&version).check("order.placed/1", payload.map(str::as_bytes)).violation
    }

    #[test]
    fn only_json_with_a_schema_is_validated_and_tombstones_are_not() {
        let schema = r#"{"type": "integer"}"#;
        let checked = |payload| violation(Format::Json, Some(schema), payload);
        assert_eq!((checked(Some("7")), checked(None)), (None, None));
        let detail = "the payload violates order.placed/1: type at \"\": value is not of type \"integer\"";
        assert_eq!(checked(Some("\"secret\"")).as_deref(), Some(detail));
        assert!(checked(Some("null")).is_some(), "JSON's null is a value");
        assert!(checked(Some("")).is_some(), "an empty value is not JSON");
        assert_eq!(violation(Format::Json, None, Some("\"x\"")), None);
        assert_eq!(violation(Format::Text, Some(schema), Some("x")), None);
    }

    #[test]
    fn case_38_expensive_checks_end_the_turn_and_are_not_repeated_for_the_same_event() {
        let id = SchemaVersionId { name: "order.placed".into(), version: "1".into() };
        let schema = format!(r#"{{"items": {{"enum": [{}1]}}}}"#, "1,".repeat(50_000));
        let version = SchemaVersion { schema: Some(schema.into()), ..SchemaVersion::plain(id, None) };
        let check = PayloadCheck::of(&version);
        let mut checks = Checks::default();
        let at = |ordinal| Position { ordinal, ..Position::default() };
        let ask = |checks: &mut Checks, ordinal, payload: &str| {
            checks.begin(at(ordinal));
            checks.violation(&check, "order.placed/1", Some(payload.as_bytes())).is_some()
        };
        let items = format!("[{}1]", "1,".repeat(100));
        assert!(!ask(&mut checks, 1, &items));
        let once = checks.work;
        assert!(!ask(&mut checks, 1, &items), "its event could not go out");
        assert_eq!(checks.work, once);
        assert!(ask(&mut checks, 2, "[2, 2]"), "another event");
        for ordinal in 3..6 {
            assert!(!ask(&mut checks, ordinal, &items));
        }
        assert!(checks.is_turn_over());
        checks.begin_turn();
        assert!(!checks.is_turn_over());
    }

    #[test]
    fn case_31_a_payload_nested_10_000_deep_violates_its_contract() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let detail = violation(Format::Json, Some("{}"), Some(&deep)).expect("it can't be checked");
        assert!(
            detail.starts_with(
                "the payload violates order.placed/1: limit at \"\": JSON beyond what can be checked: recursion limit"
            ),
            "{detail}"
        );
    }

    #[test]
    fn an_unusable_schema_is_reported_with_its_fault() {
        for schema in [
            r##"{"$ref": "#"}"##,
            r#"{"type": "text"}"#,
            "{",
            r#"{"$schema": "http://json-schema.org/draft-07/schema#"}"#,
        ] {
            let detail = violation(Format::Json, Some(schema), Some("1")).expect("it can't be checked");
            assert!(detail.contains("the registered schema of order.placed/1 is not usable"), "{detail}");
            assert_eq!(violation(Format::Json, Some(schema), None), None, "a tombstone");
        }
    }
}
