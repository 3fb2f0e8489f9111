//! Payloads that violate their contract: dead letters, a halt, or published with a header, as the contract specifies.

use expect_test::expect;
use walpost_producer::{Contract, ContractError};

use super::{create_topic, dead_letter, emit, insert, values};
use crate::harness::{Harness, Relay};

const SCHEMA: &str = r##"{"type": "object", "required": ["id"], "additionalProperties": false, "properties": {
    "id": {"type": "integer"}, "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}},
    "$defs": {"line": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string", "maxLength": 3}}}}}"##;

/// Registers a version of a schema for the topic `orders`; `rest` are additional arguments.
pub(super) async fn register(harness: &Harness, name: &str, version: &str, schema: &str, rest: &str) {
    let topic = harness.topic("orders");
    let arguments = format!("'{name}', '{version}', '{topic}', schema => '{schema}' {rest}");
    harness.execute(&format!("select outbox.register_schema_version({arguments})")).await;
}

fn good(number: usize) -> String {
    emit("order.placed", "k", &format!(r#"{{"id": {number}}}"#))
}

#[tokio::test(flavor = "multi_thread")]
async fn case_26_no_topic_is_created_for_a_payload_that_violates_its_contract() {
    let harness = Harness::migrated("violations_topic").await;
    register(&harness, "order.placed", "1", SCHEMA, "").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute(&emit("order.placed", "k", "[1]")).await;
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 1).await;
    assert_eq!(dead_letters[0].header("outbox-error"), Some("contract_violation"));
    // This would fail if the topic existed.
    create_topic(&harness, &harness.topic("orders"), &[]).await;
    harness.execute(&good(1)).await;
    assert_eq!(values(&harness.consume(&harness.topic("orders"), 1).await), [r#"{"id": 1}"#]);
    assert_eq!(relay.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_26_only_the_payload_that_violates_its_contract_becomes_a_dead_letter() {
    let harness = Harness::migrated("violations").await;
    create_topic(&harness, &harness.topic("orders"), &[]).await;
    create_topic(&harness, &harness.topic("dead-letter"), &[]).await;
    register(&harness, "order.placed", "1", SCHEMA, "").await;
    // The relay can't validate against these; they were registered by hand.
    register(&harness, "order.odd", "1", r##"{"$ref": "#"}"##, "").await;
    register(&harness, "order.old", "1", r#"{"$schema": "http://json-schema.org/draft-07/schema#"}"#, "").await;
    register(&harness, "order.text", "1", SCHEMA, ", format => 'text'").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;

    let deep = format!("'{{\"id\": {}1{}}}'", "[".repeat(1_000), "]".repeat(1_000));
    let payloads = [
        r#"'{"lines": []}'"#,
        r#"'{"id": "4111 1111 1111 1111"}'"#,
        r#"'{"id": 1, "note": "secret"}'"#,
        r#"'{"id": 1, "lines": [{"sku": "a"}, {"sku": "abcd"}]}'"#,
        r#"'[1]'"#,
        r#"'null'"#,
        r#"'{"id": 1e400}'"#,
        deep.as_str(),
    ];
    let traced = ("headers", r#"'{"traceparent": "00-1"}'"#);
    let mut bad: Vec<String> =
        payloads.iter().map(|payload| insert("order.placed", "'k'", payload, &[traced])).collect();
    bad.push(insert("order.odd", "'k'", "'1'", &[traced]));
    bad.push(insert("order.old", "'k'", "'1'", &[traced]));
    let rounds = |start: usize| {
        (start..).take(bad.len()).zip(&bad).flat_map(|(number, bad)| [good(number), bad.clone()]).collect::<Vec<_>>()
    };
    // Once in a single transaction, then each in its own.
    harness.execute(&rounds(0).join(";")).await;
    for statement in rounds(bad.len()) {
        harness.execute(&statement).await;
    }
    // A tombstone satisfies any schema, and payloads that are not JSON have none.
    harness.execute(&insert("order.odd", "'gone'", "null", &[])).await;
    harness.execute(&insert("order.text", "'k'", "'\"any\"'", &[])).await;

    let records = harness.consume(&harness.topic("orders"), 2 * bad.len() + 2).await;
    let mut expected: Vec<String> = (0..2 * bad.len()).map(|number| format!(r#"{{"id": {number}}}"#)).collect();
    expected.push("\"any\"".to_owned());
    assert_eq!(values(&records), expected, "every good row once, in order");
    let refused = harness.consume(&harness.topic("dead-letter"), 2 * bad.len()).await;
    let reported = |records: &[_]| records.iter().map(|record| dead_letter(&harness, record)).collect::<String>();
    let (first, second) = refused.split_at(bad.len());
    expect![[r#"
        contract_violation: the payload violates order.placed/1: required at "": "id" is a required property
          for db.orders, key Some("k"), value Some("{\"lines\": []}")
        contract_violation: the payload violates order.placed/1: type at "/id": value is not of type "integer"
          for db.orders, key Some("k"), value Some("{\"id\": \"4111 1111 1111 1111\"}")
        contract_violation: the payload violates order.placed/1: additionalProperties at "": Additional properties are not allowed ('note' was unexpected)
          for db.orders, key Some("k"), value Some("{\"id\": 1, \"note\": \"secret\"}")
        contract_violation: the payload violates order.placed/1: maxLength at "/lines/1/sku": value is longer than 3 characters
          for db.orders, key Some("k"), value Some("{\"id\": 1, \"lines\": [{\"sku\": \"a\"}, {\"sku\": \"abcd\"}]}")
        contract_violation: the payload violates order.placed/1: type at "": value is not of type "object"
          for db.orders, key Some("k"), value Some("[1]")
        contract_violation: the payload violates order.placed/1: type at "": value is not of type "object"
          for db.orders, key Some("k"), value Some("null")
        contract_violation: the payload violates order.placed/1: limit at "": JSON beyond what can be checked: number out of range at line 1 column 12
          for db.orders, key Some("k"), value Some("{\"id\": 1e400}")
        contract_violation: the payload violates order.placed/1: limit at "": JSON beyond what can be checked: recursion limit exceeded at line 1 column 134
          for db.orders, key Some("k"), value {"id": [[[[[[[[[[[[[... (2009 bytes)
        contract_violation: the payload can't be validated: the registered schema of order.odd/1 is not usable: cyclic_ref at "/$ref": refers back to itself; recursive schemas are not supported: the depth of a check would depend on the payload; register a new version with a valid schema
          for db.orders, key Some("k"), value Some("1")
        contract_violation: the payload can't be validated: the registered schema of order.old/1 is not usable: schema at "/$schema": dialect "http://json-schema.org/draft-07/schema#" is not supported; use draft 2020-12: "https://json-schema.org/draft/2020-12/schema"; register a new version with a valid schema
          for db.orders, key Some("k"), value Some("1")
    "#]].assert_eq(&reported(first));
    assert_eq!(reported(first), reported(second));
    assert!(refused.iter().all(|dead_letter| dead_letter.header("traceparent") == Some("00-1")));
    for secret in ["4111 1111", "secret"] {
        assert!(!relay.log().contains(secret), "{}", relay.log());
    }

    // A producer that validates first gets the same result.
    let contract = Contract::new("order.placed", "1", SCHEMA).expect("a schema");
    for (payload, dead_letter) in payloads.iter().zip(first) {
        let raw = serde_json::value::RawValue::from_string(payload.trim_matches('\'').to_owned()).expect("JSON");
        let Err(error @ ContractError::Violation { .. }) = contract.event(&*raw) else {
            panic!("{payload} was accepted")
        };
        assert_eq!(Some(error.to_string().as_str()), dead_letter.header("outbox-error-detail"));
    }

    // A registered version never changes; a new version fixes it.
    register(&harness, "order.odd", "2", "{}", "").await;
    harness.execute("select outbox.emit('order.odd', 'k', '7')").await;
    harness.consume(&harness.topic("orders"), 2 * bad.len() + 3).await;
    let wanted = serde_json::json!({"contract_violation": 2 * bad.len()});
    relay.wait_for("all dead letters counted", |status| status["dead_letters"] == wanted).await;
    assert_eq!(relay.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_28_a_contract_can_stop_the_relay_and_the_row_can_be_skipped() {
    let harness = Harness::migrated("violation_halts").await;
    register(&harness, "order.placed", "1", SCHEMA, ", on_violation => 'halt'").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute(&good(1)).await;
    harness.execute(&insert("order.placed", "'k'", r#"'{"id": "4111 1111"}'"#, &[])).await;
    harness.execute(&good(2)).await;
    assert_eq!(relay.exit().await.code(), Some(65));
    let log = relay.log();
    let message = log.lines().last().expect("a message");
    for part in [
        " of outbox.event was refused (contract_violation)",
        "the payload violates order.placed/1: type at \"/id\": value is not of type \"integer\"",
        "on_rejected = \"dead-letter-always\"",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!log.contains("4111 1111"), "{log}");
    let topic = harness.topic("orders");
    assert_eq!(values(&harness.consume(&topic, 1).await), [r#"{"id": 1}"#]);

    // The contract overrides the relay.
    let mut relay = Relay::start(&harness, "on_rejected = 'dead-letter'\n");
    assert_eq!(relay.exit().await.code(), Some(65));
    let mut relay = Relay::start(&harness, "on_rejected = 'dead-letter-always'\n");
    relay.ready().await;
    assert_eq!(values(&harness.consume(&topic, 2).await), [r#"{"id": 1}"#, r#"{"id": 2}"#], "each once");
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 1).await;
    assert_eq!(values(&dead_letters), [r#"{"id": "4111 1111"}"#]);
    let position = dead_letters[0].header("outbox-position").expect("a dead letter has its position");
    assert!(message.contains(&format!("position {position} ")), "{message}");
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// Without `onViolation` in the contract, a relay that halts on refused events halts on this one.
#[tokio::test(flavor = "multi_thread")]
async fn case_28_on_rejected_halt_stops_the_relay_unless_the_contract_overrides_it() {
    let harness = Harness::migrated("violation_rejected").await;
    register(&harness, "order.aside", "1", SCHEMA, ", on_violation => 'dead-letter'").await;
    register(&harness, "order.placed", "1", SCHEMA, "").await;
    let mut relay = Relay::start(&harness, "on_rejected = 'halt'\n");
    relay.ready().await;
    harness.execute(&insert("order.aside", "'k'", "'1'", &[])).await;
    assert_eq!(values(&harness.consume(&harness.topic("dead-letter"), 1).await), ["1"]);
    harness.execute(&insert("order.placed", "'k'", "'2'", &[])).await;
    assert_eq!(relay.exit().await.code(), Some(65));
    assert!(relay.log().contains("the payload violates order.placed/1"), "{}", relay.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_can_have_violations_published_with_a_header() {
    let harness = Harness::migrated("violation_warns").await;
    register(&harness, "order.placed", "1", SCHEMA, ", on_violation => 'warn'").await;
    let mut relay = Relay::start(&harness, "on_rejected = 'halt'\n");
    relay.ready().await;
    let forged = ("headers", r#"'{"outbox-violation": "none", "traceparent": "00-1"}'"#);
    let bad = insert("order.placed", "'k'", r#"'{"id": "4111 1111"}'"#, &[forged]);
    harness.execute(&[good(1), bad, good(2)].join(";")).await;
    let records = harness.consume(&harness.topic("orders"), 3).await;
    assert_eq!(values(&records), [r#"{"id": 1}"#, r#"{"id": "4111 1111"}"#, r#"{"id": 2}"#], "in order");
    let notes: Vec<_> = records.iter().map(|record| record.header("outbox-violation")).collect();
    let note = "the payload violates order.placed/1: type at \"/id\": value is not of type \"integer\"";
    assert_eq!(notes, [None, Some(note), None]);
    assert_eq!(records[1].header("traceparent"), Some("00-1"));
    let status = relay.wait_for("all settled", |status| status["events"] == 3).await;
    assert_eq!((&status["dead_letters"], &status["violations"]), (&serde_json::json!({}), &serde_json::json!(1)));
    assert!(relay.log().contains("event violates its contract: publishing it anyway"), "{}", relay.log());
    assert_eq!(relay.terminate().await.code(), Some(0));
}
