//! Two relays on one slot.

use std::time::Duration;

use rustix::process::Signal;
use walpost::random::Random;

use crate::harness::{Harness, Load, Relay, Verdict};
use crate::lifecycle::{SCHEMA, emit, named, prepare, published};

#[tokio::test(flavor = "multi_thread")]
async fn case_23_a_standby_relay_is_ready_and_reports_standby() {
    let harness = Harness::new("standby_ready").await;
    prepare(&harness).await;
    let mut first = Relay::start(&harness, &named("first"));
    first.ready().await;
    let mut second = Relay::start(&harness, &named("second"));
    second.wait_for("a standby", |status| status["standby"] == true).await;
    second.ready().await;
    assert_eq!(first.status().await["standby"], false);
    // Nothing to raise an alert about.
    let (_, metrics) = second.get("/metrics").await.expect("the relay answers");
    for line in ["walpost_ready 1", "walpost_standby 1", "walpost_connected{side=\"postgres\"} 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    first.kill();
    second.wait_for("a take-over", |status| status["standby"] == false && status["postgres_connected"] == true).await;
}

/// The events that a process had read before it was suspended have been published by another relay when it resumes.
#[tokio::test(flavor = "multi_thread")]
async fn case_23_a_resumed_relay_publishes_nothing_that_its_successor_published() {
    let harness = Harness::new("standby_stopped").await;
    prepare(&harness).await;
    let mut first = Relay::start(&harness, &named("first"));
    first.ready().await;
    harness.execute(&emit("w0-0", 0, 10)).await;
    published(&mut first, 10).await;
    let mut second = Relay::start(&harness, &named("second"));
    second.wait_for("a standby", |status| status["standby"] == true).await;
    first.signal(Signal::STOP);
    // They wait in the buffers of its connection.
    for number in 0..50 {
        harness.execute(&emit("w0-0", 10 + number * 50, 60 + number * 50)).await;
    }
    published(&mut second, 2_500).await;
    first.signal(Signal::CONT);
    first.wait_for("a standby", |status| status["standby"] == true).await;
    assert_eq!(first.status().await["events"], 10, "{}", first.log());
    // The second repeats what the first had not yet confirmed.
    let verdict = Verdict::of(&harness, SCHEMA).await;
    verdict.assert_sound();
    assert!(!verdict.repeats.contains_key("first"), "{verdict:#?}");
}

/// A process that hangs loses its lease after a while; when it resumes it stands by.
#[tokio::test(flavor = "multi_thread")]
async fn case_23_a_hanging_relay_loses_the_slot_and_stands_by_when_it_resumes() {
    let harness = Harness::new("standby_frozen").await;
    prepare(&harness).await;
    let load = Load::start(&harness, SCHEMA, 2, Duration::from_millis(10), &mut Random::new(24));
    let mut first = Relay::start(&harness, &named("first"));
    first.ready().await;
    published(&mut first, 100).await;
    let mut second = Relay::start(&harness, &named("second"));
    second.wait_for("a standby", |status| status["standby"] == true).await;
    first.signal(Signal::STOP);
    published(&mut second, 100).await;
    assert!(second.log().contains("terminated a stale walsender of an earlier relay"), "{}", second.log());
    first.signal(Signal::CONT);
    first.wait_for("a standby", |status| status["standby"] == true).await;
    load.stop().await;
    harness.execute(&emit("w0-0", 1_000_000, 1_000_001)).await;
    Verdict::of(&harness, SCHEMA).await.assert_sound();
    // And back again.
    assert_eq!(second.terminate().await.code(), Some(0), "{}", second.log());
    first.wait_for("a take-over", |status| status["standby"] == false && status["postgres_connected"] == true).await;
}

/// The lock's key is visible in `pg_locks`, and a session that waits for it gets it when the relay ends.
#[tokio::test(flavor = "multi_thread")]
async fn case_40_a_role_without_grants_cannot_block_a_relay() {
    let harness = Harness::new("standby_locked").await;
    prepare(&harness).await;
    let slot = harness.name().to_owned();
    let outsider = format!("{slot}_outsider");
    harness.execute(&format!("create role {outsider} login password 'outsider'")).await;
    let url = crate::setup::url_as(&harness, &outsider, "outsider");
    let mut first = Relay::start(&harness, &named("first"));
    first.ready().await;
    let seen = "from pg_locks where locktype = 'advisory' and granted and database = \
                (select oid from pg_database where datname = current_database())";
    let session = harness.session_at(&url).await;
    let keys: Vec<String> = session
        .query(
            &format!(
                "select case objsubid when 1 then ((classid::bigint << 32) | objid::bigint)::text \
                      else classid::int8::bit(32)::int || ', ' || objid::int8::bit(32)::int end {seen}"
            ),
            &[],
        )
        .await
        .expect("everybody sees locks")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(keys.len(), 2, "the lease's and that of earlier versions: {keys:?}");
    let mut waiters = Vec::new();
    for key in keys {
        let session = harness.session_at(&url).await;
        waiters.push(tokio::spawn(async move {
            let lock = format!("select pg_advisory_lock({key})");
            session.batch_execute(&lock).await.expect("every role may take any advisory lock");
            session
        }));
    }
    harness.wait_for(&format!("select count(*) = 2 {}", seen.replace("granted", "not granted"))).await;
    assert_eq!(first.terminate().await.code(), Some(0), "{}", first.log());
    let mut sessions = Vec::new();
    for waiter in waiters {
        sessions.push(waiter.await.expect("it waits"));
    }
    let mut first = Relay::start(&harness, &named("first"));
    first.ready().await;
    assert_eq!(first.status().await["standby"], false);
    assert!(first.log().contains("a session that is not a relay holds the lease's lock"), "{}", first.log());
    // The two relays still agree on which one holds it.
    let mut second = Relay::start(&harness, &named("second"));
    second.wait_for("a standby", |status| status["standby"] == true).await;
    drop(sessions);
    drop(session);
    first.kill();
    second.wait_for("a take-over", |status| status["standby"] == false && status["postgres_connected"] == true).await;
    assert_eq!(second.terminate().await.code(), Some(0), "{}", second.log());

    // Held like by a relay of an older version; a session that does not stream is not a relay.
    let older = harness.session().await;
    older
        .batch_execute(&format!("select pg_advisory_lock(hashtext('walpost'), hashtext('{slot}'))"))
        .await
        .expect("a lock");
    let mut third = Relay::start(&harness, &named("third"));
    third.wait_for("a standby", |status| status["standby"] == true).await;
    let is_told =
        |status: &serde_json::Value| status["not_ready"].to_string().contains("no relay has streamed from slot");
    third.wait_for("not ready", is_told).await;
    drop(older);
    third.ready().await;
    assert_eq!(third.status().await["standby"], false);
    assert_eq!(third.terminate().await.code(), Some(0), "{}", third.log());
    harness.execute(&format!("drop role {outsider}")).await;
}
