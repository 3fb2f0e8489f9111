//! What a reader accepts, as a JSON Schema: it ignores properties that its schema does not name, and fills in defaults.

use serde_json::{Map, Value, json};

/// The schema of what a reader with this schema accepts. Negations are taken as written.
pub(super) fn tolerant(schema: &Value) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let mut kept = Map::new();
    let mut further = Vec::new();
    for (keyword, value) in keywords {
        match (keyword.as_str(), value) {
            ("additionalProperties" | "unevaluatedProperties", Value::Bool(false)) => {}
            ("required", Value::Array(names)) => {
                let has_default = |name: &&Value| {
                    let name = name.as_str().unwrap_or_default();
                    keywords.get("properties").and_then(|all| all.get(name)?.get("default")).is_some()
                };
                let names = names.iter().filter(|name| !has_default(name)).cloned();
                kept.insert(keyword.clone(), names.collect());
            }
            ("oneOf", Value::Array(alternatives)) => {
                let only = |(index, one): (usize, &Value)| {
                    let others = alternatives.iter().enumerate().filter(|(other, _)| *other != index);
                    let none = others.map(|(_, other)| json!({"not": other}));
                    let all: Vec<Value> = std::iter::once(tolerant(one)).chain(none).collect();
                    json!({ "allOf": all })
                };
                let any: Vec<Value> = alternatives.iter().enumerate().map(only).collect();
                further.push(json!({ "anyOf": any }));
            }
            ("contains", contains) => {
                if let Some(most) = keywords.get("maxContains") {
                    further.push(json!({"contains": contains, "minContains": 0, "maxContains": most}));
                }
                kept.insert(keyword.clone(), tolerant(contains));
            }
            ("maxContains", _) => {}
            ("properties" | "patternProperties" | "dependentSchemas", Value::Object(entries)) => {
                let entries = entries.iter().map(|(name, schema)| (name.clone(), tolerant(schema)));
                kept.insert(keyword.clone(), Value::Object(entries.collect()));
            }
            ("allOf" | "anyOf" | "prefixItems", Value::Array(schemas)) => {
                kept.insert(keyword.clone(), schemas.iter().map(tolerant).collect());
            }
            (
                "items" | "additionalProperties" | "unevaluatedProperties" | "unevaluatedItems" | "then" | "else",
                schema,
            ) => {
                kept.insert(keyword.clone(), tolerant(schema));
            }
            _ => drop(kept.insert(keyword.clone(), value.clone())),
        }
    }
    if !further.is_empty()
        && let Value::Array(parts) = kept.entry("allOf").or_insert_with(|| json!([]))
    {
        parts.append(&mut further);
    }
    Value::Object(kept)
}
