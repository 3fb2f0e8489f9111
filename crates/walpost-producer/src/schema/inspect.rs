//! Checks a schema before it is compiled: it must be bounded in size, not recursive, and self-contained.
//!
//! A validator follows references for each payload. One that points outside the schema would make a check depend on another server; a
//! circular one would let the payload decide how deep it recurses; and a few lines that each refer twice to the next, or that nest
//! `unevaluatedProperties`, are an exponential amount of work. All of them are refused here. [`cost`](super::cost) bounds the cost of
//! the remaining schemas.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::cost::{Applied, Cost};
use super::fault::{SchemaFault, SchemaRule};
use super::keywords::{Holds, holds};
use super::patterns::Patterns;
use super::pointer::{DEPTH_MAX, step};
use super::reference::References;

/// Maximum number of schemas with every reference expanded, counting every branch next to `unevaluatedProperties` and
/// `unevaluatedItems` as often as it is checked.
const EXPANDED_MAX: u64 = 20_000;
/// Maximum nesting of schemas, with references expanded: the validator recurses.
const EXPANDED_DEPTH_MAX: u64 = 200;
/// The only dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Maximum total bytes of the JSON pointers of all schemas in a schema: the compiler keeps such pointers too.
const POINTERS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A schema within the schema.
pub(super) struct Subschema<'a> {
    /// JSON pointers of the schemas that it applies.
    applied: Vec<(Applied, String)>,
    pub(super) keywords: Option<&'a Map<String, Value>>,
}

/// Checks a whole schema.
///
/// # Errors
/// The first fault.
pub fn inspect(schema: &Value) -> Result<(), SchemaFault> {
    cost(schema).map(drop)
}

/// Checks a whole schema and returns the cost of checks with it.
pub(super) fn cost(schema: &Value) -> Result<Cost, SchemaFault> {
    depth(schema)?;
    let parts = parts(schema)?;
    let references = References::of(schema, parts.iter().map(|(pointer, part)| (pointer.as_str(), part.keywords)));
    let mut patterns = Patterns::default();
    let mut edges: BTreeMap<&str, Edges<'_>> = BTreeMap::new();
    for (pointer, part) in &parts {
        let mut applied = part.applied.clone();
        applied.extend(reference(pointer, part, &parts, &references)?.map(|target| (Applied::Same, target)));
        if let Some(keywords) = part.keywords {
            patterns.take(pointer, keywords)?;
        }
        edges.insert(pointer, Edges { applied, keywords: part.keywords });
    }
    expand(&edges, &patterns)
}

/// A schema within the schema, with its reference expanded.
struct Edges<'a> {
    applied: Vec<(Applied, String)>,
    keywords: Option<&'a Map<String, Value>>,
}

/// Keywords that draft 2020-12 does not define, each with its JSON pointer; and formats that nothing checks.
#[must_use]
pub fn unknown(schema: &Value) -> Vec<SchemaFault> {
    let Ok(parts) = parts(schema) else { return Vec::new() };
    let mut faults = Vec::new();
    for (pointer, part) in &parts {
        for (keyword, value) in part.keywords.into_iter().flatten() {
            if holds(keyword).is_none() && !keyword.starts_with("x-") {
                let detail = format!("draft 2020-12 has no keyword \"{keyword}\"; prefix your own keywords with x-");
                faults.push(SchemaFault { pointer: step(pointer, keyword), rule: SchemaRule::UnknownKeyword, detail });
            }
            let format = value.as_str().filter(|_| keyword == "format");
            if let Some(format) = format.filter(|format| !super::keywords::is_known_format(format)) {
                let detail = format!("format \"{format}\" is not checked; use a pattern");
                faults.push(SchemaFault { pointer: step(pointer, keyword), rule: SchemaRule::UnknownFormat, detail });
            }
        }
    }
    faults
}

fn refuse(pointer: &str, rule: SchemaRule, detail: impl Into<String>) -> SchemaFault {
    SchemaFault { pointer: pointer.to_owned(), rule, detail: detail.into() }
}

