//! Contracts and the definitions they become.

mod compiles;
mod editions;
mod examples;
mod mistakes;

use serde_json::{Value, json};

use super::super::compatibility::Compatibility;
use super::*;
use crate::relay::boundary::OnViolation;

/// A contract with these properties, 4 spaces deep.
fn contract(properties: &str) -> String {
    format!(
        "apiVersion: v3.2.0\nkind: DataContract\nid: shop.orders\nversion: 1.0.0\nservers:\n  - {{server: kafka, type: kafka, host: kafka:9092}}\n\
         schema:\n- name: order.placed\n  physicalType: topic\n  physicalName: orders\n  properties:\n{properties}"
    )
}

fn parse(text: &str) -> Result<Vec<Definition>, Vec<String>> {
    let file: Arc<Path> = Arc::from(Path::new("c.yaml"));
    read(&file, text)
        .map(|contract| contract.definitions)
        .map_err(|diagnostics| diagnostics.iter().map(ToString::to_string).collect())
}

/// The schema of one property that is required, without its place in the whole.
fn schema_of(property: &str) -> Value {
    let text =
        contract(&format!("    - name: p\n      required: true\n      {}\n", property.replace('\n', "\n      ")));
    let definitions = parse(&text).unwrap_or_else(|diagnostics| panic!("{text}\n{diagnostics:?}"));
    let schema = definitions[0].schema.as_ref().expect("a payload has a schema").value.clone();
    assert_eq!(schema["required"], json!(["p"]));
    schema["properties"]["p"].clone()
}

#[test]
fn all_parts_of_a_contract_are_read() {
    let text = r#"
apiVersion: v3.1.0
kind: DataContract
id: shop.orders
name: Orders
version: 2.1.0
status: deprecated
description:
  purpose: Tell what was ordered.
  usage: Invoices, stock.
servers:
  - server: production
    type: kafka
    host: kafka:9092
    format: json
team:
  name: checkout
customProperties:
  - property: compatibility
    value: backward
  - property: partitions
    value: 6
  - property: costCentre
    value: 4711
  - property: onViolation
    value: halt
slaProperties:
  - property: latency
    value: 0.5
    unit: m
  - property: retention
    value: 7
    unit: d
    element: order.placed
  - property: retention
    value: 1
    unit: y
    element: order.state.id
schema:
  - name: order.placed
    physicalType: topic
    physicalName: orders
    description: An order was placed.
    customProperties:
      - property: compatibility
        value: FULL_TRANSITIVE
      - property: replicationFactor
        value: 3
      - property: onViolation
        value: warn
      - property: topicConfiguration
        value:
          retention.ms: 604800000
          cleanup.policy: delete
    properties:
      - name: id
        logicalType: string
        required: true
        transformSourceObjects: [shop.orders]
      - name: lines
        logicalType: array
        items:
          logicalType: object
          properties:
            - name: sku
              logicalType: string
              transformSourceObjects: [shop.order_lines, shop.orders]
              transformLogic: upper(sku)
  - name: order.state
    physicalType: topic
    properties: []
  - name: orders_table
    physicalType: table
"#;
    let definitions = parse(text).expect("it is a contract");
    assert_eq!(definitions.len(), 2, "the table is ignored");
    let placed = &definitions[0];
    assert_eq!(
        (placed.name.as_str(), placed.version.as_str(), placed.topic.as_str()),
        ("order.placed", "2.1.0", "orders")
    );
    assert_eq!((placed.place.line, placed.status, placed.format), (40, Status::Deprecated, Format::Json));
    assert_eq!(
        (placed.compatibility, definitions[1].compatibility),
        (Compatibility::FullTransitive, Compatibility::Backward)
    );
    let policies = definitions.iter().map(|definition| definition.on_violation);
    assert_eq!(policies.collect::<Vec<_>>(), [Some(OnViolation::Warn), Some(OnViolation::Halt)]);
    assert_eq!(placed.owner.as_deref(), Some("checkout"));
    let description = "An order was placed.\nPurpose: Tell what was ordered.\nUsage: Invoices, stock.";
    assert_eq!(placed.description.as_deref(), Some(description));
    let latency = json!({"property": "latency", "value": 0.5, "unit": "m"});
    let retention = json!({"property": "retention", "value": 7, "unit": "d", "element": "order.placed"});
    assert_eq!(placed.sla, Some(json!({"freshness_seconds": 30, "properties": [latency, retention]})));
    assert_eq!(
        placed.lineage,
        Some(json!({"sources": ["shop.order_lines", "shop.orders"], "properties": {
            "/id": {"sources": ["shop.orders"]},
            "/lines/*/sku": {"sources": ["shop.order_lines", "shop.orders"], "logic": "upper(sku)"}
        }}))
    );
    assert_eq!(
        placed.topic_config(),
        Some(
            json!({"partitions": 6, "replication_factor": 3, "config": {"retention.ms": "604800000", "cleanup.policy": "delete"}})
        )
    );
    let state = &definitions[1];
    assert_eq!((state.topic.as_str(), state.topic_config()), ("order.state", Some(json!({"partitions": 6}))));
    assert_eq!(state.schema.as_ref().map(|schema| &schema.value["type"]), Some(&json!("object")));
}

