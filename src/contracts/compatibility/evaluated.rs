//! What `unevaluatedProperties` and `unevaluatedItems` apply to.
//!
//! That depends on which of the schemas beside them a payload keeps to. So two sets are told apart: what a schema evaluates of every
//! payload that keeps to it, which is all that a reader may count on, and what it evaluates of some payload, which a writer's
//! `unevaluated...` need not apply to.

use serde_json::{Map, Value};

type Keywords = Map<String, Value>;

/// A schema, and those of its `allOf`.
pub(super) fn certain(part: &Keywords) -> Vec<&Keywords> {
    let below = part.get("allOf").and_then(Value::as_array).into_iter().flatten();
    let below = below.filter_map(Value::as_object).flat_map(certain);
    std::iter::once(part).chain(below).collect()
}

/// The schema of the properties of a writer that its schema neither names nor matches by a pattern, and the names to which it does
/// not apply either. `None` if they may be anything.
pub(super) fn further_properties(part: &Keywords) -> Option<(&Value, Vec<&str>)> {
    if let Some(schema) = part.get("additionalProperties") {
        return Some((schema, Vec::new()));
    }
    let schema = part.get("unevaluatedProperties")?;
    let mut names = Vec::new();
    beside(part).into_iter().all(|schema| add_names(schema, &mut names)).then_some((schema, names))
}

/// Adds the names that a schema may evaluate. `false` if that can't be listed.
fn add_names<'a>(schema: &'a Value, names: &mut Vec<&'a str>) -> bool {
    let Value::Object(part) = schema else { return true };
    if ["additionalProperties", "unevaluatedProperties", "patternProperties"].iter().any(|one| part.contains_key(*one))
    {
        return false;
    }
    names
        .extend(part.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str()));
    beside(part).into_iter().all(|schema| add_names(schema, names))
}

/// The schema of a writer's items that come after its `prefixItems`, and the index from which on it applies. `None` if they may be
/// anything.
pub(super) fn further_items(part: &Keywords) -> Option<(&Value, usize)> {
    let own = prefix(part);
    if let Some(schema) = part.get("items") {
        return Some((schema, own));
    }
    let schema = part.get("unevaluatedItems").filter(|_| !part.contains_key("contains"))?;
    let longest =
        beside(part).into_iter().map(evaluated_items).try_fold(own, |most, length| Some(most.max(length?)))?;
    Some((schema, longest))
}

/// The most items that a schema may evaluate from the first on; `None` if it may evaluate any.
fn evaluated_items(schema: &Value) -> Option<usize> {
    let Value::Object(part) = schema else { return Some(0) };
    if ["items", "unevaluatedItems", "contains"].iter().any(|one| part.contains_key(*one)) {
        return None;
    }
    beside(part).into_iter().map(evaluated_items).try_fold(prefix(part), |most, length| Some(most.max(length?)))
}

/// The length of `prefixItems`.
pub(super) fn prefix(part: &Keywords) -> usize {
    part.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len)
}

/// The schemas that apply to the same value, whether a payload must keep to them or not.
fn beside(part: &Keywords) -> Vec<&Value> {
    let lists = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|keyword| part.get(keyword)?.as_array()).flatten();
    let single = ["if", "then", "else", "not"].into_iter().filter_map(|keyword| part.get(keyword));
    let dependent = part.get("dependentSchemas").and_then(Value::as_object).into_iter().flatten();
    lists.chain(single).chain(dependent.map(|(_, schema)| schema)).collect()
}
