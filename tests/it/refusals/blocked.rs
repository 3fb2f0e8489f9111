//! Events that can't even become dead letters, or can't be looked up: the relay waits, reports it, and continues.

use super::{create_topic, emit, insert, register_with, values};
use crate::harness::{Harness, Relay};

#[tokio::test(flavor = "multi_thread")]
async fn case_27_a_missing_dead_letter_topic_is_waited_for() {
    let harness = Harness::migrated("no_letters").await;
    let dead_letters = harness.topic("dead-letter");
    create_topic(&harness, &harness.topic("order.placed"), &[]).await;
    harness.register("order.placed").await;
    let mut relay = Relay::start(&harness, "create_topics = false\n");
    relay.ready().await;
    harness.execute(&emit("order.placed", "k", "1")).await;
    harness.execute(&insert("order.lost", "'k'", "'2'", &[])).await;
    harness.execute(&emit("order.placed", "k", "3")).await;

    wait_blocked(&mut relay, &dead_letters).await;
    let before = confirmed_after_two_reports(&harness).await;
    create_topic(&harness, &dead_letters, &[]).await;
    relay.ready().await;
    let refused = harness.consume(&dead_letters, 1).await;
    assert_eq!(values(&refused), ["2"]);
    assert_eq!(values(&harness.consume(&harness.topic("order.placed"), 2).await), ["1", "3"]);
    nothing_was_confirmed_past(&harness, &before, refused[0].header("outbox-position")).await;
    relay.wait_for_log("publishing resumed: topic is writable again").await;
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// Waits until log, `/readyz` and `/status` report that this topic blocks publishing.
pub(super) async fn wait_blocked(relay: &mut Relay, topic: &str) {
    let blocked = |reasons: &serde_json::Value| {
        let reasons = reasons.as_array().into_iter().flatten().filter_map(|reason| reason.as_str());
        reasons.filter(|reason| reason.starts_with("blocked: ") && reason.contains(topic)).count() == 1
    };
    let status = relay.wait_for("blocked", |status| blocked(&status["not_ready"])).await;
    assert_eq!(status["ready"], false);
    let (code, body) = relay.get("/readyz").await.expect("the relay answers");
    assert_eq!(code, 503, "{body}");
    assert!(body.contains("blocked") && body.contains(topic), "{body}");
    relay.wait_for_log("publishing blocked: topic is not writable").await;
}

/// The confirmed LSN after two more status updates, when everything confirmable is confirmed.
pub(super) async fn confirmed_after_two_reports(harness: &Harness) -> String {
    let slot = harness.name();
    let last_report = format!(
        "select (s.reply_time)::text from pg_stat_replication s join pg_replication_slots p on p.active_pid = s.pid \
         where p.slot_name = '{slot}'"
    );
    for _ in 0..2 {
        let seen = harness.query_text(&last_report).await.expect("the relay streams");
        let newer = format!("select ({last_report})::timestamptz > '{seen}'");
        harness.wait_for(&newer).await;
    }
    let confirmed = format!("select confirmed_flush_lsn::text from pg_replication_slots where slot_name = '{slot}'");
    harness.query_text(&confirmed).await.expect("the slot has a position")
}

/// Asserts that nothing past the commit of the row at this position was confirmed.
pub(super) async fn nothing_was_confirmed_past(harness: &Harness, confirmed: &str, position: Option<&str>) {
    let (commit, _) = position.and_then(|position| position.rsplit_once('/')).expect("a dead letter has its position");
    let not_past = harness.query(&format!("select '{confirmed}'::pg_lsn <= '{commit}'::pg_lsn")).await;
    assert!(not_past[0].get::<_, bool>(0), "{confirmed} was confirmed, the row's commit is at {commit}");
}

/// More replicas than brokers count as an outage, which ends when a broker comes back. It must be reported, though.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_cannot_be_created_yet_is_reported_and_waited_for() {
    let harness = Harness::migrated("replicas").await;
    let topic = harness.topic("order.placed");
    register_with(&harness, "order.placed", r#"{"replication_factor": 17}"#).await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute(&emit("order.placed", "k", "1")).await;
    let named = |status: &serde_json::Value| status["not_ready"].to_string().contains(&topic);
    let status = relay.wait_for("the topic named", named).await;
    assert!(status["last_error"]["message"].as_str().is_some_and(|message| message.contains(&topic)), "{status}");
    let advice = "its replication factor exceeds the number of brokers: create the topic with fewer replicas";
    assert!(status["last_error"]["message"].as_str().is_some_and(|message| message.contains(advice)), "{status}");
    // The event that waits is late.
    relay.wait_for("a lag", |status| status["lag_seconds"].as_f64().is_some_and(|lag| lag > 0.5)).await;
    create_topic(&harness, &topic, &[]).await;
    relay.ready().await;
    assert_eq!(values(&harness.consume(&topic, 1).await), ["1"]);
    relay.wait_for("no lag", |status| status["lag_seconds"] == 0.0).await;
    assert_eq!(relay.terminate().await.code(), Some(0));
}
