//! The freshness of a contract's records compared with its promise.

use serde_json::{Value, json};
use walpost::lab::sandbox::{Durability, KafkaOptions, PostgresOptions};

use crate::harness::{Harness, Relay};

/// Longer than anything takes here, and shorter than the test's outage.
const PROMISE_SECONDS: u64 = 4;

fn contract<'a>(status: &'a Value, name: &str) -> &'a Value {
    let all = status["contracts"].as_array().expect("a list");
    all.iter().find(|contract| contract["contract"] == name).unwrap_or_else(|| panic!("no {name}: {status}"))
}

/// The value of a contract's metric.
async fn metric(relay: &Relay, name: &str, contract: &str) -> f64 {
    let (_, text) = relay.get("/metrics").await.expect("the relay answers");
    let series = format!("{name}{{contract=\"{contract}\",version=\"1\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&series));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_of_promised_freshness_is_reported_during_and_after_an_outage_of_kafka() {
    let postgres = PostgresOptions { durability: Durability::NoFsync, ..PostgresOptions::default() };
    let mut harness = Harness::with_own_servers("freshness", postgres, KafkaOptions::default()).await;
    harness.migrate().await;
    let topic = harness.topic("orders");
    for (name, sla) in [
        ("order.fresh", format!(r#"{{"freshness_seconds": {PROMISE_SECONDS}}}"#)),
        ("order.slow", r#"{"freshness_seconds": 3600}"#.to_owned()),
        ("order.any", r#"{"freshness_seconds": "soon"}"#.to_owned()),
    ] {
        let sql = format!(
            "select outbox.register_schema_version('{name}', '1', '{topic}', sla => '{sla}', \
             schema => '{{\"type\": \"integer\"}}', on_violation => case '{name}' when 'order.slow' then 'warn' end)"
        );
        harness.execute(&sql).await;
    }
    let emit = |name: &str, payload: &str| format!("select outbox.emit('{name}', 'k', '{payload}');");
    let round = ["order.fresh", "order.slow", "order.any"].map(|name| emit(name, "1")).concat();
    let bad = ["order.fresh", "order.slow"].map(|name| emit(name, "\"x\"")).concat();
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute(&format!("{round}{bad}")).await;
    let status = relay.wait_for("five records", |status| status["events"] == 5).await;
    let [fresh, slow, any] = ["order.fresh", "order.slow", "order.any"].map(|name| contract(&status, name));
    assert_eq!(fresh["promised_millis"].as_f64(), Some(PROMISE_SECONDS as f64 * 1_000.0), "{status}");
    let counts = |of: &Value| ["events", "dead_letters", "violations", "overdue"].map(|name| of[name].as_u64());
    assert_eq!(counts(fresh), [1, 1, 0, 0].map(Some), "a dead letter does not count as delivered: {status}");
    assert_eq!(counts(slow), [2, 0, 1, 0].map(Some), "a published violation counts: {status}");
    assert_eq!((counts(any), &any["promised_millis"]), ([1, 0, 0, 0].map(Some), &Value::Null));
    let breaches_before = fresh["breaches"].as_u64().expect("a number");

    harness.own_kafka().kill().await.expect("the broker ends");
    harness.execute(&format!("{round}{round}{bad}")).await;
    // The dead letter is in flight too, and is not overdue.
    let overdue = |status: &Value| contract(status, "order.fresh")["overdue"] == 2;
    let status = relay.wait_for("two records are overdue", overdue).await;
    assert_eq!(contract(&status, "order.slow")["overdue"], 0, "{status}");
    assert_eq!(
        contract(&status, "order.fresh")["breaches"],
        json!(breaches_before),
        "not before they are acknowledged"
    );
    assert_eq!(metric(&relay, "walpost_contract_overdue_records", "order.fresh").await, 2.0);

    harness.own_kafka().start_again().await.expect("the broker starts");
    let status = relay.wait_for("all records", |status| status["events"] == 13).await;
    let fresh = contract(&status, "order.fresh");
    assert_eq!(counts(fresh), [3, 2, 0, 0].map(Some), "{status}");
    assert_eq!(fresh["breaches"], json!(breaches_before + 2), "{status}");
    assert!(fresh["freshness_max_millis"].as_f64() > Some(PROMISE_SECONDS as f64 * 1_000.0), "{status}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970").as_millis();
    let last = u128::from(fresh["last_breach_unix_millis"].as_u64().expect("there was one"));
    assert!(last <= now && now - last < 600_000, "{status}");
    assert_eq!(contract(&status, "order.slow")["breaches"], 0, "{status}");
    assert_eq!(metric(&relay, "walpost_contract_breaches_total", "order.fresh").await, (breaches_before + 2) as f64);
    assert_eq!(metric(&relay, "walpost_contract_breaches_total", "order.slow").await, 0.0);
    assert_eq!(metric(&relay, "walpost_contract_freshness_seconds_count", "order.fresh").await, 3.0);
    assert_eq!(metric(&relay, "walpost_contract_dead_letters_total", "order.fresh").await, 2.0);
    assert_eq!(metric(&relay, "walpost_contract_violations_total", "order.slow").await, 2.0);
    let promised = metric(&relay, "walpost_contract_promised_freshness_seconds", "order.fresh").await;
    assert_eq!(promised, PROMISE_SECONDS as f64);
    assert_eq!(relay.terminate().await.code(), Some(0));
}