#[test]
fn every_logical_type_becomes_a_schema() {
    let local = |pattern: &str| pattern.len() > 20;
    for (property, expected) in [
        ("logicalType: string", json!({"type": "string"})),
        (
            "logicalType: string\nlogicalTypeOptions: {minLength: 1, maxLength: 3, pattern: '^a', format: uuid}",
            json!({"type": "string", "minLength": 1, "maxLength": 3, "pattern": "^a", "format": "uuid"}),
        ),
        ("logicalType: date", json!({"type": "string", "format": "date"})),
        (
            "logicalType: date\nlogicalTypeOptions: {format: yyyy-MM-dd, minimum: 2020-01-01, exclusiveMaximum: 2030-01-01}",
            json!({"type": "string", "format": "date", "formatMinimum": "2020-01-01", "formatExclusiveMaximum": "2030-01-01"}),
        ),
        (
            "logicalType: date\nlogicalTypeOptions: {format: dd.MM.yyyy}",
            json!({"type": "string", "pattern": "^(0[1-9]|[12][0-9]|3[01])\\.(0[1-9]|1[0-2])\\.[0-9]{4}$"}),
        ),
        ("logicalType: timestamp", json!({"type": "string", "format": "date-time"})),
        (
            "logicalType: timestamp\nlogicalTypeOptions: {timezone: true, maximum: '2030-01-01T00:00:00Z'}",
            json!({"type": "string", "format": "date-time", "formatMaximum": "2030-01-01T00:00:00Z"}),
        ),
        ("logicalType: time\nlogicalTypeOptions: {timezone: true}", json!({"type": "string", "format": "time"})),
        ("logicalType: number", json!({"type": "number"})),
        (
            "logicalType: number\nlogicalTypeOptions: {multipleOf: 0.01, minimum: 0, exclusiveMaximum: 100}",
            json!({"type": "number", "multipleOf": 0.01, "minimum": 0, "exclusiveMaximum": 100}),
        ),
        ("logicalType: integer", json!({"type": "integer"})),
        (
            "logicalType: integer\nlogicalTypeOptions: {format: u8, maximum: 100}",
            json!({"type": "integer", "minimum": 0, "maximum": 100}),
        ),
        (
            "logicalType: integer\nlogicalTypeOptions: {format: i64}",
            json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX}),
        ),
        ("logicalType: boolean", json!({"type": "boolean"})),
        ("logicalType: object", json!({"type": "object"})),
        (
            "logicalType: object\nlogicalTypeOptions: {required: [b], maxProperties: 2}\nproperties:\n- {name: a, required: true}\n- {name: b, physicalName: bee}\n- {name: b}",
            json!({"type": "object", "maxProperties": 2, "properties": {"a": {}, "b": {}, "bee": {}}, "required": ["a", "b"],
                   "additionalProperties": false}),
        ),
        ("logicalType: array", json!({"type": "array"})),
        (
            "logicalType: array\nlogicalTypeOptions: {minItems: 1, maxItems: 9, uniqueItems: true}\nitems: {logicalType: array, items: {logicalType: string}}",
            json!({"type": "array", "minItems": 1, "maxItems": 9, "uniqueItems": true,
                   "items": {"type": ["array", "null"], "items": {"type": ["string", "null"]}}}),
        ),
        (
            "logicalType: array\nitems: {logicalType: string, required: true}",
            json!({"type": "array", "items": {"type": "string"}}),
        ),
        (
            "logicalType: map\nmap: {key: {logicalType: string, logicalTypeOptions: {maxLength: 2}}, value: {logicalType: integer}}",
            json!({"type": "object", "propertyNames": {"type": "string", "maxLength": 2}, "additionalProperties": {"type": ["integer", "null"]}}),
        ),
        (
            "logicalType: vector\nlogicalTypeOptions: {dimensions: 3, elementType: uint8}",
            json!({"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": "integer", "minimum": 0, "maximum": 255}}),
        ),
        (
            "logicalType: string\nenum: [{value: a}, {value: b, label: B}]",
            json!({"type": "string", "enum": ["a", "b"]}),
        ),
        (
            "logicalType: string\nquality:\n- {type: library, metric: invalidValues, arguments: {validValues: [a, b]}, mustBe: 0}",
            json!({"type": "string", "enum": ["a", "b"]}),
        ),
        (
            "description: Any.\nbusinessName: Thing\nexamples: [1]\nclassification: public\ndeprecated: true",
            json!({"description": "Any.", "title": "Thing", "examples": [1], "x-classification": "public", "deprecated": true}),
        ),
        ("items: {logicalType: string}", json!({"type": "array", "items": {"type": ["string", "null"]}})),
    ] {
        assert_eq!(schema_of(property), expected, "{property}");
    }
    for property in ["logicalType: time", "logicalType: timestamp\nlogicalTypeOptions: {timezone: false}"] {
        assert!(schema_of(property)["pattern"].as_str().is_some_and(local), "{property}");
    }
}

