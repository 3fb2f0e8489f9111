//! Dead letters and the contracts as they are now.

use super::{Commands, counts, produce, refused, remaining};
use crate::harness::Harness;

async fn register(harness: &Harness, version: &str, schema: &str) {
    let topic = harness.topic("order.placed");
    let sql = format!(
        "select outbox.register_schema_version(name => 'order.placed', version => '{version}', topic => '{topic}', schema => '{schema}')"
    );
    harness.execute(&sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_violating_payload_is_redriven_as_a_later_version_that_accepts_it_or_not_at_all() {
    let harness = Harness::migrated("redrive_mended").await;
    let (commands, topic, dead_letters) =
        (Commands::new(&harness), harness.topic("order.placed"), harness.topic("dead-letter"));
    harness.create_topic(&dead_letters, 1, &[]).await;
    for (id, value) in [("1", "1"), ("2", "\"two\""), ("3", "[]")] {
        produce(&harness, &dead_letters, Some(value), &refused("order.placed", id, "contract_violation", &topic));
    }
    register(&harness, "1", r#"{"type": "string"}"#).await;
    let ended = commands.redrive(&["--all"]);
    assert_eq!((ended.code(), counts(&ended)), (Some(65), [1, 2, 0]), "{ended:?}");
    let detail = ended.report()["staying_letters"][0]["detail"].to_string();
    assert!(detail.contains("violates order.placed/1: type"), "{detail}");

    register(&harness, "2", r#"{"type": ["string", "number"]}"#).await;
    let ended = commands.redrive(&["--all"]);
    assert_eq!((ended.code(), counts(&ended)), (Some(65), [1, 1, 1]), "{ended:?}");
    assert_eq!(remaining(&ended), [("0/2".to_owned(), "contract_violation".to_owned())]);
    let records = harness.consume(&topic, 2).await;
    let mut versions: Vec<_> =
        records.iter().map(|record| (record.header("id"), record.header("schema-version"))).collect();
    versions.sort_unstable();
    assert_eq!(versions, [(Some("1"), Some("2")), (Some("2"), Some("1"))]);
    assert!(records.iter().all(|record| record.header("outbox-error").is_none()), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_too_large_for_its_topic_is_redriven_once_the_limit_is_raised() {
    let harness = Harness::migrated("redrive_large").await;
    let (commands, topic, dead_letters) =
        (Commands::new(&harness), harness.topic("order.placed"), harness.topic("dead-letter"));
    harness.register("order.placed").await;
    harness.create_topic(&dead_letters, 1, &[]).await;
    harness.create_topic(&topic, 1, &[("max.message.bytes", "2000")]).await;
    let large = format!("\"{}\"", "x".repeat(3_000));
    produce(&harness, &dead_letters, Some(&large), &refused("order.placed", "1", "too_large", &topic));
    produce(&harness, &dead_letters, Some("2"), &refused("order.placed", "2", "too_large", &topic));
    let ended = commands.redrive(&["--all"]);
    assert_eq!(
        (ended.code(), remaining(&ended)),
        (Some(65), vec![("0/0".to_owned(), "too_large".to_owned())]),
        "{ended:?}"
    );
    crate::refusals::alter_topic(&harness, &topic, "max.message.bytes", "5000").await;
    let ended = commands.redrive(&["--all"]);
    assert_eq!((ended.code(), counts(&ended)), (Some(0), [1, 0, 1]), "{ended:?}");
}

/// Only the broker knows that a compacted topic accepts no record without a key; other records of the transaction are not blocked.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_broker_refuses_is_not_redriven_and_the_rest_is() {
    let harness = Harness::migrated("redrive_compacted").await;
    let (commands, topic) = (Commands::new(&harness), harness.topic("order.lost"));
    harness.create_topic(&topic, 1, &[("cleanup.policy", "compact")]).await;
    let mut relay = crate::harness::Relay::start(&harness, super::NAMED);
    relay.ready().await;
    let row = |key: &str, number: u32| {
        format!(
            "insert into outbox.event (schema_name, schema_version, key, payload) values ('order.lost', '1', {key}, '{number}')"
        )
    };
    harness.execute(&[row("'a'", 1), row("null", 2), row("'b'", 3)].join(";")).await;
    relay.wait_for("refused", |status| status["dead_letters"]["unknown_schema"] == 3).await;
    harness.register("order.lost").await;
    let ended = commands.redrive(&["--all"]);
    assert_eq!((ended.code(), counts(&ended)), (Some(65), [2, 1, 0]), "{ended:?}");
    assert_eq!(remaining(&ended)[0].1, "contract_violation");
    let records = harness.consume(&topic, 2).await;
    assert_eq!(records.iter().filter_map(|record| record.value_text()).collect::<Vec<_>>(), ["1", "3"]);
}
