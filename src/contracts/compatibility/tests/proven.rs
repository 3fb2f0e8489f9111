//! What can't be proved is refused, with a payload that shows why; and what can be proved is not.

use serde_json::{Value, json};
use walpost_producer::schema::Schema;

use super::super::{breaches, inline};
use super::tolerant::tolerant;
use super::{closed, found};

/// The writer may write the payload, the reader can't read it, and the comparison says so by this rule.
fn refused(rule: &str, reader: &Value, writer: &Value, payload: &Value) {
    let reads = Schema::compile(&tolerant(&inline(reader))).expect("it compiles");
    let writes = Schema::compile(writer).expect("it compiles");
    assert_eq!(writes.check_value(payload), Ok(()), "{payload}: {writer}");
    assert!(reads.check_value(payload).is_err(), "{payload}: {reader}");
    assert!(found(reader, writer).iter().any(|breach| breach.starts_with(rule)), "{reader} of {writer}");
}

fn accepted(reader: &Value, writer: &Value) {
    assert_eq!(found(reader, writer), [""; 0], "{reader} of {writer}");
}

#[test]
fn case_43_alternatives_that_overlap_are_no_one_of() {
    let overlapping = json!([{"type": "integer", "maximum": 9}, {"type": "integer", "multipleOf": 5}]);
    let (any, one) = (json!({"anyOf": overlapping}), json!({"oneOf": overlapping}));
    refused("combined_type_changed", &one, &any, &json!(5));
    refused("combined_type_changed", &one, &overlapping[0], &json!(5));
    let detail = breaches(&one, &any)[0].detail.clone();
    assert_eq!(detail, " (it may match several alternatives of the oneOf)");
    accepted(&any, &one);
    accepted(&one, &one);
    // One more alternative that no payload of the others matches.
    let extended = json!({"oneOf": [overlapping[0], overlapping[1], {"type": "string"}]});
    accepted(&extended, &one);
    refused(
        "combined_type_changed",
        &json!({"oneOf": [{"type": "integer"}, {"type": "number"}]}),
        &json!({"type": "integer"}),
        &json!(1),
    );
    let of = |kind: &str, further: Value| {
        let properties = json!({"kind": {"const": kind}, "further": further});
        json!({"type": "object", "properties": properties, "required": ["kind"], "additionalProperties": false})
    };
    let payment =
        |further: Value| json!({"oneOf": [of("card", further.clone()), of("cash", further), {"type": "null"}]});
    accepted(&payment(json!({"type": ["string", "null"]})), &payment(json!({"type": "string"})));
}

#[test]
fn case_43_unevaluated_parts_are_what_the_schema_beside_them_leaves() {
    let items = |of: Value| json!({"type": "array", "prefixItems": of, "unevaluatedItems": false});
    let (one, two) = (items(json!([{"type": "string"}])), items(json!([{"type": "string"}, {"type": "integer"}])));
    refused("unevaluated_changed", &one, &two, &json!(["a", 1]));
    accepted(&two, &one);
    let text = json!({"type": "string"});
    let open = |names: Value| json!({"type": "object", "properties": names, "unevaluatedProperties": text});
    refused("unevaluated_changed", &open(json!({})), &open(json!({"a": {"type": "integer"}})), &json!({"a": 1}));
    // Named in a branch that a payload may keep to.
    let a = json!({"properties": {"a": {"type": "integer"}}});
    for branch in [
        json!({"anyOf": [a, {}]}),
        json!({"oneOf": [a, {"type": "null"}]}),
        json!({"if": a}),
        json!({"if": {}, "then": a}),
        json!({"if": false, "else": a}),
        json!({"dependentSchemas": {"a": a}}),
        json!({"allOf": [{"anyOf": [a, {}]}]}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [a]}}}),
    ] {
        let mut writer = branch;
        writer["type"] = json!("object");
        writer["unevaluatedProperties"] = json!(false);
        let reader = json!({"properties": {"a": text}});
        let breaches = found(&reader, &writer);
        assert!(!breaches.is_empty(), "{reader} of {writer}");
        assert!(Schema::compile(&writer).expect("it compiles").check_value(&json!({"a": 1})).is_ok(), "{writer}");
        accepted(&json!({"type": "object", "properties": {"b": text}}), &writer);
        accepted(&writer, &writer);
    }
    // Extending a schema by allOf and closing it.
    let extended = |last: Value| json!({"allOf": [{"properties": {"a": text}}], "properties": {"b": last}, "type": "object", "unevaluatedProperties": false});
    accepted(&extended(json!({"type": ["string", "null"]})), &extended(text.clone()));
    refused(
        "type_narrowed /b",
        &extended(text.clone()),
        &extended(json!({"type": ["string", "null"]})),
        &json!({"b": null}),
    );
}

