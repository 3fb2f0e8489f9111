//! Contract files and pairs of schemas that were once judged wrongly. A test named `contract_case_40_...`, or whose rows are numbered,
//! covers that case; the report of `plan --offline` is what it expects.
//!
//! Changes of a schema: 02 a `oneOf` whose alternatives overlap; 04 fewer items before `unevaluatedItems`; 06 a closed schema under
//! `not`; 08 a tiny `multipleOf`; 09 a lower `minContains`; 10 ten choices, unchanged.
//!
//! Versions of the standard: 20, 21 any `status`; 22 quality rules and 24 exclusive flags of 3.0; 25 `vendor` in 3.1; 26 a `date` with a
//! time in 3.0; 27, 29 date formats; 30 no topic; 32 no servers; 33 a service level in years; 34 `slaDefaultElement`; 35 a null item.
//!
//! Limits: 01 a check that would never end; 36, 37 internal topics; 38 an escape sequence or too many bytes in a name; 40 quoted text that
//! goes on at its key; 41 aliases of a long text; 42 pipes and devices; 43 JSON with surrogate pairs; 45 U+0000; 46 to 48 references;
//! 49 a version that is read as a number.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use walpost_producer::schema::Schema;

use super::files::{self, ContractFiles};
use super::plan::Plan;
use crate::relay::boundary::Format;
use crate::relay::route::destination::{Destinations, TopicPattern};

const KAFKA: &str = "servers: [{server: p, type: kafka, host: 'k:9092'}]\n";
const ID: &str = "{name: id, logicalType: integer, required: true}";

/// A contract with these lines of its own, of its schema object, and one property.
fn contract(api: &str, lines: &str, object: &str, property: &str) -> String {
    let status = if lines.contains("status:") { "" } else { "status: active\n" };
    let version = if lines.contains("version:") { "" } else { "version: 1.0.0\n" };
    let properties = if property.is_empty() { String::new() } else { format!("    properties: [{property}]\n") };
    format!(
        "apiVersion: {api}\nkind: DataContract\nid: case\n{version}{status}{lines}schema:\n  - name: shop.sold\n{object}{properties}"
    )
}

/// A contract of version 3.1 with a topic.
fn topic(lines: &str, object: &str, property: &str) -> String {
    contract("v3.1.0", &format!("{KAFKA}{lines}"), &format!("    physicalType: topic\n{object}"), property)
}

fn with_schema_file(version: &str, compatibility: &str, file: &str) -> String {
    let custom =
        format!("{{property: compatibility, value: {compatibility}}}, {{property: jsonSchema, value: {file}}}");
    topic(&format!("version: \"{version}\"\n"), &format!("    customProperties: [{custom}]\n"), "")
}

/// The folder of a case.
struct Case(TempDir);

impl Case {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("a file is written");
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self) -> Result<ContractFiles, String> {
        let named = |path: &Path| path.display().to_string();
        files::load(&[self.0.path().to_owned()])
            .map_err(|error| error.to_string().replace(&format!("{}/", named(self.0.path())), ""))
    }

    /// The contracts of a folder in which `plan` finds no mistake.
    fn fine(&self) -> ContractFiles {
        self.load().unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    /// Each refusal, as the report shows it.
    fn refusals(&self) -> Vec<String> {
        let mut plan = Plan::new(&self.fine().definitions, &[], None);
        plan.restrict(&Destinations::new("outbox.dead-letter", &[TopicPattern::any()]));
        plan.refusals().map(|(what, refusal)| format!("{what}: {refusal}")).collect()
    }
}

/// The schema that a contract's only topic gets.
fn schema_of(text: &str) -> Schema {
    let contracts = Case::new(&[("c.yaml", text)]).fine();
    let schema = contracts.definitions[0].schema.as_ref().expect("it has one");
    Schema::compile(&schema.value).expect("it compiles")
}

/// The refusals of version 2 with `new` after version 1 with `old`.
fn refusals_of(kind: &str, old: &Value, new: &Value) -> Vec<String> {
    let [first, second] = [("1", "none", "old.json"), ("2", kind, "new.json")]
        .map(|(version, kind, file)| with_schema_file(version, kind, file));
    let files = [
        ("1.yaml", first.as_str()),
        ("2.yaml", &second),
        ("old.json", &old.to_string()),
        ("new.json", &new.to_string()),
    ];
    Case::new(&files).refusals()
}

