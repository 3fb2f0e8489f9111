//! The examples, each run as a program next to a relay.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use walpost::lab::sandbox::{KafkaOptions, PostgresOptions};

use crate::harness::{Harness, PATIENCE, Received, Relay, config};
use crate::setup::walpost_with;

/// A running example, killed when dropped.
struct Example {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Example {
    /// Builds and starts it.
    fn start(harness: &Harness, name: &str, arguments: &[&str]) -> Self {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", name]);
        assert!(build.status().expect("cargo runs").success(), "example {name} does not build");
        // target/<profile>/deps/<this test>
        let own = std::env::current_exe().expect("a test has a path");
        let profile = own.ancestors().nth(2).expect("it lies below the target folder");
        let mut child = Command::new(profile.join("examples").join(name))
            .args(arguments)
            .env("DATABASE_URL", harness.url())
            .env("KAFKA", harness.kafka())
            .env("WALPOST", env!("CARGO_BIN_EXE_walpost"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, lines }
    }

    /// Runs it successfully; returns its output.
    fn run(harness: &Harness, name: &str, arguments: &[&str]) -> Vec<String> {
        let mut example = Self::start(harness, name, arguments);
        let lines = example.lines.by_ref().map(|line| line.expect("it prints text")).collect();
        assert!(example.child.wait().expect("it can be waited for").success(), "{name}: {lines:?}");
        lines
    }

    /// The next lines of its output.
    fn next(&mut self, count: usize) -> Vec<String> {
        self.lines.by_ref().take(count).map(|line| line.expect("it prints text")).collect()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It may have exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn count(lines: &[String], end: &str) -> usize {
    lines.iter().filter(|line| line.ends_with(end)).count()
}

/// Sends a copy of a record, with another id if given.
fn send_again(kafka: &str, record: &Received, id: Option<&str>) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", kafka).create().expect("a client");
    let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        let value = if key == "ce_id" { id.map(str::as_bytes).or(value.as_deref()) } else { value.as_deref() };
        headers.insert(Header { key, value })
    });
    let mut again = BaseRecord::to(&record.topic).partition(record.partition).headers(headers);
    let (key, value) = (record.key.clone().unwrap_or_default(), record.value.clone().unwrap_or_default());
    again = again.key(&key).payload(&value);
    producer.send(again).map_err(|(error, _)| error).expect("the queue is empty");
    producer.flush(PATIENCE).expect("the test's Kafka answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_runs_next_to_a_relay_and_works_as_documented() {
    let harness = Harness::with_own_servers("examples", PostgresOptions::default(), KafkaOptions::default()).await;
    harness.migrate().await;
    let config = config(&harness, "");
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    walpost_with(&config, "bookmark create before_sums");

    let orders = Example::run(&harness, "orders", &["6"]);
    assert_eq!((count(&orders, ": placed"), count(&orders, "no order and no event")), (5, 1), "{orders:?}");
    let records = harness.consume("shop.orders", 5).await;
    assert_eq!(records.len(), 5);

    let mut dedupe = Example::start(&harness, "dedupe", &["shop.orders"]);
    let first = dedupe.next(5);
    assert_eq!(count(&first, "applied"), 5, "{first:?}");
    // A kill, and then what a crash of the relay leaves: repeated records. And one with an old position and a new id.
    drop(dedupe);
    for record in &records {
        send_again(harness.kafka(), record, None);
    }
    send_again(harness.kafka(), &records[0], Some("00000000-0000-4000-8000-000000000001"));
    let mut dedupe = Example::start(&harness, "dedupe", &["shop.orders"]);
    let mut second = Vec::new();
    while count(&second, "applied") == 0 || count(&second, "seen before") < 5 {
        second.extend(dedupe.next(1));
    }
    assert_eq!(count(&second, "applied"), 1, "{second:?}");
    assert_eq!(harness.query_text("select sum(events)::text from example_count").await.as_deref(), Some("6"));

    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &config).expect("the configuration is written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let rebuilt = Example::run(&harness, "replay", &["--config", path, "--bookmark", "before_sums"]);
    assert!(rebuilt[0].starts_with("5 events from the replay, up to "), "{rebuilt:?}");
    // The records of a simulated crash are at or before the view's position.
    assert_eq!(rebuilt[1], "0 more from shop.orders, 11 skipped");
    assert_eq!(rebuilt[2..], ["ada has spent 0.50", "edsger has spent 141.00", "grace has spent 101.00"]);

    let mut alerts = Example::start(&harness, "bank", &["alerts"]);
    let transfers = Example::run(&harness, "bank", &["transfers", "10"]);
    assert_eq!(transfers.len(), 10, "{transfers:?}");
    let alerted = alerts.next(2);
    assert_eq!(count(&alerted, "from account 6 to account 9"), 1, "{alerted:?}");
    assert!(alerted.iter().all(|line| line.starts_with("ALERT: 10000.")), "{alerted:?}");
    assert!(relay.terminate().await.success());
}
