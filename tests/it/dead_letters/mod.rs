//! `walpost dead-letter` against a real PostgreSQL and a real Kafka, on dead letters of a real relay and on foreign records.

mod acls;
mod contracts;
mod discard;
mod filters;
mod hostile;
mod once;
mod redrive;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::program::{self, Ended};
use crate::harness::{Harness, Relay, config};

/// The relay of these dead letters, including those that a test writes itself.
const NAMED: &str = "name = \"walpost\"\n";

/// Runs the commands with a test's configuration.
struct Commands {
    folder: TempDir,
}

impl Commands {
    fn new(harness: &Harness) -> Self {
        Self::with(&config(harness, NAMED))
    }

    fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("walpost.toml"), config).expect("the configuration is written");
        Self { folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::command("dead-letter", arguments);
        command.arg("--config").arg(self.folder.path().join("walpost.toml"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().expect("the binary runs"))
    }

    fn redrive(&self, arguments: &[&str]) -> Ended {
        self.run(&[&["redrive", "--json"], arguments].concat())
    }

    fn list(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[&["list", "--json"], arguments].concat());
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        ended.report()
    }

    /// Starts a redrive of everything, and waits until its first transaction is committed.
    fn start_redrive(&self) -> Redriving {
        let mut command = self.command(&["redrive", "--json", "--all", "--log", "walpost=debug"]);
        let mut child = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut printed = String::new();
        while !printed.contains("dead letters redriven") {
            assert_ne!(lines.read_line(&mut printed).expect("it writes UTF-8"), 0, "it ended before: {printed}");
        }
        Redriving { child, lines }
    }
}

/// A running redrive.
struct Redriving {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
}

impl Redriving {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    fn end(mut self) -> Ended {
        let mut stderr = String::new();
        self.lines.read_to_string(&mut stderr).expect("it writes UTF-8");
        Ended { stderr, ..Ended::of(self.child.wait_with_output().expect("it can be waited for")) }
    }
}

/// How many dead letters a redrive has redriven, how many remain, and how many had been redriven before.
fn counts(ended: &Ended) -> [u64; 3] {
    let report = ended.report();
    ["redriven", "stay", "redriven_before"].map(|key| report[key].as_u64().expect("a count"))
}

/// Remaining dead letters, with their codes.
fn remaining(ended: &Ended) -> Vec<(String, String)> {
    let report = ended.report();
    let stays = report["staying_letters"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    stays.map(|stay| (text(&stay["letter"]), text(&stay["code"]))).collect()
}

/// A row whose schema is not registered.
fn insert(schema: &str, count: usize) -> String {
    format!(
        "insert into outbox.event (schema_name, schema_version, key, payload, headers) \
         select '{schema}', '1', 'k' || n % 3, to_json(n), '{{\"traceparent\": \"00-1\"}}' from generate_series(1, {count}) n"
    )
}

/// Makes a relay write this many dead letters, from events of an unregistered schema.
async fn refuse(harness: &Harness, schema: &str, count: usize) -> Relay {
    let mut relay = Relay::start(harness, NAMED);
    relay.ready().await;
    harness.execute(&insert(schema, count)).await;
    let wanted = u64::try_from(count).expect("a small number");
    relay.wait_for("refused", |status| status["dead_letters"]["unknown_schema"].as_u64() == Some(wanted)).await;
    relay
}

/// Writes a record like any other client.
fn produce(harness: &Harness, topic: &str, value: Option<&str>, headers: &[(&str, &[u8])]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", harness.kafka()).set("message.max.bytes", "10000000");
    for (name, value) in harness.kafka_login("admin") {
        config.set(name, value);
    }
    let producer: BaseProducer = config.create().expect("a Kafka client");
    let list =
        headers.iter().fold(OwnedHeaders::new(), |list, (key, value)| list.insert(Header { key, value: Some(*value) }));
    let mut record = BaseRecord::to(topic).key("k").headers(list).partition(0);
    if let Some(value) = value {
        record = record.payload(value);
    }
    producer.send(record).map_err(|(error, _)| error).expect("the record is taken");
    producer.flush(Duration::from_secs(30)).expect("the record is written");
}

/// The headers that the relay writes for a dead letter of `schema`, version 1.
fn refused<'a>(schema: &'a str, id: &'a str, code: &'a str, topic: &'a str) -> Vec<(&'a str, &'a [u8])> {
    let pairs = [
        ("id", id),
        ("schema", schema),
        ("schema-version", "1"),
        ("outbox-position", "0/1/1"),
        ("outbox-relay", "walpost"),
        ("outbox-error", code),
        ("outbox-error-detail", "why"),
        ("outbox-topic", topic),
    ];
    pairs.map(|(name, value)| (name, value.as_bytes())).to_vec()
}
