//! `walpost bench` as a program: its figures, its exit codes, its end on a signal, and that it leaves nothing behind.

use std::time::Duration;

use serde_json::Value;

use crate::harness::program::{Ended, command, interrupt, run};
use crate::harness::{Harness, walpost};

/// Nothing that the benchmark created is left on the servers.
async fn assert_clean(harness: &Harness, ended: &Ended) {
    ended.assert_clean(harness, "walpost_bench_", "*").await;
}

fn list<'a>(report: &'a Value, name: &str) -> &'a [Value] {
    report[name].as_array().unwrap_or_else(|| panic!("{name}: {report}"))
}

fn figure(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or_else(|| panic!("{name}: {row}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn on_given_servers_everything_is_measured_and_removed() {
    let harness = Harness::new("bench").await;
    let (url, kafka) = (harness.url().to_owned(), harness.kafka().to_owned());
    let small = ["--events", "2000", "--per-transaction", "10", "--payload", "json,bytea", "--runs", "2"];
    let latency = ["--rate", "100", "--duration", "1s", "--delivery", "at-least-once,exactly-once", "--check"];
    let arguments = [&["--postgres", &url, "--kafka", &kafka, "--json"], &small[..], &latency[..]].concat();
    let ended = run("bench", &arguments);
    assert!(ended.status.success(), "{:?}\n{}", ended.status, ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 1, "one line of JSON");
    assert!(!ended.stderr.contains(&url), "the URL with its password is shown:\n{}", ended.stderr);
    let report = ended.report();
    check_emit(list(&report, "emit"));
    check_throughput(list(&report, "throughput"));
    for row in list(&report, "latency") {
        let [p50, p99, p999, most] =
            ["p50_millis", "p99_millis", "p999_millis", "max_millis"].map(|name| figure(row, name));
        assert!(0.0 < p50 && p50 <= p99 && p99 <= p999 && p999 <= most, "{row}");
        // The first fifth is excluded.
        assert_eq!(figure(row, "events"), 80.0, "{row}");
    }
    assert_eq!(list(&report, "latency").len(), 4, "{report}");
    let starts = list(&report, "start").iter().map(|start| list(start, "runs_millis").len());
    assert_eq!(starts.collect::<Vec<_>>(), [2, 2], "{report}");
    assert_eq!(report["postgres"]["settings"]["synchronous_commit"], "on", "{report}");
    assert!(figure(&report["machine"], "cores") >= 1.0, "{report}");
    assert_eq!(report["left_behind"], Value::Array(Vec::new()));
    assert_clean(&harness, &ended).await;
}

fn check_emit(costs: &[Value]) {
    assert_eq!(costs.len(), 10, "five statements, many per transaction and one: {costs:?}");
    for cost in costs {
        assert!(figure(cost, "micros") > 0.0, "{cost}");
        // Rows have 240 bytes and more, except the order's.
        let least = if cost["statement"] == "insert-order" { 50.0 } else { 240.0 };
        let wal = figure(cost, "wal_bytes");
        assert!(wal >= least, "{cost}");
    }
}

fn check_throughput(reports: &[Value]) {
    let has_recvlogical = reports.iter().any(|report| report["reader"] == "pg-recvlogical");
    // Without Kafka and with it in two ways, each with and without checking, and a plain producer.
    assert_eq!(reports.len(), 2 * if has_recvlogical { 8 } else { 7 }, "{reports:?}");
    for report in reports {
        assert_eq!(list(report, "runs").len(), 2, "{report}");
        assert_eq!(figure(report, "events"), 2_000.0, "{report}");
        let median = &report["median"];
        for name in ["seconds", "events_per_second", "cpu_micros_per_event"] {
            assert!(figure(median, name) > 0.0, "{report}");
        }
        // More than nothing, and less than a relay with unbounded memory.
        assert!((1e6..5e8).contains(&figure(median, "peak_rss_bytes")), "{report}");
        assert_eq!(report["of_pg_recvlogical"].is_number(), has_recvlogical, "{report}");
        assert_eq!(report["delivery"].is_string(), report["reader"] == "walpost", "{report}");
        assert_eq!(report["of_unchecked"].is_number(), report["checked"] == true, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_can_spread_over_topics_and_partitions() {
    let harness = Harness::new("bench_shapes").await;
    let (url, kafka) = (harness.url().to_owned(), harness.kafka().to_owned());
    let shape = ["--topics", "1,3", "--partitions", "1,4", "--keys", "50", "--payload-bytes", "240,1000"];
    let small = ["--events", "1000", "--per-transaction", "10", "--runs", "1", "--row-headers", "0,2"];
    let servers = ["relay", "--postgres", &url, "--kafka", &kafka, "--json", "--compare"];
    let ended = run("bench", &[&servers[..], &shape, &small].concat());
    assert!(ended.status.success(), "{:?}\n{}", ended.status, ended.stderr);
    let report = ended.report();
    let of_shape = |topics: u32| {
        list(&report, "throughput").iter().filter(move |row| row["shape"]["topics"] == topics).collect::<Vec<_>>()
    };
    assert_eq!(of_shape(1).len(), of_shape(3).len(), "{report}");
    for row in of_shape(3) {
        assert_eq!(row["shape"]["partitions"], 4, "{row}");
        assert_eq!(row["shape"]["payload_bytes"], 1_000, "{row}");
        assert!(figure(row, "of_producer") > 0.0 && figure(row, "of_lower") > 0.0, "{row}");
        assert_eq!(row["median"]["linger_ms"].is_number(), row["reader"] == "producer", "{row}");
    }
    assert_clean(&harness, &ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_at_once_and_cleans_up() {
    let harness = Harness::new("bench_ctrl_c").await;
    let (url, kafka) = (harness.url(), harness.kafka());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = command("bench", &["latency", "--postgres", url, "--kafka", kafka, "--duration", "30m"]);
    command.env("TMPDIR", folder.path());
    // Somewhere between the topic and the load; what has been created by then varies, but nothing may be left.
    let ended = interrupt(command, "topics ", Duration::from_secs(2));
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("interrupted"), "{}", ended.stderr);
    assert_clean(&harness, &ended).await;
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("own folder").collect();
    assert!(left.is_empty(), "{left:?} are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_without_kafka_refuses_a_slot_that_is_not_the_benchmarks() {
    let harness = Harness::migrated("bench_null").await;
    let mut command = walpost();
    command.args(["bench-null", "--events", "1", "--config", "/dev/null"]);
    command.env("WALPOST_POSTGRES__URL", harness.url()).env("WALPOST_POSTGRES__SLOT", harness.name());
    command.env("WALPOST_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1");
    let output = command.output().expect("the binary runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("does not belong to the benchmark"), "{stderr}");
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
        &["--topics", "0"],
        &["--payload-bytes", "10"],
    ] {
        let ended = run("bench", usage);
        assert_eq!(ended.code(), Some(2), "{usage:?}: {}", ended.stderr);
    }
    let no_url = run("bench", &["emit", "--postgres", "localhost"]);
    assert_eq!(no_url.code(), Some(64), "{}", no_url.stderr);
    let nobody = "127.0.0.1:1";
    let no_postgres = run("bench", &["emit", "--postgres", &format!("postgres://me:hunter2@{nobody}/shop")]);
    assert_eq!(no_postgres.code(), Some(69), "{}", no_postgres.stderr);
    assert!(no_postgres.stderr.contains(&format!("can't connect to PostgreSQL at {nobody}")), "{}", no_postgres.stderr);
    assert!(!no_postgres.stderr.contains("hunter2"), "{}", no_postgres.stderr);
}
