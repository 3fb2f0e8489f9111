use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use serde_json::json;

use super::cost::Size;
use super::*;

/// A keyword that counts how often it is examined.
const COUNT: &str = "x-count";

struct Count(Arc<AtomicU64>);

impl<'i> jsonschema::Keyword<'i> for Count {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        self.is_valid(instance);
        Ok(())
    }

    fn is_valid(&self, _: &'i Value) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        true
    }
}

fn nested_unevaluated(levels: usize) -> Value {
    (0..levels).fold(
        json!({"properties": {"a": {"type": "integer"}}}),
        |inner, _| json!({"allOf": [inner], "unevaluatedProperties": false}),
    )
}

#[test]
fn case_38_a_schema_whose_check_grows_exponentially_is_refused() {
    let dependencies: serde_json::Map<String, Value> = (0..27)
        .map(|level: usize| {
            let next = json!({"$ref": format!("#/$defs/d{}", level.saturating_sub(1))});
            let schema = json!({"dependencies": {"a": {"allOf": [next, next]}, "b": ["a"]}});
            (format!("d{level}"), if level == 0 { json!({"type": "object"}) } else { schema })
        })
        .collect();
    let items = (0..24).fold(
        json!({"prefixItems": [true]}),
        |inner, _| json!({"anyOf": [inner], "unevaluatedItems": {"type": "integer"}}),
    );
    let chain: serde_json::Map<String, Value> = (0..1_000)
        .map(|link| {
            (format!("d{link}"), if link == 0 { json!({}) } else { json!({"$ref": format!("#/$defs/d{}", link - 1)}) })
        })
        .collect();
    let patterns: serde_json::Map<String, Value> =
        (0..100).map(|n| (format!("p{n}"), json!({"pattern": format!("[a-z]{{1000}}{n}")}))).collect();
    for (name, schema, rule) in [
        ("nested unevaluatedProperties", nested_unevaluated(24), SchemaRule::Nesting),
        ("nested unevaluatedItems", items, SchemaRule::Nesting),
        ("dependencies", json!({"$defs": dependencies, "$ref": "#/$defs/d26"}), SchemaRule::Nesting),
        ("a chain of references", json!({"$defs": chain, "$ref": "#/$defs/d999"}), SchemaRule::Nesting),
        ("a long pattern", json!({"pattern": "a".repeat(20_000)}), SchemaRule::Pattern),
        ("many patterns", json!({"properties": patterns}), SchemaRule::Pattern),
    ] {
        let fault = Schema::compile(&schema).expect_err(name);
        assert_eq!(fault.rule, rule, "{name}: {fault}");
        assert!(!fault.pointer.is_empty(), "{name} has a place: {fault}");
    }
    let long = format!("{{\"title\": \"{}\"}}", "x".repeat(1_100_000));
    assert_eq!(Schema::parse(&long).expect_err("it is too long").rule, SchemaRule::Nesting);
}

#[test]
fn case_38_the_deepest_accepted_schema_does_not_overflow_a_thread() {
    let chain: serde_json::Map<String, Value> = (0..199)
        .map(|link| {
            let next = json!({"$ref": format!("#/$defs/d{}", link - 1)});
            (format!("d{link}"), if link == 0 { json!({"required": ["b"]}) } else { next })
        })
        .collect();
    let schema = json!({"$defs": chain, "anyOf": [{"$ref": "#/$defs/d198"}]});
    let check = move || {
        let schema = Schema::compile(&schema).expect("it is taken");
        assert_eq!(schema.check(b"{\"b\": 1}"), Ok(()));
        assert_eq!(schema.check(b"{\"a\": 1}").expect_err("b is missing").rule, "anyOf");
    };
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(check).expect("a thread");
    thread.join().expect("it neither panics nor overflows");
}

#[test]
fn case_38_a_payload_that_could_take_too_long_is_not_checked() {
    // Each of 150 branches examines each item; nine of ten real schemas have a hundredth of that.
    let branches: Vec<Value> = (0..150)
        .map(|n| json!({"items": {"anyOf": (0..100).map(|m| json!({"minLength": n * m + 2})).collect::<Vec<_>>()}}))
        .collect();
    let schema = Schema::compile(&json!({ "anyOf": branches })).expect("it is taken");
    let few = schema.check_value(&json!([""])).expect_err("it is too short");
    assert_eq!(few.rule, "anyOf", "{few}");
    // Errors of 15,000 branches for each item are not collected.
    let some = schema.check_value(&Value::from(vec![""; 100])).expect_err("they are too short");
    assert_eq!((some.rule.as_str(), some.pointer.as_str()), ("schema", ""), "{some}");
    let many = schema.check_value(&Value::from(vec![""; 100_000])).expect_err("it is not checked");
    assert_eq!(many.rule, COST, "{many}");
    assert!(many.detail.starts_with("100001 values with 0 bytes of text could take "), "{many}");
}

