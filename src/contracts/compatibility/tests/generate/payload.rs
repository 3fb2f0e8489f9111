//! Payloads that probably keep to a schema.

use serde_json::{Map, Value, json};

use super::Random;
use super::schema::value;

/// A payload for a schema without references.
pub(in super::super) fn of(schema: &Value, random: &mut Random, depth: usize) -> Value {
    let Value::Object(keywords) = schema else { return any(random, depth) };
    if depth == 0 || random.once_in(8) {
        return any(random, depth);
    }
    if let Some(one) = keywords.get("const") {
        return one.clone();
    }
    if let Some(Value::Array(all)) = keywords.get("enum").filter(|all| *all != &json!([])) {
        return random.pick(all);
    }
    // One of the schemas for this value decides its kind, and the object's or array's own keywords join in.
    let mut parts: Vec<&Value> = Vec::new();
    for keyword in ["allOf", "anyOf", "oneOf"] {
        parts.extend(keywords.get(keyword).and_then(Value::as_array).into_iter().flatten());
    }
    parts.extend(["if", "then", "else"].iter().filter_map(|keyword| keywords.get(*keyword)));
    parts.extend(keywords.get("dependentSchemas").and_then(Value::as_object).into_iter().flatten().map(|(_, one)| one));
    let own = kind(keywords, random);
    let mut payload = match own {
        Some("object") => object(keywords, random, depth),
        Some("array") => array(keywords, random, depth),
        Some(kind) => scalar(kind, random),
        None if parts.is_empty() => any(random, depth),
        None => Value::Null,
    };
    for part in &parts {
        if own.is_none() || random.once_in(2) {
            let other = of(part, random, depth - 1);
            match (&mut payload, other) {
                (Value::Object(entries), Value::Object(others)) => entries.extend(others),
                (payload, other) if own.is_none() => *payload = other,
                _ => {}
            }
        }
    }
    payload
}

/// The type that a schema asks for, or that its keywords are about.
fn kind(keywords: &Map<String, Value>, random: &mut Random) -> Option<&'static str> {
    const KINDS: [&str; 7] = ["null", "boolean", "object", "array", "integer", "number", "string"];
    let named = match keywords.get("type") {
        Some(Value::Array(kinds)) if !kinds.is_empty() => random.pick(kinds),
        Some(kind) => kind.clone(),
        None => Value::Null,
    };
    let named = KINDS.into_iter().find(|kind| named == *kind);
    let about = |of: &[&str]| of.iter().any(|keyword| keywords.contains_key(*keyword));
    named.or_else(|| match keywords {
        _ if about(&["properties", "patternProperties", "additionalProperties"]) => Some("object"),
        _ if about(&["prefixItems", "items", "contains", "unevaluatedItems", "minItems", "maxItems"]) => Some("array"),
        _ if about(&["minimum", "maximum", "exclusiveMinimum", "multipleOf"]) => Some("number"),
        _ if about(&["minLength", "maxLength", "pattern", "format"]) => Some("string"),
        _ => None,
    })
}

fn object(keywords: &Map<String, Value>, random: &mut Random, depth: usize) -> Value {
    let mut payload = Map::new();
    let required = |name: &str| {
        keywords.get("required").and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| one == name))
    };
    let properties = keywords.get("properties").and_then(Value::as_object);
    for (name, schema) in properties.into_iter().flatten() {
        if required(name) || random.once_in(2) {
            payload.insert(name.clone(), of(schema, random, depth - 1));
        }
    }
    let further = ["additionalProperties", "unevaluatedProperties"].iter().find_map(|keyword| keywords.get(*keyword));
    let pattern = keywords.get("patternProperties").and_then(|all| all.as_object()?.values().next());
    for name in ["a", "b", "c", "ab", "d"] {
        if !payload.contains_key(name) && (required(name) || random.once_in(6)) {
            let schema = pattern.filter(|_| name.starts_with('a')).or(further).cloned().unwrap_or_default();
            payload.insert(name.to_owned(), of(&schema, random, depth - 1));
        }
    }
    Value::Object(payload)
}

fn array(keywords: &Map<String, Value>, random: &mut Random, depth: usize) -> Value {
    let prefix = keywords.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let rest: Vec<&Value> =
        ["items", "contains", "unevaluatedItems"].iter().filter_map(|keyword| keywords.get(*keyword)).collect();
    let item = |index: usize, random: &mut Random| match prefix.get(index) {
        Some(schema) => of(schema, random, depth - 1),
        None if rest.is_empty() => any(random, depth - 1),
        None => of(random.pick(&rest), random, depth - 1),
    };
    (0..random.below(4)).map(|index| item(index, random)).collect()
}

fn scalar(kind: &str, random: &mut Random) -> Value {
    match kind {
        "null" => Value::Null,
        "boolean" => Value::Bool(random.once_in(2)),
        "string" => {
            random.pick(&[json!(""), json!("a"), json!("b"), json!("ab"), json!("2020-01-01"), json!("1.2.3.4")])
        }
        _ => random.pick(&[
            json!(-1),
            json!(0),
            json!(1),
            json!(2),
            json!(3),
            json!(1.5),
            json!(0.5),
            json!(2.0),
            json!(1e-10),
            json!(9_007_199_254_740_993_u64),
        ]),
    }
}

fn any(random: &mut Random, depth: usize) -> Value {
    if depth == 0 || random.once_in(2) {
        return value(random);
    }
    match random.below(3) {
        0 => scalar("number", random),
        1 => object(&Map::new(), random, depth),
        _ => scalar("string", random),
    }
}
