//! Records whose timestamp a topic rejects.

use super::{alter_topic, create_topic, emit};
use crate::exactly_once::exact;
use crate::harness::{Harness, Relay, config, program};
use crate::lifecycle::named;

const LIMIT: &str = "message.timestamp.before.max.ms";

/// A topic that accepts nothing older than two seconds stands in for a clock that is too far from Kafka's.
#[tokio::test(flavor = "multi_thread")]
async fn case_34_a_dead_letter_with_a_rejected_timestamp_gets_another_and_redrive_restores_it() {
    let harness = Harness::migrated("refused_time").await;
    let [late, placed, dead_letters] = ["order.late", "order.placed", "dead-letter"].map(|name| harness.topic(name));
    for (topic, limit) in [(&late, "2000"), (&dead_letters, "2000"), (&placed, "3600000")] {
        create_topic(&harness, topic, &[(LIMIT, limit)]).await;
    }
    harness.register("order.late").await;
    harness.register("order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.wait_for_log("initial backfill published").await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    for (round, config) in [config(&harness, &named("exact")), exact(&harness, "")].iter().enumerate() {
        let rows = (0..30).map(|number| match number % 3 {
            0 => emit("order.placed", "k", &(round * 100 + number).to_string()),
            _ => emit("order.late", "k", &(round * 100 + number).to_string()),
        });
        harness.execute(&rows.collect::<Vec<_>>().join(";")).await;
        harness.wait_for("select clock_timestamp() > max(created_at) + interval '3 s' from outbox.event").await;
        let mut relay = Relay::start_with(config);
        let all = |status: &serde_json::Value| status["events"].as_u64() >= Some(30);
        let status = relay.wait_for("all records and dead letters", all).await;
        assert_eq!(status["dead_letters"]["contract_violation"], 20);
        assert!(relay.log().matches("transaction aborted").count() <= 3, "not once per record: {}", relay.log());
        assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    }
    let refused = harness.consume(&dead_letters, 40).await;
    assert_eq!((refused.len(), harness.consume(&placed, 20).await.len()), (40, 20));
    for dead_letter in &refused {
        assert_eq!(dead_letter.header("outbox-error"), Some("contract_violation"));
        let detail = dead_letter.header("outbox-error-detail").unwrap_or_default();
        assert!(detail.contains("behind the relay's clock") && detail.contains(LIMIT), "{detail}");
        assert!(dead_letter.header("outbox-timestamp").is_some_and(|time| time.ends_with('Z')), "{dead_letter:?}");
    }

    alter_topic(&harness, &late, LIMIT, "3600000").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("walpost.toml");
    std::fs::write(&path, config(&harness, &named("exact"))).expect("the configuration is written");
    let path = path.display().to_string();
    let ended = program::run("dead-letter", &["redrive", "--config", &path, "--all", "--json"]);
    assert_eq!(ended.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
    let redriven = harness.consume(&late, 40).await;
    for (record, dead_letter) in redriven.iter().zip(&refused) {
        assert_eq!((record.header("outbox-timestamp"), &record.value), (None, &dead_letter.value));
        let of_header = dead_letter.header("outbox-timestamp").expect("a time").to_owned();
        let sql = format!("select (extract(epoch from '{of_header}'::timestamptz) * 1000)::bigint::text");
        let expected = harness.query_text(&sql).await.and_then(|millis| millis.parse().ok());
        assert_eq!(record.timestamp_ms, expected, "{of_header}");
    }
}
