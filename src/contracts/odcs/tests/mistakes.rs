//! Every kind of mistake, with its line and its rule.

use super::{contract, parse};

/// The mistakes of a text, without the file's name.
fn diagnostics(text: &str) -> Vec<String> {
    let found = parse(text).map(drop).expect_err("it has mistakes");
    found.iter().map(|diagnostic| diagnostic.strip_prefix("c.yaml:").expect("the file is named").to_owned()).collect()
}

/// A contract with this line replaced by that.
fn with(line: &str, other: &str) -> String {
    let text = contract("    - {name: a, logicalType: string}\n");
    assert!(text.contains(line), "{line} is in it");
    text.replace(line, other)
}

/// A contract whose one property is this, from line 12 on.
fn property(property: &str) -> String {
    contract(&format!("    - name: a\n      {}\n", property.replace('\n', "\n      ")))
}

#[test]
fn each_mistake_has_a_place_and_a_rule() {
    for (text, expected) in [
        ("schema: [".to_owned(), "2:1: yaml: "),
        ("- 1\n- 2\n".to_owned(), "1:1: odcs: not a data contract: it has neither kind"),
        ("just text".to_owned(), "1:1: odcs: not a data contract: it has neither kind"),
        (String::new(), "1:1: odcs: not a data contract: it has neither kind"),
        (with("id: shop.orders\n", ""), "1:1: missing_key: the key id is missing"),
        (with("kind: DataContract", "kind: Contract"), "2:1: odcs: \"Contract\" is not one of"),
        (with("v3.2.0", "v2.2.2"), "1:1: odcs: version v2.2.2 of the standard is too old"),
        (with("v3.2.0", "v9.0.0"), "1:1: odcs: \"v9.0.0\" is not one of"),
        (with("version: 1.0.0", "version: 1.0"), "4:1: odcs: 1.0 is not of type \"string\"; quote it: \"1.0\""),
        (with("version: 1.0.0", "version: ' '"), "4:1: name: version \" \" is empty"),
        (with("servers:", "server:"), "5:1: unknown_key: the standard has no key server here"),
        (
            with("kind: DataContract", "kind: DataContract\nslaPropertis: []"),
            "3:1: unknown_key: the standard has no key slaPropertis here; did you mean slaProperties?",
        ),
        (
            with("physicalName: orders", "physicalName: orders\n  partitions: 6"),
            "11:3: unknown_key: the standard has no key partitions here",
        ),
        (
            with("type: kafka,", "type: postgres, port: 1, database: d, schema: s,"),
            "5:1: missing_key: a contract with a topic needs a server of type kafka, and none of these is one",
        ),
        (with("host: kafka:9092", "host: kafka:9092, format: xml"), "6:52: odcs: format xml is not one of"),
        (
            with("physicalName: orders", "physicalName: my orders"),
            "10:3: topic_name: \"my orders\" is not a valid topic name",
        ),
        (with("physicalName: orders", "physicalName: ..").clone(), "10:3: topic_name: \"..\""),
        (property("logicalType: text"), "13:7: odcs: \"text\" is not one of"),
        (property("requird: true"), "13:7: unknown_key: the standard has no key requird here; did you mean required?"),
        (
            property("logicalType: string\nlogicalTypeOptions: {maxLen: 3}"),
            "14:28: unknown_key: the standard has no key maxLen here; did you mean maxLength?",
        ),
        (
            property("logicalType: string\nlogicalTypeOptions: {maxLength: -3}"),
            "14:28: odcs: -3 is less than the minimum of 0",
        ),
        (property("logicalType: string\nlogicalTypeOptions: {pattern: '('}"), "14:28: pattern: "),
        (property("logicalType: string\nlogicalTypeOptions: {pattern: '^(?!x)'}"), "14:28: pattern: "),
        (property("logicalType: string\nlogicalTypeOptions: {pattern: '((a{900}){900}){900}'}"), "14:28: pattern: "),
        (
            property("logicalType: string\nlogicalTypeOptions: {format: uuidd}"),
            "14:28: unknown_format: format \"uuidd\" is not checked",
        ),
        (property("logicalType: date\nlogicalTypeOptions: {format: yyyy-QQ}"), "14:28: type_option: the letter Q"),
        (
            property("logicalType: date\nlogicalTypeOptions: {minimum: yesterday}"),
            "14:28: type_option: \"yesterday\" is not a date",
        ),
        (
            property("logicalType: date\nlogicalTypeOptions: {format: dd.MM.yyyy, minimum: 2020-01-01}"),
            "14:48: type_option: minimum requires the standard form",
        ),
        (
            property("logicalType: integer\nenum: [{value: 1}, {value: one}]"),
            "14:27: type_option: \"one\" is not of type integer",
        ),
        (
            property("logicalType: object\nlogicalTypeOptions: {required: [b]}\nproperties: [{name: c}]"),
            "14:39: type_option: the object has no property \"b\"",
        ),
        (
            property("logicalType: object\nproperties: [{name: c}, {name: d, physicalName: c}]"),
            "14:31: duplicate_key: the payload has a second property named c",
        ),
        (
            property("logicalType: map\nmap: {key: {logicalType: object}, value: {logicalType: string}}"),
            "14:13: type_option: map keys are strings",
        ),
        (
            with(
                "physicalType: topic",
                "physicalType: topic\n  customProperties: [{property: compatibility, value: sometimes}]",
            ),
            "10:48: custom_property: compatibility must be one of none, backward",
        ),
        (
            with("physicalType: topic", "physicalType: topic\n  customProperties: [{property: partitions, value: 0}]"),
            "10:45: custom_property: partitions must be a whole number",
        ),
        (
            with(
                "physicalType: topic",
                "physicalType: topic\n  customProperties: [{property: replicationFactor, value: 40000}]",
            ),
            "10:52: custom_property: replicationFactor must be",
        ),
        (
            with(
                "physicalType: topic",
                "physicalType: topic\n  customProperties: [{property: topicConfiguration, value: {a: [1]}}]",
            ),
            "10:53: custom_property: topicConfiguration must be a map in which a is a string",
        ),
        (
            with(
                "physicalType: topic",
                "physicalType: topic\n  customProperties: [{property: onViolation, value: shrug}]",
            ),
            "10:46: custom_property: onViolation must be one of dead-letter, halt, warn",
        ),
        (
            with(
                "physicalType: topic",
                "physicalType: topic\n  customProperties: [{property: compatability, value: full}]",
            ),
            "10:22: custom_property: walpost has no custom property compatability; did you mean compatibility?",
        ),
        (
            with("kind: DataContract", "kind: DataContract\nslaProperties: [{property: latency, value: 5}]"),
            "3:17: service_level: latency: the unit is missing",
        ),
        (
            with("kind: DataContract", "kind: DataContract\nslaProperties: [{property: latency, value: 5, unit: w}]"),
            "3:17: service_level: latency: unit w is not one of",
        ),
        (
            with(
                "kind: DataContract",
                "kind: DataContract\nslaProperties: [{property: latency, value: fast, unit: s}]",
            ),
            "3:17: service_level: latency: \"fast\" is not a positive number",
        ),
    ] {
        let found = diagnostics(&text);
        assert_eq!(found.len(), 1, "{text}\n{found:?}");
        assert!(found[0].starts_with(expected), "{text}\nexpected {expected}\nfound    {}", found[0]);
    }
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once() {
    let text =
        contract("    - {name: a, logicalType: text}\n    - {logicalType: string}\n    - {name: c, requird: true}\n")
            .replace("kind: DataContract", "kind: X");
    let mut found: Vec<_> = diagnostics(&text)
        .iter()
        .map(|diagnostic| diagnostic.split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    found.sort();
    assert_eq!(found, ["12:17 odcs", "13:7 missing_key", "14:17 unknown_key", "2:1 odcs"]);
    let text =
        property("logicalType: date\nlogicalTypeOptions: {minimum: x, maximum: y}").replace("orders\n", "no orders\n");
    assert_eq!(diagnostics(&text.replace("id: shop.no orders", "id: shop")).len(), 3);
}

#[test]
fn a_schema_ten_thousand_deep_is_refused() {
    let deep = format!("    - {}name: a{}\n", "{items: ".repeat(10_000), "}".repeat(10_000));
    let found = diagnostics(&contract(&deep));
    assert!(
        found.len() == 1 && found[0].starts_with("12:") && found[0].contains("nesting: nested more than 96 levels"),
        "{found:?}"
    );
    let block: String = (0..120).map(|level| format!("{}items:\n", " ".repeat(8 + level))).collect();
    let found = diagnostics(&contract(&format!("    - name: a\n      items:\n{block}")));
    assert!(found[0].contains("nesting: nested more than 96 levels"), "{found:?}");
}
