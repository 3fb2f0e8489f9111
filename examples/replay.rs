//! Rebuilds a consumer's view alongside the one in use: first from a replay, then from the live topic.
//!
//! ```sh
//! walpost bookmark create before_sums         # earlier: from here on Postgres retains its WAL
//! export KAFKA=localhost:9092                 # walpost reads its walpost.toml or WALPOST_* variables
//! cargo run --example replay -- --bookmark before_sums
//! ```
//!
//! The arguments after `--` determine where `walpost replay` begins: `--bookmark`, `--from-lsn` or `--since`. The events are those of
//! examples/orders.rs, and the view is what each customer has spent.
//!
//! 1. The replay goes to a separate topic, so other consumers of `shop.orders` see no duplicates. Each record has the replay's id in
//!    the header `outbox-replay`, by which records of an earlier attempt are skipped.
//! 2. The replay's records have their original positions in the header `outbox-position`. So the new view knows its position, and reads
//!    from `shop.orders` only later records: nothing is duplicated and nothing is missed.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use uuid::Uuid;
use walpost::relay::boundary::Position;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SCHEMA: &str = "example.order.placed";
const LIVE: &str = "shop.orders";
const AGAIN: &str = "shop.orders.again";
/// How long Kafka may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// What each customer has spent, in cents.
#[derive(Default)]
struct View {
    cents: BTreeMap<String, i64>,
    events: u64,
    /// The last event in it.
    position: Position,
}

fn main() -> Result<()> {
    let origin: Vec<String> = std::env::args().skip(1).collect();
    let kafka = std::env::var("KAFKA").map_err(|_| "set KAFKA; see the top of this file")?;
    let id = Uuid::now_v7().to_string();
    let report = replay(&origin, &id)?;
    let published = report["events"].as_u64().ok_or("walpost replay --json reports the number of events")?;

    let mut view = View::default();
    read(&kafka, AGAIN, |record| {
        // Positions increase within a partition, but records of several partitions are interleaved.
        if header(record, "outbox-replay") == Some(id.as_str()) {
            view.take(record)?;
        }
        Ok(())
    })?;
    if view.events != published {
        return Err(format!("{published} events were published, {} are in {AGAIN}", view.events).into());
    }
    println!("{} events from the replay, up to {}", view.events, view.position);

    let (mut skipped, replayed_to) = (0, view.position);
    read(&kafka, LIVE, |record| {
        if position(record)? > replayed_to {
            view.take(record)?;
        } else {
            skipped += 1;
        }
        Ok(())
    })?;
    println!("{} more from {LIVE}, {skipped} skipped", view.events - published);
    for (customer, cents) in &view.cents {
        println!("{customer} has spent {}.{:02}", cents / 100, cents % 100);
    }
    Ok(())
}

/// Runs `walpost replay`; returns its report.
fn replay(origin: &[String], id: &str) -> Result<serde_json::Value> {
    let program = std::env::var("WALPOST").unwrap_or_else(|_| "walpost".to_owned());
    let replayed = Command::new(&program)
        .arg("replay")
        .args(origin)
        .args(["--schema", SCHEMA, "--topic", AGAIN, "--id", id, "--json"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{program}: {error}; set WALPOST to its path"))?;
    if !replayed.status.success() {
        return Err("the replay did not finish".into());
    }
    Ok(serde_json::from_slice(&replayed.stdout)?)
}

/// Passes all current records of a topic to `take`.
fn read(kafka: &str, topic: &str, mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<()>) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", "example-replay")
        .set("enable.auto.commit", "false")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let partitions = metadata.topics().first().map(|topic| topic.partitions()).unwrap_or_default();
    let (mut assigned, mut ends) = (TopicPartitionList::new(), BTreeMap::new());
    for partition in partitions.iter().map(|partition| partition.id()) {
        let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER)?;
        if low < high {
            assigned.add_partition_offset(topic, partition, Offset::Beginning)?;
            ends.insert(partition, high);
        }
    }
    consumer.assign(&assigned)?;
    while !ends.is_empty() {
        let record = consumer.poll(ANSWER).ok_or("Kafka has more records, but sends none")??;
        let Some(end) = ends.get(&record.partition()).copied() else { continue };
        if record.offset() < end {
            take(&record)?;
        }
        if record.offset() + 1 >= end {
            ends.remove(&record.partition());
        }
    }
    Ok(())
}

impl View {
    fn take(&mut self, record: &BorrowedMessage<'_>) -> Result<()> {
        let order: serde_json::Value = serde_json::from_slice(record.payload().ok_or("an order has a payload")?)?;
        let (customer, total) = (order["customer"].as_str(), order["total"].as_str());
        let customer = customer.ok_or("an order has a customer")?;
        *self.cents.entry(customer.to_owned()).or_default() += cents(total.ok_or("an order has a total")?)?;
        self.position = self.position.max(position(record)?);
        self.events += 1;
        Ok(())
    }
}

/// An amount such as 20.50, in cents.
fn cents(amount: &str) -> Result<i64> {
    let (units, hundredths) = amount.split_once('.').ok_or("an amount has two decimals")?;
    Ok(units.parse::<i64>()? * 100 + hundredths.parse::<i64>()?)
}

fn position(record: &BorrowedMessage<'_>) -> Result<Position> {
    Ok(header(record, "outbox-position").ok_or("no header outbox-position: the record is not from walpost")?.parse()?)
}

fn header<'a>(record: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let header = record.headers()?.iter().find(|header| header.key == name)?;
    std::str::from_utf8(header.value?).ok()
}