/// The payload is what a consumer of the old version emits and one of the new version can't read.
#[test]
fn contract_cases_02_to_08_changes_that_break_consumers_are_refused() {
    let overlapping = json!([{"type": "integer", "maximum": 9}, {"type": "integer", "multipleOf": 5}]);
    let tuple = |items: Value| json!({"type": "array", "prefixItems": items, "unevaluatedItems": false});
    for (case, old, new, payload, rule) in [
        ("02", json!({"anyOf": overlapping}), json!({"oneOf": overlapping}), json!(5), "combined_type_changed"),
        (
            "04",
            tuple(json!([{"type": "string"}, {"type": "integer"}])),
            tuple(json!([{"type": "string"}])),
            json!(["a", 1]),
            "unevaluated_changed",
        ),
        (
            "06",
            json!({"not": {"type": "object", "properties": {"a": {}}, "additionalProperties": false}}),
            json!({"not": {"type": "object"}}),
            json!({"b": 1}),
            "not_type_extended",
        ),
        (
            "08",
            json!({"type": "number", "multipleOf": 1e-10}),
            json!({"type": "number", "multipleOf": 1}),
            json!(1e-10),
            "multiple_of_expanded",
        ),
    ] {
        let compiled = |schema| Schema::compile(schema).expect("it compiles");
        assert_eq!(compiled(&old).check_value(&payload), Ok(()), "{case}");
        assert!(compiled(&new).check_value(&payload).is_err(), "{case}");
        let refused = refusals_of("backward", &old, &new);
        let expected = format!("shop.sold/2: {rule}: consumers of 2 can't read events of 1: the payload ");
        assert!(refused.len() == 1 && refused[0].starts_with(&expected), "{case}: {refused:?}");
    }
}

#[test]
fn contract_cases_09_and_10_safe_changes_are_not_refused() {
    let contains = |least: u64| json!({"type": "array", "contains": {"type": "integer"}, "minContains": least});
    assert_eq!(refusals_of("backward", &contains(2), &contains(1)), [""; 0], "09");
    let choice =
        |index: usize| json!({"anyOf": [{"required": [format!("a{index}")]}, {"required": [format!("b{index}")]}]});
    let choices = json!({"type": "object", "allOf": (0..10).map(choice).collect::<Vec<_>>()});
    assert_eq!(refusals_of("full", &choices, &choices), [""; 0], "10");
}

#[test]
fn contract_cases_20_to_34_contracts_of_each_version_are_accepted() {
    let v3_0 = |property: &str| contract("v3.0.2", KAFKA, "    physicalType: topic\n", property);
    let sla = "slaProperties: [{property: freshness, value: 1, unit: y}]\n";
    let elsewhere = "slaDefaultElement: other.event\nslaProperties: [{property: latency, value: 4, unit: d}]\n";
    let timestamp =
        r#"{name: at, logicalType: timestamp, required: true, logicalTypeOptions: {format: "yyyy-MM-ddTHH:mm:ssZ"}}"#;
    let local = "servers: [{server: p, type: local, path: x, format: json}]\n";
    for (case, text, topics) in [
        ("20", topic("status: in production\n", "", ID), 1),
        ("21", contract("v3.1.0", &format!("status: in production\n{local}"), "    physicalType: table\n", ID), 0),
        ("22", v3_0("{name: q, logicalType: string, quality: [{type: library, rule: nullCheck, mustBe: 0}]}"), 1),
        ("24", v3_0("{name: q, logicalType: integer, logicalTypeOptions: {maximum: 10, exclusiveMaximum: true}}"), 1),
        ("27", topic("", "", timestamp), 1),
        ("32", contract("v3.1.0", "", "    physicalType: topic\n", ID), 1),
        ("33", topic(sla, "", ID), 1),
        ("34", topic(elsewhere, "", ID), 1),
    ] {
        let contracts = Case::new(&[("contract.yaml", &text)]).fine();
        assert_eq!((contracts.definitions.len(), contracts.remarks.len()), (topics, 0), "{case}");
        for definition in &contracts.definitions {
            assert_eq!((definition.topic.as_str(), definition.format), ("shop.sold", Format::Json), "{case}");
            let freshness = definition.sla.as_ref().map(|sla| sla["freshness_seconds"].clone());
            assert_eq!(freshness, (case == "33").then(|| json!(365 * 86_400)), "{case}");
        }
    }
}

