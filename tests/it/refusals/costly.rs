//! Schemas and payloads whose validation would take too long.

use serde_json::{Value, json};

use super::violations::register;
use super::{emit, insert, values};
use crate::harness::{Harness, Relay};

/// Nested `unevaluatedProperties` evaluate everything again at each level.
fn nested(levels: usize) -> Value {
    (0..levels).fold(
        json!({"properties": {"a": {"type": "integer"}}}),
        |inner, _| json!({"allOf": [inner], "unevaluatedProperties": false}),
    )
}

/// A keyword that draft 2020-12 no longer defines, with two references to the previous level in each.
fn doubling(levels: usize) -> Value {
    let mut definitions = json!({"d0": {"type": "object"}});
    for level in 1..=levels {
        let before = json!({"$ref": format!("#/$defs/d{}", level - 1)});
        definitions[format!("d{level}")] = json!({"dependencies": {"a": {"allOf": [before, before]}}});
    }
    json!({"$defs": definitions, "$ref": format!("#/$defs/d{levels}")})
}

#[tokio::test(flavor = "multi_thread")]
async fn case_38_a_check_that_is_too_expensive_makes_a_dead_letter() {
    let harness = Harness::migrated("costly").await;
    register(&harness, "order.nested", "1", &nested(24).to_string(), "").await;
    register(&harness, "order.doubling", "1", &doubling(26).to_string(), "").await;
    let branches: Vec<Value> = (0..100)
        .map(|n| json!({"items": {"anyOf": (0..100).map(|m| json!({"minLength": n * m + 2})).collect::<Vec<_>>()}}))
        .collect();
    register(&harness, "order.wide", "1", &json!({ "anyOf": branches }).to_string(), "").await;
    register(&harness, "order.placed", "1", r#"{"type": "object"}"#, "").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let items = format!("'[{}0]'", r#""","#.repeat(60_000));
    for statement in [
        insert("order.nested", "'k'", r#"'{"a": 1}'"#, &[]),
        insert("order.doubling", "'k'", r#"'{"a": 1}'"#, &[]),
        insert("order.wide", "'k'", &items, &[]),
        emit("order.placed", "k", "{}"),
    ] {
        harness.execute(&statement).await;
    }
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 3).await;
    let details: Vec<&str> =
        dead_letters.iter().filter_map(|dead_letter| dead_letter.header("outbox-error-detail")).collect();
    for (detail, part) in details.iter().zip([
        "the registered schema of order.nested/1 is not usable: nesting at \"/allOf/0",
        "the registered schema of order.doubling/1 is not usable: nesting at \"/$defs/d",
        "the payload was not validated: it is too large to check against the schema of order.wide/1: 60002 values with 0 bytes of text",
    ]) {
        assert!(detail.contains(part), "{detail}");
    }
    assert!(dead_letters.iter().all(|dead_letter| dead_letter.header("outbox-error") == Some("contract_violation")));
    assert_eq!(values(&harness.consume(&harness.topic("orders"), 1).await), ["{}"]);
    assert_eq!(relay.terminate().await.code(), Some(0));
}