#[test]
fn case_38_texts_cost_by_their_length_and_by_what_they_are_matched_with() {
    let text = Value::from("a".repeat(1_000_000));
    let wide = Schema::compile(&json!({"pattern": "(a|b)*a(a|b){500}$"})).expect("it is linear");
    assert_eq!(wide.check_value(&text).expect_err("it is not matched").rule, COST);
    let narrow = Schema::compile(&json!({"pattern": "^[ab]+$", "maxLength": 2_000_000})).expect("it is linear");
    assert_eq!(narrow.check_value(&text), Ok(()));
    let regex = Schema::compile(&json!({"format": "regex"})).expect("a known format");
    assert_eq!(regex.check(b"\"^a(b|c)*$\""), Ok(()));
    assert_eq!(regex.check(b"\"(\"").expect_err("it is none").rule, "format");
    let names: String = (0..100_000).map(|n| format!("(?<n{n}>)")).collect();
    assert_eq!(regex.check_value(&Value::from(names)).expect_err("it is too long").rule, "format");
}

#[test]
fn case_38_arrays_that_collide_in_every_hash_are_compared_in_time() {
    let schema = Schema::compile(&json!({"uniqueItems": true})).expect("a schema");
    // Arrays of empty arrays, which all have the hash of an empty input.
    let shapes: Vec<Value> = (0..20_000_u32)
        .map(|n| Value::Array((0..16).map(|bit| if n >> bit & 1 == 1 { json!([[]]) } else { json!([]) }).collect()))
        .collect();
    let mut items = Value::Array(shapes);
    assert_eq!(schema.check_value(&items), Ok(()));
    let again = items[7].clone();
    items.as_array_mut().expect("an array").push(again);
    let violation = schema.check_value(&items).expect_err("one is there twice");
    assert_eq!((violation.rule.as_str(), violation.detail.as_str()), ("uniqueItems", "value has non-unique elements"));
}

#[test]
fn ordinary_schemas_are_accepted_and_check_any_payload() {
    let line = json!({
        "type": "object", "additionalProperties": false, "required": ["sku", "quantity", "price"],
        "properties": {
            "sku": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4,8}$"},
            "quantity": {"type": "integer", "minimum": 1},
            "price": {"type": "string", "pattern": "^-?[0-9]{1,12}\\.[0-9]{2}$"},
            "note": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 500}]},
        }
    });
    let base = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "string", "format": "uuid"}, "at": {"format": "date-time"}}});
    let order = json!({
        "$defs": {"line": line, "base": base},
        "allOf": [{"$ref": "#/$defs/base"}], "unevaluatedProperties": false,
        "properties": {"kind": {"const": "order"}, "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "uniqueItems": true}},
    });
    let compiled = Schema::compile(&order).expect("an ordinary schema");
    let lines: Vec<Value> = (0..20_000)
        .map(|n| json!({"sku": format!("ABC-{n:04}"), "quantity": 1, "price": "12.50", "note": null}))
        .collect();
    let payload = json!({"id": "01890a5d-ac96-774b-bcce-b302099a8057", "at": "2026-01-01T00:00:00Z", "kind": "order", "lines": lines});
    assert_eq!(compiled.check_value(&payload), Ok(()));
    // An envelope of 300 kinds of event, each with thirty properties.
    let kinds: Vec<Value> = (0..300)
        .map(|kind| {
            let mut properties: serde_json::Map<String, Value> =
                (0..30).map(|n| (format!("p{n}"), json!({"type": ["string", "null"], "maxLength": 100}))).collect();
            properties.insert("kind".to_owned(), json!({"const": format!("k{kind}")}));
            json!({"type": "object", "properties": properties, "required": ["kind"], "additionalProperties": false})
        })
        .collect();
    let envelope = Schema::compile(&json!({ "oneOf": kinds })).expect("a large schema");
    let mut event: serde_json::Map<String, Value> = (0..30).map(|n| (format!("p{n}"), json!("x".repeat(90)))).collect();
    event.insert("kind".to_owned(), json!("k299"));
    assert_eq!(envelope.check_value(&Value::Object(event)), Ok(()));
    for levels in 1..=6 {
        assert_eq!(
            Schema::compile(&nested_unevaluated(levels)).expect("so few are taken").check(b"{\"a\": 1}"),
            Ok(())
        );
    }
}

