//! Random schemas, and small changes of them.

use serde_json::{Map, Value, json};

use super::{DEFINITIONS, Random};

const NAMES: [&str; 4] = ["a", "b", "c", "ab"];

/// A schema with definitions.
pub(super) fn root(random: &mut Random) -> Value {
    let depth = 1 + random.below(3);
    let mut root = schema(random, depth, true);
    if let Value::Object(keywords) = &mut root {
        let definitions = DEFINITIONS.iter().map(|(name, _)| ((*name).to_owned(), schema(random, 1, false)));
        let definitions: Map<String, Value> = definitions.collect();
        keywords.insert("$defs".to_owned(), Value::Object(definitions));
    }
    root
}

fn schema(random: &mut Random, depth: usize, may_refer: bool) -> Value {
    if depth == 0 || random.once_in(4) {
        return match random.below(12) {
            0 => json!({}),
            1 => Value::Bool(random.once_in(2)),
            2 | 3 if may_refer => json!({"$ref": random.pick(&DEFINITIONS).1}),
            _ => scalar(random),
        };
    }
    let mut kept = Map::new();
    match random.below(7) {
        0..=2 => object(random, depth, may_refer, &mut kept),
        3 => array(random, depth, may_refer, &mut kept),
        _ => combined(random, depth, may_refer, &mut kept),
    }
    // Several at once are what goes wrong.
    if random.once_in(2) {
        combined(random, depth - 1, may_refer, &mut kept);
    }
    if random.once_in(6) {
        object(random, depth - 1, may_refer, &mut kept);
    }
    if may_refer && random.once_in(8) {
        kept.insert("$ref".to_owned(), json!(random.pick(&DEFINITIONS).1));
    }
    if random.once_in(8) {
        kept.insert("default".to_owned(), json!(1));
    }
    Value::Object(kept)
}

fn scalar(random: &mut Random) -> Value {
    let number = |random: &mut Random| random.pick(&[json!(-1), json!(0), json!(1), json!(2), json!(1.5), json!(3)]);
    match random.below(14) {
        0 => json!({"type": "string"}),
        1 => json!({"type": "string", "minLength": random.below(3), "maxLength": random.below(4)}),
        2 => json!({"type": random.pick(&["integer", "number", "null", "boolean", "object", "array"])}),
        3 => json!({"type": [random.pick(&["integer", "number"]), random.pick(&["null", "string"])]}),
        4 => json!({"minimum": number(random)}),
        5 => json!({"type": "number", "exclusiveMinimum": number(random), "maximum": number(random)}),
        6 => {
            json!({"type": "integer", "maximum": random.pick(&[json!(2), json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992.0)])})
        }
        7 => json!({"multipleOf": random.pick(&[json!(1), json!(2), json!(0.5), json!(3), json!(1e-10), json!(1.5)])}),
        8 => json!({"enum": [value(random), value(random)]}),
        9 => json!({"const": value(random)}),
        10 => json!({"pattern": random.pick(&["^a", "b$"])}),
        11 => json!({"format": random.pick(&["date", "ipv4"])}),
        12 => json!({"not": scalar(random)}),
        _ => json!({"maxLength": random.below(3)}),
    }
}

/// A small value.
pub(super) fn value(random: &mut Random) -> Value {
    random.pick(&[
        json!(null),
        json!(true),
        json!(1),
        json!(2.0),
        json!(0.5),
        json!(1e-10),
        json!(9_007_199_254_740_993_u64),
        json!("a"),
        json!("ab"),
        json!("2020-01-01"),
        json!({}),
        json!({"a": 1}),
        json!([]),
        json!([1, "a"]),
    ])
}

fn object(random: &mut Random, depth: usize, may_refer: bool, kept: &mut Map<String, Value>) {
    let below = |random: &mut Random| schema(random, depth.saturating_sub(1), may_refer);
    let mut add = |keyword: &str, value: Value| drop(kept.insert(keyword.to_owned(), value));
    if random.once_in(2) {
        add("type", json!("object"));
    }
    let names = |random: &mut Random| -> Map<String, Value> {
        (0..random.below(3)).map(|_| (random.pick(&NAMES).to_owned(), below(random))).collect()
    };
    add("properties", Value::Object(names(random)));
    if random.once_in(3) {
        let mut required = vec![random.pick(&NAMES)];
        required.extend(random.once_in(2).then(|| random.pick(&NAMES)).filter(|name| *name != required[0]));
        add("required", json!(required));
    }
    if random.once_in(5) {
        add("dependentSchemas", Value::Object(names(random)));
    }
    if random.once_in(8) {
        let (name, other) = (random.pick(&NAMES), random.pick(&NAMES));
        add("dependentRequired", json!({name: [other]}));
    }
    if random.once_in(5) {
        add("patternProperties", json!({random.pick(&["^a", "b$"]): below(random)}));
    }
    for (keyword, times) in [("additionalProperties", 3), ("unevaluatedProperties", 3), ("propertyNames", 12)] {
        if random.once_in(times) {
            let schema = if random.once_in(2) { json!(false) } else { below(random) };
            add(keyword, if keyword == "propertyNames" { json!({"maxLength": 1 + random.below(2)}) } else { schema });
        }
    }
    for keyword in ["minProperties", "maxProperties"] {
        if random.once_in(12) {
            add(keyword, json!(random.below(3)));
        }
    }
}

