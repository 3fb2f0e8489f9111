//! Two relays of one slot.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Harness, Load, Relay, Seeded, Verdict};
use crate::lifecycle::{SCHEMA, emit, named, prepare, published};

#[tokio::test(flavor = "multi_thread")]
async fn case_23_a_relay_that_stands_by_is_ready_and_says_so() {
    let harness = Harness::new("standby_ready").await;
    prepare(&harness).await;
    let mut first = Relay::start(&harness, &named("first"));
    first.ready().await;
    let mut second = Relay::start(&harness, &named("second"));
    second.wait_for("a standby", |status| status["standby"] == true).await;
    second.ready().await;
    assert_eq!(first.status().await["standby"], false);
    first.kill();
    second.wait_for("a take-over", |status| status["standby"] == false && status["postgres_connected"] == true).await;
}

/// A process that hangs has no lease after a while; when it wakes up it stands by.
#[tokio::test(flavor = "multi_thread")]
async fn case_23_a_relay_that_hangs_loses_the_slot_and_stands_by_when_it_wakes_up() {
    let harness = Harness::new("standby_frozen").await;
    prepare(&harness).await;
    let load = Load::start(&harness, SCHEMA, 2, Duration::from_millis(10), &mut Seeded::from(24));
    let mut first = Relay::start(&harness, &named("first"));
    first.ready().await;
    published(&mut first, 100).await;
    let mut second = Relay::start(&harness, &named("second"));
    second.wait_for("a standby", |status| status["standby"] == true).await;
    first.signal(Signal::STOP);
    published(&mut second, 100).await;
    assert!(second.log().contains("a walsender that a relay has left behind is ended"), "{}", second.log());
    first.signal(Signal::CONT);
    first.wait_for("a standby", |status| status["standby"] == true).await;
    load.stop().await;
    harness.execute(&emit("w0-0", 1_000_000, 1_000_001)).await;
    Verdict::of(&harness, SCHEMA).await.assert_sound();
    // And back again.
    assert_eq!(second.terminate().await.code(), Some(0), "{}", second.log());
    first.wait_for("a take-over", |status| status["standby"] == false && status["postgres_connected"] == true).await;
}