fn leaf() -> impl Strategy<Value = Value> {
    let types = proptest::sample::select(&["integer", "string", "array", "object", "null"][..]);
    prop_oneof![
        types.prop_map(|kind| json!({ "type": kind })),
        Just(json!({})),
        Just(json!({"$ref": "#/$defs/a"})),
        Just(json!({"required": ["a"]})),
        Just(json!({"maxLength": 1, "minimum": 2})),
    ]
}

/// Schemas with every keyword that applies another schema, each of which counts.
fn schemas() -> impl Strategy<Value = Value> {
    let counted = |mut schema: Value| {
        schema[COUNT] = json!(true);
        schema
    };
    leaf().prop_map(counted).prop_recursive(5, 40, 3, move |inner| {
        let all = || proptest::collection::vec(inner.clone(), 1..4);
        let one = || inner.clone();
        let properties = || proptest::collection::btree_map("[ab]", inner.clone(), 1..3);
        let what = prop_oneof![
            (all(), proptest::sample::select(&["allOf", "anyOf", "oneOf", "prefixItems"][..]))
                .prop_map(|(schemas, keyword)| json!({ keyword: schemas })),
            (
                one(),
                proptest::sample::select(&["not", "items", "contains", "additionalProperties", "propertyNames"][..])
            )
                .prop_map(|(schema, keyword)| json!({ keyword: schema })),
            (
                properties(),
                proptest::sample::select(&["properties", "patternProperties", "dependentSchemas", "dependencies"][..])
            )
                .prop_map(|(schemas, keyword)| json!({ keyword: schemas })),
            (one(), one(), one()).prop_map(|(a, b, c)| json!({"if": a, "then": b, "else": c})),
        ];
        (proptest::collection::vec(what, 1..4), proptest::option::of(one()), proptest::option::of(one())).prop_map(
            move |(parts, members, items)| {
                let mut schema = json!({});
                for part in parts {
                    for (keyword, value) in part.as_object().expect("an object") {
                        schema[keyword] = value.clone();
                    }
                }
                members.into_iter().for_each(|rest| schema["unevaluatedProperties"] = rest);
                items.into_iter().for_each(|rest| schema["unevaluatedItems"] = rest);
                counted(schema)
            },
        )
    })
}

fn payloads() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![Just(json!(null)), (0..4_i64).prop_map(Value::from), "[ab]{0,3}".prop_map(Value::from)];
    scalar.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[abc]", inner, 0..4).prop_map(|entries| json!(entries)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// The validator never does more work than estimated, neither to check a payload nor to locate a violation.
    #[test]
    fn case_38_the_estimated_cost_is_never_exceeded(root in schemas(), shared in schemas(), payload in payloads()) {
        let shared = shared.to_string().replace("\"$ref\":\"#/$defs/a\",", "");
        let mut schema = root;
        schema["$defs"] = json!({"a": serde_json::from_str::<Value>(&shared).expect("it is JSON still")});
        let Ok(cost) = inspect::cost(&schema) else { return Ok(()) };
        let count = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&count);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex())
            .with_keyword(COUNT, move |_, _, _| Ok(Box::new(Count(Arc::clone(&counter)))))
            .build(&schema)
            .expect("it was inspected");
        let is_valid = validator.is_valid(&payload);
        // Each examination of a keyword counts ten.
        let counted = count.swap(0, Ordering::Relaxed) * 10;
        let reckoned = cost.check(Size::of(&payload));
        prop_assert!(counted <= reckoned, "{counted} of {reckoned}: {schema} {payload}");
        if !is_valid {
            let _ = validator.validate(&payload);
            let counted = count.load(Ordering::Relaxed) * 10;
            let reckoned = cost.locate(Size::of(&payload));
            prop_assert!(counted <= reckoned, "{counted} of {reckoned} to locate: {schema} {payload}");
        }
    }
}
