//! A server without logical decoding, without a free slot, without a free walsender.

use expect_test::expect;
use walpost::lab::sandbox::{Durability, PostgresOptions, StopMode};
use walpost::postgres::{ConnectOptions, Connection};

use super::{fix, run_fix, unavailable, works};
use crate::harness::{Harness, config};

#[tokio::test(flavor = "multi_thread")]
async fn case_24_wal_level_slots_and_walsenders_are_named() {
    let settings = [("wal_level", "replica"), ("max_replication_slots", "1"), ("max_wal_senders", "1")];
    let options = PostgresOptions {
        durability: Durability::NoFsync,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..PostgresOptions::default()
    };
    let mut harness = Harness::with_own_postgres("scarce", options).await;
    harness.migrate().await;
    let config = config(&harness, "");

    let message = unavailable(&harness, &config).await;
    expect!["walpost: wal_level is replica: run `alter system set wal_level = logical` and restart Postgres"]
        .assert_eq(&message);
    run_fix(&harness, &config, &message).await;
    harness.own_postgres().stop(StopMode::Fast).await.expect("the server stops");
    harness.own_postgres().start_again().await.expect("the server starts");

    harness.execute("select pg_create_physical_replication_slot('forgotten')").await;
    let message = unavailable(&harness, &config).await;
    expect!["walpost: all 1 replication slots are in use: raise max_replication_slots and restart Postgres, or drop one that `select slot_name from pg_replication_slots where not active` shows"].assert_eq(&message);
    let unused = harness.query_text(&fix(&harness, &message).replace("slot_name", "slot_name::text")).await;
    let unused = unused.expect("the statement shows the slot that nobody uses");
    harness.execute(&format!("select pg_drop_replication_slot('{unused}')")).await;

    let options = ConnectOptions::parse(harness.url(), &|_| None).expect("the harness gives a URL");
    let walsender = Connection::open_replication(&options).expect("there is one walsender");
    let message = unavailable(&harness, &config).await;
    expect!["walpost: all 1 walsenders are in use: raise max_wal_senders and restart Postgres, or end one of `select pid, application_name from pg_stat_replication`"].assert_eq(&message);
    let used = harness.query(&fix(&harness, &message)).await;
    let pid: i32 = used.first().expect("the statement shows who uses it").get(0);
    harness.execute(&format!("select pg_terminate_backend({pid})")).await;
    drop(walsender);
    works(&harness, &config).await;
}
