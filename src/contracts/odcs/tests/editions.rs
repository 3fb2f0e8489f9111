//! Contracts of the versions of the standard.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use walpost_producer::schema::Schema;

use super::super::{OdcsContract, read};
use crate::contracts::definition::Status;

/// A contract of this version with these lines besides, and one property.
fn contract(api: &str, lines: &str, property: &str) -> String {
    let status = if lines.contains("status:") { "" } else { "status: active\n" };
    format!(
        "apiVersion: {api}\nkind: DataContract\nid: shop\nversion: 1.0.0\n{status}{lines}\
         servers: [{{server: p, type: kafka, host: \"k:9092\"}}]\n\
         schema:\n  - name: shop.sold\n    physicalType: topic\n    properties:\n      - {property}\n"
    )
}

fn parsed(text: &str) -> Result<OdcsContract, Vec<String>> {
    let file: Arc<Path> = Arc::from(Path::new("c.yaml"));
    read(&file, text).map_err(|diagnostics| diagnostics.iter().map(ToString::to_string).collect())
}

fn read_well(text: &str) -> OdcsContract {
    parsed(text).unwrap_or_else(|diagnostics| panic!("{text}\n{diagnostics:?}"))
}

/// The schema of the property `q`.
fn schema_of(api: &str, property: &str) -> Value {
    let contract = read_well(&contract(api, "", &format!("{{name: q, required: true, {property}}}")));
    contract.definitions[0].schema.as_ref().expect("it has one").value["properties"]["q"].clone()
}

const ANY: &str = "{name: q}";

#[test]
fn case_44_each_version_has_its_own_keys() {
    let vendor = "customProperties: [{property: shade, value: blue, vendor: acme}]\n";
    let listed = "{name: q, logicalType: string, enum: [{value: a}]}";
    let rule = "{name: q, logicalType: string, quality: [{type: library, rule: nullCheck, mustBe: 0}]}";
    let metric = "{name: q, logicalType: string, quality: [{type: library, metric: nullValues, mustBe: 0}]}";
    let flag = "{name: q, logicalType: integer, logicalTypeOptions: {maximum: 10, exclusiveMaximum: true}}";
    let timestamp = "{name: q, logicalType: timestamp}";
    for (lines, property, versions) in [
        ("", ANY, &["v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0", "v3.2.0"][..]),
        (vendor, ANY, &["v3.2.0"]),
        ("", listed, &["v3.2.0"]),
        ("", rule, &["v3.0.0", "v3.0.2"]),
        ("", metric, &["v3.1.0", "v3.2.0"]),
        ("", flag, &["v3.0.0", "v3.0.2"]),
        ("", timestamp, &["v3.1.0", "v3.2.0"]),
        ("team: {name: checkout}\n", ANY, &["v3.1.0", "v3.2.0"]),
    ] {
        for version in ["v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0", "v3.2.0"] {
            let text = contract(version, lines, property);
            let is_known = versions.contains(&version) || (version == "v3.0.1" && versions.contains(&"v3.0.0"));
            assert_eq!(parsed(&text).is_ok(), is_known, "{text}{:?}", parsed(&text));
        }
    }
    let found = parsed(&contract("v3.1.0", "", listed)).expect_err("it is of 3.2");
    assert!(
        found[0].ends_with("no key enum here; version 3.2 of the standard has one (apiVersion: v3.2.0)"),
        "{found:?}"
    );
    let found = parsed(&contract("v3.0.2", "", "{name: q, requird: true}")).expect_err("it is misspelled");
    assert!(found[0].ends_with("no key requird here; did you mean required?"), "{found:?}");
}

