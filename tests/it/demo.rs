//! `walpost demo` as a program: its figures, its exit codes, its end on a signal, and that it leaves nothing behind.

use std::time::Duration;

use serde_json::Value;

use crate::harness::Harness;
use crate::harness::program::{Ended, command, interrupt, run};

/// Interrupts the demo once its order service has started.
fn interrupt_demo(command: std::process::Command) -> Ended {
    interrupt(command, "an order service writes", Duration::ZERO)
}

/// Nothing that the demo created is left on the servers.
async fn assert_clean(harness: &Harness, ended: &Ended) {
    ended.assert_clean(harness, "walpost_demo_", ".orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_given_servers_every_event_is_checked_and_everything_is_removed() {
    let harness = Harness::new("demo").await;
    // The demo must not touch a user's schema outbox.
    harness
        .execute("create schema outbox; create table outbox.event (mine int); insert into outbox.event values (1)")
        .await;
    let (url, kafka) = (harness.url().to_owned(), harness.kafka().to_owned());
    let arguments = ["--postgres", &url, "--kafka", &kafka, "--rate", "200", "--duration", "2s", "--json"];
    let ended = run("demo", &arguments);
    let report = ended.report();
    assert!(ended.status.success(), "{:?}: {report}\n{}", ended.status, ended.stderr);
    let count = |pointer: &str| {
        report.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer}: {report}"))
    };
    let [committed, read] = ["/events/committed", "/events/read"].map(count);
    // At most 400 transactions: 7 of 100 roll back, the others write one to three events; a slow machine completes fewer.
    assert!((20..=1_200).contains(&committed), "{report}");
    assert_eq!(committed, read, "{report}");
    for wrong in ["lost", "duplicated", "out_of_order", "invented"] {
        assert_eq!(count(&format!("/events/{wrong}")), 0, "{report}");
    }
    assert!(count("/transactions/committed") <= 401, "{report}");
    assert!(count("/latency_ms/p50") <= count("/latency_ms/p99"), "{report}");
    assert_eq!(report["ok"], true);
    assert_eq!(ended.stdout.lines().count(), 1, "one line of JSON");
    assert!(!ended.stderr.contains(&url), "the URL with its password is shown:\n{}", ended.stderr);
    assert_clean(&harness, &ended).await;
    assert_eq!(harness.query_text("select mine::text from outbox.event").await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_the_writers_and_committed_events_are_still_checked() {
    let harness = Harness::new("demo_ctrl_c").await;
    let (url, kafka) = (harness.url(), harness.kafka());
    let arguments = ["--postgres", url, "--kafka", kafka, "--duration", "30m", "--json"];
    let ended = interrupt_demo(command("demo", &arguments));
    let report = ended.report();
    assert!(ended.status.success(), "{report}\n{}", ended.stderr);
    assert_eq!(report["events"]["committed"], report["events"]["read"], "{report}");
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds < 1_000.0), "{report}");
    assert_clean(&harness, &ended).await;
}

#[test]
fn with_temporary_servers_no_file_or_process_is_left() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("own folder");
    let mut command = command("demo", &["--duration", "30m", "--rate", "50"]);
    // Servers that run under another account inherit the marker too.
    command.env("TMPDIR", folder.path()).env("WALPOST_TEST_MARK", folder.path());
    let ended = interrupt_demo(command);
    assert!(ended.status.success(), "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("Every committed event was read once and in order"), "{}", ended.stdout);
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("own folder").collect();
    assert!(left.is_empty(), "{left:?} are left");
    assert_eq!(marked_processes(folder.path().as_os_str().as_encoded_bytes()), Vec::<String>::new());
}

/// Processes whose environment contains the marker, if the system shows it.
fn marked_processes(mark: &[u8]) -> Vec<String> {
    let marked = |path: &std::path::Path| {
        let environment = std::fs::read(path.join("environ")).unwrap_or_default();
        environment.windows(mark.len()).any(|window| window == mark)
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let left = processes.filter(|path| path.file_name().is_some_and(|name| name != "self") && marked(path));
    left.map(|path| String::from_utf8_lossy(&std::fs::read(path.join("cmdline")).unwrap_or_default()).into_owned())
        .collect()
}

#[test]
fn an_unreachable_server_is_named_with_its_exit_code() {
    let nobody = "127.0.0.1:1";
    let no_postgres = run("demo", &["--postgres", &format!("postgres://me:hunter2@{nobody}/shop")]);
    assert_eq!(no_postgres.code(), Some(69), "{}", no_postgres.stderr);
    assert!(no_postgres.stderr.contains(&format!("can't connect to PostgreSQL at {nobody}")), "{}", no_postgres.stderr);
    assert!(!no_postgres.stderr.contains("hunter2"), "{}", no_postgres.stderr);
    let no_url = run("demo", &["--postgres", "localhost"]);
    assert_eq!(no_url.code(), Some(64), "{}", no_url.stderr);
    let no_kafka = run("demo", &["--kafka", nobody]);
    assert_eq!(no_kafka.code(), Some(69), "{}", no_kafka.stderr);
    assert!(no_kafka.stderr.contains(&format!("can't reach Kafka at {nobody}")), "{}", no_kafka.stderr);
    assert_eq!(run("demo", &["--rate", "0"]).code(), Some(2));
}
