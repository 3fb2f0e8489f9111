use expect_test::expect;

use super::*;

#[test]
fn the_text_form_has_every_metric_with_its_unit() {
    let metrics = Metrics::new();
    let mut counters = Counters { acknowledged: 7, ..Counters::default() };
    counters.dead_letters[RefusalCode::NoTopic as usize] = 2;
    metrics.set_counters(&counters);
    metrics.set_counters(&counters);
    metrics.add_bytes(700);
    metrics.set_progress(&ProgressReport {
        position: Position::default(),
        received: Lsn(200),
        flush: Lsn(100),
        server_end: Some(Lsn(250)),
        owed: Owed { records: 3, bytes: 300 },
        waits: false,
        lag: Some(Duration::from_millis(1_500)),
    });
    metrics.sides.count_reconnect(Side::Kafka);
    metrics.sides.set_connected(Side::Postgres, true);
    metrics.publish_latency.observe(Duration::from_millis(3), 6);
    metrics.publish_latency.observe(Duration::from_secs(90), 1);
    let text = metrics.encode();
    let (text, process) = text.split_once("# HELP process_").expect("the process comes last");
    assert!(process.ends_with("# EOF\n"));
    let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
    // A family keeps its labels in no particular order.
    lines.sort_by_key(|line| if line.contains('{') && !line.contains("le=") { *line } else { "" });
    expect![[r##"
        # TYPE walpost_build info
        # TYPE walpost_reconnects counter
        # TYPE walpost_connected gauge
        # TYPE walpost_last_contact_timestamp_seconds gauge
        # UNIT walpost_last_contact_timestamp_seconds seconds
        # TYPE walpost_events counter
        walpost_events_total 7
        # TYPE walpost_bytes counter
        walpost_bytes_total 700
        # TYPE walpost_returned counter
        walpost_returned_total 0
        # TYPE walpost_skipped counter
        walpost_skipped_total 0
        # TYPE walpost_violations counter
        walpost_violations_total 0
        # TYPE walpost_forged_messages counter
        walpost_forged_messages_total 0
        # TYPE walpost_ignored_rows counter
        walpost_ignored_rows_total 0
        # TYPE walpost_in_flight_records gauge
        # UNIT walpost_in_flight_records records
        walpost_in_flight_records 3
        # TYPE walpost_in_flight_bytes gauge
        # UNIT walpost_in_flight_bytes bytes
        walpost_in_flight_bytes 300
        # TYPE walpost_publish_latency_seconds histogram
        # UNIT walpost_publish_latency_seconds seconds
        walpost_publish_latency_seconds_sum 90.018
        walpost_publish_latency_seconds_count 7
        walpost_publish_latency_seconds_bucket{le="0.0005"} 0
        walpost_publish_latency_seconds_bucket{le="0.001"} 0
        walpost_publish_latency_seconds_bucket{le="0.0025"} 0
        walpost_publish_latency_seconds_bucket{le="0.005"} 6
        walpost_publish_latency_seconds_bucket{le="0.01"} 6
        walpost_publish_latency_seconds_bucket{le="0.015"} 6
        walpost_publish_latency_seconds_bucket{le="0.025"} 6
        walpost_publish_latency_seconds_bucket{le="0.05"} 6
        walpost_publish_latency_seconds_bucket{le="0.1"} 6
        walpost_publish_latency_seconds_bucket{le="0.25"} 6
        walpost_publish_latency_seconds_bucket{le="0.5"} 6
        walpost_publish_latency_seconds_bucket{le="1.0"} 6
        walpost_publish_latency_seconds_bucket{le="2.5"} 6
        walpost_publish_latency_seconds_bucket{le="5.0"} 6
        walpost_publish_latency_seconds_bucket{le="10.0"} 6
        walpost_publish_latency_seconds_bucket{le="30.0"} 6
        walpost_publish_latency_seconds_bucket{le="60.0"} 6
        walpost_publish_latency_seconds_bucket{le="+Inf"} 7
        # TYPE walpost_ready gauge
        walpost_ready 0
        # TYPE walpost_standby gauge
        walpost_standby 0
        # TYPE walpost_lag_bytes gauge
        # UNIT walpost_lag_bytes bytes
        walpost_lag_bytes 150
        # TYPE walpost_retained_wal_bytes gauge
        # UNIT walpost_retained_wal_bytes bytes
        # TYPE walpost_received_lsn_bytes gauge
        # UNIT walpost_received_lsn_bytes bytes
        walpost_received_lsn_bytes 200
        # TYPE walpost_flush_lsn_bytes gauge
        # UNIT walpost_flush_lsn_bytes bytes
        walpost_flush_lsn_bytes 100
        # TYPE walpost_max_retained_wal_bytes gauge
        # UNIT walpost_max_retained_wal_bytes bytes
        walpost_max_retained_wal_bytes 0
        # TYPE walpost_rewind_wal_bytes gauge
        # UNIT walpost_rewind_wal_bytes bytes
        walpost_rewind_wal_bytes 0
        # TYPE walpost_unsendable_lsn_bytes gauge
        # UNIT walpost_unsendable_lsn_bytes bytes
        walpost_unsendable_lsn_bytes 0
        # TYPE walpost_maintain_failures counter
        walpost_maintain_failures_total 0
        # TYPE walpost_partitions_ahead gauge
        # TYPE walpost_rewind_seconds gauge
        # UNIT walpost_rewind_seconds seconds
        walpost_rewind_seconds 0
        # TYPE walpost_lag_seconds gauge
        # UNIT walpost_lag_seconds seconds
        walpost_lag_seconds 1.5
        # TYPE walpost_dead_letters counter
        walpost_build_info{version="0.1.0"} 1
        walpost_connected{side="kafka"} 0
        walpost_connected{side="postgres"} 1
        walpost_dead_letters_total{code="contract_violation"} 0
        walpost_dead_letters_total{code="no_topic"} 2
        walpost_dead_letters_total{code="not_authorized"} 0
        walpost_dead_letters_total{code="too_large"} 0
        walpost_dead_letters_total{code="undecodable"} 0
        walpost_dead_letters_total{code="unknown_schema"} 0
        walpost_dead_letters_total{code="unknown_topic"} 0
        walpost_reconnects_total{side="kafka"} 1
        walpost_reconnects_total{side="postgres"} 0"##]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn what_is_unknown_has_no_sample() {
    let metrics = Metrics::new();
    let sample = |name: &str| metrics.encode().lines().any(|line| line.starts_with(&format!("{name} ")));
    let unknown =
        ["walpost_lag_bytes", "walpost_lag_seconds", "walpost_retained_wal_bytes", "walpost_partitions_ahead"];
    assert!(unknown.iter().all(|name| !sample(name)), "nothing is known before the relay has reached its database");
    let streaming = ProgressReport {
        flush: Lsn(1),
        server_end: Some(Lsn(1)),
        lag: Some(Duration::ZERO),
        ..ProgressReport::default()
    };
    metrics.set_progress(&streaming);
    metrics.set_retained_wal_bytes(0, None);
    metrics.set_partitions_ahead(0);
    assert!(unknown.iter().all(|name| sample(name)), "0 is a value");
    metrics.set_progress(&ProgressReport { server_end: None, lag: None, ..streaming });
    metrics.forget_retained_wal();
    assert!(unknown[..3].iter().all(|name| !sample(name)), "{}", metrics.encode());
}

#[test]
fn the_last_contact_of_a_side_never_moves_back() {
    let (metrics, start) = (Metrics::new(), std::time::SystemTime::UNIX_EPOCH);
    assert!(!metrics.encode().contains("walpost_last_contact_timestamp_seconds{"));
    for millis in [1_500, 2_500, 2_000] {
        metrics.sides.note_contact(Side::Kafka, start + Duration::from_millis(millis));
    }
    let text = metrics.encode();
    assert!(text.contains("walpost_last_contact_timestamp_seconds{side=\"kafka\"} 2.5\n"), "{text}");
    assert!(!text.contains("walpost_last_contact_timestamp_seconds{side=\"postgres\"}"), "{text}");
    assert_eq!(metrics.sides.last_contact_millis(Side::Kafka), Some(2_500));
}
