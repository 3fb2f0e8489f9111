//! Case 8: a drop-in replacement for Debezium's outbox event router.
//!
//! Compared with the router's documentation, "Example of a Debezium outbox message" and "Outbox table", with the
//! converters that pass a payload through unchanged (`StringConverter`, or `BinaryDataConverter` for bytea).

use super::{create_table, values};
use crate::harness::{Harness, Received, Relay};

/// The table in the router's documentation.
const TABLE: &str = "id uuid not null, aggregatetype character varying(255) not null, aggregateid character varying(255) not null, \
                     type character varying(255) not null, payload jsonb";

const ID: &str = "406c07f3-26f0-4eea-a50c-109940064b8f";

/// The documentation's payload, in jsonb's format.
const PAYLOAD: &str = r#"{"id": 1, "lineItems": [{"id": 1, "item": "Debezium in Action", "status": "ENTERED", "quantity": 2, "totalPrice": 39.98}, {"id": 2, "item": "Debezium for Dummies", "status": "ENTERED", "quantity": 1, "totalPrice": 29.99}], "orderDate": "2019-01-31T12:13:01", "customerId": 123}"#;

/// Headers except those that walpost adds to every record.
pub(super) fn foreign_headers(record: &Received) -> Vec<(&str, Option<&str>)> {
    let own = |name: &str| name.starts_with("outbox-");
    record.headers.iter().filter(|(name, _)| !own(name)).map(|(name, _)| (name.as_str(), record.header(name))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_08_the_preset_gives_the_routers_topic_key_value_and_id() {
    let harness = Harness::migrated("debezium").await;
    create_table(&harness, "public.outboxevent", TABLE).await;
    let kind = format!("Order-{}", harness.name());
    let insert = |id: &str, payload: &str| {
        let payload = payload.replace('\'', "''");
        format!("insert into public.outboxevent values ('{id}', '{kind}', '1', 'OrderCreated', '{payload}')")
    };
    // Once from the backfill, once from the stream.
    harness.execute(&insert(ID, PAYLOAD)).await;
    let outbox = "headers = \"debezium\"\n[[outbox]]\ntable = \"public.outboxevent\"\npreset = \"debezium\"";
    let mut relay = Relay::start(&harness, outbox);
    relay.ready().await;
    harness.execute(&insert(&ID.replace('4', "5"), PAYLOAD)).await;
    let records = harness.consume(&format!("outbox.event.{kind}"), 2).await;
    assert_eq!(values(&records), [Some(PAYLOAD); 2]);
    for (record, id) in records.iter().zip([ID, &ID.replace('4', "5")]) {
        assert_eq!(record.key_text(), Some("1"));
        assert_eq!(foreign_headers(record), [("id", Some(id))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_08_a_null_payload_is_a_tombstone_and_updates_and_deletes_are_ignored() {
    let harness = Harness::migrated("debezium_null").await;
    create_table(&harness, "public.outboxevent", TABLE).await;
    harness.execute("alter table public.outboxevent add primary key (id)").await;
    // The router's users publish the whole table.
    harness.execute("alter publication outbox set (publish = 'insert, update, delete, truncate')").await;
    let kind = format!("Customer-{}", harness.name());
    let mut relay = Relay::start(
        &harness,
        "headers = \"debezium\"\n[[outbox]]\ntable = \"public.outboxevent\"\npreset = \"debezium\"",
    );
    relay.ready().await;
    let insert = |payload: &str| {
        format!(
            "insert into public.outboxevent values (gen_random_uuid(), '{kind}', 'c-7', 'CustomerDeleted', {payload});"
        )
    };
    // Like the router's users: inserted, and deleted in the same transaction.
    harness.execute(&format!("begin; {} delete from public.outboxevent; commit", insert("null"))).await;
    harness
        .execute(&format!("{} {} update public.outboxevent set type = 'x'", insert("'{}'"), insert("'\"text\"'")))
        .await;
    let records = harness.consume(&format!("outbox.event.{kind}"), 3).await;
    assert_eq!(values(&records), [None, Some("{}"), Some("\"text\"")]);
    assert!(records.iter().all(|record| record.key_text() == Some("c-7")));
}

/// The router's `table.field.event.*`, `table.fields.additional.placement` and `route.topic.replacement`, as walpost
/// configuration.
#[tokio::test(flavor = "multi_thread")]
async fn case_08_the_routers_options_have_counterparts() {
    let harness = Harness::migrated("debezium_options").await;
    harness.execute("create schema \"Inventory\"").await;
    create_table(
        &harness,
        "\"Inventory\".\"Outbox\"",
        "\"eventId\" bigint generated always as identity, tenant int, kind text, root bytea, body bytea, trace text",
    )
    .await;
    let topic = harness.topic("events.{aggregatetype}.of-{tenant}");
    let outbox = format!(
        "headers = \"debezium\"\n[[outbox]]\ntable = '\"Inventory\".\"Outbox\"'\npreset = \"debezium\"\ntopic = \"{topic}\"\n\
         columns = {{ id = \"eventId\", aggregatetype = \"kind\", aggregateid = \"root\", type = false, payload = \"body\" }}\n\
         header_columns = {{ trace = \"traceparent\", kind = \"eventType\" }}"
    );
    let mut relay = Relay::start(&harness, &outbox);
    relay.ready().await;
    harness
        .execute(
            r#"insert into "Inventory"."Outbox" (tenant, kind, root, body, trace) values
               (-3, 'Item', '\x00ff00', '\x0001fe00', '00-1'), (-3, 'Item', '\x', '\x', null)"#,
        )
        .await;
    let records = harness.consume(&harness.topic("events.Item.of--3"), 2).await;
    assert_eq!(records[0].key.as_deref(), Some(&b"\0\xFF\0"[..]));
    assert_eq!(records[0].value.as_deref(), Some(&b"\0\x01\xFE\0"[..]));
    assert_eq!(
        foreign_headers(&records[0]),
        [("id", Some("1")), ("eventType", Some("Item")), ("traceparent", Some("00-1"))]
    );
    let record = records.iter().find(|record| record.header("id") == Some("2")).expect("the second event");
    assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(&b""[..]), Some(&b""[..])));
    assert_eq!(foreign_headers(record), [("id", Some("2")), ("eventType", Some("Item")), ("traceparent", None)]);
}
