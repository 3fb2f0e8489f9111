//! The rewind window, and times.

use std::time::{Duration, Instant};

use walpost::lab::sandbox::PostgresOptions;

use super::{Stage, positions};
use crate::harness::{Harness, PATIENCE, Relay, config};
use crate::lifecycle::emit;

/// Writes this many megabytes of WAL unrelated to the outbox.
async fn write_log(harness: &Harness, megabytes: u32) {
    harness.execute("create table if not exists filler (text text)").await;
    let rows = megabytes * 900;
    let fill = format!("insert into filler select repeat(md5(n::text), 32) from generate_series(1, {rows}) n");
    harness.execute(&fill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_time_within_the_window_can_be_replayed() {
    let mut stage = Stage::new("replay_since", "rewind = \"1h\"\n").await;
    let name = stage.harness.name().to_owned();
    stage.relay.wait_for("a window", |status| status["rewind"]["slot"] == format!("{name}_rewind")).await;
    let start = stage.harness.query_text("select clock_timestamp()::text").await.expect("a time");
    stage.harness.execute(&emit("a", 0, 100)).await;
    stage.published(100).await;
    let moments = "select count(*) > 1 from outbox.moment where at > '".to_owned() + &start + "'";
    stage.harness.wait_for(&moments).await;
    let middle = stage.harness.query_text("select clock_timestamp()::text").await.expect("a time");
    stage.harness.execute(&emit("a", 100, 150)).await;
    stage.published(150).await;
    let later = stage.harness.query_text("select clock_timestamp()::text").await.expect("a time");
    let since = |time: &str| stage.report("replay", &["--since", time, "--dry-run"]);
    assert_eq!(since(&start)["events"], 100 + 50);
    assert_eq!(since(&middle)["events"], 50, "by the commit's time, exactly");
    assert_eq!(since(&later)["events"], 0);
    assert_eq!(since(&start)["slot"], format!("{name}_rewind"), "the relay's slot has passed it");
    let report = stage.report("replay", &["--since", &start, "--until", &middle, "--id", "r"]);
    assert_eq!(report["events"], 100);
    let (first, replays) = stage.records(250).await;
    let of_then: Vec<_> = positions(&first);
    assert!(positions(&replays["r"]).iter().all(|position| of_then.contains(position)));
    let message = stage.refused(69, "replay", &["--since", "2h"]);
    assert!(message.contains("which begins at 20"), "{message}");
    // A bookmark at a time that the window holds.
    stage.report("bookmark", &["create", "then", "--since", &middle]);
    assert_eq!(stage.report("replay", &["--bookmark", "then", "--since", &middle, "--dry-run"])["events"], 50);
    let (_, metrics) = stage.relay.get("/metrics").await.expect("the relay answers");
    assert!(
        metrics.contains("walpost_rewind_wal_bytes ") && !metrics.contains("walpost_rewind_wal_bytes 0"),
        "{metrics}"
    );

    // Off again: the window's slot is dropped, the bookmark is not.
    assert!(stage.relay.terminate().await.success());
    let mut relay = Relay::start_with(&config(&stage.harness, ""));
    relay.wait_for_log("dropped its slot").await;
    let left = "select string_agg(slot_name, ' ' order by slot_name) from pg_replication_slots where database = current_database()";
    assert_eq!(stage.harness.query_text(left).await, Some(format!("{name} {name}_bm_then")));
    assert_eq!(stage.harness.query_text("select count(*)::text from outbox.moment").await.as_deref(), Some("0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_and_its_index_advance_by_age() {
    let mut stage = Stage::new("window_age", "rewind = \"3s\"\n").await;
    stage.relay.wait_for("a window", |status| status["rewind"].is_object()).await;
    let from = |status: &serde_json::Value| status["rewind"]["from_lsn"].as_str().map(str::to_owned);
    let first = from(&stage.relay.status().await).expect("a position");
    stage.harness.execute(&emit("a", 0, 10)).await;
    stage.published(10).await;
    let passed = stage.lsn().await;
    let name = stage.harness.name().to_owned();
    let moved = format!(
        "select confirmed_flush_lsn >= '{passed}' and confirmed_flush_lsn > '{first}' from pg_replication_slots \
         where slot_name = '{name}_rewind'"
    );
    stage.harness.wait_for(&moved).await;
    // One moment before the window, and those in it.
    stage.harness.wait_for("select count(*) between 1 and 8 from outbox.moment").await;
    let behind = format!(
        "select t.confirmed_flush_lsn <= r.confirmed_flush_lsn from pg_replication_slots r, pg_replication_slots t \
         where r.slot_name = '{name}' and t.slot_name = '{name}_rewind'"
    );
    stage.harness.wait_for(&behind).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_is_limited_by_its_size_and_half_of_max_slot_wal_keep_size() {
    let settings = [("max_slot_wal_keep_size", "64MB"), ("max_wal_size", "64MB"), ("min_wal_size", "32MB")];
    let options = PostgresOptions {
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..PostgresOptions::default()
    };
    for rewind in ["32MiB", "24h"] {
        let (limit, harness) = (32_u64, Harness::with_own_postgres("window_size", options.clone()).await);
        let mut stage = Stage::on(harness, &format!("rewind = \"{rewind}\"\n")).await;
        stage.relay.wait_for("a window", |status| status["rewind"].is_object()).await;
        let name = stage.harness.name().to_owned();
        for _ in 0..6 {
            write_log(&stage.harness, 12).await;
            stage.harness.execute("checkpoint").await;
            let end = stage.lsn().await;
            let bounded = format!(
                "select pg_wal_lsn_diff('{end}', restart_lsn) <= {limit} * 1024 * 1024 and wal_status in ('reserved', 'extended') \
                 from pg_replication_slots where slot_name = '{name}_rewind'"
            );
            stage.harness.wait_for(&bounded).await;
        }
        let relay = format!("select wal_status from pg_replication_slots where slot_name = '{name}'");
        assert_eq!(stage.harness.query_text(&relay).await.as_deref(), Some("reserved"));
        let fits = |status: &serde_json::Value| status["rewind"]["retained_wal_bytes"].as_u64() <= Some(limit << 20);
        stage.relay.wait_for("within its bounds", fits).await;
        assert!(!stage.relay.log().contains("rewind window restarted"), "it advances: {}", stage.relay.log());
        stage.harness.execute(&emit("a", 0, 10)).await;
        stage.published(10).await;
        assert!(stage.relay.terminate().await.success());
    }
}

/// After a transaction that writes more than the window may hold, no position is left that the slot could advance to.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_cannot_advance_is_restarted() {
    // On a separate server: a long transaction of another test would hold back the relay's slot too, and a restart would gain nothing.
    let harness = Harness::with_own_postgres("window_given_up", PostgresOptions::default()).await;
    let mut stage = Stage::on(harness, "rewind = \"16MiB\"\n").await;
    stage.relay.wait_for("a window", |status| status["rewind"].is_object()).await;
    let first = stage.relay.status().await["rewind"]["from_lsn"].clone();
    write_log(&stage.harness, 40).await;
    // The relay's slot must have advanced: Postgres removes WAL at each checkpoint, and checks a slot's limit otherwise every 15 s.
    let since = Instant::now();
    while !stage.relay.log().contains("rewind window restarted") {
        assert!(since.elapsed() < 2 * PATIENCE, "the window was not restarted:\n{}", stage.relay.log());
        stage.harness.execute("checkpoint").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let again = |status: &serde_json::Value| status["rewind"].is_object() && status["rewind"]["from_lsn"] != first;
    stage.relay.wait_for("a new window", again).await;
    stage.harness.execute(&emit("a", 0, 10)).await;
    stage.published(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_slot_with_the_windows_name_is_not_touched() {
    let harness = Harness::migrated("window_foreign").await;
    let foreign = format!("{}_rewind", harness.name());
    harness.execute(&format!("select pg_create_logical_replication_slot('{foreign}', 'pgoutput')")).await;
    let mut relay = Relay::start_with(&config(&harness, "rewind = \"1h\"\n"));
    relay.wait_for_log("was not created by this relay").await;
    relay.terminate().await;
    let mut relay = Relay::start_with(&config(&harness, ""));
    relay.ready().await;
    harness.register("order.placed").await;
    harness.execute("select outbox.emit('order.placed', 'k', '1')").await;
    relay.wait_for("published", |status| status["events"] == 1).await;
    relay.terminate().await;
    harness.wait_for(&format!("select count(*) = 1 from pg_replication_slots where slot_name = '{foreign}'")).await;
}
