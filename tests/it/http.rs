//! The relay's HTTP server, in normal operation and during outages.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use expect_test::expect;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use walpost::lab::sandbox::{Durability, KafkaOptions, PostgresOptions, StopMode};

use crate::harness::{Harness, Relay, config};
use crate::setup::ended_with;

const EMIT: &str = "select outbox.emit('order.placed', 'k', '1')";

/// Prometheus' own tool (Debian: prometheus) parses the metrics and finds nothing wrong with their names and types.
fn promtool_accepts(metrics: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running =
        promtool.spawn().unwrap_or_else(|error| panic!("{error}: the test needs promtool (Debian: prometheus)"));
    running.stdin.take().expect("it is piped").write_all(metrics.as_bytes()).expect("promtool reads");
    let output = running.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{}\n{metrics}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_relay_serves_metrics_status_and_health() {
    let harness = Harness::migrated("http").await;
    harness.register("order.placed").await;
    let mut relay = Relay::start(&harness, "name = 'shop'\n");
    relay.ready().await;
    for _ in 0..3 {
        harness.execute(EMIT).await;
    }
    harness.execute("insert into outbox.event (schema_name, schema_version) values ('lost', '1')").await;
    let settled = |status: &serde_json::Value| status["events"] == 4 && status["in_flight_records"] == 0;
    let status = relay.wait_for("four records acknowledged", settled).await;
    for (key, value) in [
        ("version", env!("CARGO_PKG_VERSION")),
        ("relay", "shop"),
        ("slot", harness.name()),
        ("publication", "outbox"),
        ("database", harness.name()),
    ] {
        assert_eq!(status[key], value, "{status}");
    }
    assert_eq!(status["dead_letters"], serde_json::json!({"unknown_schema": 1}));
    assert_eq!(status["ready"], true);
    assert_eq!(status["not_ready"], serde_json::json!([]));
    assert!(status["bytes"].as_u64().is_some_and(|bytes| bytes > 100), "{status}");
    let contracts = status["contracts"].as_array().expect("a list");
    assert_eq!(contracts.len(), 1, "{status}");
    let contract = &contracts[0];
    assert_eq!(
        (&contract["contract"], &contract["events"]),
        (&serde_json::json!("order.placed"), &serde_json::json!(3))
    );
    assert_eq!(contract["promised_millis"], serde_json::Value::Null, "it promises nothing");
    assert!(status["latency_p50_millis"].as_f64().is_some_and(|millis| millis > 0.0), "{status}");
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 1).await;
    assert_eq!(status["position"].as_str(), dead_letters[0].header("outbox-position"), "the last accepted event");

    let metrics = metrics(&relay).await;
    let mut names: Vec<&str> = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    names.sort_unstable();
    expect![[r#"
        process_cpu_seconds_total counter
        process_max_fds gauge
        process_open_fds gauge
        process_resident_memory_bytes gauge
        process_start_time_seconds gauge
        process_virtual_memory_bytes gauge
        walpost_build_info gauge
        walpost_bytes_total counter
        walpost_connected gauge
        walpost_contract_breaches_total counter
        walpost_contract_dead_letters_total counter
        walpost_contract_freshness_seconds histogram
        walpost_contract_overdue_records gauge
        walpost_contract_violations_total counter
        walpost_dead_letters_total counter
        walpost_events_total counter
        walpost_flush_lsn_bytes gauge
        walpost_forged_messages_total counter
        walpost_ignored_rows_total counter
        walpost_in_flight_bytes gauge
        walpost_in_flight_records gauge
        walpost_lag_bytes gauge
        walpost_lag_seconds gauge
        walpost_last_contact_timestamp_seconds gauge
        walpost_maintain_failures_total counter
        walpost_max_retained_wal_bytes gauge
        walpost_partitions_ahead gauge
        walpost_publish_latency_seconds histogram
        walpost_ready gauge
        walpost_received_lsn_bytes gauge
        walpost_reconnects_total counter
        walpost_retained_wal_bytes gauge
        walpost_returned_total counter
        walpost_rewind_seconds gauge
        walpost_rewind_wal_bytes gauge
        walpost_skipped_total counter
        walpost_standby gauge
        walpost_unsendable_lsn_bytes gauge
        walpost_violations_total counter"#]]
    .assert_eq(&names.join("\n"));
    for line in ["walpost_events_total 4", "walpost_dead_letters_total{code=\"unknown_schema\"} 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    assert_eq!(relay.get("/healthz").await, Some((200, "ok\n".to_owned())));
    assert_eq!(relay.get("/readyz").await, Some((200, "ready\n".to_owned())));
    assert_eq!(relay.get("/nowhere").await.map(|(code, _)| code), Some(404));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_47_an_outage_of_either_side_is_reported_and_no_value_is_made_up() {
    let postgres = PostgresOptions { durability: Durability::NoFsync, ..PostgresOptions::default() };
    let mut harness = Harness::with_own_servers("readiness", postgres, KafkaOptions::default()).await;
    harness.migrate().await;
    harness.register("order.placed").await;
    let mut relay = Relay::start(&harness, "max_in_flight = 5\n");
    relay.ready().await;
    harness.execute(EMIT).await;
    harness.consume(&harness.topic("order.placed"), 1).await;

    harness.own_postgres().stop(StopMode::Fast).await.expect("the server stops");
    not_ready(&mut relay, "not connected to Postgres: ").await;
    relay.wait_for("an unknown lag", |status| status["lag_bytes"].is_null() && status["lag_seconds"].is_null()).await;
    let metrics = metrics(&relay).await;
    for line in ["walpost_ready 0", "walpost_standby 0", "walpost_connected{side=\"postgres\"} 0"] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    let is_lag = |line: &str| ["walpost_lag_bytes ", "walpost_lag_seconds "].iter().any(|name| line.starts_with(name));
    assert!(!metrics.lines().any(is_lag), "events may wait in Postgres: {metrics}");
    let status = relay.status().await;
    let last = ["postgres", "kafka"].map(|side| status[format!("{side}_last_contact_unix_millis")].as_u64());
    assert!(last[0] > Some(1_700_000_000_000) && last[1] > Some(1_700_000_000_000), "{status}");
    // What the relay says about itself needs no database.
    let address = relay.address().expect("it serves http");
    let asked = config(&harness, "").replace("127.0.0.1:0", &address);
    let asked = tokio::task::spawn_blocking(move || ended_with(&asked, "status")).await.expect("the test's own thread");
    assert_eq!(asked.code(), Some(69), "{asked:?}");
    for part in
        ["slot            unknown: the database can't be asked: ", "events          1", "lag             unknown"]
    {
        assert!(asked.stdout.contains(part), "{part}: {asked:?}");
    }
    assert!(asked.stdout.contains("not ready: not connected to Postgres: "), "{asked:?}");
    harness.own_postgres().start_again().await.expect("the server starts");
    relay.ready().await;

    // More than the window holds, at once: nothing can progress, and the reason is still reported.
    harness.own_kafka().kill().await.expect("the broker ends");
    harness.execute(&format!("{EMIT} from generate_series(1, 20)")).await;
    relay.wait_for("a full window", |status| status["in_flight_records"] == 5).await;
    let broker = harness.kafka().to_owned();
    not_ready(&mut relay, &format!("not connected to Kafka: {broker}")).await;
    let told = |line: &&str| line.contains("kafka is unreachable; records are waiting") && line.contains(&broker);
    let log = relay.log();
    assert!(log.lines().any(|line| told(&line)) && !log.contains("brokers are down"), "{log}");
    let status = relay.status().await;
    assert!(status["lag_seconds"].as_f64() > Some(0.0) && status["lag_bytes"].is_u64(), "{status}");
    harness.own_kafka().start_again().await.expect("the broker starts");
    relay.ready().await;
    assert_eq!(harness.consume(&harness.topic("order.placed"), 21).await.len(), 21);
    let status = relay.wait_for("nothing in flight", |status| status["in_flight_records"] == 0).await;
    assert!(status["postgres_reconnects"].as_u64().is_some_and(|count| count > 0), "{status}");
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// The metrics, which Prometheus accepts at any time.
async fn metrics(relay: &Relay) -> String {
    let (code, metrics) = relay.get("/metrics").await.expect("the relay answers");
    assert_eq!(code, 200);
    promtool_accepts(&metrics);
    metrics
}

/// Waits for a 503 with only this reason, followed by its cause, which is also the last error; the process remains
/// healthy meanwhile.
async fn not_ready(relay: &mut Relay, reason: &str) {
    let is_reason = |status: &Value| {
        let reasons = status["not_ready"].as_array().expect("a list");
        let only = reasons[..].first().filter(|_| reasons.len() == 1).and_then(Value::as_str);
        only.is_some_and(|only| only.starts_with(reason) && status["last_error"]["message"] == only)
    };
    relay.wait_for(reason, is_reason).await;
    let (code, text) = relay.get("/readyz").await.expect("the relay answers");
    assert!(code == 503 && text.starts_with(reason), "{code} {text}");
    assert_eq!(relay.get("/healthz").await, Some((200, "ok\n".to_owned())));
}

/// The relay's descriptor limit, and how many connections are opened to it and held.
const DESCRIPTORS: u64 = 160;
const HELD: usize = 240;

#[tokio::test(flavor = "multi_thread")]
async fn case_41_partial_requests_and_slow_clients_do_not_block_the_relay_or_its_health() {
    let harness = Harness::migrated("half_requests").await;
    harness.register("order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute(EMIT).await;
    harness.consume(&harness.topic("order.placed"), 1).await;
    let pid = i32::try_from(relay.pid()).ok().and_then(Pid::from_raw);
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) })
        .expect("a limit can be lowered");

    let address = relay.address().expect("it serves http");
    let mut held = Vec::new();
    for index in 0..HELD {
        let mut client = TcpStream::connect(&address).expect("it listens");
        let sent: &[u8] = match index % 4 {
            0 => b"",
            1 => b"GET /metrics HTTP/1.1\r\nhost: h\r\n",
            2 => b"GET /metrics HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\n",
            // It never reads the responses.
            _ => &b"GET /metrics HTTP/1.1\r\nhost: h\r\n\r\n".repeat(50),
        };
        // A connection that was already closed is one less to hold.
        let _ = client.write_all(sent);
        held.push(client);
    }
    // A schema version that is looked up over another connection.
    harness.register("order.shipped").await;
    harness.execute("select outbox.emit('order.shipped', 'k', '1')").await;
    harness.consume(&harness.topic("order.shipped"), 1).await;
    assert_eq!(relay.get("/healthz").await, Some((200, "ok\n".to_owned())));
    assert_eq!(relay.get("/readyz").await, Some((200, "ready\n".to_owned())));
    // The first one was closed in favour of later ones.
    held[1].set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes a time-out");
    assert!(matches!(held[1].read(&mut [0]), Ok(0) | Err(_)), "it is still open");
    assert_eq!(relay.terminate().await.code(), Some(0));
}
