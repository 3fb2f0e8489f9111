//! Tables: one row per rule, and one per change that Confluent calls compatible.

mod compatible;
mod generate;
mod proven;
mod sound;
mod tolerant;

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

/// The breaches of a reader with a writer, as `rule property`.
fn found(reader: &Value, writer: &Value) -> Vec<String> {
    let breaches = breaches(&inline(reader), &inline(writer));
    breaches.into_iter().map(|breach| format!("{} {}", breach.rule, breach.property).trim_end().to_owned()).collect()
}

fn closed(properties: Value) -> Value {
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// Rule, property, what the reader requires, what the writer promises.
fn table() -> Vec<(Rule, &'static str, Value, Value)> {
    let of = |keyword: &str, value: Value| json!({ keyword: value });
    let number = |keyword: &str, value: Value| json!({"type": "number", keyword: value});
    let array = |keyword: &str, value: Value| json!({"type": "array", keyword: value});
    let object = |keyword: &str, value: Value| json!({"type": "object", keyword: value});
    vec![
        (Rule::TypeChanged, "/a", closed(json!({"a": {"type": "string"}})), closed(json!({"a": {"type": "integer"}}))),
        (Rule::TypeNarrowed, "", of("type", json!("string")), of("type", json!(["string", "null"]))),
        (Rule::TypeNarrowed, "", of("type", json!("integer")), of("type", json!("number"))),
        (Rule::TypeNarrowed, "", of("type", json!("string")), json!({})),
        (Rule::MaxLengthAdded, "", of("maxLength", json!(5)), of("type", json!("string"))),
        (Rule::MaxLengthDecreased, "", of("maxLength", json!(5)), of("maxLength", json!(6))),
        (Rule::MinLengthAdded, "", of("minLength", json!(1)), of("type", json!("string"))),
        (Rule::MinLengthIncreased, "", of("minLength", json!(2)), of("minLength", json!(1))),
        (Rule::PatternAdded, "", of("pattern", json!("^a")), of("type", json!("string"))),
        (Rule::PatternChanged, "", of("pattern", json!("^a")), of("pattern", json!("^b"))),
        (Rule::MaximumAdded, "", number("maximum", json!(5)), of("type", json!("number"))),
        (Rule::MaximumDecreased, "", number("maximum", json!(5)), number("maximum", json!(6))),
        (Rule::MaximumDecreased, "", number("maximum", json!(i64::MAX - 1)), number("maximum", json!(i64::MAX))),
        (Rule::MinimumAdded, "", number("minimum", json!(5)), of("type", json!("number"))),
        (Rule::MinimumIncreased, "", number("minimum", json!(5)), number("minimum", json!(4))),
        (Rule::ExclusiveMaximumAdded, "", number("exclusiveMaximum", json!(5)), of("type", json!("number"))),
        (Rule::ExclusiveMaximumDecreased, "", number("exclusiveMaximum", json!(5)), number("maximum", json!(5))),
        (Rule::ExclusiveMinimumAdded, "", number("exclusiveMinimum", json!(5)), of("type", json!("number"))),
        (
            Rule::ExclusiveMinimumIncreased,
            "",
            number("exclusiveMinimum", json!(5)),
            number("exclusiveMinimum", json!(4)),
        ),
        (Rule::MultipleOfAdded, "", number("multipleOf", json!(0.01)), of("type", json!("number"))),
        (Rule::MultipleOfExpanded, "", number("multipleOf", json!(10)), number("multipleOf", json!(5))),
        (Rule::MultipleOfChanged, "", number("multipleOf", json!(3)), number("multipleOf", json!(5))),
        (
            Rule::RequiredAttributeAdded,
            "/a",
            json!({"type": "object", "properties": {"a": {}}, "required": ["a"]}),
            closed(json!({"a": {}})),
        ),
        (
            Rule::RequiredPropertyAddedToUnopenContentModel,
            "/b",
            json!({"properties": {"b": {}}, "required": ["b"]}),
            closed(json!({"a": {}})),
        ),
        (
            Rule::RequiredPropertyAddedToOpenContentModel,
            "/b",
            json!({"properties": {"b": {"type": "string"}}, "required": ["b"]}),
            object("properties", json!({})),
        ),
        (
            Rule::PropertyAddedToOpenContentModel,
            "/b",
            json!({"properties": {"b": {"type": "string"}}}),
            object("properties", json!({})),
        ),
        (
            Rule::PropertyAddedNotCoveredByPartiallyOpenContentModel,
            "/b",
            json!({"properties": {"b": {"type": "string"}}}),
            object("additionalProperties", json!({"type": "integer"})),
        ),
        (Rule::MaxPropertiesAdded, "", object("maxProperties", json!(2)), of("type", json!("object"))),
        (Rule::MaxPropertiesDecreased, "", object("maxProperties", json!(2)), object("maxProperties", json!(3))),
        (Rule::MinPropertiesAdded, "", object("minProperties", json!(2)), of("type", json!("object"))),
        (Rule::MinPropertiesIncreased, "", object("minProperties", json!(2)), object("minProperties", json!(1))),
        (
            Rule::AdditionalPropertiesNarrowed,
            "",
            object("additionalProperties", json!({"type": "string"})),
            of("type", json!("object")),
        ),
        (
            Rule::PatternPropertiesAdded,
            "",
            object("patternProperties", json!({"^x": {"type": "string"}})),
            of("type", json!("object")),
        ),
        (
            Rule::DependencyArrayAdded,
            "/a",
            object("dependentRequired", json!({"a": ["b"]})),
            object("properties", json!({"a": {}, "b": {}})),
        ),
        (
            Rule::DependencyArrayExtended,
            "/a",
            object("dependentRequired", json!({"a": ["b", "c"]})),
            object("dependentRequired", json!({"a": ["b"]})),
        ),
        (
            Rule::DependencySchemaAdded,
            "/a",
            object("dependentSchemas", json!({"a": {"required": ["b"]}})),
            object("properties", json!({"a": {}})),
        ),
        (
            Rule::PropertyNamesNarrowed,
            "",
            object("propertyNames", json!({"maxLength": 3})),
            object("propertyNames", json!({"maxLength": 4})),
        ),
        (
            Rule::PropertyNamesNarrowed,
            "",
            object("propertyNames", json!({"maxLength": 3})),
            closed(json!({"long": {}})),
        ),
        (Rule::MaxItemsAdded, "", array("maxItems", json!(2)), of("type", json!("array"))),
        (Rule::MaxItemsDecreased, "", array("maxItems", json!(2)), array("maxItems", json!(3))),
        (Rule::MinItemsAdded, "", array("minItems", json!(2)), of("type", json!("array"))),
        (Rule::MinItemsIncreased, "", array("minItems", json!(2)), array("minItems", json!(1))),
        (Rule::UniqueItemsAdded, "", array("uniqueItems", json!(true)), array("uniqueItems", json!(false))),
        (Rule::AdditionalItemsRemoved, "/*", array("items", json!(false)), of("type", json!("array"))),
        (Rule::AdditionalItemsNarrowed, "/*", array("items", json!({"type": "string"})), of("type", json!("array"))),
        (
            Rule::ItemAddedToOpenContentModel,
            "/0",
            array("prefixItems", json!([{"type": "string"}])),
            of("type", json!("array")),
        ),
        (Rule::ContainsChanged, "", array("contains", json!({"type": "string"})), array("contains", json!({}))),
        (Rule::EnumArrayNarrowed, "", of("enum", json!(["a"])), of("enum", json!(["a", "b"]))),
        (Rule::EnumAdded, "", of("enum", json!(["a"])), of("type", json!("string"))),
        (Rule::ConstChanged, "", of("const", json!("a")), of("const", json!("b"))),
        (Rule::FormatAdded, "", of("format", json!("uuid")), of("type", json!("string"))),
        (Rule::FormatChanged, "", of("format", json!("uuid")), of("format", json!("email"))),
        (Rule::FormatLimitAdded, "", of("formatMinimum", json!("2020-01-01")), of("format", json!("date"))),
        (
            Rule::FormatLimitNarrowed,
            "",
            of("formatExclusiveMaximum", json!("2030-01-01")),
            of("formatMaximum", json!("2030-01-01")),
        ),
        (
            Rule::SumTypeNarrowed,
            "",
            of("anyOf", json!([{"type": "string"}, {"type": "null"}])),
            of("anyOf", json!([{"type": "string"}, {"type": "integer"}])),
        ),
        (
            Rule::SumTypeNarrowed,
            "",
            of("oneOf", json!([{"type": "string"}, {"type": "null"}])),
            of("type", json!(["string", "integer"])),
        ),
        (
            Rule::CombinedTypeChanged,
            "",
            of("oneOf", json!([{"maxLength": 1}, {"pattern": "^a"}])),
            json!({"type": "string", "maxLength": 2}),
        ),
        (Rule::NotTypeExtended, "", of("not", json!({"type": "null"})), of("not", json!({"const": 1}))),
        (
            Rule::ConditionChanged,
            "",
            json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}}),
            json!({"if": {"required": ["a"]}, "then": {"required": ["c"]}}),
        ),
        (
            Rule::UnevaluatedChanged,
            "",
            object("unevaluatedProperties", json!({"type": "string"})),
            of("type", json!("object")),
        ),
    ]
}

