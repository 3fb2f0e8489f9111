use serde_json::json;

use super::moment::Moment;
use super::*;

fn refusal(schema: &Value) -> (SchemaRule, String) {
    let fault = Schema::compile(schema).map(drop).expect_err("it is refused");
    (fault.rule, fault.pointer)
}

fn broken(schema: &Value, payload: &str) -> Option<(String, String)> {
    let schema = Schema::compile(schema).expect("it compiles");
    schema.check(payload.as_bytes()).err().map(|violation| (violation.pointer, violation.rule))
}

#[test]
fn a_violation_has_a_json_pointer() {
    let schema = json!({
        "type": "object",
        "properties": {"id": {"type": "string", "format": "uuid"}, "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}},
        "required": ["id"],
        "additionalProperties": false,
        "$defs": {"line": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string", "maxLength": 3}}}}
    });
    let id = r#""id": "01890a5d-ac96-774b-bcce-b302099a8057""#;
    let line = |sku: &str| format!(r#"{{{id}, "lines": [{{"sku": "ab"}}, {{"sku": {sku}}}]}}"#);
    assert_eq!(broken(&schema, &line("\"abc\"")), None);
    for (payload, pointer, rule) in [
        ("{}".to_owned(), "", "required"),
        (format!("{{{id}, \"x\": 1}}"), "", "additionalProperties"),
        (r#"{"id": "7"}"#.to_owned(), "/id", "format"),
        (line("\"abcd\""), "/lines/1/sku", "maxLength"),
        (line("4"), "/lines/1/sku", "type"),
        ("{".to_owned(), "", "json"),
        (format!("{{{id}}} x"), "", "json"),
        ("[".repeat(10_000), "", "json"),
    ] {
        assert_eq!(broken(&schema, &payload), Some((pointer.to_owned(), rule.to_owned())), "{payload:.40}");
    }
}

#[test]
fn a_violation_is_short_and_has_no_value_of_the_payload() {
    let schema = Schema::compile(&json!({"properties": {"card": {"type": "integer"}}, "additionalProperties": false}))
        .expect("it compiles");
    let violation = schema.check(br#"{"card": "4111 1111"}"#).expect_err("it is text");
    assert!(!violation.to_string().contains("4111"), "{violation}");
    let name = "müßig".repeat(200);
    let violation = schema.check(format!("{{\"{name}\": 1}}").as_bytes()).expect_err("it is not known");
    assert!(violation.detail.len() <= 500 && violation.detail.ends_with("..."), "{}", violation.detail);
    let values = Schema::compile(&json!({"additionalProperties": {"type": "integer"}})).expect("it compiles");
    let violation = values.check(format!("{{\"{name}\": \"1\"}}").as_bytes()).expect_err("it is text");
    assert!(violation.pointer.len() <= 500 && violation.pointer.starts_with("/müßig"), "{}", violation.pointer);
    let fault = Schema::compile(&json!({"$ref": name})).expect_err("it leads out");
    assert!(fault.detail.len() <= 500, "{fault}");
}

#[test]
fn case_44_json_beyond_the_limits_is_not_called_something_else() {
    let schema = Schema::compile(&json!({})).expect("it compiles");
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for (payload, rule) in [
        ("1e400", LIMIT),
        (r#""\ud83d""#, LIMIT),
        (deep.as_str(), LIMIT),
        ("[1e400", "json"),
        ("01", "json"),
        ("\"\u{1}\"", "json"),
        ("", "json"),
    ] {
        let violation = schema.check(payload.as_bytes()).expect_err("it can't be read");
        assert_eq!(
            (violation.rule.as_str(), violation.detail.contains("not JSON")),
            (rule, rule == "json"),
            "{payload:.20}"
        );
    }
    assert_eq!(schema.check(b"\"\xff\"").expect_err("it is no text").rule, "json");
    for (text, rule) in [(r#"{"maximum": 1e400}"#, SchemaRule::Schema), ("{", SchemaRule::Json)] {
        assert_eq!(Schema::parse(text).expect_err("it can't be read").rule, rule, "{text}");
    }
}

#[test]
fn case_44_names_of_a_payload_are_escaped() {
    let schema = Schema::compile(&json!({"additionalProperties": {"type": "integer"}})).expect("it compiles");
    let violation = schema.check(b"{\"a\\u001b[31m\\r\\nb\": \"1\"}").expect_err("it is text");
    assert_eq!(violation.pointer, "/a\\u{1b}[31m\\r\\nb");
}

#[test]
fn case_44_references_lead_to_anchors_and_through_the_own_id() {
    for schema in [
        json!({"$defs": {"a": {"$anchor": "whole", "type": "integer"}}, "$ref": "#whole"}),
        json!({"$id": "https://shop.test/sold.json", "$defs": {"a": {"type": "integer"}}, "$ref": "https://shop.test/sold.json#/$defs/a"}),
    ] {
        let compiled = Schema::compile(&schema).unwrap_or_else(|fault| panic!("{fault}: {schema}"));
        assert_eq!(compiled.check(b"1"), Ok(()));
        assert_eq!(compiled.check(b"\"1\"").expect_err("it is text").rule, "type");
    }
    for (schema, rule) in [
        (json!({"$ref": "#nowhere"}), SchemaRule::DanglingRef),
        (json!({"$anchor": "top", "properties": {"a": {"$ref": "#top"}}}), SchemaRule::CyclicRef),
        (
            json!({"$id": "https://shop.test/a.json", "$ref": "https://shop.test/a.json2#/$defs/a"}),
            SchemaRule::RemoteRef,
        ),
    ] {
        assert_eq!(Schema::compile(&schema).expect_err("it leads nowhere").rule, rule, "{schema}");
    }
}

#[test]
fn schemas_of_unbounded_cost_are_refused() {
    let doubling: serde_json::Map<String, Value> = (0..30)
        .map(|level| {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            (format!("d{level}"), if level == 29 { json!({"type": "string"}) } else { json!({"allOf": [next, next]}) })
        })
        .collect();
    let deep = (0..120).fold(json!({}), |inner, _| json!({"items": inner}));
    for (schema, rule, pointer) in [
        (json!({"$ref": "#"}), SchemaRule::CyclicRef, "/$ref"),
        (json!({"$ref": "https://example.com/a.json"}), SchemaRule::RemoteRef, "/$ref"),
        (json!({"$ref": "file:///etc/passwd"}), SchemaRule::RemoteRef, "/$ref"),
        (json!({"properties": {"a": {"$ref": "other.json#/a"}}}), SchemaRule::RemoteRef, "/properties/a/$ref"),
        (json!({"properties": {"a": {"$id": "other.json"}}}), SchemaRule::RemoteRef, "/properties/a/$id"),
        (json!({"$ref": "#/$defs/no"}), SchemaRule::DanglingRef, "/$ref"),
        (
            json!({"$ref": "#two", "$defs": {"a": {"$anchor": "two"}, "b": {"$anchor": "two"}}}),
            SchemaRule::DanglingRef,
            "/$ref",
        ),
        // A value, but not a schema.
        (json!({"$ref": "#/default", "default": {}}), SchemaRule::DanglingRef, "/$ref"),
        (json!({"$dynamicRef": "#a"}), SchemaRule::CyclicRef, "/$dynamicRef"),
        (json!({"$ref": "#/$defs/d0", "$defs": doubling}), SchemaRule::Nesting, "/$defs/d15"),
        (deep, SchemaRule::Nesting, ""),
        (json!({"$schema": "http://json-schema.org/draft-07/schema#"}), SchemaRule::Schema, "/$schema"),
        (json!({"type": "text"}), SchemaRule::Schema, "/type"),
        (json!({"properties": {"a": {"minLength": -1}}}), SchemaRule::Schema, "/properties/a/minLength"),
        (json!({"properties": {"a": 5}}), SchemaRule::Schema, "/properties/a"),
        (json!({"formatMinimum": "yesterday"}), SchemaRule::Schema, "/formatMinimum"),
    ] {
        let (found, at) = refusal(&schema);
        assert_eq!(found, rule, "{schema}");
        // Which of the doubling schemas exceeds the limit first depends on where the traversal begins.
        assert!(at == pointer || pointer.starts_with("/$defs/d"), "{schema}: {at}");
    }
    let (rule, pointer) = refusal(&json!({"$defs": {"n": {"properties": {"next": {"$ref": "#/$defs/n"}}}}}));
    assert_eq!(rule, SchemaRule::CyclicRef);
    assert_eq!(pointer, "/$defs/n/properties/next/$ref");
}

#[test]
fn references_within_the_schema_are_followed() {
    let schema = json!({"$id": "https://example.com/s", "$ref": "#/$defs/a%20b~1c", "$defs": {"a b/c": {"$ref": "#/$defs/d"}, "d": {"type": "string"}}});
    assert_eq!(broken(&schema, "\"x\""), None);
    assert_eq!(broken(&schema, "1"), Some((String::new(), "type".to_owned())));
}

#[test]
fn regular_expressions_take_linear_time_or_are_refused() {
    for (pattern, refused) in [
        ("^[A-Z]{2}\\d+$", false),
        // Exponential for a backtracking engine.
        ("^(a+)+$", false),
        ("(a", true),
        ("^(?=a)b", true),
        ("(a)\\1", true),
        // A large automaton.
        ("((a{1000}){1000}){1000}", true),
    ] {
        for schema in [json!({"properties": {"p": {"pattern": pattern}}}), json!({"patternProperties": {pattern: {}}})]
        {
            let outcome = Schema::compile(&schema).map(drop);
            assert_eq!(outcome.is_err(), refused, "{schema}: {outcome:?}");
            if let Err(fault) = outcome {
                assert_eq!(fault.rule, SchemaRule::Pattern, "{fault}");
                assert!(fault.pointer.contains("attern"), "{fault}");
            }
        }
    }
    let schema = Schema::compile(&json!({"pattern": "^(a+)+$"})).expect("it compiles");
    let text = format!("\"{}b\"", "a".repeat(100_000));
    let began = std::time::Instant::now();
    assert_eq!(schema.check(text.as_bytes()).map_err(|violation| violation.rule), Err("pattern".to_owned()));
    // A backtracking engine would take longer than the universe.
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn unknown_keywords_and_formats_are_found_where_schemas_occur() {
    let schema = json!({
        "requierd": [], "x-owner": 1, "default": {"anything": 1}, "properties": {"format": {"format": "uuidd"}, "b": {"nullable": true}}
    });
    let found: Vec<_> = inspect::unknown(&schema).into_iter().map(|fault| (fault.pointer, fault.rule)).collect();
    let expected = [
        ("/requierd", SchemaRule::UnknownKeyword),
        ("/properties/b/nullable", SchemaRule::UnknownKeyword),
        ("/properties/format/format", SchemaRule::UnknownFormat),
    ];
    assert_eq!(found, expected.map(|(pointer, rule)| (pointer.to_owned(), rule)));
}

#[test]
fn moments_are_compared_on_one_time_line() {
    let moment = |text: &str| Moment::parse(text).unwrap_or_else(|| panic!("{text} is a moment"));
    for (earlier, later) in [
        ("2023-12-31", "2024-01-01"),
        ("2024-02-28", "2024-02-29"),
        ("1969-12-31T23:59:59Z", "1970-01-01T00:00:00.000000001Z"),
        ("2024-01-01T00:30:00+01:00", "2024-01-01T00:00:00Z"),
        ("2024-01-01 00:00:00", "2024-01-01T00:00:00.1"),
        ("09:00:00", "09:00:00.5"),
        ("10:00:00+02:00", "08:30:00Z"),
        ("00:30:00+01:00", "00:00:00Z"),
        ("0000-01-01", "0000-01-02T00:00:00"),
        ("2016-12-31t23:59:60z", "2017-01-01T00:00:00.5Z"),
        ("2016-12-31T23:59:59.999999999Z", "2016-12-31T23:59:60Z"),
        ("2024-01-01T00:00:00.1234567891Z", "2024-01-01T00:00:00.123456790Z"),
    ] {
        assert_eq!(moment(earlier).compare(&moment(later)), Some(std::cmp::Ordering::Less), "{earlier} {later}");
    }
    assert_eq!(moment("2024-01-01").compare(&moment("10:00:00")), None);
    for none in [
        "",
        "2023-02-29",
        "2024-13-01",
        "2024-01-01T",
        "24:00:00",
        "10:00",
        "10:00:00.",
        "2024-1-1",
        "10:00:00+1:00",
        "10:00:00+24:00",
        "10:00:00+0100",
        "10:00:00\u{2212}01:00",
        "10:00:61",
        "10:00:00ZZ",
        "2024-01-01T00:00:00 Z",
        " 2024-01-01T00:00:00Z",
        "+2024-01-01T00:00:00Z",
        "12024-01-01",
        "٢٠٢٤-01-01",
    ] {
        assert_eq!(Moment::parse(none), None, "{none}");
    }
    let schema = json!({"format": "date", "formatMinimum": "2020-01-01", "formatExclusiveMaximum": "2030-01-01"});
    for (payload, keyword) in [
        ("\"2020-01-01\"", None),
        ("\"2029-12-31\"", None),
        ("\"2019-12-31\"", Some("formatMinimum")),
        ("\"2030-01-01\"", Some("formatExclusiveMaximum")),
        ("\"soon\"", Some("format")),
    ] {
        assert_eq!(broken(&schema, payload).map(|(_, rule)| rule).as_deref(), keyword, "{payload}");
    }
}
