//! Replays from the tables, when the WAL is gone.

use super::Stage;
use crate::lifecycle::{SCHEMA, emit};

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_from_the_tables_publishes_every_row_in_order_of_creation() {
    let mut stage = Stage::new("replay_tables", "").await;
    let harness = &stage.harness;
    harness.execute(&emit("a", 0, 30)).await;
    harness.execute("select outbox.emit_message('load', 'm', '{\"n\": 1}')").await;
    harness.execute(&emit("b", 30, 40)).await;
    stage.published(41).await;
    let middle = stage.harness.query_text("select max(created_at)::text from outbox.event where key = 'a'").await;
    let middle = middle.expect("a time");

    let report = stage.report("replay", &["--from-table", "--id", "all"]);
    assert_eq!((&report["events"], &report["complete"], &report["slot"]), (&40.into(), &true.into(), &().into()));
    assert_eq!(report["first"]["position"], "0/0/1");
    let since = stage.report("replay", &["--from-table", "--since", &middle, "--key", "b", "--id", "late"]);
    assert_eq!(since["events"], 10);
    let until = stage.report("replay", &["--from-table", "--until", &middle, "--dry-run"]);
    assert_eq!((&until["events"], &until["left_out"]), (&30.into(), &10.into()));

    let (first, replays) = stage.records(41 + 40 + 10).await;
    assert_eq!(first.len(), 41, "the message is in no table");
    let all = &replays["all"];
    for key in ["a", "b"] {
        let of = |records: &[crate::harness::Received]| -> Vec<_> {
            let of = records.iter().filter(|record| record.key_text() == Some(key));
            of.map(|record| (record.header("ce_id").map(str::to_owned), record.value.clone(), record.partition))
                .collect()
        };
        assert_eq!(of(&first), of(all), "the order of {key}");
    }
    // The row's creation time stands in for its commit time.
    let made = "select (extract(epoch from created_at) * 1000)::bigint::text from outbox.event where key = 'a' limit 1";
    let made = stage.harness.query_text(made).await.and_then(|millis| millis.parse::<i64>().ok()).expect("a time");
    let of_a = all.iter().find(|record| record.key_text() == Some("a")).expect("a was published again");
    assert!((of_a.timestamp_ms.expect("a timestamp") - made).abs() <= 1);
    let slots = "select count(*)::text from pg_replication_slots where database = current_database()";
    assert_eq!(stage.harness.query_text(slots).await.as_deref(), Some("1"), "only the relay's slot");
    assert_eq!(stage.relay.status().await["events"], 41);
}

/// A topic of Kafka 4 rejects timestamps more than an hour ahead; Kafka's timestamps begin in 1970.
#[tokio::test(flavor = "multi_thread")]
async fn case_34_rows_with_impossible_times_become_dead_letters_that_kafka_accepts() {
    let harness = crate::harness::Harness::migrated("replay_times").await;
    let limit = [("message.timestamp.after.max.ms", "3600000")];
    for topic in [SCHEMA, "dead-letter"] {
        harness.create_topic(&harness.topic(topic), 1, &limit).await;
    }
    harness.register(SCHEMA).await;
    harness
        .execute(
            "create table box (id uuid default gen_random_uuid(), schema_name text default 'load', \
             schema_version text default '1', key text, payload json, created_at timestamptz); \
             create publication box for table box with (publish = 'insert'); \
             insert into box (key, payload, created_at) values ('k', '1', 'infinity'), ('k', '2', '-infinity'), \
             ('k', '3', '2099-01-01 00:00:00Z'), ('k', '4', '1960-01-01 00:00:00Z'), ('k', '5', now())",
        )
        .await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("walpost.toml");
    let config = crate::harness::config(&harness, "[[outbox]]\ntable = \"public.box\"\n");
    std::fs::write(&path, config.replace("[kafka]", "publication = \"box\"\n[kafka]")).expect("it is written");
    let path = path.display().to_string();
    let ended = crate::harness::program::run("replay", &["--config", &path, "--from-table", "--json"]);
    assert_eq!(ended.report()["events"], 5, "{}", ended.stderr);
    assert_eq!(harness.consume(&harness.topic(SCHEMA), 1).await.len(), 1);
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 4).await;
    let now = harness.query_text("select (extract(epoch from now()) * 1000)::bigint::text").await;
    let now: i64 = now.and_then(|millis| millis.parse().ok()).expect("a time");
    let mut times: Vec<_> = dead_letters
        .iter()
        .map(|dead_letter| {
            assert!(dead_letter.timestamp_ms.is_some_and(|millis| millis > now - 3_600_000), "{dead_letter:?}");
            assert_eq!(dead_letter.header("outbox-error"), Some("contract_violation"));
            dead_letter.header("outbox-timestamp").expect("the event's time")
        })
        .collect();
    times.sort_unstable();
    let expected = ["0000-01-01T00:00:00.000000Z", "1960-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z"];
    assert_eq!(times[..3], expected);
    assert!(times[3].starts_with("9999-12-31T23:59:59"), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_times_refuses_selection_by_time() {
    let debezium = "[[outbox]]\ntable = \"public.box\"\npreset = \"debezium\"\n";
    let harness = crate::harness::Harness::migrated("replay_timeless").await;
    harness
        .execute(
            "create table box (id uuid default gen_random_uuid(), aggregatetype text, aggregateid text, type text, payload text); \
             create publication box for table box with (publish = 'insert'); \
             insert into box (aggregatetype, aggregateid, type, payload) values ('x', 'k', 't', '1')",
        )
        .await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("walpost.toml");
    let config = crate::harness::config(&harness, debezium).replace("[kafka]", "publication = \"box\"\n[kafka]");
    std::fs::write(&path, config).expect("the configuration is written");
    let path = path.display().to_string();
    let run = |arguments: &[&str]| {
        crate::harness::program::run(
            "replay",
            &[&["--config", &path, "--from-table", "--dry-run", "--json"], arguments].concat(),
        )
    };
    assert_eq!(run(&[]).report()["events"], 1, "{SCHEMA} is not needed here");
    let refused = run(&["--since", "1h"]);
    assert_eq!(refused.code(), Some(64), "{}", refused.stderr);
    assert!(refused.stderr.contains("table public.box has no created_at column"), "{}", refused.stderr);
}