#[test]
fn contract_cases_24_to_35_payloads_are_checked_as_their_contract_means() {
    let v3_0 = |property: &str| contract("v3.0.2", KAFKA, "    physicalType: topic\n", property);
    let format = |format: &str| {
        let options = format!("logicalTypeOptions: {{format: \"{format}\"}}");
        topic("", "", &format!("{{name: q, logicalType: timestamp, required: true, {options}}}"))
    };
    let strings = |required: &str| {
        format!("{{name: q, logicalType: array, required: true, items: {{logicalType: string{required}}}}}")
    };
    let map =
        "{name: q, logicalType: map, required: true, map: {key: {logicalType: string}, value: {logicalType: integer}}}";
    for (case, text, good, bad) in [
        (
            "24",
            v3_0("{name: q, logicalType: integer, logicalTypeOptions: {maximum: 10, exclusiveMaximum: true}}"),
            json!(9),
            json!(10),
        ),
        (
            "26",
            v3_0("{name: q, logicalType: date, physicalType: timestamp, required: true}"),
            json!("2026-03-10T14:22:35.000Z"),
            json!("10.03.2026"),
        ),
        ("27", format("yyyy-MM-ddTHH:mm:ssZ"), json!("2026-03-10T14:22:35Z"), json!("2026-03-10 14:22:35Z")),
        ("29", format("yyyy-MM-dd'T'HH:mm:ss[.SSS]XXX"), json!("2026-03-10T14:22:35Z"), json!("2026-03-10")),
        (
            "29",
            format("yyyy-MM-dd'T'HH:mm:ss[.SSS]XXX"),
            json!("2026-03-10T14:22:35.125Z"),
            json!("2026-03-10T14:22:35.1Z"),
        ),
        ("35", topic("", "", &strings("")), json!([null, "a"]), json!([1])),
        ("35", topic("", "", &strings(", required: true")), json!(["a"]), json!([null])),
        ("35", contract("v3.2.0", KAFKA, "    physicalType: topic\n", map), json!({"a": null}), json!({"a": "b"})),
    ] {
        let (key, schema) = ("q", schema_of(&text));
        assert_eq!(schema.check_value(&json!({ key: good })), Ok(()), "{case}");
        assert!(schema.check_value(&json!({ key: bad })).is_err(), "{case}");
    }
}

#[test]
fn contract_case_30_a_contract_without_a_topic_says_why_nothing_follows() {
    let contracts = Case::new(&[("contract.yaml", &contract("v3.1.0", KAFKA, "    description: x\n", ID))]).fine();
    assert_eq!(contracts.definitions, []);
    let [remark] = &contracts.remarks[..] else { panic!("{:?}", contracts.remarks) };
    assert_eq!(
        (remark.place.line, remark.what.as_str()),
        (8, "nothing to register: none of its schema objects has physicalType: topic")
    );
}

#[test]
fn contract_cases_36_and_37_internal_topics_are_refused() {
    for (case, name, what) in [
        ("36", "outbox.dead-letter", "it is the relay's dead-letter topic"),
        ("37", "__consumer_offsets", "names starting with two underscores are Kafka's internal topics"),
    ] {
        let text = topic("", &format!("    physicalName: {name}\n"), ID);
        let refused = Case::new(&[("contract.yaml", &text)]).refusals();
        let fix = "; set another physicalName";
        assert!(refused.len() == 1 && refused[0].contains(what) && refused[0].ends_with(fix), "{case}: {refused:?}");
    }
}

