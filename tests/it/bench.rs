//! `walpost bench` as a program: the shape of its figures, its exit codes, its end on a signal, and what it leaves behind, which is
//! nothing.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Harness, PATIENCE, walpost};

/// A benchmark that has ended.
struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

fn bench(arguments: &[&str]) -> Command {
    let mut command = walpost();
    command.arg("bench").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("WALPOST_LOG").env_remove("RUST_LOG");
    command
}

fn end(child: Child) -> Ended {
    let output = child.wait_with_output().expect("the benchmark can be waited for");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the benchmark writes UTF-8");
    Ended { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn run(arguments: &[&str]) -> Ended {
    end(bench(arguments).spawn().expect("the benchmark starts"))
}

/// The name that follows a word in what the benchmark says it made.
fn name_after<'a>(stderr: &'a str, word: &str) -> &'a str {
    let made = stderr.split_once(word).unwrap_or_else(|| panic!("no {word:?} in:\n{stderr}")).1;
    made.split_whitespace().next().expect("a name follows")
}

/// Nothing of the benchmark's is on the servers any more.
async fn assert_clean(harness: &Harness, stderr: &str) {
    let database = name_after(stderr, "database ");
    assert!(database.starts_with("walpost_bench_"), "{database}");
    let left = format!(
        "select count(*)::text from (select datname from pg_database union all select slot_name from pg_replication_slots) n \
         where starts_with(datname, '{database}')"
    );
    assert_eq!(harness.query_text(&left).await.as_deref(), Some("0"), "{database} or a slot stays behind");
    let prefix = name_after(stderr, "topics ").strip_suffix('*').expect("a pattern").to_owned();
    let kafka = harness.kafka().to_owned();
    let topics = tokio::task::spawn_blocking(move || {
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &kafka).create().expect("a client");
        let metadata = client.fetch_metadata(None, PATIENCE).expect("the test's Kafka answers");
        metadata.topics().iter().map(|topic| topic.name().to_owned()).collect::<Vec<_>>()
    });
    let topics = topics.await.expect("asking for topics does not panic");
    assert!(!topics.iter().any(|topic| topic.starts_with(&prefix)), "topics stay behind: {topics:?}");
}

fn list<'a>(report: &'a Value, name: &str) -> &'a [Value] {
    report[name].as_array().unwrap_or_else(|| panic!("{name}: {report}"))
}

