//! The initial backfill: rows from before the slot.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use walpost::lab::sandbox::{Durability, KafkaOptions, PostgresOptions, StopMode};
use walpost::random::Random;

use super::{SCHEMA, emit, named, prepare, published, ready};
use crate::exactly_once::exact;
use crate::harness::{Harness, Load, Relay, Verdict, config};

/// Few records in flight, so that a test can interrupt the backfill.
const SLOW: &str = "max_in_flight = 100\n";

#[tokio::test(flavor = "multi_thread")]
async fn case_21_rows_from_before_the_slot_arrive_once() {
    let harness = Harness::new("before").await;
    prepare(&harness).await;
    let load = Load::start(&harness, SCHEMA, 3, Duration::from_millis(2), &mut Random::new(21));
    harness.wait_for("select count(*) > 500 from outbox.event").await;
    let _relay = ready(&harness, "only").await;
    harness.wait_for("select count(*) > 1500 from outbox.event").await;
    load.stop().await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_21_a_relay_killed_during_the_backfill_restarts_it() {
    let harness = Harness::new("before killed").await;
    prepare(&harness).await;
    let load = Load::start(&harness, SCHEMA, 2, Duration::from_millis(20), &mut Random::new(22));
    harness.execute(&emit("x-0", 0, 20_000)).await;
    for name in ["first", "second"] {
        let mut relay = Relay::start(&harness, &(named(name) + SLOW));
        published(&mut relay, 1_000).await;
        relay.kill();
    }
    let _third = ready(&harness, "third").await;
    load.stop().await;
    // The slot is kept, for rows that are only in its WAL: those committed between its creation and the second read are read
    // from both.
    Verdict::of(&harness, SCHEMA).await.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_21_a_relay_stopped_during_the_backfill_finishes_it_first() {
    let harness = Harness::new("before stopped").await;
    prepare(&harness).await;
    harness.execute(&emit("x-0", 0, 10_000)).await;
    let mut relay = Relay::start(&harness, &(named("first") + SLOW));
    published(&mut relay, 100).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    harness.execute(&emit("x-0", 10_000, 10_010)).await;
    let _second = ready(&harness, "second").await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
}

/// Stops a relay after it has lost its stream, with all rows from before the slot in Kafka and nothing in `outbox.relay` that says so.
async fn stop_before_the_note(harness: &Harness, config: &str) {
    prepare(harness).await;
    harness.execute(&emit("x-0", 0, 100)).await;
    let refuse = "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$; \
        create trigger refuse before update on outbox.relay for each row when (new.backfill = 'done') execute function refuse()";
    harness.execute(refuse).await;
    let mut relay = Relay::start_with(config);
    relay.wait_for_log("could not record the end of the initial backfill").await;
    let session = harness.session().await;
    session.batch_execute("begin; lock table outbox.relay in access exclusive mode").await.expect("a lock");
    harness
        .execute(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()",
        )
        .await;
    relay.wait_for_log("replication connection failed").await;
    relay.signal(Signal::TERM);
    relay.wait_for_log("stopping: waiting").await;
    session.batch_execute("drop trigger refuse on outbox.relay; commit").await.expect("unlocked");
    assert_eq!(relay.exit().await.code(), Some(0), "{}", relay.log());
    assert_eq!(harness.query_text("select backfill from outbox.relay").await.as_deref(), Some("done"));
    harness.execute(&emit("x-0", 100, 200)).await;
    let mut relay = Relay::start_with(config);
    published(&mut relay, 100).await;
    Verdict::of(harness, SCHEMA).await.assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_21_a_relay_that_stops_without_a_stream_after_the_backfill_has_that_recorded_first() {
    let harness = Harness::new("before noted").await;
    stop_before_the_note(&harness, &config(&harness, &named("only"))).await;
    let harness = Harness::new("before noted once").await;
    stop_before_the_note(&harness, &exact(&harness, "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_21_a_walsender_lost_during_the_backfill_causes_no_duplicates() {
    let harness = Harness::new("before lost").await;
    prepare(&harness).await;
    harness.execute(&emit("x-0", 0, 20_000)).await;
    let mut relay = Relay::start(&harness, &(named("only") + SLOW));
    published(&mut relay, 500).await;
    let load = Load::start(&harness, SCHEMA, 2, Duration::from_millis(20), &mut Random::new(22));
    for round in 1..=3 {
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'walsender' and datname";
        harness.execute(&format!("{end} = '{}'", harness.name())).await;
        published(&mut relay, 500 + round * 500).await;
    }
    load.stop().await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
    assert!(relay.is_running());
}

/// All rows have been read and wait for room in Kafka, so the relay has to yield to a server that shuts down before it has
/// accepted them.
#[tokio::test(flavor = "multi_thread")]
async fn case_21_a_server_restart_while_the_backfill_waits_loses_nothing() {
    const ROWS: u64 = 4_000;
    let options = PostgresOptions { durability: Durability::NoFsync, ..PostgresOptions::default() };
    let mut harness = Harness::with_own_servers("before restarted", options, KafkaOptions::default()).await;
    prepare(&harness).await;
    harness.execute(&emit("x-0", 0, ROWS)).await;
    let broker = harness.own_kafka().pid().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("a process");
    let mut relay = Relay::start(&harness, &(named("only") + SLOW));
    published(&mut relay, 100).await;
    kill_process(broker, Signal::STOP).expect("an own process");
    relay.wait_for_log("initial backfill read").await;
    relay.wait_for("a full window", |status| status["in_flight_records"] == 100).await;
    assert!(relay.status().await["events"].as_u64() < Some(ROWS), "the broker was stopped too late to show anything");
    harness.own_postgres().stop(StopMode::Fast).await.expect("it stops");
    harness.own_postgres().start_again().await.expect("it starts again");
    kill_process(broker, Signal::CONT).expect("an own process");
    harness.execute(&emit("x-0", ROWS, ROWS + 10)).await;
    // The backfill restarts.
    Verdict::of(&harness, SCHEMA).await.assert_complete();
    assert!(relay.is_running());
}