#[test]
fn each_rule_finds_its_breach_and_names_the_property() {
    let mut tested = BTreeSet::new();
    for (rule, property, reader, writer) in table() {
        let expected = format!("{rule} {property}");
        assert_eq!(found(&reader, &writer), [expected.trim_end()], "{reader} of {writer}");
        // A schema is compatible with itself.
        assert_eq!(found(&writer, &writer), [""; 0], "{writer}");
        assert_eq!(found(&reader, &reader), [""; 0], "{reader}");
        tested.insert(rule);
    }
    assert_eq!(tested, BTreeSet::from(Rule::ALL), "a rule without a row");
    let confluent = Rule::ALL.iter().filter(|rule| rule.source() == Source::Confluent).count();
    assert_eq!((Rule::ALL.len(), confluent), (55, 44), "examples/contracts/README.md states the number");
}

#[test]
fn every_kind_checks_its_direction_against_the_last_or_all_versions() {
    let v1 = closed(json!({"a": {"type": "string"}}));
    let v2 = closed(json!({"a": {"type": ["string", "null"]}}));
    let v3 = closed(json!({"a": {"type": ["string", "null", "integer"]}}));
    let narrow = closed(json!({"a": {"type": ["string", "null"], "maxLength": 3}}));
    fn version<'a>(version: &'a str, schema: &'a Value) -> Version<'a> {
        Version { version, schema: Some(schema) }
    }
    let widening = [version("1", &v1), version("2", &v2)];
    let run = |kind, new: &Value, earlier: &[Version<'_>]| -> Vec<String> {
        let found = check(kind, version("new", new), earlier);
        found.iter().map(|one| format!("{} reads {}", one.reader, one.writer)).collect()
    };
    for (kind, new, expected) in [
        (Compatibility::None, &narrow, &[][..]),
        (Compatibility::Backward, &v3, &[]),
        (Compatibility::BackwardTransitive, &v3, &[]),
        (Compatibility::Forward, &v3, &["2 reads new"]),
        (Compatibility::ForwardTransitive, &v3, &["1 reads new", "2 reads new"]),
        (Compatibility::Full, &v3, &["2 reads new"]),
        (Compatibility::FullTransitive, &v3, &["1 reads new", "2 reads new"]),
        (Compatibility::Forward, &v2, &[]),
        (Compatibility::ForwardTransitive, &v2, &["1 reads new"]),
        (Compatibility::Backward, &narrow, &["new reads 2"]),
        (Compatibility::BackwardTransitive, &narrow, &["new reads 1", "new reads 2"]),
        (Compatibility::Full, &narrow, &["new reads 2"]),
        (Compatibility::FullTransitive, &narrow, &["new reads 1", "1 reads new", "new reads 2"]),
    ] {
        assert_eq!(run(kind, new, &widening), expected, "{kind:?}");
        assert_eq!(run(kind, new, &[]), [""; 0], "the first version of {kind:?}");
    }
    let none = Version { version: "0", schema: None };
    assert_eq!(
        run(Compatibility::Backward, &v1, &[none]),
        ["new reads 0"; 2],
        "a version without a schema promises nothing"
    );
    assert_eq!(run(Compatibility::Forward, &v1, &[none]), [""; 0]);
}

#[test]
fn a_breach_is_reported_in_a_sentence() {
    let (old, new) =
        (closed(json!({"lines": {"items": {"maxLength": 8}}})), closed(json!({"lines": {"items": {"maxLength": 5}}})));
    let old = Version { version: "1", schema: Some(&old) };
    let new = Version { version: "2", schema: Some(&new) };
    let told: Vec<_> = check(Compatibility::Full, new, &[old]).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "max_length_decreased: consumers of 2 can't read events of 1: /lines/* may be longer than the reader accepts (maxLength 5; \
          the writer promises 8)"
        ]
    );
}

#[test]
fn rule_names_are_distinct_and_kinds_parse_in_either_case() {
    let names: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
    assert_eq!(names.len(), Rule::ALL.len());
    for kind in Compatibility::ALL {
        assert_eq!(Compatibility::parse(&kind.as_str().to_uppercase()), Some(kind));
    }
    assert_eq!(Compatibility::parse("sometimes"), None);
}
