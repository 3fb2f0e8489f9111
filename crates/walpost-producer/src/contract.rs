//! Contracts on the producer's side: checks payloads before they are emitted, with the relay's code.

use serde::Serialize;

use crate::event::Event;
use crate::schema::{Schema, SchemaFault, Violation};

/// One version of a contract, with its schema compiled once. It builds events that conform to it.
///
/// The schema text is the contract's JSON Schema file, or the registered one, which `walpost contract show NAME --json` prints as
/// `schema`. An event built here passes the relay's check, because the checked text is what [`emit`](crate::sqlx::emit) writes. A
/// payload refused here costs no transaction and causes no dead letter.
///
/// ```
/// use walpost_producer::Contract;
///
/// let schema = r#"{"type": "object", "properties": {"total": {"type": "string"}}, "required": ["total"]}"#;
/// let placed = Contract::new("order.placed", "1.0.0", schema)?;
///
/// let payload = serde_json::json!({ "total": "44.80" });
/// let event = placed.event(&payload)?.key("42");
///
/// let payload = serde_json::json!({ "total": 44.80 });
/// let refused = placed.event(&payload).expect_err("the total is a number");
/// assert_eq!(refused.to_string(), "the payload violates order.placed/1.0.0: type at \"/total\": value is not of type \"string\"");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Contract {
    name: String,
    version: String,
    schema: Schema,
}

/// An event could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// The payload does not serialize to JSON.
    #[error("the event's payload does not serialize to JSON")]
    Serialize(#[from] serde_json::Error),
    /// The payload violates its contract.
    #[error("the payload violates {name}/{version}: {violation}")]
    Violation {
        /// The schema's name.
        name: String,
        /// Its version.
        version: String,
        /// The location and the rule, without the payload's values.
        violation: Violation,
    },
}

impl Contract {
    /// Compiles the JSON Schema (draft 2020-12) of a registered schema version.
    ///
    /// # Errors
    /// The schema is invalid, or the cost of checking with it is unbounded; the relay would refuse it too.
    pub fn new(name: impl Into<String>, version: impl Into<String>, json_schema: &str) -> Result<Self, SchemaFault> {
        Ok(Self { name: name.into(), version: version.into(), schema: Schema::parse(json_schema)? })
    }

    /// Builds an event of this contract and version, if its payload conforms.
    ///
    /// # Errors
    /// The payload does not conform, or does not serialize.
    pub fn event<'a, P: Serialize + ?Sized>(&'a self, payload: &'a P) -> Result<Event<'a, P>, ContractError> {
        // Checks the text rather than the value: the relay receives the text, and different texts can be the same value.
        let text = serde_json::to_string(payload)?;
        self.schema.check(text.as_bytes()).map_err(|violation| ContractError::Violation {
            name: self.name.clone(),
            version: self.version.clone(),
            violation,
        })?;
        Ok(Event::new(&self.name, payload).version(&self.version))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::RawValue;

    use super::*;

    const SCHEMA: &str = r#"{"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}"#;

    #[test]
    fn an_event_names_its_contract_and_conforms_to_it() {
        let contract = Contract::new("order.placed", "2", SCHEMA).expect("a schema");
        let payload = json!({"id": 7});
        let event = contract.event(&payload).expect("it keeps to it").key("k");
        let row = event.to_row().expect("it serializes");
        assert_eq!((row.schema, row.version, row.key), ("order.placed", Some("2"), Some("k")));
        assert_eq!(row.payload.as_deref(), Some(r#"{"id":7}"#));
    }

    #[test]
    fn a_violation_has_the_place_but_not_the_value() {
        let contract = Contract::new("order.placed", "2", SCHEMA).expect("a schema");
        let raw = RawValue::from_string(r#"{"id": "4111 1111"}"#.to_owned()).expect("it is JSON");
        let Err(ContractError::Violation { violation, .. }) = contract.event(&*raw) else { panic!("it was taken") };
        assert_eq!((violation.pointer.as_str(), violation.rule.as_str()), ("/id", "type"));
        assert!(!violation.to_string().contains("4111"), "{violation}");
        let map = std::collections::HashMap::from([((1, 2), 3)]);
        assert!(matches!(contract.event(&map), Err(ContractError::Serialize(_))));
    }

    #[test]
    fn an_unusable_schema_is_refused_when_it_is_compiled() {
        let fault = Contract::new("order.placed", "2", r##"{"$ref": "#"}"##).expect_err("a circle");
        assert_eq!((fault.rule.as_str(), fault.pointer.as_str()), ("cyclic_ref", "/$ref"));
        assert_eq!(Contract::new("order.placed", "2", "{").expect_err("no JSON").rule.as_str(), "json");
    }
}
