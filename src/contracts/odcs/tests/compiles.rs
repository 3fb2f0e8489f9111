//! Whatever the standard allows is converted to a schema that compiles.

use proptest::prelude::*;
use serde_json::{Value, json};
use walpost_producer::schema::Schema;

use super::parse;

fn option<T: std::fmt::Debug + Clone + Into<Value> + 'static>(
    key: &'static str,
    values: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Vec<(&'static str, Value)>> {
    proptest::option::of(values)
        .prop_map(move |value| value.map(|value| (key, value.into())).into_iter().collect())
        .boxed()
}

fn typed(kind: &'static str, options: Vec<BoxedStrategy<Vec<(&'static str, Value)>>>) -> BoxedStrategy<Value> {
    let object = |options: Vec<Vec<(&'static str, Value)>>| -> serde_json::Map<String, Value> {
        options.into_iter().flatten().map(|(key, value)| (key.to_owned(), value)).collect()
    };
    options.prop_map(move |options| json!({"logicalType": kind, "logicalTypeOptions": object(options)})).boxed()
}

fn scalar() -> impl Strategy<Value = Value> {
    let format = |all: &'static [&'static str]| proptest::sample::select(all).prop_map(str::to_owned);
    let date = || proptest::sample::select(&["2020-02-29", "0000-01-01", "9999-12-31"][..]).prop_map(str::to_owned);
    let number = || -1e6..1e6_f64;
    prop_oneof![
        typed(
            "string",
            vec![
                option("minLength", 0..9_u64),
                option("maxLength", 0..9_u64),
                option(
                    "pattern",
                    "[a-z^$.|?*+]{0,3}"
                        .prop_filter("a regular expression", |text| Schema::compile(&json!({"pattern": text})).is_ok())
                ),
                option(
                    "format",
                    format(&["password", "byte", "binary", "email", "uuid", "uri", "hostname", "ipv4", "ipv6"])
                ),
            ]
        ),
        typed("date", vec![option("minimum", date()), option("maximum", date()), option("exclusiveMaximum", date())]),
        typed(
            "timestamp",
            vec![
                option("timezone", any::<bool>()),
                option("defaultTimezone", Just("Etc/UTC".to_owned())),
                option("minimum", date())
            ]
        ),
        typed("time", vec![option("format", format(&["HH:mm:ss", "HH:mm", "yyyy-MM-dd HH:mm:ss"]))]),
        typed(
            "number",
            vec![
                option("multipleOf", 0.001..9.0_f64),
                option("minimum", number()),
                option("format", format(&["f32", "f64"]))
            ]
        ),
        typed(
            "integer",
            vec![
                option("maximum", number()),
                option("exclusiveMinimum", number()),
                option("format", format(&["i8", "i16", "i32", "i64", "i128", "u8", "u16", "u32", "u64", "u128"]))
            ]
        ),
        typed(
            "vector",
            vec![
                Just(vec![("dimensions", json!(3))]).boxed(),
                option("elementType", format(&["int8", "uint8", "binary", "float32"]))
            ]
        ),
        Just(json!({"logicalType": "boolean"})),
        Just(json!({})),
        proptest::collection::btree_set("[ab]{0,3}", 1..4).prop_map(|values| {
            let values: Vec<_> = values.into_iter().map(|value| json!({"value": value})).collect();
            json!({"logicalType": "string", "enum": values})
        }),
    ]
}

fn property() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::btree_map("[a-zA-Z/~ %]{1,4}", (inner.clone(), any::<bool>()), 0..4).prop_map(|properties| {
                let named = properties.into_iter().map(|(name, (mut property, required))| {
                    property["name"] = json!(name);
                    property["required"] = json!(required);
                    property
                });
                json!({"logicalType": "object", "properties": named.collect::<Vec<_>>()})
            }),
            (inner.clone(), 0..4_u64, any::<bool>()).prop_map(|(items, least, unique)| {
                json!({"logicalType": "array", "items": items, "logicalTypeOptions": {"minItems": least, "uniqueItems": unique}})
            }),
            inner.prop_map(|value| json!({"logicalType": "map", "map": {"key": {"logicalType": "string"}, "value": value}})),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Arbitrary text, alone or inside a contract, never causes a panic.
    #[test]
    fn arbitrary_text_is_parsed_or_refused(text in "[-?:,\\[\\]{}#&*!|>'\"%@` \n\t~a-z0-9.é\u{0}]{0,60}", at in 0..400_usize) {
        let _ = parse(&text);
        let contract = super::contract("    - {name: a, logicalType: string}\n");
        let at = at.min(contract.len());
        let _ = parse(&format!("{}{text}{}", &contract[..at], &contract[at..]));
    }

    #[test]
    fn every_property_becomes_a_schema_that_compiles(mut property in property()) {
        property["name"] = json!("p");
        let contract = json!({
            "apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": "1", "servers": [{"server": "k", "type": "kafka", "host": "k:9092"}],
            "schema": [{"name": "x", "physicalType": "topic", "properties": [property]}],
        });
        let definitions = parse(&contract.to_string());
        prop_assert!(definitions.is_ok(), "{:?}", definitions);
        let definitions = definitions.expect("it was looked at");
        let schema = &definitions[0].schema.as_ref().expect("it has one").value;
        prop_assert!(Schema::compile(schema).is_ok());
    }
}
