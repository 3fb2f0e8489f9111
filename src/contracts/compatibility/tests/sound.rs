//! Soundness: if no breach is found, the reader's schema allows every payload that the writer's allows.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use walpost_producer::schema::Schema;

use super::super::{breaches, inline};
use super::tolerant::tolerant;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"type": ["string", "null"]})),
        (0_u64..4, 2_u64..5).prop_map(|(least, most)| json!({"type": "string", "minLength": least, "maxLength": most})),
        (-2_i64..2, 0_i64..4)
            .prop_map(|(least, most)| json!({"type": "integer", "minimum": least, "exclusiveMaximum": most})),
        (1_i64..4).prop_map(|of| json!({"type": "number", "multipleOf": of})),
        proptest::sample::subsequence(vec![json!("a"), json!("bb"), json!(1), Value::Null], 1..4)
            .prop_map(|all| json!({ "enum": all })),
        Just(json!({"not": {"type": "null"}})),
        Just(json!({"pattern": "^a"})),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 16, 3, |inner| {
        let names = proptest::collection::btree_map("[abc]", inner.clone(), 0..3);
        let required = proptest::sample::subsequence(vec!["a", "b", "c"], 0..3);
        let further = prop_oneof![Just(None), Just(Some(json!(false))), inner.clone().prop_map(Some)];
        prop_oneof![
            (names, required, further).prop_map(|(properties, required, further)| {
                let mut schema = json!({"type": "object", "properties": properties, "required": required});
                if let (Some(further), Some(schema)) = (further, schema.as_object_mut()) {
                    schema.insert("additionalProperties".to_owned(), further);
                }
                schema
            }),
            (inner.clone(), 0_u64..3)
                .prop_map(|(items, most)| json!({"type": "array", "items": items, "maxItems": most})),
            (inner.clone(), inner.clone())
                .prop_map(|(first, items)| json!({"type": "array", "prefixItems": [first], "items": items})),
            proptest::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({ "anyOf": all })),
            proptest::collection::vec(inner, 1..3).prop_map(|all| json!({ "allOf": all })),
        ]
    })
}

fn payload() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        Just(json!("")),
        Just(json!("a")),
        Just(json!("bb")),
        Just(json!("aaaa")),
        (-3_i64..5).prop_map(Value::from),
        Just(json!(1.5)),
    ];
    scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[abcd]", inner, 0..3)
                .prop_map(|entries| Value::from(Map::from_iter(entries))),
        ]
    })
}

/// Two schemas: of anything, or of one object with a property between them, or one more.
fn pair() -> impl Strategy<Value = (Value, Value)> {
    let object = |a: &Value, b: Option<&Value>, required: &[&str], further: &Option<Value>| {
        let mut properties = Map::from_iter([("a".to_owned(), a.clone())]);
        properties.extend(b.map(|b| ("b".to_owned(), b.clone())));
        let mut schema = json!({"type": "object", "properties": properties, "required": required});
        if let (Some(further), Some(schema)) = (further, schema.as_object_mut()) {
            schema.insert("additionalProperties".to_owned(), further.clone());
        }
        schema
    };
    let required = || proptest::sample::subsequence(vec!["a", "b"], 0..=2);
    let further = prop_oneof![Just(None), Just(Some(json!(false))), scalar().prop_map(Some)];
    let near =
        (schema(), proptest::option::of(schema()), proptest::option::of(schema()), required(), required(), further);
    let near = near.prop_map(move |(a, b, other, of_reader, of_writer, further)| {
        (object(&a, other.as_ref(), &of_reader, &further), object(&a, b.as_ref(), &of_writer, &further))
    });
    let near = (near, any::<bool>()).prop_map(|((reader, writer), is_alternative)| match is_alternative {
        true => (json!({"anyOf": [reader, {"type": "string"}]}), writer),
        false => (reader, writer),
    });
    prop_oneof![(schema(), schema()), near]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_without_breaches_accepts_every_payload_of_the_writer((reader, writer) in pair(), payloads in proptest::collection::vec(payload(), 24)) {
        let (reads, writes) = (inline(&reader), inline(&writer));
        if breaches(&reads, &writes).is_empty() {
            let (reader, writer) = (Schema::compile(&tolerant(&reader)), Schema::compile(&writer));
            let (reader, writer) = (reader.expect("it compiles"), writer.expect("it compiles"));
            for payload in payloads.iter().filter(|payload| writer.check_value(payload).is_ok()) {
                prop_assert!(reader.check_value(payload).is_ok(), "{payload}: {reads} of {writes}");
            }
        }
    }

    /// Removing any constraint from a reader stays compatible.
    #[test]
    fn a_schema_is_compatible_with_itself_and_with_fewer_constraints(schema in schema()) {
        let writer = inline(&schema);
        prop_assert_eq!(breaches(&writer, &writer), vec![]);
        if let Value::Object(keywords) = &writer {
            for keyword in keywords.keys().filter(|keyword| *keyword != "required" || !keywords.contains_key("properties")) {
                let mut less = keywords.clone();
                less.remove(keyword);
                // Additional properties need not match the schemas of named ones.
                if keyword != "properties" && keyword != "prefixItems" {
                    prop_assert_eq!(breaches(&Value::Object(less), &writer), vec![], "without {}", keyword);
                }
            }
        }
    }
}