#[test]
fn contract_cases_25_to_49_mistakes_name_their_place_and_the_fix() {
    let nested = (0..24).fold(
        json!({"type": "object", "properties": {"a": {"type": "integer"}}}),
        |inner, _| json!({"allOf": [inner], "unevaluatedProperties": false}),
    );
    let vendor = "    customProperties: [{property: shade, value: blue, vendor: acme}]\n";
    let named =
        |name: &str| topic("", "    physicalName: red\n", ID).replace("name: shop.sold", &format!("name: {name}"));
    let aliases = format!("tags: [&a {}, {}]\n", "x".repeat(100_000), ["*a"; 9_000].join(", "));
    let by_file = |case, schema: String, what| (case, with_schema_file("1", "none", "schema.json"), schema, what);
    let plain = |case, text, what| (case, text, String::new(), what);
    for (case, text, schema, expected) in [
        by_file("01", nested.to_string(), "schema.json:1:"),
        by_file("01", nested.to_string(), ": nesting: expands to more than 20000 schemas"),
        plain(
            "25",
            topic("", vendor, ID),
            "contract.yaml:10:55: unknown_key: the standard has no key vendor here; version 3.2 of the standard has one (apiVersion: v3.2.0)",
        ),
        plain(
            "38",
            named(r#""\e[31mred\nline""#),
            r#"contract.yaml:8:5: name: name has a control character: "\u{1b}[31mred\nline""#,
        ),
        plain("38", named(&"x".repeat(2_000)), "contract.yaml:8:5: name: name has 2000 bytes; the limit is 1024"),
        plain("41", topic(&aliases, "", ID), ": file: more than 32 MiB of text, including expanded aliases"),
        by_file(
            "45",
            r#"{"title": "\u0000"}"#.to_owned(),
            "schema.json:1:11: json: a string contains U+0000, which PostgreSQL can't store",
        ),
        plain(
            "49",
            topic("version: 1.10\n", "", ID),
            r#"contract.yaml:6:1: odcs: 1.10 is not of type "string"; quote it: "1.10""#,
        ),
    ] {
        let mistakes = Case::new(&[("contract.yaml", &text), ("schema.json", &schema)]).load().expect_err(case);
        assert!(mistakes.starts_with("1 mistake ") && mistakes.contains(expected), "{case}: {mistakes}");
        assert!(!mistakes.contains('\u{1b}') && mistakes.lines().count() == 2, "{case}: {mistakes}");
    }
}

#[test]
fn contract_case_40_quoted_text_may_go_on_at_the_key() {
    for quoted in
        ["\"a text that goes on\\\n        \\ in the next line\"", "'a text that goes on\n  in the next line'"]
    {
        let property = format!("\n      - name: q\n        logicalType: string\n        description: {quoted}\n");
        let text = topic("", "", ID).replace(&format!(" [{ID}]\n"), &property);
        let contracts = Case::new(&[("contract.yaml", &text)]).fine();
        let schema = contracts.definitions[0].schema.as_ref().expect("it has one");
        assert_eq!(schema.value["properties"]["q"]["description"], "a text that goes on in the next line", "{text}");
    }
}

#[cfg(unix)]
#[test]
fn contract_case_42_pipes_and_devices_are_not_read() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let case = Case::new(&[]);
    mknodat(CWD, case.path("a.yaml"), FileType::Fifo, Mode::RUSR, 0).expect("a pipe is made");
    let mistakes = case.load().expect_err("it is a pipe");
    assert!(mistakes.ends_with("a.yaml:1:1: file: it is not a regular file"), "{mistakes}");
    let mistakes = files::load(&[PathBuf::from("/dev/zero")]).expect_err("it is a device").to_string();
    assert!(mistakes.ends_with("/dev/zero:1:1: file: it is not a regular file"), "{mistakes}");
}

#[test]
fn contract_case_43_a_contract_may_be_json_in_ascii() {
    let contract = r#"{"apiVersion": "v3.1.0", "kind": "DataContract", "id": "case", "version": "1", "status": "active",
        "description": {"purpose": "\ud83d\ude00"}, "servers": [{"server": "p", "type": "kafka", "host": "k:1"}],
        "schema": [{"name": "sold", "physicalType": "topic", "properties": [{"name": "x"}]}]}"#;
    let case = Case::new(&[("contract.json", contract)]);
    let contracts = files::load(&[case.path("contract.json")]).expect("it is a contract");
    assert_eq!(contracts.definitions[0].description.as_deref(), Some("Purpose: \u{1f600}"));
}

#[test]
fn contract_cases_46_to_48_references_within_the_schema_are_followed() {
    let own = "https://shop.test/sold.json";
    for (case, schema) in [
        ("46", json!({"$defs": {"a": {"$anchor": "whole", "type": "integer"}}, "$ref": "#whole"})),
        ("47", json!({"$id": own, "$defs": {"a": {"type": "integer"}}, "$ref": format!("{own}#/$defs/a")})),
    ] {
        let files = [("c.yaml", with_schema_file("1", "none", "schema.json")), ("schema.json", schema.to_string())];
        let contracts = Case::new(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).fine();
        let schema = &contracts.definitions[0].schema.as_ref().expect("it has one").value;
        let compiled = Schema::compile(schema).expect("it compiles");
        assert!(compiled.check_value(&json!(1)).is_ok() && compiled.check_value(&json!("a")).is_err(), "{case}");
    }
    // Registered by hand, as a contract file may not use `dependencies`: each level refers twice to the next.
    let below = |level: usize| json!({"$ref": format!("#/$defs/d{level}")});
    let mut definitions = json!({"d0": {"type": "object"}});
    for level in 1..27 {
        let both = json!([below(level - 1), below(level - 1)]);
        definitions[format!("d{level}")] = json!({"dependencies": {"a": {"allOf": both}}});
    }
    let fault = Schema::compile(&json!({"$defs": definitions, "$ref": "#/$defs/d26"})).expect_err("48 is exponential");
    assert!(fault.detail.starts_with("expands to more than 20000 schemas"), "48: {fault}");
}
