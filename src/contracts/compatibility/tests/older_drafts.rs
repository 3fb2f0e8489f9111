//! Schemas of drafts 4 to 7 as draft 2020-12 writes them.

use serde_json::{Map, Value};
use walpost_producer::schema::keywords::{Holds, holds};

/// The same schema in draft 2020-12.
pub(super) fn converted(schema: &Value) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let is_current = keywords.get("$schema").and_then(Value::as_str).is_some_and(|draft| draft.contains("2020-12"));
    if is_current {
        let mut kept = keywords.clone();
        kept.remove("$id");
        return Value::Object(kept);
    }
    part(keywords)
}

fn part(keywords: &Map<String, Value>) -> Value {
    let has_list = keywords.get("items").is_some_and(Value::is_array);
    let mut kept = Map::new();
    for (keyword, value) in keywords {
        match (keyword.as_str(), value) {
            ("$schema" | "$id" | "id", Value::String(_)) => {}
            ("items", Value::Array(_)) => drop(kept.insert("prefixItems".to_owned(), below(Holds::Schemas, value))),
            ("additionalItems", further) if has_list => drop(kept.insert("items".to_owned(), one(further))),
            ("additionalItems", _) => {}
            ("dependencies", Value::Object(names)) => dependencies(names, &mut kept),
            ("exclusiveMinimum" | "exclusiveMaximum", Value::Bool(false)) => {}
            ("minimum", limit) if keywords.get("exclusiveMinimum") == Some(&Value::Bool(true)) => {
                kept.insert("exclusiveMinimum".to_owned(), limit.clone());
            }
            ("maximum", limit) if keywords.get("exclusiveMaximum") == Some(&Value::Bool(true)) => {
                kept.insert("exclusiveMaximum".to_owned(), limit.clone());
            }
            ("exclusiveMinimum" | "exclusiveMaximum", Value::Bool(true)) => {}
            _ => drop(kept.insert(keyword.clone(), below(holds(keyword).unwrap_or(Holds::Value), value))),
        }
    }
    // Beside a reference nothing else counted.
    if kept.contains_key("$ref") {
        kept.retain(|keyword, _| matches!(keyword.as_str(), "$ref" | "definitions" | "$defs"));
    }
    Value::Object(kept)
}

fn one(schema: &Value) -> Value {
    schema.as_object().map_or_else(|| schema.clone(), part)
}

fn below(holds: Holds, value: &Value) -> Value {
    match (holds, value) {
        (Holds::Schema, schema) => one(schema),
        (Holds::Schemas, Value::Array(schemas)) => schemas.iter().map(one).collect(),
        (Holds::SchemaMap | Holds::Definitions, Value::Object(schemas)) => {
            schemas.iter().map(|(name, schema)| (name.clone(), one(schema))).collect::<Map<_, _>>().into()
        }
        _ => value.clone(),
    }
}

fn dependencies(names: &Map<String, Value>, kept: &mut Map<String, Value>) {
    for (name, value) in names {
        let (keyword, value) = match value {
            Value::Array(_) => ("dependentRequired", value.clone()),
            schema => ("dependentSchemas", one(schema)),
        };
        let entries = kept.entry(keyword).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(entries) = entries {
            entries.insert(name.clone(), value);
        }
    }
}