#[test]
fn case_43_a_negation_is_taken_as_written() {
    let narrow = json!({"not": {"type": "object", "properties": {"a": {}}, "additionalProperties": false}});
    let wide = json!({"not": {"type": "object"}});
    refused("not_type_extended", &wide, &narrow, &json!({"b": 1}));
    accepted(&narrow, &wide);
    let of = |required: Value| json!({"not": {"required": required, "properties": {"b": {"default": 1}}}});
    refused("not_type_extended", &of(json!([])), &of(json!(["b"])), &json!({}));
    let only = |names: Value| closed(names);
    let condition = |names: Value| json!({"type": "object", "if": only(names), "then": {"required": ["c"]}});
    refused("condition_changed", &condition(json!({"a": {}, "b": {}})), &condition(json!({"a": {}})), &json!({"b": 1}));
    accepted(&json!({"not": {"type": "null"}}), &json!({"type": "string"}));
    accepted(&json!({"not": {"const": 1}}), &json!({"enum": [2, 3]}));
}

#[test]
fn case_43_references_with_escapes_lead_where_the_validator_goes() {
    let of = |reference: &str, kind: &str| {
        json!({"type": "object", "properties": {"p": {"$ref": reference}}, "$defs": {
            "a b": {"type": kind}, "c/d": {"type": kind}, "e~f": {"type": kind}, "g%h": {"type": kind},
            "é": {"type": kind}, "named": {"$anchor": "whole", "type": kind}
        }})
    };
    for reference in ["#/$defs/a%20b", "#/$defs/c~1d", "#/$defs/e~0f", "#/$defs/g%25h", "#/$defs/%C3%A9", "#whole"] {
        let (text, number) = (of(reference, "string"), of(reference, "integer"));
        refused("type_changed /p", &text, &number, &json!({"p": 1}));
        accepted(&text, &text);
    }
    // The validator checks dependencies of older drafts, too.
    let reader = json!({"dependencies": {"a": ["b"], "c": {"required": ["d"]}}});
    refused("dependency_array_added /a", &reader, &json!({"type": "object"}), &json!({"a": 1}));
    refused("dependency_schema_added /c", &reader, &json!({"type": "object"}), &json!({"c": 1}));
}

#[test]
fn case_43_limits_of_numbers_are_exact() {
    refused(
        "multiple_of_expanded",
        &json!({"multipleOf": 1}),
        &json!({"type": "number", "multipleOf": 1e-10}),
        &json!(1e-10),
    );
    let most = |most: Value| json!({"type": "integer", "maximum": most});
    let (exact, rounded) = (most(json!(9_007_199_254_740_993_u64)), most(json!(9_007_199_254_740_992.0)));
    refused("maximum_decreased", &rounded, &exact, &json!(9_007_199_254_740_993_u64));
}

#[test]
fn case_43_what_is_safe_is_not_refused() {
    let contains = |least: u64| json!({"type": "array", "contains": {"type": "integer"}, "minContains": least});
    accepted(&contains(1), &contains(2));
    refused("contains_changed", &contains(2), &contains(1), &json!([1]));
    let most = |most: u64| json!({"type": "array", "contains": {"type": "integer"}, "maxContains": most});
    accepted(&most(2), &most(1));
    refused("contains_changed", &most(1), &most(2), &json!([1, 2]));
    // Ten choices are a thousand alternatives.
    let choice =
        |number: usize| json!({"anyOf": [{"required": [format!("a{number}")]}, {"required": [format!("b{number}")]}]});
    let choices = |further: Value| {
        let all: Vec<Value> = (0..10).map(choice).collect();
        json!({"type": "object", "allOf": all, "properties": {"further": further}})
    };
    accepted(&choices(json!({})), &choices(json!({})));
    accepted(&choices(json!({"type": ["string", "null"]})), &choices(json!({"type": "string"})));
    let wider: Vec<Value> = (0..10)
        .map(|number| json!({"anyOf": [{"required": [format!("b{number}")]}, {"required": [format!("a{number}")]}, {"required": ["c"]}]}))
        .collect();
    accepted(&json!({"allOf": wider}), &choices(json!({})));
    // Under the same condition, less is asked for.
    let conditional = |then: Value| json!({"if": {"required": ["a"]}, "then": then, "else": {"maxProperties": 3}});
    let least = |least: u64| conditional(json!({"minProperties": least}));
    accepted(&least(2), &least(3));
    accepted(&conditional(json!({})), &least(3));
    refused("condition_changed", &least(3), &least(2), &json!({"a": 1, "b": 2}));
}
