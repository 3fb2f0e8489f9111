//! What must hold of an event before it goes to its topic: a contract that it keeps to, and a topic that it may go to.

use std::sync::Arc;
use std::time::Instant;

use super::OnRejected;
use super::boundary::{ContractNumber, Format, OnViolation, Record, Refusal, RefusalCode, SchemaVersion};
use super::catalogue::{Contract, Wait};
use super::encode::{self, ContractHeaders, RowHeaders};
use super::event::Event;
use super::publish::Publisher;
use crate::schema::{Schema, SchemaFault};

/// The longest names that are looked up, in bytes: rows can name anything, and what was looked up is remembered. A topic's
/// limit is Kafka's own (`Topic.MAX_NAME_LENGTH`).
const SCHEMA_NAME_BYTES: usize = 1_024;
const TOPIC_NAME_BYTES: usize = 249;

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
    fn violation(&self, contract: &str, payload: Option<&[u8]>) -> Option<String> {
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

/// What has been found out of an event, and its own headers.
pub(super) struct Known<'a> {
    pub(super) contract: Option<Arc<Contract>>,
    row_headers: RowHeaders<'a>,
    /// What the event names and nobody has registered, for who redrives its dead letter.
    unregistered: Option<String>,
    /// How it breaks its contract, though it is published.
    violation: Option<String>,
}

impl<'a> Known<'a> {
    pub(super) const fn new(row_headers: RowHeaders<'a>) -> Self {
        Self { contract: None, row_headers, unregistered: None, violation: None }
    }

    pub(super) fn topic<'b>(&'b self, event: &'b Event<'_>) -> Option<&'b str> {
        let of_contract = || self.contract.as_ref().and_then(|contract| contract.schema_version.topic.as_deref());
        event.topic.as_deref().or_else(of_contract)
    }

    pub(super) const fn row_headers(&self) -> &RowHeaders<'a> {
        &self.row_headers
    }

    pub(super) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// Whose service level the event counts for.
    pub(super) fn number(&self) -> ContractNumber {
        self.contract.as_ref().map_or(ContractNumber::NONE, |contract| contract.number)
    }

    pub(super) fn contract_headers<'b>(&'b self, event: &'b Event<'_>) -> ContractHeaders<'b> {
        let contract = self.contract.as_deref();
        ContractHeaders {
            name: event.schema.as_ref().map(|(name, _)| name.as_ref()),
            data_schema: contract.map(|contract| contract.data_schema.as_str()).or(self.unregistered.as_deref()),
            format: contract.map(|contract| contract.schema_version.format),
            violation: self.violation(),
        }
    }
}

/// Why an event can't go on to its topic.
pub(super) enum Stop {
    /// An answer is missing.
    Wait,
    /// It can't be published, and what becomes of it.
    Refused(Refusal, Fate),
}

/// What becomes of an event that is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    DeadLetter,
    Halt,
}

impl OnRejected {
    /// What becomes of an event that is refused for anything but its payload.
    pub(super) const fn fate(self) -> Fate {
        match self {
            Self::DeadLetter | Self::DeadLetterAlways => Fate::DeadLetter,
            Self::Halt => Fate::Halt,
        }
    }

    /// What becomes of an event whose payload breaks its contract: the contract's word goes before the relay's. `None`: it is
    /// published.
    const fn fate_of_violation(self, policy: Option<OnViolation>) -> Option<Fate> {
        match (policy, self) {
            (Some(OnViolation::Warn), _) => None,
            // Neither the row nor its contract will ever change, so there must be a way past it.
            (Some(OnViolation::DeadLetter), _) | (Some(OnViolation::Halt), Self::DeadLetterAlways) => {
                Some(Fate::DeadLetter)
            }
            (Some(OnViolation::Halt), _) => Some(Fate::Halt),
            (None, relay) => Some(relay.fate()),
        }
    }
}

impl From<Wait> for Stop {
    fn from(_: Wait) -> Self {
        Self::Wait
    }
}

impl Publisher {
    /// Looks up what publishing needs, checks the payload, and gives the size in bytes that the topic takes.
    pub(super) fn check(&mut self, event: &Event<'_>, known: &mut Known<'_>, now: Instant) -> Result<usize, Stop> {
        let fate = self.settings.on_rejected.fate();
        let refused = |code, detail| Stop::Refused(Refusal { code, detail }, fate);
        if event.has_contract {
            let Some((name, version)) = &event.schema else {
                let detail = "schema_name or schema_version is null".to_owned();
                return Err(refused(RefusalCode::UnknownSchema, detail));
            };
            if name.len().max(version.len()) > SCHEMA_NAME_BYTES {
                let detail = format!("the name or version of the schema is longer than {SCHEMA_NAME_BYTES} bytes");
                return Err(refused(RefusalCode::UnknownSchema, detail));
            }
            let Some(contract) = self.catalogue.contract(name, version, now)? else {
                let id = known.unregistered.insert(format!("{name}/{version}"));
                let detail = format!("no schema version {id} is registered; call outbox.register_schema_version");
                return Err(refused(RefusalCode::UnknownSchema, detail));
            };
            let violation = contract.check.violation(&contract.data_schema, event.payload.as_deref());
            let policy = contract.schema_version.on_violation;
            known.contract = Some(contract);
            if let Some(detail) = violation {
                match self.settings.on_rejected.fate_of_violation(policy) {
                    Some(fate) => {
                        let refusal = Refusal { code: RefusalCode::ContractViolation, detail };
                        return Err(Stop::Refused(refusal, fate));
                    }
                    None => known.violation = Some(detail),
                }
            }
        }
        let Some(topic) = known.topic(event) else {
            let detail = "neither the row nor its schema version names a topic".to_owned();
            return Err(refused(RefusalCode::NoTopic, detail));
        };
        if topic.len() > TOPIC_NAME_BYTES {
            let detail = format!("the topic's name is longer than {TOPIC_NAME_BYTES} bytes");
            return Err(refused(RefusalCode::UnknownTopic, detail));
        }
        let settings = || known.contract.as_ref().map(|contract| contract.schema_version.topic_settings.clone());
        let topic = self.catalogue.topic(topic, || settings().unwrap_or_default(), now)?;
        topic.map(|topic| topic.max_message_bytes).map_err(|refusal| Stop::Refused(refusal, fate))
    }
}

pub(super) fn too_large(record: &Record<'_>, size: usize, limit: usize) -> Refusal {
    let detail = format!(
        "the record takes up to {} bytes in a batch, topic {} takes {limit} (max.message.bytes)",
        encode::size_in_batch(size, record.headers.len()),
        record.topic,
    );
    Refusal { code: RefusalCode::TooLarge, detail }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn the_contracts_word_goes_before_the_relays() {
        use OnRejected as Relay;
        for (relay, policy, expected) in [
            (Relay::DeadLetter, None, Some(Fate::DeadLetter)),
            (Relay::Halt, None, Some(Fate::Halt)),
            (Relay::DeadLetterAlways, None, Some(Fate::DeadLetter)),
            (Relay::Halt, Some(OnViolation::DeadLetter), Some(Fate::DeadLetter)),
            (Relay::DeadLetter, Some(OnViolation::Halt), Some(Fate::Halt)),
            (Relay::DeadLetterAlways, Some(OnViolation::Halt), Some(Fate::DeadLetter)),
            (Relay::Halt, Some(OnViolation::Warn), None),
            (Relay::DeadLetterAlways, Some(OnViolation::Warn), None),
        ] {
            assert_eq!(relay.fate_of_violation(policy), expected, "{relay:?} {policy:?}");
        }
    }
}