#[test]
fn case_44_a_mistake_that_a_later_version_allows_says_so() {
    let timestamp = contract("v3.0.2", "", "{name: q, logicalType: timestamp}");
    let found = parsed(&timestamp).expect_err("it is of 3.1");
    assert!(
        found[0].ends_with("array, boolean; version 3.1 of the standard allows it (apiVersion: v3.1.0)"),
        "{found:?}"
    );
    let no_status = contract("v3.1.0", "", ANY).replace("status: active\n", "");
    assert_eq!(
        parsed(&no_status).expect_err("it has none"),
        [
            "c.yaml:1:1: missing_key: the key status is missing; version 3.2 of the standard does not require it (apiVersion: v3.2.0)"
        ]
    );
    // A long value is cut, and what is wrong with it is not.
    let team = format!("team: {{name: checkout, description: {}}}\n", "x".repeat(200));
    let found = parsed(&contract("v3.0.2", &team, ANY)).expect_err("a team is a list before 3.1");
    let part = "xxx... is not of type \"array\"; version 3.1 of the standard allows it";
    assert!(found.len() == 1 && found[0].contains(part), "{found:?}");
}

/// Its JSON Schema for other tools allows them, and the strict one does not.
#[test]
fn case_44_version_3_0_allows_other_keys_where_no_topic_is_defined() {
    let text = contract("v3.0.2", "team: [{username: ann, comment: x}]\nowner: ann\n", ANY);
    assert_eq!(parsed(&text).expect_err("a misspelled key would go unnoticed").len(), 2);
    assert_eq!(read_well(&text.replace("physicalType: topic", "physicalType: table")).definitions, []);
}

#[test]
fn case_44_a_status_is_any_text() {
    for (status, expected) in [
        ("in production", Status::Unsaid),
        ("development", Status::Unsaid),
        ("Draft", Status::Draft),
        ("proposed", Status::Draft),
        ("active", Status::Active),
        ("deprecated", Status::Deprecated),
        ("RETIRED", Status::Retired),
    ] {
        let contract = read_well(&contract("v3.1.0", &format!("status: {status}\n"), ANY));
        assert_eq!(contract.definitions[0].status, expected, "{status}");
    }
}

#[test]
fn case_44_dates_and_limits_mean_what_their_version_says() {
    let date = "logicalType: date, physicalType:";
    for (api, property, good, bad) in [
        ("v3.0.2", format!("{date} timestamp"), &["2026-03-10T14:22:35.000Z"][..], &["2026-03-10"][..]),
        ("v3.0.2", format!("{date} DATE"), &["2026-03-10"], &["2026-03-10T14:22:35.000Z"]),
        ("v3.0.2", format!("{date} text"), &["2026-03-10T14:22:35.000Z", "2026-03-10"], &["10.03.2026"]),
        ("v3.1.0", format!("{date} timestamp"), &["2026-03-10"], &["2026-03-10T14:22:35.000Z"]),
        (
            "v3.1.0",
            "logicalType: timestamp, logicalTypeOptions: {format: \"yyyy-MM-ddTHH:mm:ssZ\"}".to_owned(),
            &["2026-03-10T14:22:35Z", "2026-03-10T14:22:35+0100", "2026-03-10T14:22:35+01:00"],
            &["2026-03-10 14:22:35Z", "2026-03-10T14:22:35"],
        ),
        (
            "v3.1.0",
            "logicalType: timestamp, logicalTypeOptions: {format: \"yyyy-MM-dd HH:mm:ssZ\"}".to_owned(),
            &["2026-03-10 14:22:35+0100"],
            &["2026-03-10 14:22:35"],
        ),
        (
            "v3.2.0",
            "logicalType: timestamp, logicalTypeOptions: {format: \"yyyy-MM-dd'T'HH:mm:ss[.SSS]XXX\"}".to_owned(),
            &["2026-03-10T14:22:35Z", "2026-03-10T14:22:35.123+01:00"],
            &["2026-03-10T14:22:35.12Z", "2026-03-10T14:22:35[.123]Z"],
        ),
    ] {
        let schema = Schema::compile(&schema_of(api, &property)).expect("it compiles");
        for text in good {
            assert_eq!(schema.check_value(&json!(text)), Ok(()), "{api} {property}: {text}");
        }
        for text in bad {
            assert!(schema.check_value(&json!(text)).is_err(), "{api} {property}: {text}");
        }
    }
    let flags = "logicalTypeOptions: {maximum: 10, exclusiveMaximum: true, minimum: 1, exclusiveMinimum: false}";
    let expected = json!({"type": "integer", "exclusiveMaximum": 10, "minimum": 1});
    assert_eq!(schema_of("v3.0.2", &format!("logicalType: integer, {flags}")), expected);
    let flags = "logicalTypeOptions: {maximum: '2030-01-01', exclusiveMaximum: true, minimum: '2020-01-01'}";
    let expected = json!({"type": "string", "format": "date", "formatExclusiveMaximum": "2030-01-01", "formatMinimum": "2020-01-01"});
    assert_eq!(schema_of("v3.0.2", &format!("logicalType: date, physicalType: date, {flags}")), expected);
    for format in ["yyyy[-MM", "yyyy]"] {
        let property = format!("{{name: q, logicalType: date, logicalTypeOptions: {{format: \"{format}\"}}}}");
        let found = parsed(&contract("v3.2.0", "", &property)).expect_err("the brackets do not match");
        assert!(found[0].contains("an optional section"), "{found:?}");
    }
}

