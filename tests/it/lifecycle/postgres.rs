//! Outages of Postgres.

use std::time::Duration;

use walpost::lab::sandbox::{Durability, PostgresOptions, StopMode};
use walpost::random::Random;

use super::{SCHEMA, named, prepare, published, ready, through};
use crate::harness::{Harness, Load, Proxy, Relay, Verdict};

/// A failure of Postgres.
#[derive(Debug, Clone, Copy)]
enum Outage {
    TerminateBackend,
    Stop(StopMode),
    Kill,
}

async fn survives(name: &str, outages: &[Outage]) {
    let options = PostgresOptions { durability: Durability::NoFsync, ..PostgresOptions::default() };
    let mut harness = Harness::with_own_postgres(name, options).await;
    prepare(&harness).await;
    let mut relay = ready(&harness, "only").await;
    let load = Load::start(&harness, SCHEMA, 3, Duration::from_millis(5), &mut Random::new(17));
    let mut count = 0;
    for outage in outages {
        count += 300;
        published(&mut relay, count).await;
        match *outage {
            Outage::TerminateBackend => {
                harness.execute("select pg_terminate_backend(pid) from pg_stat_replication").await;
            }
            Outage::Stop(mode) => {
                harness.own_postgres().stop(mode).await.expect("postgres stops");
                harness.own_postgres().start_again().await.expect("postgres starts again");
            }
            Outage::Kill => {
                harness.own_postgres().kill();
                harness.own_postgres().start_again().await.expect("postgres starts again");
            }
        }
    }
    published(&mut relay, count + 300).await;
    load.stop().await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
    assert!(relay.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_17_a_terminated_walsender_causes_no_duplicates() {
    survives("terminated", &[Outage::TerminateBackend; 4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_17_a_postgres_restart_causes_no_duplicates() {
    let outages = [Outage::Stop(StopMode::Fast), Outage::Stop(StopMode::Immediate), Outage::Kill];
    survives("restarted", &outages).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_17_a_silent_connection_is_dropped_without_duplicates() {
    let settings = vec![("wal_sender_timeout".to_owned(), "3s".to_owned())];
    let options = PostgresOptions { durability: Durability::NoFsync, settings, ..PostgresOptions::default() };
    let mut harness = Harness::with_own_postgres("silent", options).await;
    prepare(&harness).await;
    let port = harness.own_postgres().port();
    let proxy = Proxy::before(port).await;
    let mut relay = Relay::start_with(&through(&harness, &proxy, port, "only"));
    relay.ready().await;
    let load = Load::start(&harness, SCHEMA, 3, Duration::from_millis(20), &mut Random::new(18));
    for round in 1..=2 {
        published(&mut relay, round * 200).await;
        proxy.freeze();
        relay.wait_for("the connection is given up", |status| status["postgres_connected"] == false).await;
        relay.wait_for("a new one", |status| status["postgres_connected"] == true).await;
    }
    load.stop().await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
    assert!(relay.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_23_a_stale_walsender_does_not_block_the_slot() {
    let settings = vec![("wal_sender_timeout".to_owned(), "3s".to_owned())];
    let options = PostgresOptions { durability: Durability::NoFsync, settings, ..PostgresOptions::default() };
    let mut harness = Harness::with_own_postgres("stale", options).await;
    prepare(&harness).await;
    let port = harness.own_postgres().port();
    let proxy = Proxy::before(port).await;
    let mut first = Relay::start_with(&through(&harness, &proxy, port, "first"));
    first.ready().await;
    let load = Load::start(&harness, SCHEMA, 2, Duration::from_millis(20), &mut Random::new(23));
    published(&mut first, 200).await;
    let mut second = Relay::start(&harness, &named("second"));
    second.wait_for_log("another relay holds the slot").await;
    // The first relay's machine is gone, and its walsender has not noticed.
    proxy.freeze();
    first.kill();
    second.ready().await;
    load.stop().await;
    Verdict::of(&harness, SCHEMA).await.assert_sound();
}