/// Level by level, so that depth needs no stack.
fn depth(schema: &Value) -> Result<(), SchemaFault> {
    let mut level = vec![schema];
    for _ in 0..DEPTH_MAX {
        level = level.into_iter().flat_map(children).collect();
        if level.is_empty() {
            return Ok(());
        }
    }
    Err(refuse("", SchemaRule::Nesting, format!("nested more than {DEPTH_MAX} levels deep")))
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(entries) => Box::new(entries.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// The names under which the schema's parts can be referred to. A schema that can't be inspected has only its own.
#[must_use]
pub fn references(schema: &Value) -> References {
    let parts = parts(schema).unwrap_or_default();
    References::of(schema, parts.iter().map(|(pointer, part)| (pointer.as_str(), part.keywords)))
}

/// Every schema in the schema, by its JSON pointer.
fn parts(schema: &Value) -> Result<BTreeMap<String, Subschema<'_>>, SchemaFault> {
    let mut parts = BTreeMap::new();
    let mut open = vec![(String::new(), schema)];
    let mut bytes = 0;
    while let Some((pointer, value)) = open.pop() {
        bytes += pointer.len();
        if bytes > POINTERS_BYTES_MAX {
            return Err(refuse("", SchemaRule::Nesting, "too many long names nested in each other"));
        }
        let keywords = match value {
            Value::Bool(_) => None,
            Value::Object(keywords) => Some(keywords),
            _ => return Err(refuse(&pointer, SchemaRule::Schema, "a schema must be an object, true or false")),
        };
        let mut applied = Vec::new();
        for (keyword, value) in keywords.into_iter().flatten() {
            let below = step(&pointer, keyword);
            let found: Vec<(String, &Value)> = match (held(keyword), value) {
                (Holds::Schema, value) => vec![(below, value)],
                (Holds::Schemas, Value::Array(items)) => {
                    items.iter().enumerate().map(|(index, item)| (format!("{below}/{index}"), item)).collect()
                }
                (Holds::SchemaMap | Holds::Definitions, Value::Object(entries)) => {
                    // `dependencies` may have lists of names too.
                    let schemas = entries.iter().filter(|(_, value)| keyword != DEPENDENCIES || !value.is_array());
                    schemas.map(|(name, value)| (step(&below, name), value)).collect()
                }
                // The metaschema refuses values of the wrong type.
                _ => Vec::new(),
            };
            if holds(keyword) != Some(Holds::Definitions) {
                let how = Applied::by(keyword);
                applied.extend(found.iter().map(|(pointer, _)| (how, pointer.clone())));
            }
            open.extend(found);
        }
        parts.insert(pointer, Subschema { applied, keywords });
    }
    Ok(parts)
}

/// A keyword of older drafts that the validator applies in every schema.
const DEPENDENCIES: &str = "dependencies";

/// What the validator finds under a keyword.
fn held(keyword: &str) -> Holds {
    if keyword == DEPENDENCIES { Holds::SchemaMap } else { holds(keyword).unwrap_or(Holds::Value) }
}

/// The JSON pointer of the target of this schema's reference, if it has one.
fn reference(
    pointer: &str,
    part: &Subschema<'_>,
    parts: &BTreeMap<String, Subschema<'_>>,
    references: &References,
) -> Result<Option<String>, SchemaFault> {
    let Some(keywords) = part.keywords else { return Ok(None) };
    if let Some(dialect) =
        keywords.get("$schema").filter(|dialect| dialect.as_str().map(|d| d.trim_end_matches('#')) != Some(DIALECT))
    {
        let detail = format!("dialect {dialect} is not supported; use draft 2020-12: \"{DIALECT}\"");
        return Err(refuse(&step(pointer, "$schema"), SchemaRule::Schema, detail));
    }
    if !pointer.is_empty() && keywords.contains_key("$id") {
        let detail = "a nested $id starts another document; remove it and refer to the schema by #/$defs/...";
        return Err(refuse(&step(pointer, "$id"), SchemaRule::RemoteRef, detail));
    }
    for keyword in ["$dynamicRef", "$recursiveRef"] {
        if keywords.contains_key(keyword) {
            let detail = "recursive schemas are not supported: the depth of a check would depend on the payload";
            return Err(refuse(&step(pointer, keyword), SchemaRule::CyclicRef, detail));
        }
    }
    let Some(reference) = keywords.get("$ref") else { return Ok(None) };
    let at = step(pointer, "$ref");
    let Some(reference) = reference.as_str() else {
        return Err(refuse(&at, SchemaRule::Schema, "$ref is not a string"));
    };
    let Ok(target) = references.pointer(reference) else {
        let detail = format!(
            "\"{reference}\" leads out of this schema; put its target under $defs and refer to it by #/$defs/..."
        );
        return Err(refuse(&at, SchemaRule::RemoteRef, detail));
    };
    match parts.contains_key(&target) {
        true => Ok(Some(target)),
        false => {
            Err(refuse(&at, SchemaRule::DanglingRef, format!("\"{reference}\" has no target; write #/$defs/<name>")))
        }
    }
}

/// Checks that no schema applies itself, and that the expanded total is within the limit. Returns the total cost.
fn expand(edges: &BTreeMap<&str, Edges<'_>>, patterns: &Patterns) -> Result<Cost, SchemaFault> {
    // The cost of each. `None`: it is being visited further up.
    let mut costs: HashMap<&str, Option<Cost>> = HashMap::new();
    for start in edges.keys() {
        let mut stack = vec![(*start, 0_usize)];
        while let Some((pointer, next)) = stack.pop() {
            if next == 0 {
                match costs.get(pointer) {
                    Some(Some(_)) => continue,
                    Some(None) => {
                        let detail = "refers back to itself; recursive schemas are not supported: the depth of a check would depend on the payload";
                        // A schema is its own ancestor only through a reference: it is circular.
                        let from = stack.last().map_or("", |(from, _)| from);
                        return Err(refuse(&step(from, "$ref"), SchemaRule::CyclicRef, detail));
                    }
                    None => costs.insert(pointer, None),
                };
            }
            let Edges { applied, keywords } = &edges[pointer];
            if let Some((_, target)) = applied.get(next) {
                stack.push((pointer, next + 1));
                let (target, _) = edges.get_key_value(target.as_str()).expect("every target is a part");
                stack.push((target, 0));
                continue;
            }
            let known = |target: &String| costs.get(target.as_str()).copied().flatten().unwrap_or_default();
            let cost = Cost::of(*keywords, applied.iter().map(|(how, target)| (*how, known(target))), patterns);
            if cost.schemas() > EXPANDED_MAX {
                let detail = format!(
                    "expands to more than {EXPANDED_MAX} schemas, with references followed and what unevaluatedProperties and \
                     unevaluatedItems check again counted again"
                );
                return Err(refuse(pointer, SchemaRule::Nesting, detail));
            }
            if cost.depth() > EXPANDED_DEPTH_MAX {
                let detail = format!("more than {EXPANDED_DEPTH_MAX} levels of schemas, with references followed");
                return Err(refuse(pointer, SchemaRule::Nesting, detail));
            }
            costs.insert(pointer, Some(cost));
        }
    }
    Ok(costs.get("").copied().flatten().unwrap_or_default())
}
