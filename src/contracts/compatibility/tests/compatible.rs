//! Changes in Confluent's `SchemaDiff.COMPATIBLE_CHANGES`, by name: a reader of the second schema can read what was written with
//! the first.

use serde_json::{Value, json};

use super::{closed, found};

/// Name, writer (Confluent's original), reader (its update).
fn table() -> Vec<(&'static str, Value, Value)> {
    let of = |keyword: &str, value: Value| json!({ keyword: value });
    let open = |properties: Value| json!({"type": "object", "properties": properties});
    let object = |keyword: &str, value: Value| json!({"type": "object", keyword: value});
    let required = |required: Value| json!({"type": "object", "properties": {"a": {}, "b": {"default": 1}}, "required": required, "additionalProperties": false});
    let contains = |keyword: &str, count: u64| json!({"contains": {"type": "integer"}, keyword: count});
    let text = json!({"type": "string"});
    let more = json!({"type": ["string", "null"]});
    vec![
        ("ID_CHANGED", of("$id", json!("urn:a")), of("$id", json!("urn:b"))),
        ("DESCRIPTION_CHANGED", of("description", json!("a")), of("description", json!("b"))),
        ("TITLE_CHANGED", of("title", json!("a")), of("title", json!("b"))),
        ("DEFAULT_CHANGED", of("default", json!("a")), of("default", json!("b"))),
        ("SCHEMA_REMOVED", of("items", text.clone()), json!({})),
        ("TYPE_EXTENDED", of("type", json!("integer")), of("type", json!("number"))),
        ("MAX_LENGTH_INCREASED", of("maxLength", json!(5)), of("maxLength", json!(6))),
        ("MAX_LENGTH_REMOVED", of("maxLength", json!(5)), json!({})),
        ("MIN_LENGTH_DECREASED", of("minLength", json!(5)), of("minLength", json!(4))),
        ("MIN_LENGTH_REMOVED", of("minLength", json!(5)), json!({})),
        ("PATTERN_REMOVED", of("pattern", json!("a")), json!({})),
        ("MAXIMUM_INCREASED", of("maximum", json!(5)), of("maximum", json!(5.5))),
        ("MAXIMUM_REMOVED", of("maximum", json!(5)), json!({})),
        ("MINIMUM_DECREASED", of("minimum", json!(5)), of("minimum", json!(4))),
        ("MINIMUM_REMOVED", of("minimum", json!(5)), json!({})),
        ("EXCLUSIVE_MAXIMUM_INCREASED", of("exclusiveMaximum", json!(5)), of("exclusiveMaximum", json!(6))),
        ("EXCLUSIVE_MAXIMUM_REMOVED", of("exclusiveMaximum", json!(5)), of("maximum", json!(5))),
        ("EXCLUSIVE_MINIMUM_DECREASED", of("exclusiveMinimum", json!(5)), of("exclusiveMinimum", json!(4))),
        ("EXCLUSIVE_MINIMUM_REMOVED", of("exclusiveMinimum", json!(5)), of("minimum", json!(5))),
        ("MULTIPLE_OF_REDUCED", of("multipleOf", json!(10)), of("multipleOf", json!(5))),
        ("MULTIPLE_OF_REDUCED", of("multipleOf", json!(0.1)), of("multipleOf", json!(0.01))),
        ("MULTIPLE_OF_REMOVED", of("multipleOf", json!(10)), json!({})),
        ("REQUIRED_ATTRIBUTE_WITH_DEFAULT_ADDED", required(json!([])), required(json!(["b"]))),
        ("REQUIRED_ATTRIBUTE_REMOVED", required(json!(["a"])), required(json!([]))),
        (
            "DEPENDENCY_ARRAY_NARROWED",
            of("dependentRequired", json!({"a": ["b", "c"]})),
            of("dependentRequired", json!({"a": ["b"]})),
        ),
        ("DEPENDENCY_ARRAY_REMOVED", of("dependentRequired", json!({"a": ["b"]})), json!({})),
        ("DEPENDENCY_SCHEMA_REMOVED", of("dependentSchemas", json!({"a": {"required": ["b"]}})), json!({})),
        ("MAX_PROPERTIES_INCREASED", of("maxProperties", json!(5)), of("maxProperties", json!(6))),
        ("MAX_PROPERTIES_REMOVED", of("maxProperties", json!(5)), json!({})),
        ("MIN_PROPERTIES_DECREASED", of("minProperties", json!(5)), of("minProperties", json!(4))),
        ("MIN_PROPERTIES_REMOVED", of("minProperties", json!(5)), json!({})),
        ("ADDITIONAL_PROPERTIES_ADDED", closed(json!({})), open(json!({}))),
        ("ADDITIONAL_PROPERTIES_EXTENDED", object("additionalProperties", text.clone()), open(json!({}))),
        ("PROPERTY_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL", open(json!({})), open(json!({"a": {}}))),
        (
            "REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_UNOPEN_CONTENT_MODEL",
            closed(json!({"a": {}})),
            required(json!(["b"])),
        ),
        ("OPTIONAL_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", closed(json!({})), closed(json!({"a": text}))),
        ("PROPERTY_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL", closed(json!({"a": false})), closed(json!({}))),
        ("PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL", closed(json!({"a": text})), open(json!({}))),
        (
            "PROPERTY_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
            object("additionalProperties", text.clone()),
            json!({"properties": {"a": text}, "additionalProperties": text}),
        ),
        (
            "PROPERTY_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
            json!({"type": "object", "properties": {"a": text}, "additionalProperties": text}),
            object("additionalProperties", text.clone()),
        ),
        ("MAX_ITEMS_INCREASED", of("maxItems", json!(5)), of("maxItems", json!(6))),
        ("MAX_ITEMS_REMOVED", of("maxItems", json!(5)), json!({})),
        ("MIN_ITEMS_DECREASED", of("minItems", json!(5)), of("minItems", json!(4))),
        ("MIN_ITEMS_REMOVED", of("minItems", json!(5)), json!({})),
        ("MAX_CONTAINS_INCREASED", contains("maxContains", 2), contains("maxContains", 3)),
        ("MAX_CONTAINS_REMOVED", contains("maxContains", 2), contains("minContains", 1)),
        ("MIN_CONTAINS_DECREASED", contains("minContains", 3), contains("minContains", 2)),
        ("MIN_CONTAINS_REMOVED", contains("minContains", 3), contains("minContains", 1)),
        ("UNEVALUATED_ITEMS_ADDED", of("unevaluatedItems", json!(false)), json!({})),
        ("UNEVALUATED_ITEMS_EXTENDED", of("unevaluatedItems", text.clone()), of("unevaluatedItems", more.clone())),
        ("UNEVALUATED_PROPERTIES_ADDED", object("unevaluatedProperties", json!(false)), open(json!({}))),
        (
            "UNEVALUATED_PROPERTIES_EXTENDED",
            object("unevaluatedProperties", text.clone()),
            object("unevaluatedProperties", more),
        ),
        ("UNIQUE_ITEMS_REMOVED", of("uniqueItems", json!(true)), json!({})),
        ("ADDITIONAL_ITEMS_ADDED", of("items", json!(false)), json!({})),
        ("ADDITIONAL_ITEMS_EXTENDED", of("items", json!({"type": "integer"})), of("items", json!({"type": "number"}))),
        ("ITEM_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL", json!({}), of("prefixItems", json!([{}]))),
        (
            "ITEM_ADDED_TO_CLOSED_CONTENT_MODEL",
            of("items", json!(false)),
            json!({"prefixItems": [text], "items": false}),
        ),
        (
            "ITEM_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL",
            json!({"prefixItems": [false], "items": false}),
            of("items", json!(false)),
        ),
        ("ITEM_REMOVED_FROM_OPEN_CONTENT_MODEL", of("prefixItems", json!([text])), json!({})),
        (
            "ITEM_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
            of("items", text.clone()),
            json!({"prefixItems": [text], "items": text}),
        ),
        (
            "ITEM_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
            json!({"prefixItems": [text], "items": text}),
            of("items", text.clone()),
        ),
        ("ENUM_ARRAY_EXTENDED", of("enum", json!(["a"])), of("enum", json!(["a", "b"]))),
        (
            "COMBINED_TYPE_EXTENDED",
            of("allOf", json!([text, {"maxLength": 3}])),
            of("anyOf", json!([text, {"type": "null"}])),
        ),
        ("PRODUCT_TYPE_NARROWED", of("allOf", json!([text, {"maxLength": 3}])), of("allOf", json!([text]))),
        ("SUM_TYPE_EXTENDED", text.clone(), of("oneOf", json!([text, {"type": "null"}]))),
        ("NOT_TYPE_NARROWED", of("not", json!({"type": ["string", "null"]})), of("not", json!({"type": "null"}))),
    ]
}

