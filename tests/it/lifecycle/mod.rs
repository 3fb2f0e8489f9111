//! A relay's lifecycle: stops, transactions of every kind, outages on both sides, its slot.

mod backfill;
mod kafka;
mod postgres;
mod shutdown;
mod slot;
mod transactions;

use crate::harness::{Harness, Proxy, Relay, config};

/// The schema of all events here.
pub(crate) const SCHEMA: &str = "load";

/// Partitions of its topic: more than one, so that keys are spread.
const PARTITIONS: i32 = 3;

/// Creates everything that [`SCHEMA`] needs.
pub(crate) async fn prepare(harness: &Harness) {
    prepare_with(harness, PARTITIONS).await;
}

/// As [`prepare`], with this many partitions.
pub(crate) async fn prepare_with(harness: &Harness, partitions: i32) {
    harness.migrate().await;
    harness.register(SCHEMA).await;
    harness.create_topic(&harness.topic(SCHEMA), partitions, &[]).await;
}

/// The section that gives a relay process a unique name.
pub(crate) fn named(name: &str) -> String {
    format!("name = \"{name}\"\n")
}

/// Starts a relay with a unique name and waits until it is ready.
async fn ready(harness: &Harness, name: &str) -> Relay {
    let mut relay = Relay::start(harness, &named(name));
    relay.ready().await;
    relay
}

/// Waits until Kafka has acknowledged this many records of this process.
pub(crate) async fn published(relay: &mut Relay, count: u64) {
    relay.wait_for(&format!("{count} events"), |status| status["events"].as_u64() >= Some(count)).await;
}

/// Emits events numbered `from..to` with one key, in one transaction.
pub(crate) fn emit(key: &str, from: u64, to: u64) -> String {
    format!(
        "select outbox.emit('{SCHEMA}', '{key}', json_build_object('n', n)) from generate_series({from}, {}) n",
        to - 1
    )
}

/// The keys and numbers of records, in order.
fn numbers(records: &[crate::harness::Received]) -> Vec<(String, u64)> {
    let number = |record: &crate::harness::Received| {
        let value: serde_json::Value = serde_json::from_str(record.value_text()?).ok()?;
        Some((record.key_text()?.to_owned(), value["n"].as_u64()?))
    };
    records.iter().map(|record| number(record).expect("a numbered event")).collect()
}

/// The configuration of a relay that reaches Postgres through the proxy in front of this port.
fn through(harness: &Harness, proxy: &Proxy, port: u16, name: &str) -> String {
    config(harness, &named(name)).replace(&format!(":{port}/"), &format!(":{}/", proxy.port()))
}
