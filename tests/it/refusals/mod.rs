//! Events that can't be published as they are, and their effect on other events.

mod acls;
mod blocked;
mod costly;
mod dead_letters;
mod encodings;
mod flood;
mod forged;
mod halt;
mod oversized;
mod hostile;
mod reserved;
mod time;
pub(crate) mod too_large;
mod unseen;
mod violations;

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

use crate::harness::{Harness, Received};

/// Registers version 1 of a schema whose topic is created with these settings (JSON).
pub(crate) async fn register_with(harness: &Harness, schema: &str, topic_config: &str) {
    let topic = harness.topic(schema);
    harness
        .execute(&format!(
            "select outbox.register_schema_version(name => '{schema}', version => '1', topic => '{topic}', \
             topic_config => '{topic_config}')"
        ))
        .await;
}

/// A plain INSERT, which nothing validates. Values are SQL.
fn insert(schema: &str, key: &str, payload: &str, rest: &[(&str, &str)]) -> String {
    let (columns, values): (Vec<_>, Vec<_>) =
        rest.iter().map(|(column, value)| (format!(", {column}"), format!(", {value}"))).unzip();
    format!(
        "insert into outbox.event (schema_name, schema_version, key, payload{}) values ('{schema}', '1', {key}, {payload}{})",
        columns.concat(),
        values.concat(),
    )
}

fn emit(schema: &str, key: &str, payload: &str) -> String {
    format!("select outbox.emit('{schema}', '{key}', '{payload}')")
}

/// Creates a topic with one partition, and waits until clients see it.
pub(crate) async fn create_topic(harness: &Harness, topic: &str, config: &[(&str, &str)]) {
    let new = config
        .iter()
        .fold(NewTopic::new(topic, 1, TopicReplication::Fixed(1)), |new, (name, value)| new.set(name, value));
    let made = admin(harness).create_topics([&new], &admin_options()).await.expect("Kafka answers");
    assert!(made[0].is_ok(), "{made:?}");
    harness.consume(topic, 0).await;
}

/// Sets one property of a topic that has no others.
pub(crate) async fn alter_topic(harness: &Harness, topic: &str, name: &str, value: &str) {
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
    let changed = admin(harness).alter_configs([&change], &admin_options()).await.expect("Kafka answers");
    assert!(changed[0].is_ok(), "{changed:?}");
}

pub(crate) fn admin(harness: &Harness) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", harness.kafka());
    for (name, value) in harness.kafka_login("admin") {
        config.set(name, value);
    }
    config.create().expect("a Kafka client")
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)))
}

/// A dead letter in a few lines, with `db` for the test's name and long values abbreviated.
fn dead_letter(harness: &Harness, record: &Received) -> String {
    let header = |name| record.header(name).unwrap_or("-");
    let value = match record.value_text() {
        Some(value) if value.len() > 100 => format!("{}... ({} bytes)", &value[..20], value.len()),
        value => format!("{value:?}"),
    };
    // Sizes depend on the length of this test's names and positions.
    let detail = match header("outbox-error-detail").split_once("takes up to ") {
        Some((before, size)) => {
            format!("{before}takes up to N{}", size.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => header("outbox-error-detail").to_owned(),
    };
    let text = format!(
        "{}: {detail}\n  for {}, key {:?}, value {value}\n",
        header("outbox-error"),
        header("outbox-topic"),
        record.key_text(),
    );
    text.replace(harness.name(), "db")
}

fn values(records: &[Received]) -> Vec<&str> {
    records.iter().filter_map(Received::value_text).collect()
}
