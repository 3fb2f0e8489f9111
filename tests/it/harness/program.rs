//! A walpost command as a separate process: what it printed, how it ended, and that it cleaned up.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Harness, PATIENCE, walpost};

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The command with piped output and the default log.
pub(crate) fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = walpost();
    command.arg(name).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("RUST_LOG");
    command
}

/// Runs the command to its end.
pub(crate) fn run(name: &str, arguments: &[&str]) -> Ended {
    Ended::of(command(name, arguments).output().expect("it starts"))
}

/// Runs the command until it prints `word` on stderr and for this long after it, sends SIGINT and waits for its end.
pub(crate) fn interrupt(mut command: Command, word: &str, after: Duration) -> Ended {
    let mut child = command.spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut stderr = String::new();
    while !stderr.contains(word) {
        assert_ne!(lines.read_line(&mut stderr).expect("it writes UTF-8"), 0, "no {word:?} in:\n{stderr}");
    }
    std::thread::sleep(after);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    lines.read_to_string(&mut stderr).expect("it writes UTF-8");
    Ended { stderr, ..Ended::of(child.wait_with_output().expect("it can be waited for")) }
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes UTF-8");
        Self { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Its exit code; `None` if a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Its output, which is JSON.
    pub(crate) fn report(&self) -> Value {
        let report = serde_json::from_str(&self.stdout);
        report.unwrap_or_else(|error| panic!("{error} in the report {:?}; stderr:\n{}", self.stdout, self.stderr))
    }

    /// The name that follows a word in its report of what it created.
    pub(crate) fn name_after(&self, word: &str) -> &str {
        let made = self.stderr.split_once(word).unwrap_or_else(|| panic!("no {word:?} in:\n{}", self.stderr)).1;
        made.split_whitespace().next().expect("a name follows")
    }

    /// Nothing that it reported as created is left on the servers: a database whose name begins with `prefix`, its slots, and topics whose
    /// names begin like the first one's, up to `topic_end`.
    pub(crate) async fn assert_clean(&self, harness: &Harness, prefix: &str, topic_end: &str) {
        let database = self.name_after("database ");
        assert!(database.starts_with(prefix), "{database}");
        let left = format!(
            "select count(*)::text from (select datname from pg_database union all select slot_name from pg_replication_slots) n \
             where starts_with(datname, '{database}')"
        );
        assert_eq!(harness.query_text(&left).await.as_deref(), Some("0"), "{database} or a slot is left");
        let first = self.name_after("topics ");
        let topics =
            first.strip_suffix(topic_end).unwrap_or_else(|| panic!("{first} does not end with {topic_end}")).to_owned();
        let kafka = harness.kafka().to_owned();
        let names = tokio::task::spawn_blocking(move || {
            let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &kafka).create().expect("a client");
            let metadata = client.fetch_metadata(None, PATIENCE).expect("the test's Kafka answers");
            metadata.topics().iter().map(|topic| topic.name().to_owned()).collect::<Vec<_>>()
        });
        let names = names.await.expect("asking for topics does not panic");
        assert!(!names.iter().any(|name| name.starts_with(&topics)), "topics are left: {names:?}");
    }
}