#[test]
fn case_44_service_levels_count_in_years_and_have_a_default_element() {
    let sla = |lines: &str| read_well(&contract("v3.1.0", lines, ANY)).definitions[0].sla.clone();
    let level = |unit: &str| format!("slaProperties: [{{property: freshness, value: 1, unit: {unit}}}]\n");
    assert_eq!(sla(&level("y")).expect("it promises one")["freshness_seconds"], json!(365 * 86_400));
    assert_eq!(sla(&format!("slaDefaultElement: other.event\n{}", level("d"))), None);
    assert!(sla(&format!("slaDefaultElement: shop.sold\n{}", level("d"))).is_some());
}

#[test]
fn case_44_a_contract_from_which_nothing_follows_says_why() {
    let text = contract("v3.1.0", "", ANY);
    assert_eq!(read_well(&text).remark, None);
    let table = read_well(&text.replace("    physicalType: topic\n", ""));
    let remark = table.remark.expect("nothing follows");
    assert_eq!(
        (remark.place.line, remark.what.as_str(), table.definitions.len()),
        (8, "nothing to register: none of its schema objects has physicalType: topic", 0)
    );
    let bare = read_well(&text[..text.find("schema:").expect("it has one")]);
    assert_eq!(
        bare.remark.map(|remark| (remark.place.line, remark.what)),
        Some((6, "nothing to register: it has a server of type kafka, but no schema object".to_owned()))
    );
    // A database's contract is none of walpost's.
    let other = text.replace("type: kafka, host: \"k:9092\"", "type: local, path: x, format: json");
    assert_eq!(read_well(&other.replace("physicalType: topic", "physicalType: table")).remark, None);
}

#[test]
fn case_44_a_version_is_quoted_as_it_is_written() {
    let text = contract("v3.1.0", "", ANY).replace("version: 1.0.0", "version: 1.10");
    assert_eq!(
        parsed(&text).expect_err("it is a number"),
        ["c.yaml:4:1: odcs: 1.10 is not of type \"string\"; quote it: \"1.10\""]
    );
}

#[test]
fn case_44_a_name_with_a_newline_is_no_line_of_its_own() {
    let property = r#"{name: "a\e[31m\nb"}, {name: "a\e[31m\nb"}"#;
    let text = contract("v3.1.0", "", "").replace("      - \n", &format!("      [{property}]\n"));
    let found = parsed(&text).expect_err("it is there twice");
    assert!(found.len() == 1 && found[0].ends_with(r"a second property named a\u{1b}[31m\nb"), "{found:?}");
}
