//! Inlines the references of a schema and removes annotations.

use serde_json::{Map, Value};
use walpost_producer::schema::keywords::{Holds, holds, is_known_format};

/// Annotation keywords. `default` stays: it makes a required property optional for a reader.
const ANNOTATIONS: [&str; 18] = [
    "$schema",
    "$id",
    "$anchor",
    "$dynamicAnchor",
    "$vocabulary",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "$ref",
];

/// The schema for a comparison. It must have no circular references, which [`inspect`](walpost_producer::schema::inspect::inspect)
/// ensures; a dangling reference allows everything.
#[must_use]
pub fn inline(schema: &Value) -> Value {
    part(schema, schema)
}

fn part(root: &Value, schema: &Value) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let mut kept = Map::new();
    for (keyword, value) in keywords {
        let is_check = holds(keyword).is_some() && !ANNOTATIONS.contains(&keyword.as_str());
        let is_open_format = keyword == "format" && !value.as_str().is_some_and(is_asserted);
        if is_check && !is_open_format {
            kept.insert(keyword.clone(), below(root, keyword, value));
        }
    }
    let reference = keywords.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    let Some(target) =
        reference.map(|pointer| root.pointer(pointer).map_or(Value::Bool(true), |target| part(root, target)))
    else {
        return Value::Object(kept);
    };
    if kept.is_empty() {
        return target;
    }
    match kept.entry("allOf").or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(parts) => parts.push(target),
        other => *other = Value::Array(vec![target]),
    }
    Value::Object(kept)
}

fn below(root: &Value, keyword: &str, value: &Value) -> Value {
    match (holds(keyword), value) {
        (Some(Holds::Schema), value) => part(root, value),
        (Some(Holds::Schemas), Value::Array(items)) => items.iter().map(|item| part(root, item)).collect(),
        (Some(Holds::SchemaMap), Value::Object(entries)) => {
            entries.iter().map(|(name, value)| (name.clone(), part(root, value))).collect()
        }
        (_, value) => value.clone(),
    }
}

/// Formats that the validator checks.
fn is_asserted(format: &str) -> bool {
    is_known_format(format) && !matches!(format, "password" | "byte" | "binary")
}
