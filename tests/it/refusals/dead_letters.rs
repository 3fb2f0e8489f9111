//! Every kind of bad row that needs no access control, among good rows of the same key.

use expect_test::expect;

use super::{create_topic, dead_letter, emit, insert, register_with, values};
use crate::harness::{Harness, Relay};

/// A user-defined outbox table.
const PARCELS: &str = "
    create type public.size as (width integer, height integer);
    create table public.parcel (
        id uuid not null default gen_random_uuid(), schema_name text, schema_version text default '1',
        key text, payload text);
    alter publication outbox add table public.parcel";

/// Its payload's type gets its own binary format. At a start that is an error.
const SIZES: &str =
    "alter table public.parcel drop column payload; alter table public.parcel add column payload public.size";

#[tokio::test(flavor = "multi_thread")]
async fn case_26_only_bad_rows_become_dead_letters_each_with_its_code() {
    let harness = Harness::migrated("dead_letters").await;
    let (orders, dead_letters) = (harness.topic("order.placed"), harness.topic("dead-letter"));
    create_topic(&harness, &orders, &[]).await;
    create_topic(&harness, &dead_letters, &[("max.message.bytes", "4000000")]).await;
    harness.register("order.placed").await;
    harness.execute("select outbox.register_schema_version('order.drafted', '1', null)").await;
    harness.execute(PARCELS).await;
    let tables = "[[outbox]]\ntable = 'outbox.event'\n[[outbox]]\ntable = 'public.parcel'\n";
    let mut relay = Relay::start(&harness, &format!("create_topics = false\n{tables}"));
    relay.ready().await;
    harness.execute(SIZES).await;

    let missing = format!("'{}'", harness.topic("missing"));
    let traced = ("headers", r#"'{"traceparent": "00-1"}'"#);
    let bad = [
        insert("order.lost", "'k'", r#"'{"a": 1.50}'"#, &[traced]),
        insert("order.placed", "'k'", "'[1]'", &[("headers", "'[1]'")]),
        insert("order.placed", "'k'", "'[2]'", &[("headers", "'\"text\"'")]),
        insert("order.drafted", "null", "null", &[traced]),
        insert("order.placed", "'k'", "'{}'", &[("topic", &missing), traced]),
        insert("order.placed", "'k'", "'{}'", &[("topic", "'not a topic'"), traced]),
        insert("order.placed", "'k'", "to_json(repeat('x', 2000000))", &[traced]),
        insert("order.placed", "'k'", "to_json(repeat('x', 5000000))", &[traced]),
        "insert into public.parcel (schema_name, key, payload) values ('order.placed', 'k', row(1, 2))".to_owned(),
    ];
    let rounds = |start: usize| {
        let good = (start..).map(|number| emit("order.placed", "k", &number.to_string()));
        good.take(bad.len()).zip(&bad).flat_map(|(good, bad)| [good, bad.clone()]).collect::<Vec<_>>()
    };
    // Once in a single transaction, then each in its own.
    harness.execute(&rounds(0).join(";")).await;
    for statement in rounds(bad.len()) {
        harness.execute(&statement).await;
    }

    let good = harness.consume(&orders, 2 * bad.len()).await;
    let expected: Vec<String> = (0..2 * bad.len()).map(|number| number.to_string()).collect();
    assert_eq!(values(&good), expected, "every good row once, in order");
    let refused = harness.consume(&dead_letters, 2 * bad.len()).await;
    let (first, second) = refused.split_at(bad.len());
    let reported = |records: &[_]| records.iter().map(|record| dead_letter(&harness, record)).collect::<String>();
    expect![[r#"
        unknown_schema: no schema version order.lost/1 is registered; call outbox.register_schema_version
          for , key Some("k"), value Some("{\"a\": 1.50}")
        undecodable: headers is not a JSON object with at most 1000 entries (line 1, column 0)
          for , key Some("k"), value Some("[1]")
        undecodable: headers is not a JSON object with at most 1000 entries (line 1, column 6)
          for , key Some("k"), value Some("[2]")
        no_topic: neither the row nor its schema version names a topic
          for , key None, value None
        unknown_topic: the topic db.missing does not exist, and create_topics is false
          for db.missing, key Some("k"), value Some("{}")
        unknown_topic: "not a topic" is not a valid topic name; use 1 to 249 of a-z, A-Z, 0-9, ., _ and -
          for not a topic, key Some("k"), value Some("{}")
        too_large: the record takes up to N bytes in a batch, but topic db.order.placed accepts 1048588 (max.message.bytes)
          for db.order.placed, key Some("k"), value "xxxxxxxxxxxxxxxxxxx... (2000002 bytes)
        too_large: the record takes up to N bytes in a batch, but topic db.order.placed accepts 1048588 (max.message.bytes)
          for db.order.placed, key Some("k"), value None
        undecodable: payload has a type whose binary format the relay can't read
          for , key Some("k"), value Some("\0\0\0\u{2}\0\0\0\u{17}\0\0\0\u{4}\0\0\0\u{1}\0\0\0\u{17}\0\0\0\u{4}\0\0\0\u{2}")
    "#]].assert_eq(&reported(first));
    assert_eq!(reported(first), reported(second));
    for index in [0, 3, 4, 5, 6, 7] {
        assert_eq!(first[index].header("traceparent"), Some("00-1"), "the row's headers: {:?}", first[index]);
        assert!(first[index].header("ce_id").is_some() && first[index].header("outbox-position").is_some());
    }
    assert_eq!(first[1].header("outbox-headers"), Some("[1]"), "headers that are not an object are kept whole");
    assert_eq!(first[7].header("outbox-value-omitted"), Some("5000002"));
    assert_eq!(first[6].header("outbox-value-omitted"), None);

    let wanted = serde_json::json!(
        {"no_topic": 2, "too_large": 4, "undecodable": 6, "unknown_schema": 2, "unknown_topic": 4});
    relay.wait_for("all dead letters counted", |status| status["dead_letters"] == wanted).await;
    let status = relay.terminate().await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_26_a_topic_that_the_broker_refuses_to_create_makes_a_dead_letter() {
    let harness = Harness::migrated("refused_topic").await;
    harness.register("order.placed").await;
    register_with(&harness, "order.odd", r#"{"config": {"no.such.property": "1"}}"#).await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let rows = [emit("order.placed", "k", "1"), emit("order.odd", "k", "2"), emit("order.placed", "k", "3")];
    harness.execute(&rows.join(";")).await;
    let refused = harness.consume(&harness.topic("dead-letter"), 1).await;
    expect![[r#"
        unknown_topic: the topic db.order.odd can't be created: InvalidConfig (Broker: Configuration is invalid)
          for db.order.odd, key Some("k"), value Some("2")
    "#]]
    .assert_eq(&dead_letter(&harness, &refused[0]));
    assert_eq!(values(&harness.consume(&harness.topic("order.placed"), 2).await), ["1", "3"]);
}
