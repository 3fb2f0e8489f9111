//! A contract on the producer's side: a payload is checked before it is emitted, by the code that the relay checks it with.

use serde::Serialize;

use crate::event::Event;
use crate::schema::{Schema, SchemaFault, Violation};

/// One version of a contract, with its schema compiled once. It makes events that keep to it.
///
/// The schema's text is the contract's own JSON Schema file, or what is registered: `walpost contract show NAME --json` has it
/// under `schema`. An event that is made here passes the relay's check, as what is checked is what
/// [`emit`](crate::sqlx::emit) writes; one that is refused here costs no transaction and is no dead letter.
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
/// assert_eq!(refused.to_string(), "the payload breaks order.placed/1.0.0: type at \"/total\": value is not of type \"string\"");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Contract {
    name: String,
    version: String,
    schema: Schema,
}

/// An event was not made.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// The payload does not serialize to JSON.
    #[error("an event's payload does not serialize to JSON")]
    Serialize(#[from] serde_json::Error),
    /// The payload breaks its contract.
    #[error("the payload breaks {name}/{version}: {violation}")]
    Violation {
        /// The schema's name.
        name: String,
        /// Its version.
        version: String,
        /// Where and how, without the payload's values.
        violation: Violation,
    },
}

impl Contract {
    /// Compiles the JSON Schema (draft 2020-12) of a registered schema version.
    ///
    /// # Errors
    /// It is none, or one that could cost without bound; the relay would not check with it either.
    pub fn new(name: impl Into<String>, version: impl Into<String>, json_schema: &str) -> Result<Self, SchemaFault> {
        Ok(Self { name: name.into(), version: version.into(), schema: Schema::parse(json_schema)? })
    }

    /// An event of this contract and version, whose payload keeps to it.
    ///
    /// # Errors
    /// The payload does not, or does not serialize.
    pub fn event<'a, P: Serialize + ?Sized>(&'a self, payload: &'a P) -> Result<Event<'a, P>, ContractError> {
        // The text and not a value made of the payload: two texts can be one value, and the relay gets the text.
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
    fn an_event_is_of_the_contract_and_keeps_to_it() {
        let contract = Contract::new("order.placed", "2", SCHEMA).expect("a schema");
        let payload = json!({"id": 7});
        let event = contract.event(&payload).expect("it keeps to it").key("k");
        let row = event.to_row().expect("it serializes");
        assert_eq!((row.schema, row.version, row.key), ("order.placed", Some("2"), Some("k")));
        assert_eq!(row.payload.as_deref(), Some(r#"{"id":7}"#));
    }

    #[test]
    fn what_breaks_it_is_refused_with_the_place_and_without_the_value() {
        let contract = Contract::new("order.placed", "2", SCHEMA).expect("a schema");
        let raw = RawValue::from_string(r#"{"id": "4111 1111"}"#.to_owned()).expect("it is JSON");
        let Err(ContractError::Violation { violation, .. }) = contract.event(&*raw) else { panic!("it was taken") };
        assert_eq!((violation.pointer.as_str(), violation.rule.as_str()), ("/id", "type"));
        assert!(!violation.to_string().contains("4111"), "{violation}");
        let map = std::collections::HashMap::from([((1, 2), 3)]);
        assert!(matches!(contract.event(&map), Err(ContractError::Serialize(_))));
    }

    #[test]
    fn a_schema_that_can_not_be_checked_with_is_refused_at_once() {
        let fault = Contract::new("order.placed", "2", r##"{"$ref": "#"}"##).expect_err("a circle");
        assert_eq!((fault.rule.as_str(), fault.pointer.as_str()), ("cyclic_ref", "/$ref"));
        assert_eq!(Contract::new("order.placed", "2", "{").expect_err("no JSON").rule.as_str(), "json");
    }
}
