//! Inlines the references of a schema and removes annotations.

use serde_json::{Map, Value, json};
use walpost_producer::schema::inspect::references;
use walpost_producer::schema::keywords::{Holds, holds};
use walpost_producer::schema::reference::References;

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
/// ensures, and no dangling ones.
#[must_use]
pub fn inline(schema: &Value) -> Value {
    Inliner { root: schema, references: references(schema) }.part(schema)
}

struct Inliner<'a> {
    root: &'a Value,
    references: References,
}

impl Inliner<'_> {
    fn part(&self, schema: &Value) -> Value {
        let Value::Object(keywords) = schema else { return schema.clone() };
        let mut kept = Map::new();
        let mut further = Vec::new();
        for (keyword, value) in keywords {
            let is_check = holds(keyword).is_some() && !ANNOTATIONS.contains(&keyword.as_str());
            let is_unchecked = keyword == "format" && value.as_str().is_some_and(is_unchecked);
            if is_check && !is_unchecked {
                kept.insert(keyword.clone(), self.below(keyword, value));
            } else if keyword == "dependencies" {
                further.extend(self.dependencies(value));
            }
        }
        if let Some(target) = keywords.get("$ref").and_then(Value::as_str).map(|reference| self.target(reference)) {
            if kept.is_empty() && further.is_empty() {
                return target;
            }
            further.push(target);
        }
        if !further.is_empty() {
            match kept.entry("allOf").or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(parts) => parts.append(&mut further),
                other => *other = Value::Array(further),
            }
        }
        Value::Object(kept)
    }

    /// What a reference leads to; one that leads nowhere allows nothing.
    fn target(&self, reference: &str) -> Value {
        let pointer = self.references.pointer(reference).ok();
        let target = pointer.and_then(|pointer| self.root.pointer(&pointer));
        target.map_or(Value::Bool(false), |target| self.part(target))
    }

    /// `dependencies` of older drafts, which the validator checks in every schema.
    fn dependencies(&self, value: &Value) -> Option<Value> {
        let (names, schemas): (Map<_, _>, Map<_, _>) = value
            .as_object()?
            .iter()
            .map(|(name, value)| (name.clone(), if value.is_array() { value.clone() } else { self.part(value) }))
            .partition(|(_, value)| value.is_array());
        Some(json!({"dependentRequired": names, "dependentSchemas": schemas}))
    }

    fn below(&self, keyword: &str, value: &Value) -> Value {
        match (holds(keyword), value) {
            (Some(Holds::Schema), value) => self.part(value),
            (Some(Holds::Schemas), Value::Array(items)) => items.iter().map(|item| self.part(item)).collect(),
            (Some(Holds::SchemaMap), Value::Object(entries)) => {
                entries.iter().map(|(name, value)| (name.clone(), self.part(value))).collect()
            }
            (_, value) => value.clone(),
        }
    }
}

/// Formats that say nothing about a text.
fn is_unchecked(format: &str) -> bool {
    matches!(format, "password" | "byte" | "binary")
}
