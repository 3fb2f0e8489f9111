//! A misconfigured server.

use std::fs;

use expect_test::expect;
use walpost::lab::sandbox::{Durability, PostgresOptions, StopMode};
use walpost::postgres::{ConnectOptions, Connection};

use super::{changed, examine};
use crate::harness::{Harness, config};

fn options(settings: &[(&str, &str)]) -> PostgresOptions {
    PostgresOptions {
        durability: Durability::NoFsync,
        settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..PostgresOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_wal_level_slots_walsenders_and_a_standby_are_checked() {
    let settings = [("wal_level", "replica"), ("max_replication_slots", "1"), ("max_wal_senders", "1")];
    let mut harness = Harness::with_own_postgres("doctor_scarce", options(&settings)).await;
    harness.migrate().await;
    let config = config(&harness, "");
    let low = examine(&config);
    harness.execute("alter system set wal_level = logical").await;
    harness.own_postgres().stop(StopMode::Fast).await.expect("the server stops");
    harness.own_postgres().start_again().await.expect("the server starts");
    let well = examine(&config);
    assert_eq!((well.code, well.not_ok()), (Some(0), vec![("max_slot_wal_keep_size", "warning")]), "{well:?}");
    let mut reported = changed(&harness, &low, &well).replace("ok: logical", "") + &low.of(&harness, "wal_level")[0];

    harness.execute("select pg_create_physical_replication_slot('forgotten')").await;
    reported += &format!("\n{}", changed(&harness, &well, &examine(&config)));
    harness.execute("select pg_drop_replication_slot('forgotten')").await;

    let connect = ConnectOptions::parse(harness.url(), &|_| None).expect("the harness gives a URL");
    let walsender = Connection::open_replication(&connect).expect("there is one walsender");
    let full = examine(&config);
    reported += &full.of(&harness, "wal_senders")[0];
    assert_eq!(full.not_ok(), [("wal_senders", "failure"), ("max_slot_wal_keep_size", "warning")], "{full:?}");
    drop(walsender);

    harness.own_postgres().stop(StopMode::Fast).await.expect("the server stops");
    fs::write(harness.own_postgres().data_path().join("standby.signal"), "").expect("the data folder is ours");
    harness.own_postgres().start_again().await.expect("the server starts");
    let standby = examine(&config);
    reported += &format!("\n{}", standby.of(&harness, "primary")[0]);
    assert_eq!((standby.code, standby.not_ok()), (Some(69), vec![("primary", "failure")]), "{standby:?}");
    expect![[r#"
        wal_level: 
        failure: wal_level is replica: run `alter system set wal_level = logical` and restart Postgres
        replication_slots: failure: all 1 replication slots are in use: raise max_replication_slots and restart Postgres, or drop one that `select slot_name from pg_replication_slots where not active` shows
        failure: all 1 walsenders are in use: raise max_wal_senders and restart Postgres, or end one of `select pid, application_name from pg_stat_replication`
        failure: the server is a standby: connect to the primary"#]]
    .assert_eq(&reported);
}

/// Amazon RDS grants replication by membership in a role of its own, where nobody has the attribute. Another role whose
/// attribute says nothing: that of `set role`, which a walsender does not look at.
#[tokio::test(flavor = "multi_thread")]
async fn case_49_the_server_decides_who_may_replicate() {
    let harness = Harness::with_own_postgres("doctor_managed", options(&[])).await;
    harness.migrate().await;
    harness
        .execute(
            "create role team; create role member login replication password 'x' in role team; \
             alter role member set role = team; create role outsider login password 'x'",
        )
        .await;
    let migrated = crate::harness::walpost()
        .args(["migrate", "--database-url", harness.url(), "--relay-role", "team"])
        .output()
        .expect("the binary runs");
    assert!(migrated.status.success(), "{migrated:?}");
    let replication = |role: &str| {
        let url = crate::setup::url_as(&harness, role, "x");
        examine(&config(&harness, "").replace(harness.url(), &url)).of(&harness, "replication")
    };
    assert!(replication("member")[0].starts_with("ok: role team can replicate; cluster "));
    let mut reported = replication("outsider");
    harness.execute("create role rds_superuser; create role rds_replication").await;
    reported.extend(replication("outsider"));
    expect![[r#"
        failure: role outsider lacks the REPLICATION attribute: run `alter role "outsider" replication`
        failure: role outsider lacks the REPLICATION attribute: run `grant rds_replication to "outsider"`"#]]
    .assert_eq(&reported.join("\n"));
}

async fn set_keep_size(harness: &Harness, value: &str) {
    for statement in [&format!("alter system set max_slot_wal_keep_size = '{value}'"), "select pg_reload_conf()"] {
        harness.execute(statement).await;
    }
    harness.wait_for(&format!("select current_setting('max_slot_wal_keep_size') = '{value}'")).await;
}

/// A small limit, and its effects on a slot: first at risk, then lost.
#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_slot_about_to_lose_its_wal_is_a_warning() {
    let harness = Harness::with_own_postgres("doctor_wal", options(&[])).await;
    harness.migrate().await;
    let config = config(&harness, "");
    assert!(examine(&config).of(&harness, "max_slot_wal_keep_size")[0].starts_with("warning: no limit"));
    set_keep_size(&harness, "10GB").await;
    let well = examine(&config);
    assert_eq!((well.code, well.not_ok()), (Some(0), Vec::new()), "{well:?}");
    set_keep_size(&harness, "1MB").await;
    let line = changed(&harness, &well, &examine(&config));
    assert!(line.starts_with("max_slot_wal_keep_size: warning: 1.00 MiB, so even a short stop"), "{line}");

    let slot = harness.name();
    let failover = "select current_setting('server_version_num')::int >= 170000";
    let has_failover = harness.query(failover).await[0].get::<_, bool>(0);
    let more = if has_failover { ", failover => true" } else { "" };
    harness.execute(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput'{more})")).await;
    let before = examine(&config);
    assert_eq!(before.not_ok(), [("max_slot_wal_keep_size", "warning")], "{before:?}");
    let status = format!("select wal_status from pg_replication_slots where slot_name = '{slot}'");
    let until = |wanted: &'static str, step: &'static str| {
        let (harness, status) = (&harness, &status);
        async move {
            for round in 0.. {
                assert!(round < 100, "the slot is never {wanted}");
                harness.execute("create table if not exists filler (x int); insert into filler values (1)").await;
                harness.execute(step).await;
                if harness.query_text(status).await.as_deref() == Some(wanted) {
                    return;
                }
            }
        }
    };
    until("unreserved", "select pg_switch_wal()").await;
    let line = changed(&harness, &before, &examine(&config));
    assert!(line.starts_with("retained_wal: warning: ") && line.contains("is about to remove WAL"), "{line}");
    until("lost", "checkpoint").await;
    let lost = examine(&config);
    let line = &lost.of(&harness, "slot")[0];
    assert!(lost.code == Some(69) && line.starts_with("failure: slot db was invalidated"), "{lost:?}");
}

/// PostgreSQL 18 and newer.
#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_server_that_invalidates_idle_slots_is_a_warning() {
    let harness = Harness::with_own_postgres("doctor_idle", options(&[])).await;
    harness.migrate().await;
    let config = config(&harness, "");
    let has = "select exists (select from pg_settings where name = 'idle_replication_slot_timeout')";
    if !harness.query(has).await[0].get::<_, bool>(0) {
        assert_eq!(examine(&config).of(&harness, "idle_slot_timeout"), Vec::<String>::new());
        return;
    }
    let before = examine(&config);
    for statement in ["alter system set idle_replication_slot_timeout = '1h'", "select pg_reload_conf()"] {
        harness.execute(statement).await;
    }
    harness.wait_for("select current_setting('idle_replication_slot_timeout') <> '0'").await;
    let line = changed(&harness, &before, &examine(&config));
    assert!(line.starts_with("idle_slot_timeout: warning: "), "{line}");
}
