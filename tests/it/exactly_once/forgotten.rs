//! Positions that were forgotten, and the keys that positions are signed with.

use std::process::ExitStatus;

use walpost::lab::sandbox::KafkaOptions;

use super::fencing::{another_relays_transaction, commit};
use super::forged::{own_position, write};
use super::{exact, ready};
use crate::harness::{Harness, Relay, Verdict};
use crate::lifecycle::{SCHEMA, emit, prepare, published};
use crate::setup::walpost_with;

/// Starts a relay that exits.
async fn ended(harness: &Harness) -> (ExitStatus, String) {
    let mut relay = Relay::start_with(&exact(harness, ""));
    let status = relay.exit().await;
    (status, relay.log())
}

/// Replaces the key that positions are signed with; deletes the old one once the relay has noted the new one.
async fn replace_position_key(harness: &Harness) {
    harness.execute("select outbox.add_secret('position')").await;
    let (slot, newest) = (harness.name(), "select max(id) from outbox.secret where purpose = 'position'");
    harness.wait_for(&format!("select position_key = ({newest}) from outbox.relay where slot = '{slot}'")).await;
    harness.execute(&format!("delete from outbox.secret where purpose = 'position' and id < ({newest})")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_39_a_forgotten_position_that_is_written_again_is_refused() {
    let harness = Harness::new("exact forgotten").await;
    prepare(&harness).await;
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 0, 10)).await;
    published(&mut relay, 10).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    let first = own_position(&harness, "").await;
    walpost_with(&exact(&harness, ""), "slot adopt --forget-position");
    write(&harness, Some(&first), 2).await;
    let (status, log) = ended(&harness).await;
    assert!(status.code() == Some(69) && log.contains("is of another epoch than outbox.relay has"), "{log}");

    // So is one of a later epoch than the first, whose records bear it.
    walpost_with(&exact(&harness, ""), "slot adopt --forget-position");
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 10, 20)).await;
    published(&mut relay, 10).await;
    relay.kill();
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 20, 30)).await;
    published(&mut relay, 10).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    Verdict::of(&harness, SCHEMA).await.assert_exact();
    let second = own_position(&harness, "\"epoch\":").await;
    walpost_with(&exact(&harness, ""), "slot adopt --forget-position");
    for forgotten in [&first, &second] {
        write(&harness, Some(forgotten), 2).await;
        let (status, log) = ended(&harness).await;
        assert!(status.code() == Some(69) && log.contains("is of another epoch than outbox.relay has"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_key_that_is_replaced_while_the_relay_runs_can_be_deleted_once_the_new_one_is_noted() {
    let harness = Harness::new("exact rotated").await;
    prepare(&harness).await;
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 0, 10)).await;
    published(&mut relay, 10).await;
    replace_position_key(&harness).await;
    harness.execute(&emit("w0-0", 10, 20)).await;
    published(&mut relay, 20).await;
    relay.kill();
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 20, 30)).await;
    published(&mut relay, 10).await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
}

/// Another relay's transaction leaves only a position visible that a deleted key signed.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_waits_for_another_relays_transaction_before_it_rejects_an_old_position() {
    let harness = Harness::with_own_kafka("exact hidden", KafkaOptions::default()).await;
    prepare(&harness).await;
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 0, 10)).await;
    published(&mut relay, 10).await;
    own_position(&harness, "").await;
    let other = another_relays_transaction(&harness).await;
    replace_position_key(&harness).await;
    harness.execute(&emit("w0-0", 10, 20)).await;
    published(&mut relay, 20).await;
    relay.kill();
    let mut relay = Relay::start_with(&exact(&harness, ""));
    relay.wait_for_log("waiting for another relay's transaction to end").await;
    commit(other).await;
    relay.ready().await;
    harness.execute(&emit("w0-0", 20, 30)).await;
    published(&mut relay, 10).await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
}
