//! A standby is promoted.

use std::fs;
use std::process::Command;
use std::time::Duration;

use walpost::lab::sandbox::{Durability, PostgresOptions, StopMode};
use walpost::random::Random;

use crate::exactly_once::exact;
use crate::harness::{Harness, Load, Relay, Verdict, config, further_postgres};
use crate::lifecycle::{SCHEMA, emit, named, prepare, published};
use crate::setup::walpost_with;

/// The first version that can synchronize slots to standbys, as `server_version_num`.
const FAILOVER_VERSION: i32 = 170_000;

#[tokio::test(flavor = "multi_thread")]
async fn case_25_publishing_continues_on_a_promoted_standby_without_loss() {
    continues("promoted", |harness, name| config(harness, &named(name))).await.0.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_25_publishing_continues_on_a_promoted_standby_exactly_once() {
    let (verdict, keeps_slots) = continues("promoted exactly", |harness, _| exact(harness, "")).await;
    if keeps_slots {
        verdict.assert_exact();
    } else {
        // Rows published since the last note are republished from the table, and both relays have the same name.
        verdict.assert_complete();
    }
}

/// A relay publishes, its server is lost, and another relay continues on the promoted standby. Returns the verdict,
/// and whether this version synchronizes slots to standbys.
async fn continues(name: &str, configure: impl Fn(&Harness, &str) -> String) -> (Verdict, bool) {
    let options = PostgresOptions { durability: Durability::NoFsync, ..PostgresOptions::default() };
    let mut harness = Harness::with_own_postgres(name, options.clone()).await;
    prepare(&harness).await;
    let version: i32 = harness.query("select current_setting('server_version_num')::int").await[0].get(0);
    let keeps_slots = version >= FAILOVER_VERSION;
    harness.execute("select pg_create_physical_replication_slot('standby', true)").await;

    let mut standby = further_postgres(options).await;
    standby.stop(StopMode::Fast).await.expect("it stops");
    copy_primary(&mut harness, standby.data_path(), keeps_slots).await;
    standby.start_again().await.expect("a standby starts");
    harness.wait_for("select count(*) = 1 from pg_stat_replication where state = 'streaming'").await;
    if keeps_slots {
        // No event is published that the standby does not have.
        harness.execute("alter system set synchronized_standby_slots = 'standby'").await;
        harness.execute("select pg_reload_conf()").await;
    }

    let mut first = Relay::start_with(&configure(&harness, "first"));
    first.ready().await;
    let load = Load::start(&harness, SCHEMA, 2, Duration::from_millis(10), &mut Random::new(25));
    published(&mut first, 200).await;
    let slot = format!("from pg_replication_slots where slot_name = '{}'", harness.name());
    if keeps_slots {
        harness.wait_for(&format!("select failover {slot}")).await;
        let kept = format!("select synced and not temporary and invalidation_reason is null {slot}");
        harness.at_port(standby.port()).wait_for(&kept).await;
        published(&mut first, 400).await;
        harness.own_postgres().kill();
    } else {
        load.stop().await;
        harness.own_postgres().stop(StopMode::Fast).await.expect("it stops");
    }
    first.kill();
    harness.move_to_port(standby.port());
    harness.execute("select pg_promote()").await;
    harness.wait_for("select not pg_is_in_recovery()").await;

    let config = configure(&harness, "second");
    let mut second = Relay::start_with(&config);
    second.wait_for_log("a standby was promoted").await;
    if !keeps_slots {
        assert_eq!(second.exit().await.code(), Some(69), "{}", second.log());
        assert!(second.log().contains("no longer exists: events committed"), "{}", second.log());
        walpost_with(&config, "slot recreate");
        second = Relay::start_with(&config);
    }
    second.ready().await;
    harness.execute(&emit("w0-0", 1_000_000, 1_000_010)).await;
    published(&mut second, 10).await;
    eprintln!("the relay at the promoted standby:\n{}", second.log());
    (Verdict::of(&harness, SCHEMA).await, keeps_slots)
}

/// Replaces another server's data with a copy of the stopped primary, and makes that its standby.
async fn copy_primary(harness: &mut Harness, data: &std::path::Path, keeps_slots: bool) {
    let primary = url::Url::parse(harness.url()).expect("the harness gives a URL");
    let from = harness.own_postgres().data_path().to_owned();
    harness.own_postgres().stop(StopMode::Fast).await.expect("it stops");
    fs::remove_dir_all(data).expect("the data is removed");
    let status = Command::new("cp").arg("-a").arg(&from).arg(data).status().expect("cp is there");
    assert!(status.success(), "copy {} to {}", from.display(), data.display());
    // A standby keeps no slot of the copy.
    for entry in fs::read_dir(data.join("pg_replslot")).expect("slots have a folder") {
        fs::remove_dir_all(entry.expect("an entry").path()).expect("a slot is removed");
    }
    let settings = data.join("postgresql.conf");
    let mut text = fs::read_to_string(&settings).expect("it has a configuration");
    text += &format!(
        "primary_conninfo = 'host=127.0.0.1 port={} user={} password={} dbname={}'\nprimary_slot_name = 'standby'\n\
         hot_standby_feedback = on\n{}",
        primary.port().expect("a port"),
        primary.username(),
        primary.password().expect("a password"),
        harness.name(),
        if keeps_slots { "sync_replication_slots = on\n" } else { "" },
    );
    fs::write(&settings, text).expect("the configuration is written");
    let signal = data.join("standby.signal");
    fs::write(&signal, "").expect("the signal is written");
    let status = Command::new("chown").arg("--reference").arg(&settings).arg(&signal).status().expect("chown is there");
    assert!(status.success(), "own {}", signal.display());
    harness.own_postgres().start_again().await.expect("the primary starts again");
}
