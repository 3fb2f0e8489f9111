//! Tables: one row per rule, and one per change that Confluent calls compatible.

mod compatible;
mod generate;
mod older_drafts;
mod proven;
mod registries;
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
fn table() -> Vec<(CompatibilityRule, &'static str, Value, Value)> {
    let of = |keyword: &str, value: Value| json!({ keyword: value });
    let number = |keyword: &str, value: Value| json!({"type": "number", keyword: value});
    let array = |keyword: &str, value: Value| json!({"type": "array", keyword: value});
    let object = |keyword: &str, value: Value| json!({"type": "object", keyword: value});
    vec![
        (
            CompatibilityRule::TypeChanged,
            "/a",
            closed(json!({"a": {"type": "string"}})),
            closed(json!({"a": {"type": "integer"}})),
        ),
        (CompatibilityRule::TypeNarrowed, "", of("type", json!("string")), of("type", json!(["string", "null"]))),
        (CompatibilityRule::TypeNarrowed, "", of("type", json!("integer")), of("type", json!("number"))),
        (CompatibilityRule::TypeNarrowed, "", of("type", json!("string")), json!({})),
        (CompatibilityRule::MaxLengthAdded, "", of("maxLength", json!(5)), of("type", json!("string"))),
        (CompatibilityRule::MaxLengthDecreased, "", of("maxLength", json!(5)), of("maxLength", json!(6))),
        (CompatibilityRule::MinLengthAdded, "", of("minLength", json!(1)), of("type", json!("string"))),
        (CompatibilityRule::MinLengthIncreased, "", of("minLength", json!(2)), of("minLength", json!(1))),
        (CompatibilityRule::PatternAdded, "", of("pattern", json!("^a")), of("type", json!("string"))),
        (CompatibilityRule::PatternChanged, "", of("pattern", json!("^a")), of("pattern", json!("^b"))),
        (CompatibilityRule::MaximumAdded, "", number("maximum", json!(5)), of("type", json!("number"))),
        (CompatibilityRule::MaximumDecreased, "", number("maximum", json!(5)), number("maximum", json!(6))),
        (
            CompatibilityRule::MaximumDecreased,
            "",
            number("maximum", json!(i64::MAX - 1)),
            number("maximum", json!(i64::MAX)),
        ),
        (CompatibilityRule::MinimumAdded, "", number("minimum", json!(5)), of("type", json!("number"))),
        (CompatibilityRule::MinimumIncreased, "", number("minimum", json!(5)), number("minimum", json!(4))),
        (
            CompatibilityRule::ExclusiveMaximumAdded,
            "",
            number("exclusiveMaximum", json!(5)),
            of("type", json!("number")),
        ),
        (
            CompatibilityRule::ExclusiveMaximumDecreased,
            "",
            number("exclusiveMaximum", json!(5)),
            number("maximum", json!(5)),
        ),
        (
            CompatibilityRule::ExclusiveMinimumAdded,
            "",
            number("exclusiveMinimum", json!(5)),
            of("type", json!("number")),
        ),
        (
            CompatibilityRule::ExclusiveMinimumIncreased,
            "",
            number("exclusiveMinimum", json!(5)),
            number("exclusiveMinimum", json!(4)),
        ),
        (CompatibilityRule::MultipleOfAdded, "", number("multipleOf", json!(0.01)), of("type", json!("number"))),
        (CompatibilityRule::MultipleOfExpanded, "", number("multipleOf", json!(10)), number("multipleOf", json!(5))),
        (CompatibilityRule::MultipleOfChanged, "", number("multipleOf", json!(3)), number("multipleOf", json!(5))),
        (
            CompatibilityRule::RequiredAttributeAdded,
            "/a",
            json!({"type": "object", "properties": {"a": {}}, "required": ["a"]}),
            closed(json!({"a": {}})),
        ),
        (
            CompatibilityRule::RequiredPropertyAddedToUnopenContentModel,
            "/b",
            json!({"properties": {"b": {}}, "required": ["b"]}),
            closed(json!({"a": {}})),
        ),
        (
            CompatibilityRule::RequiredPropertyAddedToOpenContentModel,
            "/b",
            json!({"properties": {"b": {"type": "string"}}, "required": ["b"]}),
            object("properties", json!({})),
        ),
        (
            CompatibilityRule::PropertyAddedToOpenContentModel,
            "/b",
            json!({"properties": {"b": {"type": "string"}}}),
            object("properties", json!({})),
        ),
        (
            CompatibilityRule::PropertyAddedNotCoveredByPartiallyOpenContentModel,
            "/b",
            json!({"properties": {"b": {"type": "string"}}}),
            object("additionalProperties", json!({"type": "integer"})),
        ),
        (CompatibilityRule::MaxPropertiesAdded, "", object("maxProperties", json!(2)), of("type", json!("object"))),
        (
            CompatibilityRule::MaxPropertiesDecreased,
            "",
            object("maxProperties", json!(2)),
            object("maxProperties", json!(3)),
        ),
        (CompatibilityRule::MinPropertiesAdded, "", object("minProperties", json!(2)), of("type", json!("object"))),
        (
            CompatibilityRule::MinPropertiesIncreased,
            "",
            object("minProperties", json!(2)),
            object("minProperties", json!(1)),
        ),
        (
            CompatibilityRule::AdditionalPropertiesNarrowed,
            "",
            object("additionalProperties", json!({"type": "string"})),
            of("type", json!("object")),
        ),
        (
            CompatibilityRule::PatternPropertiesAdded,
            "",
            object("patternProperties", json!({"^x": {"type": "string"}})),
            of("type", json!("object")),
        ),
        (
            CompatibilityRule::DependencyArrayAdded,
            "/a",
            object("dependentRequired", json!({"a": ["b"]})),
            object("properties", json!({"a": {}, "b": {}})),
        ),
        (
            CompatibilityRule::DependencyArrayExtended,
            "/a",
            object("dependentRequired", json!({"a": ["b", "c"]})),
            object("dependentRequired", json!({"a": ["b"]})),
        ),
        (
            CompatibilityRule::DependencySchemaAdded,
            "/a",
            object("dependentSchemas", json!({"a": {"required": ["b"]}})),
            object("properties", json!({"a": {}})),
        ),
        (
            CompatibilityRule::PropertyNamesNarrowed,
            "",
            object("propertyNames", json!({"maxLength": 3})),
            object("propertyNames", json!({"maxLength": 4})),
        ),
        (
            CompatibilityRule::PropertyNamesNarrowed,
            "",
            object("propertyNames", json!({"maxLength": 3})),
            closed(json!({"long": {}})),
        ),
        (CompatibilityRule::MaxItemsAdded, "", array("maxItems", json!(2)), of("type", json!("array"))),
        (CompatibilityRule::MaxItemsDecreased, "", array("maxItems", json!(2)), array("maxItems", json!(3))),
        (CompatibilityRule::MinItemsAdded, "", array("minItems", json!(2)), of("type", json!("array"))),
        (CompatibilityRule::MinItemsIncreased, "", array("minItems", json!(2)), array("minItems", json!(1))),
        (
            CompatibilityRule::UniqueItemsAdded,
            "",
            array("uniqueItems", json!(true)),
            array("uniqueItems", json!(false)),
        ),
        (CompatibilityRule::AdditionalItemsRemoved, "/*", array("items", json!(false)), of("type", json!("array"))),
        (
            CompatibilityRule::AdditionalItemsNarrowed,
            "/*",
            array("items", json!({"type": "string"})),
            of("type", json!("array")),
        ),
        (
            CompatibilityRule::ItemAddedToOpenContentModel,
            "/0",
            array("prefixItems", json!([{"type": "string"}])),
            of("type", json!("array")),
        ),
        (
            CompatibilityRule::ContainsChanged,
            "",
            array("contains", json!({"type": "string"})),
            array("contains", json!({})),
        ),
        (CompatibilityRule::EnumArrayNarrowed, "", of("enum", json!(["a"])), of("enum", json!(["a", "b"]))),
        (CompatibilityRule::EnumAdded, "", of("enum", json!(["a"])), of("type", json!("string"))),
        (CompatibilityRule::ConstChanged, "", of("const", json!("a")), of("const", json!("b"))),
        (CompatibilityRule::FormatAdded, "", of("format", json!("uuid")), of("type", json!("string"))),
        (CompatibilityRule::FormatChanged, "", of("format", json!("uuid")), of("format", json!("email"))),
        (
            CompatibilityRule::FormatLimitAdded,
            "",
            of("formatMinimum", json!("2020-01-01")),
            of("format", json!("date")),
        ),
        (
            CompatibilityRule::FormatLimitNarrowed,
            "",
            of("formatExclusiveMaximum", json!("2030-01-01")),
            of("formatMaximum", json!("2030-01-01")),
        ),
        (
            CompatibilityRule::SumTypeNarrowed,
            "",
            of("anyOf", json!([{"type": "string"}, {"type": "null"}])),
            of("anyOf", json!([{"type": "string"}, {"type": "integer"}])),
        ),
        (
            CompatibilityRule::SumTypeNarrowed,
            "",
            of("oneOf", json!([{"type": "string"}, {"type": "null"}])),
            of("type", json!(["string", "integer"])),
        ),
        (
            CompatibilityRule::CombinedTypeChanged,
            "",
            of("oneOf", json!([{"maxLength": 1}, {"pattern": "^a"}])),
            json!({"type": "string", "maxLength": 2}),
        ),
        (CompatibilityRule::NotTypeExtended, "", of("not", json!({"type": "null"})), of("not", json!({"const": 1}))),
        (
            CompatibilityRule::ConditionChanged,
            "",
            json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}}),
            json!({"if": {"required": ["a"]}, "then": {"required": ["c"]}}),
        ),
        (
            CompatibilityRule::UnevaluatedChanged,
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
    assert_eq!(tested, BTreeSet::from(CompatibilityRule::ALL), "a rule without a row");
    let confluent = CompatibilityRule::ALL.iter().filter(|rule| rule.source() == RuleSource::Confluent).count();
    assert_eq!((CompatibilityRule::ALL.len(), confluent), (55, 44), "examples/contracts/README.md states the number");
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
    let names: BTreeSet<_> = CompatibilityRule::ALL.iter().map(|rule| rule.as_str()).collect();
    assert_eq!(names.len(), CompatibilityRule::ALL.len());
    for kind in Compatibility::ALL {
        assert_eq!(Compatibility::parse(&kind.as_str().to_uppercase()), Some(kind));
    }
    assert_eq!(Compatibility::parse("sometimes"), None);
}