#[test]
fn changes_that_confluent_calls_compatible_are() {
    let table = table();
    for (name, writer, reader) in &table {
        assert_eq!(found(reader, writer), [""; 0], "{name}: {reader} of {writer}");
    }
    let mut names: Vec<_> = table.iter().map(|(name, ..)| *name).collect();
    names.dedup();
    assert_eq!(names.len(), 65, "examples/contracts/README.md states the number");
}

/// The differences from Confluent's list; the module documentation explains them.
#[test]
fn a_reader_ignores_properties_it_does_not_name() {
    let text = json!({"type": "string"});
    let (less, more) = (closed(json!({"a": text})), closed(json!({"a": text, "b": text})));
    // PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL, and ADDITIONAL_PROPERTIES_REMOVED.
    assert_eq!(found(&less, &more), [""; 0]);
    assert_eq!(found(&less, &json!({"type": "object", "properties": {"a": text}})), [""; 0]);
    // So an optional property comes and goes in both directions.
    assert_eq!(found(&more, &less), [""; 0]);
}

#[test]
fn references_and_alternatives_are_followed() {
    let line = |length: u64| {
        json!({"type": "object", "additionalProperties": false,
               "properties": {"lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}},
               "$defs": {"line": {"description": "one", "properties": {"sku": {"type": "string", "maxLength": length}}, "additionalProperties": false}}})
    };
    assert_eq!(found(&line(5), &line(5)), [""; 0]);
    assert_eq!(found(&line(6), &line(5)), [""; 0]);
    assert_eq!(found(&line(5), &line(6)), ["max_length_decreased /lines/*/sku"]);
    // A reference with company is both.
    let beside = json!({"$ref": "#/$defs/a", "minLength": 2, "$defs": {"a": {"type": "string", "maxLength": 4}}});
    assert_eq!(found(&json!({"type": "string", "minLength": 1, "maxLength": 5}), &beside), [""; 0]);
    assert_eq!(found(&beside, &json!({"type": "string"})), ["max_length_added", "min_length_added"]);
    let card = json!({"type": "object", "properties": {"kind": {"const": "card"}, "last4": {"type": "string"}}, "required": ["kind"], "additionalProperties": false});
    let cash = json!({"type": "object", "properties": {"kind": {"const": "cash"}}, "required": ["kind"], "additionalProperties": false});
    let both = json!({"oneOf": [card, cash]});
    assert_eq!(found(&both, &card), [""; 0]);
    assert_eq!(found(&both, &json!({"oneOf": [cash, card]})), [""; 0]);
    assert_eq!(found(&card, &both), ["const_changed /kind"]);
}
