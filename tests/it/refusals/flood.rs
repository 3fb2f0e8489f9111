//! Rows that use many unregistered names.

use super::{emit, values};
use crate::harness::{Harness, Relay, config};
use crate::lifecycle::named;
use crate::setup::walpost_with;

const NAMES: usize = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn case_40_a_flood_of_unregistered_names_costs_few_connections_and_log_lines() {
    let harness = Harness::migrated("flood").await;
    harness.register("order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let sessions = "select sessions::bigint from pg_stat_database where datname = current_database()";
    let before: i64 = harness.query(sessions).await[0].get(0);
    let flood = format!(
        "insert into outbox.event (schema_name, schema_version, key, payload) \
         select 'no.' || n, '1', 'k', '1' from generate_series(1, {NAMES}) n"
    );
    harness.execute(&format!("{flood}; {}", emit("order.placed", "k", "2"))).await;
    assert_eq!(values(&harness.consume(&harness.topic("order.placed"), 1).await), ["2"]);
    let dead_letters = harness.consume(&harness.topic("dead-letter"), NAMES).await;
    assert!(dead_letters.iter().all(|dead_letter| dead_letter.header("outbox-error") == Some("unknown_schema")));
    let after: i64 = harness.query(sessions).await[0].get(0);
    assert!(after - before < 100, "{} connections for {NAMES} names", after - before);
    let reported = relay.log().matches("event refused: sending it to the dead-letter topic").count();
    assert!((1..=200).contains(&reported), "{reported} lines for {NAMES} events");

    // A version that is registered right before its event, or with it, is never reported as unknown, even if its name was
    // before.
    let topic = harness.topic("no.1");
    let registered =
        format!("select outbox.register_schema_version('no.1', '1', '{topic}'); {}", emit("no.1", "k", "3"));
    harness.execute(&registered).await;
    assert_eq!(values(&harness.consume(&topic, 1).await), ["3"]);
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// Rows that name one new topic each.
#[tokio::test(flavor = "multi_thread")]
async fn case_40_topics_that_a_flood_of_rows_names_are_created_many_at_a_time() {
    const TOPICS: usize = 150;
    let harness = Harness::migrated("flood_topics").await;
    harness.register("order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let prefix = harness.topic("flood");
    let flood = rows_for_topics(&prefix, TOPICS);
    harness.execute(&format!("{flood}; {}", emit("order.placed", "k", "0"))).await;
    assert_eq!(values(&harness.consume(&harness.topic("order.placed"), 1).await), ["0"]);
    for n in [1, TOPICS / 2, TOPICS] {
        assert_eq!(values(&harness.consume(&format!("{prefix}-{n}"), 1).await), [n.to_string()]);
    }
    let requests = relay.log().matches("topics created").count();
    assert!((1..=20).contains(&requests), "{requests} requests for {TOPICS} topics");
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// Inserts a row for each of this many topics: `<prefix>-1` and so on.
fn rows_for_topics(prefix: &str, topics: usize) -> String {
    format!(
        "insert into outbox.event (schema_name, schema_version, topic, key, payload) \
         select 'order.placed', '1', '{prefix}-' || n, 'k', to_json(n) from generate_series(1, {topics}) n"
    )
}

/// Rows that name more new topics than may be created, beside those of schema versions.
#[tokio::test(flavor = "multi_thread")]
async fn case_40_rows_that_name_too_many_new_topics_become_dead_letters_and_can_be_redriven() {
    const MOST: usize = 3;
    const TOPICS: usize = 20;
    let harness = Harness::migrated("flood_budget").await;
    harness.register("order.placed").await;
    harness.register("order.paid").await;
    harness.create_topic(&harness.topic("made"), 1, &[]).await;
    let sections = named("budget") + &format!("max_new_topics = {MOST}\n");
    let mut relay = Relay::start(&harness, &sections);
    relay.ready().await;
    let prefix = harness.topic("flood");
    let flood = rows_for_topics(&prefix, TOPICS);
    harness.execute(&format!("{flood}; {}", emit("order.paid", "k", "0"))).await;
    assert_eq!(values(&harness.consume(&harness.topic("order.paid"), 1).await), ["0"], "a schema version's own topic");
    for n in 1..=MOST {
        assert_eq!(values(&harness.consume(&format!("{prefix}-{n}"), 1).await), [n.to_string()]);
    }
    let dead_letters = harness.consume(&harness.topic("dead-letter"), TOPICS - MOST).await;
    let reason = format!(
        "the topic {prefix}-{TOPICS} does not exist, and the limit of {MOST} topics created in 24 hours because rows name them is reached ([relay] max_new_topics)"
    );
    for dead_letter in &dead_letters {
        assert_eq!(dead_letter.header("outbox-error"), Some("unknown_topic"), "{dead_letter:?}");
    }
    assert_eq!(
        dead_letters.last().and_then(|dead_letter| dead_letter.header("outbox-error-detail")),
        Some(reason.as_str())
    );
    assert_eq!(relay.log().matches("events for such topics go to the dead-letter topic").count(), 1, "{}", relay.log());
    // Topics that are there already do not count.
    let made = harness.topic("made");
    harness.execute(&format!("insert into outbox.event (schema_name, schema_version, topic, key, payload) values ('order.placed', '1', '{made}', 'k', '22')")).await;
    assert_eq!(values(&harness.consume(&made, 1).await), ["22"]);
    harness.execute(&format!("insert into outbox.event (schema_name, schema_version, topic, key, payload) values ('order.placed', '1', '{prefix}-1', 'k', '21')")).await;
    assert_eq!(values(&harness.consume(&format!("{prefix}-1"), 2).await), ["1", "21"]);
    let report = walpost_with(&config(&harness, &sections), "dead-letter redrive --all");
    assert!(report.contains(&(TOPICS - MOST).to_string()), "{report}");
    assert_eq!(values(&harness.consume(&format!("{prefix}-{TOPICS}"), 1).await), [TOPICS.to_string()]);
    assert_eq!(relay.terminate().await.code(), Some(0));
}