#[test]
fn optional_properties_may_be_missing_or_null() {
    let definitions = parse(&contract("    - {name: a, logicalType: integer, enum: [{value: 1}]}\n    - {name: b}\n"))
        .expect("it is a contract");
    let schema = &definitions[0].schema.as_ref().expect("it has one").value;
    assert_eq!(schema["properties"], json!({"a": {"type": ["integer", "null"], "enum": [1, null]}, "b": {}}));
    assert_eq!(schema.get("required"), None);
    let compiled = Schema::compile(schema).expect("it compiles");
    for payload in ["{}", r#"{"a": null}"#, r#"{"a": 1, "b": [{}]}"#] {
        assert_eq!(compiled.check(payload.as_bytes()), Ok(()), "{payload}");
    }
    for payload in ["null", "[]", r#"{"a": 2}"#, r#"{"c": 1}"#] {
        assert!(compiled.check(payload.as_bytes()).is_err(), "{payload}");
    }
}

#[test]
fn times_are_checked_against_their_format() {
    for (property, good, bad) in [
        ("logicalType: time", &["09:00:00", "23:59:59.123"][..], &["9:00:00", "24:00:00", "09:00:00Z"][..]),
        (
            "logicalType: timestamp\nlogicalTypeOptions: {timezone: false}",
            &["2024-01-01T00:00:00", "2024-01-01 00:00:00.5"],
            &["2024-01-01T00:00:00Z"],
        ),
        ("logicalType: timestamp", &["2024-01-01T00:00:00+01:00"], &["2024-01-01T00:00:00", "now"]),
        (
            "logicalType: timestamp\nlogicalTypeOptions: {format: \"yyyy-MM-dd'T'HH:mm:ss.SSSX\"}",
            &["2024-01-01T00:00:00.123Z", "2024-01-01T00:00:00.123+02"],
            &["2024-01-01T00:00:00Z"],
        ),
        (
            "logicalType: date\nlogicalTypeOptions: {format: d MMM yyyy}",
            &["1 Jan 2024"],
            &["01 January 2024", "x1 Jan 2024"],
        ),
    ] {
        let schema = Schema::compile(&schema_of(property)).expect("it compiles");
        for text in good {
            assert_eq!(schema.check_value(&json!(text)), Ok(()), "{property}: {text}");
        }
        for text in bad {
            assert!(schema.check_value(&json!(text)).is_err(), "{property}: {text}");
        }
    }
}

#[test]
fn formats_other_than_json_have_no_schema() {
    let text = contract("    - {name: a}\n").replace("host: kafka:9092", "host: kafka:9092, format: avro");
    let definitions = parse(&text).expect("it is a contract");
    assert_eq!((definitions[0].format, &definitions[0].schema), (Format::Avro, &None));
}

#[test]
fn owners_of_contracts_before_version_3_1_are_members() {
    let text = contract("    - {name: a}\n");
    for (version, team, owner) in [
        ("v3.0.2", "team: [{username: ann, role: steward}, {username: bob, role: Owner}]", Some("bob")),
        ("v3.0.2", "team: [{username: ann}]", Some("ann")),
        ("v3.1.0", "team: {members: [{username: ann}]}", Some("ann")),
        ("v3.0.2", "team: []", None),
        ("v3.0.2", "tags: []", None),
    ] {
        let text = format!("status: active\n{}", text.replace("v3.2.0", version));
        let definitions = parse(&format!("{team}\n{text}")).expect("it is a contract");
        assert_eq!(definitions[0].owner.as_deref(), owner, "{team}");
    }
}