fn figure(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or_else(|| panic!("{name}: {row}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn on_servers_of_the_users_it_measures_everything_and_removes_what_it_made() {
    let harness = Harness::new("bench").await;
    let (url, kafka) = (harness.url().to_owned(), harness.kafka().to_owned());
    let small = ["--events", "2000", "--per-transaction", "1,10", "--payload", "json,jsonb,bytea", "--runs", "2"];
    let latency = ["--rate", "100", "--duration", "1s"];
    let arguments = [&["--postgres", &url, "--kafka", &kafka, "--json"], &small[..], &latency[..]].concat();
    let ended = run(&arguments);
    assert!(ended.status.success(), "{:?}\n{}", ended.status, ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 1, "one line of JSON");
    assert!(!ended.stderr.contains(&url), "the URL with its password is shown:\n{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).expect("a report in JSON");
    check_emit(list(&report, "emit"));
    check_throughput(list(&report, "throughput"));
    for row in list(&report, "latency") {
        let [p50, p99, p999, most] =
            ["p50_millis", "p99_millis", "p999_millis", "max_millis"].map(|name| figure(row, name));
        assert!(0.0 < p50 && p50 <= p99 && p99 <= p999 && p999 <= most, "{row}");
        // The first fifth is left out.
        assert_eq!(figure(row, "events"), 80.0, "{row}");
    }
    assert_eq!(list(&report, "latency").len(), 3, "{report}");
    assert_eq!(list(&list(&report, "start")[0], "runs_millis").len(), 2, "{report}");
    assert_eq!(report["postgres"]["settings"]["synchronous_commit"], "on", "{report}");
    assert!(figure(&report["machine"], "cores") >= 1.0, "{report}");
    assert_eq!(report["left_behind"], Value::Array(Vec::new()));
    assert_clean(&harness, &ended.stderr).await;
}

fn check_emit(costs: &[Value]) {
    assert_eq!(costs.len(), 10, "five statements, many a transaction and one: {costs:?}");
    for cost in costs {
        assert!(figure(cost, "micros") > 0.0, "{cost}");
        // A row of 240 bytes and more, but for the order's.
        let least = if cost["statement"] == "insert-order" { 50.0 } else { 240.0 };
        let wal = figure(cost, "wal_bytes");
        assert!(wal >= least, "{cost}");
    }
}

fn check_throughput(reports: &[Value]) {
    let has_recvlogical = reports.iter().any(|report| report["reader"] == "pg-recvlogical");
    assert_eq!(reports.len(), 6 * if has_recvlogical { 3 } else { 2 }, "{reports:?}");
    for report in reports {
        assert_eq!(list(report, "runs").len(), 2, "{report}");
        assert_eq!(figure(report, "events"), 2_000.0, "{report}");
        let median = &report["median"];
        for name in ["seconds", "events_per_second", "cpu_micros_per_event"] {
            assert!(figure(median, name) > 0.0, "{report}");
        }
        // More than nothing, and less than a relay whose memory has no bound.
        assert!((1e6..5e8).contains(&figure(median, "peak_rss_bytes")), "{report}");
        assert_eq!(report["of_pg_recvlogical"].is_number(), has_recvlogical, "{report}");
        assert_eq!(report["delivery"].is_string(), report["reader"] == "walpost", "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_it_at_once_and_leaves_nothing() {
    let harness = Harness::new("bench_ctrl_c").await;
    let (url, kafka) = (harness.url(), harness.kafka());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = bench(&["latency", "--postgres", url, "--kafka", kafka, "--duration", "30m"]);
    command.env("TMPDIR", folder.path());
    let mut child = command.spawn().expect("the benchmark starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut stderr = String::new();
    while !stderr.contains("topics ") {
        assert_ne!(lines.read_line(&mut stderr).expect("UTF-8"), 0, "it ended:\n{stderr}");
    }
    // Somewhere between the topic and the load; what is made by then differs, what is left does not.
    tokio::time::sleep(Duration::from_secs(2)).await;
    kill_process(Pid::from_child(&child), Signal::INT).expect("the benchmark runs");
    lines.read_to_string(&mut stderr).expect("UTF-8");
    let ended = end(child);
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("interrupted"), "{stderr}");
    assert_clean(&harness, &stderr).await;
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("own folder").collect();
    assert!(left.is_empty(), "{left:?} stay behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_publishes_nothing_reads_no_slot_but_the_benchmarks() {
    let harness = Harness::migrated("bench_null").await;
    let mut command = walpost();
    command.args(["bench-null", "--events", "1", "--config", "/dev/null"]);
    command.env("WALPOST_POSTGRES__URL", harness.url()).env("WALPOST_POSTGRES__SLOT", harness.name());
    command.env("WALPOST_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1");
    let output = command.output().expect("the binary runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("is none of the benchmark's"), "{stderr}");
    assert_eq!(harness.query_text("select count(*)::text from outbox.relay").await.as_deref(), Some("0"));
}

#[test]
fn mistakes_have_their_exit_codes() {
    for usage in [
        &["--events", "0"][..],
        &["--payload", "xml"],
        &["--per-transaction", "0"],
        &["--rate", "x"],
        &["everything"],
        &["--delivery", "at-most-once"],
        &["--duration", "2h"],
    ] {
        let ended = run(usage);
        assert_eq!(ended.status.code(), Some(2), "{usage:?}: {}", ended.stderr);
    }
    let no_url = run(&["emit", "--postgres", "localhost"]);
    assert_eq!(no_url.status.code(), Some(64), "{}", no_url.stderr);
    let nobody = "127.0.0.1:1";
    let no_postgres = run(&["emit", "--postgres", &format!("postgres://me:hunter2@{nobody}/shop")]);
    assert_eq!(no_postgres.status.code(), Some(69), "{}", no_postgres.stderr);
    assert!(no_postgres.stderr.contains(&format!("can't connect to PostgreSQL at {nobody}")), "{}", no_postgres.stderr);
    assert!(!no_postgres.stderr.contains("hunter2"), "{}", no_postgres.stderr);
}