fn array(random: &mut Random, depth: usize, may_refer: bool, kept: &mut Map<String, Value>) {
    let below = |random: &mut Random| schema(random, depth.saturating_sub(1), may_refer);
    let mut add = |keyword: &str, value: Value| drop(kept.insert(keyword.to_owned(), value));
    if random.once_in(2) {
        add("type", json!("array"));
    }
    if random.once_in(2) {
        let prefix: Vec<Value> = (0..=random.below(2)).map(|_| below(random)).collect();
        add("prefixItems", Value::Array(prefix));
    }
    for (keyword, times) in [("items", 3), ("contains", 3), ("unevaluatedItems", 2)] {
        if random.once_in(times) {
            let schema = if random.once_in(4) { json!(false) } else { below(random) };
            add(keyword, schema);
        }
    }
    for (keyword, least) in [("minItems", 0), ("maxItems", 0), ("minContains", 0), ("maxContains", 1)] {
        if random.once_in(5) {
            add(keyword, json!(least + random.below(3)));
        }
    }
    if random.once_in(8) {
        add("uniqueItems", json!(true));
    }
}

fn combined(random: &mut Random, depth: usize, may_refer: bool, kept: &mut Map<String, Value>) {
    let below = |random: &mut Random| schema(random, depth.saturating_sub(1), may_refer);
    match random.below(6) {
        0..=2 => {
            let keyword = random.pick(&["allOf", "anyOf", "oneOf"]);
            let all: Vec<Value> = (0..=random.below(3)).map(|_| below(random)).collect();
            kept.insert(keyword.to_owned(), Value::Array(all));
        }
        3 | 4 => drop(kept.insert("not".to_owned(), below(random))),
        _ => {
            kept.insert("if".to_owned(), below(random));
            for keyword in ["then", "else"] {
                if random.once_in(2) {
                    kept.insert(keyword.to_owned(), below(random));
                }
            }
        }
    }
}

/// A schema with a few small changes.
pub(super) fn changed(schema: &Value, random: &mut Random) -> Value {
    let mut changed = schema.clone();
    for _ in 0..=random.below(3) {
        // Not every try finds something to change.
        let before = changed.clone();
        (0..20)
            .take_while(|_| {
                change(&mut changed, random, 0);
                changed == before
            })
            .count();
    }
    changed
}

fn change(value: &mut Value, random: &mut Random, depth: usize) {
    match value {
        Value::Object(keywords) if !keywords.is_empty() => {
            let names: Vec<String> = keywords.keys().cloned().collect();
            let name = random.pick(&names);
            // Below a keyword that holds schemas by name, or values.
            let is_value = matches!(
                name.as_str(),
                "required" | "type" | "enum" | "const" | "pattern" | "format" | "$ref" | "default"
            );
            match random.below(6) {
                0 if name != "$defs" && depth > 0 || name == "required" => drop(keywords.remove(&name)),
                1 if keywords.contains_key("anyOf") => rename(keywords, "anyOf", "oneOf"),
                1 if keywords.contains_key("oneOf") => rename(keywords, "oneOf", "anyOf"),
                2 if keywords.contains_key("additionalProperties") => {
                    rename(keywords, "additionalProperties", "unevaluatedProperties");
                }
                _ if is_value || name == "dependentRequired" => {}
                _ => change(&mut keywords[&name], random, depth + 1),
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let index = random.below(items.len());
            change(&mut items[index], random, depth + 1);
        }
        Value::Number(number) => {
            let more = number.as_u64().filter(|number| *number > 0).map(|number| number + 1);
            *value = more.map_or_else(|| value.clone(), Value::from);
        }
        Value::Bool(allowed) => *value = Value::Bool(!*allowed),
        _ => {}
    }
}

fn rename(keywords: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = keywords.remove(from) {
        keywords.insert(to.to_owned(), value);
    }
}
