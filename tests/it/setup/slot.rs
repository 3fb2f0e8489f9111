//! Slots that the relay must not use, or must not silently continue with.

use expect_test::expect;
use walpost::lab::sandbox::{Durability, PostgresOptions};

use super::{ended_with, run_fix, unavailable, works};
use crate::harness::{Harness, Received, Relay, config};

#[tokio::test(flavor = "multi_thread")]
async fn case_22_a_dropped_slot_is_an_error() {
    let harness = Harness::migrated("dropped_slot").await;
    let config = config(&harness, "");
    works(&harness, &config).await;
    all_published(&harness).await;
    harness.execute(&format!("select pg_drop_replication_slot('{}')", harness.name())).await;
    harness.execute("select outbox.emit('order.placed', 'not lost', '1')").await;
    let message = unavailable(&harness, &config).await;
    expect![[r#"walpost: slot db no longer exists: events committed after TIME (LSN LSN) may be missing from Kafka; 1 rows in the outbox tables may be affected, created from TIME to TIME; run `walpost slot recreate`: the relay recreates the slot, then republishes the rows that may be missing from Kafka, with the header outbox-recovered"#]].assert_eq(&timeless(&message));
    run_fix(&harness, &config, &message).await;
    works(&harness, &config).await;
    let key = |record: &Received| record.key_text() == Some("not lost");
    let published = move |records: &[Received]| records.iter().any(key);
    let records =
        harness.consume_until(&[&harness.topic("order.placed")], "the row from before the new slot", published).await;
    let marked: Vec<_> = records.iter().filter(|record| record.header("outbox-recovered").is_some()).collect();
    assert_eq!(marked.iter().map(|record| record.key_text()).collect::<Vec<_>>(), [Some("not lost")]);
    assert_eq!(records.len(), 3, "rows published before the slot was lost are not published again");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_36_a_slot_with_two_phase_is_refused_at_the_start_and_by_doctor() {
    let harness = Harness::migrated("two_phase").await;
    let config = config(&harness, "");
    let slot = harness.name();
    harness.execute(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput', false, true)")).await;
    let message = unavailable(&harness, &config).await;
    expect!["walpost: slot db was created with two_phase, but walpost reads transactions only once they are committed; run `walpost slot recreate`: the relay recreates the slot, then republishes the rows that may be missing from Kafka, with the header outbox-recovered"].assert_eq(&message);
    let doctor = ended_with(&config, "doctor").stdout;
    assert!(doctor.contains("was created with two_phase"), "{doctor}");
    run_fix(&harness, &config, &message).await;
    works(&harness, &config).await;
    harness.wait_for(&format!("select not two_phase from pg_replication_slots where slot_name = '{slot}'")).await;
}

/// Prepared transactions have no session in `pg_stat_activity`, and may be years old.
#[tokio::test(flavor = "multi_thread")]
async fn case_36_prepared_transactions_that_block_the_first_start_are_named() {
    let settings = vec![("max_prepared_transactions".to_owned(), "4".to_owned())];
    let options = PostgresOptions { durability: Durability::NoFsync, settings, ..PostgresOptions::default() };
    let harness = Harness::with_own_postgres("prepared", options).await;
    harness.migrate().await;
    harness.register("order.placed").await;
    harness.execute("begin; select outbox.emit('order.placed', 'k', '1'); prepare transaction 'it''s forgotten'").await;
    let mut relay = Relay::start_with(&config(&harness, ""));
    relay.wait_for_log("slot creation is waiting for prepared transactions").await;
    assert!(relay.log().contains(&format!("'it''s forgotten' in {} since", harness.name())), "{}", relay.log());
    // Half created, a slot has no position yet. None is lost.
    let slot = harness.name();
    harness.wait_for(&format!("select exists (select from pg_replication_slots where slot_name = '{slot}')")).await;
    let doctor = ended_with(&config(&harness, ""), "doctor").stdout;
    assert!(doctor.contains("is being created") && doctor.contains("transactions 'it''s forgotten' in"), "{doctor}");
    assert!(!doctor.contains("invalidated"), "{doctor}");
    harness.execute("commit prepared 'it''s forgotten'").await;
    relay.ready().await;
    let records = harness.consume(&harness.topic("order.placed"), 1).await;
    assert_eq!(records[0].key_text(), Some("k"));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_slots_of_another_kind_are_refused() {
    let harness = Harness::migrated("foreign_slot").await;
    let (slot, config) = (harness.name().to_owned(), config(&harness, ""));
    let mut reported = String::new();
    let mut kinds = vec![format!("select pg_create_physical_replication_slot('{slot}')")];
    // Not every installation has this plugin.
    let other_plugin = format!("select pg_create_logical_replication_slot('{slot}', 'test_decoding')");
    if harness
        .session()
        .await
        .batch_execute(&format!("{other_plugin}; select pg_drop_replication_slot('{slot}')"))
        .await
        .is_ok()
    {
        kinds.push(other_plugin);
    }
    for kind in kinds {
        harness.execute(&kind).await;
        let message = unavailable(&harness, &config).await;
        reported += &format!("{message}\n");
        run_fix(&harness, &config, &message).await;
    }
    expect![[r#"
        walpost: slot db is a physical slot: set another [postgres] slot, or run `select pg_drop_replication_slot('db')`
        walpost: slot db uses output plugin test_decoding, not pgoutput: set another [postgres] slot, or run `select pg_drop_replication_slot('db')`
    "#]].assert_eq(&reported);
    let other = Harness::new("foreign_slot_other").await;
    other.execute(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await;
    let message = unavailable(&harness, &config).await.replace(other.name(), "other");
    expect!["walpost: slot db belongs to database other, not db: set another [postgres] slot, or connect to other"]
        .assert_eq(&message);
    other.execute(&format!("select pg_drop_replication_slot('{slot}')")).await;
    works(&harness, &config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_another_system_identifier_is_an_error() {
    let harness = Harness::migrated("other_system").await;
    let config = config(&harness, "");
    works(&harness, &config).await;
    harness.execute("update outbox.relay set system_identifier = '42'").await;
    let message = unavailable(&harness, &config).await;
    let system = harness.query_text("select system_identifier::text from pg_control_system()").await;
    expect!["walpost: slot db was created on cluster 42, but this is SYSTEM: the database was restored elsewhere, or upgraded; events committed since its last position may be missing from Kafka; 1 rows in the outbox tables may be affected, created from TIME to TIME; check what was published, and run `walpost slot recreate`: the relay recreates the slot, then republishes the rows that may be missing from Kafka, with the header outbox-recovered"].assert_eq(&timeless(&message.replace(&system.expect("a system identifier"), "SYSTEM")));
    run_fix(&harness, &config, &message).await;
    works(&harness, &config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_an_invalidated_slot_is_an_error() {
    let options = PostgresOptions { durability: Durability::NoFsync, ..PostgresOptions::default() };
    let harness = Harness::with_own_postgres("invalidated", options).await;
    harness.migrate().await;
    let config = config(&harness, "");
    works(&harness, &config).await;
    all_published(&harness).await;
    harness.execute("select outbox.emit('order.placed', 'lost', '1')").await;
    for statement in ["alter system set max_slot_wal_keep_size = '1MB'", "select pg_reload_conf()"] {
        harness.execute(statement).await;
    }
    harness.wait_for("select current_setting('max_slot_wal_keep_size') = '1MB'").await;
    let lost = format!("select wal_status = 'lost' from pg_replication_slots where slot_name = '{}'", harness.name());
    for round in 0.. {
        assert!(round < 100, "the slot is never invalidated");
        harness.execute("create table if not exists filler (x int); insert into filler values (1)").await;
        harness.execute("select pg_switch_wal()").await;
        harness.execute("checkpoint").await;
        if harness.query(&lost).await[0].get::<_, Option<bool>>(0) == Some(true) {
            break;
        }
    }
    let message = unavailable(&harness, &config).await;
    let confirmed = harness.query_text("select confirmed_flush_lsn::text from pg_replication_slots").await;
    let confirmed = confirmed.expect("an invalidated slot keeps its position");
    expect!["walpost: slot db was invalidated (its WAL was removed) at LSN: events committed after TIME (LSN LSN) may be missing from Kafka; 1 rows in the outbox tables may be affected, created from TIME to TIME; raise max_slot_wal_keep_size, and run `walpost slot recreate`: the relay recreates the slot, then republishes the rows that may be missing from Kafka, with the header outbox-recovered"].assert_eq(&timeless(&message.replace(&confirmed, "LSN")));
    run_fix(&harness, &config, &message).await;
    works(&harness, &config).await;
}

/// Writes the note that a relay writes after a while, when everything is published.
async fn all_published(harness: &Harness) {
    let sql = "update outbox.relay set published_lsn = pg_current_wal_lsn(), published_at = now(), \
               published_xid = pg_snapshot_xmin(pg_current_snapshot())";
    harness.execute(sql).await;
}

/// The message without times and LSNs.
fn timeless(message: &str) -> String {
    let words = message.split(' ').map(|word| {
        let bare = word.trim_matches(|c: char| ";,()".contains(c));
        let is_lsn = bare.parse::<walpost::relay::boundary::Lsn>().is_ok();
        let is_date = bare.len() == 10 && bare.as_bytes()[4] == b'-';
        let is_time = bare.contains("+00") && bare.contains(':');
        match (is_lsn, is_date, is_time) {
            (true, ..) => word.replace(bare, "LSN"),
            (_, true, _) => String::new(),
            (.., true) => word.replace(bare, "TIME"),
            _ => word.to_owned(),
        }
    });
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
