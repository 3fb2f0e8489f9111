//! How an outbox table's events are written in records:
//!
//! - `outbox.N.headers`, `WALPOST_OUTBOX__N__HEADERS`: `cloudevents`, `plain` or `debezium`. Default: `relay.headers`.
//! - `outbox.N.key_converter`, `WALPOST_OUTBOX__N__KEY_CONVERTER`: `string`, or `json` to write keys as Kafka Connect's
//!   `JsonConverter` does. Default `string`.
//! - `outbox.N.value_converter`, `WALPOST_OUTBOX__N__VALUE_CONVERTER`: the same for values. Default `string`.
//! - `outbox.N.expand_json_payload`, `WALPOST_OUTBOX__N__EXPAND_JSON_PAYLOAD`: with the `json` converter, whether a payload that is a
//!   JSON object or array becomes that, instead of a string. Default `false`.
//! - `outbox.N.envelope_columns`, `WALPOST_OUTBOX__N__ENVELOPE_COLUMNS` (in TOML): with the `json` converter, columns that are put
//!   beside the payload in an object, as `["column"]` or `{ column = "member" }`. Default: none.
//! - `outbox.N.tombstone_on_empty_payload`, `WALPOST_OUTBOX__N__TOMBSTONE_ON_EMPTY_PAYLOAD`: whether an empty payload is a tombstone.
//!   Default `false`.

use super::error::Complaint;
use super::names::identifier;
use super::reader::{Section, choice};
use super::relay::STYLES;
use super::tree::{TreeValue, shown};
use crate::relay::decode::rendering::{Converter, Rendering};

/// Most columns of a table that become headers, or members of the envelope.
const PLACED_COLUMNS_MAX: usize = 64;

const CONVERTERS: [(&str, Converter); 2] = [("string", Converter::String), ("json", Converter::Json)];

/// Reads the keys; `routed` if the topic comes from the configuration, so that no schema version says what a value is.
pub(super) fn rendering(section: &mut Section<'_>, routed: bool) -> Rendering {
    let rendering = Rendering {
        style: section.optional("headers", |value| choice(value, &STYLES)),
        key: section.or("key_converter", Converter::String, |value| choice(value, &CONVERTERS)),
        value: section.or("value_converter", Converter::String, |value| choice(value, &CONVERTERS)),
        expands_json: section.or("expand_json_payload", false, TreeValue::as_boolean),
        envelope_columns: section.optional("envelope_columns", |value| placed(value, member)).unwrap_or_default(),
        empty_is_tombstone: section.or("tombstone_on_empty_payload", false, TreeValue::as_boolean),
    };
    let members: Vec<&str> = rendering.envelope_columns.iter().map(|(_, member)| member.as_str()).collect();
    let twice = members.iter().enumerate().find(|(place, member)| members[..*place].contains(member));
    if let Some((_, member)) = twice {
        let what = format!("has two members {}", shown(member));
        section.refuse("envelope_columns", Complaint::new(what, "name each once: { column = \"member\" }"));
    }
    if rendering.value == Converter::String {
        if rendering.expands_json {
            let what = "has no effect without the json converter: a JSON payload is written as it is";
            section.refuse("expand_json_payload", Complaint::new(what, "remove it, or set value_converter = \"json\""));
        }
        if !rendering.envelope_columns.is_empty() {
            let complaint = Complaint::new("needs the json converter", "set value_converter = \"json\"");
            section.refuse("envelope_columns", complaint);
        }
    } else if !routed {
        let what = "is not possible without a topic: the schema version says what a value is";
        section.refuse("value_converter", Complaint::new(what, "remove it, or give the table a topic"));
    }
    rendering
}

/// Reads `["column"]`, which keeps its order, or `{ column = "name" }`, which is ordered by column.
pub(super) fn placed(
    value: &TreeValue,
    parse: impl Fn(&str, &str) -> Result<(String, String), Complaint>,
) -> Result<Vec<(String, String)>, Complaint> {
    let columns = match value {
        TreeValue::List(items) => {
            let columns = items.iter().map(|item| item.value.as_text().and_then(|name| parse(name, name)));
            columns.collect::<Result<Vec<_>, _>>()?
        }
        TreeValue::Table(table) => {
            let columns = table.iter().map(|(column, node)| parse(column, node.value.as_text()?));
            columns.collect::<Result<_, _>>()?
        }
        other => {
            return Err(other.is_not("a list or table of columns", "write [\"column\"] or { column = \"name\" }"));
        }
    };
    if columns.len() > PLACED_COLUMNS_MAX {
        let fix = format!("name at most {PLACED_COLUMNS_MAX} columns");
        return Err(Complaint::new(format!("names {} columns", columns.len()), fix));
    }
    Ok(columns)
}

fn member(column: &str, member: &str) -> Result<(String, String), Complaint> {
    if member == "payload" {
        let fix = "choose another member: { column = \"member\" }";
        return Err(Complaint::new("names a member \"payload\", which is the payload itself", fix));
    }
    Ok((identifier(column)?, member.to_owned()))
}
