use super::*;
use crate::relay::Counters;
use crate::relay::boundary::Lsn;
use crate::relay::delivery::ledger::Owed;

fn connected(now: Instant) -> Telemetry {
    let telemetry = Telemetry::new(Identity::default(), now);
    telemetry.metrics.sides.set_connected(Side::Postgres, true);
    telemetry.metrics.sides.set_connected(Side::Kafka, true);
    telemetry
}

#[test]
fn ready_means_connected_on_both_sides() {
    let now = Instant::now();
    let telemetry = connected(now);
    assert_eq!(telemetry.not_ready(now), Vec::<String>::new());
    telemetry.metrics.sides.set_connected(Side::Kafka, false);
    assert_eq!(telemetry.not_ready(now), ["not connected to Kafka"]);
    telemetry.set_failure(Side::Kafka, Some("a:9092/1: Connection refused".to_owned()));
    assert_eq!(telemetry.not_ready(now), ["not connected to Kafka: a:9092/1: Connection refused"]);
    let last_error = telemetry.status(now).last_error.map(|error| error.message);
    assert_eq!(last_error.as_deref(), Some("not connected to Kafka: a:9092/1: Connection refused"));
    telemetry.set_failure(Side::Kafka, None);
    telemetry.metrics.sides.set_connected(Side::Kafka, true);
    telemetry.set_blocked_on(Some("topic outbox.dead-letter: not_authorized".to_owned()));
    telemetry.set_waiting_for(Some("look up schema version a/1: no connection".to_owned()));
    let reasons =
        ["blocked: topic outbox.dead-letter: not_authorized", "waiting: look up schema version a/1: no connection"];
    assert_eq!(telemetry.not_ready(now), reasons);
}

#[test]
fn case_40_a_standby_relay_is_ready_only_while_another_streams() {
    let start = Instant::now();
    let telemetry = connected(start);
    telemetry.set_standby(true);
    telemetry.set_slot_in_use(false, start);
    telemetry.set_slot_in_use(false, start + IDLE_SLOT / 2);
    assert_eq!(telemetry.not_ready(start + IDLE_SLOT / 2), Vec::<String>::new());
    let reasons = telemetry.not_ready(start + IDLE_SLOT);
    assert!(reasons.len() == 1 && reasons[0].contains("no relay has streamed"), "{reasons:?}");
    telemetry.set_slot_in_use(true, start + IDLE_SLOT);
    assert_eq!(telemetry.not_ready(start + IDLE_SLOT * 2), Vec::<String>::new());
}

#[test]
fn readiness_and_standing_by_are_metrics_as_of_the_request() {
    let now = Instant::now();
    let telemetry = connected(now);
    let state = || {
        let text = telemetry.metrics_at(now).encode();
        ["walpost_ready 1\n", "walpost_standby 1\n"].map(|line| text.contains(line))
    };
    assert_eq!(state(), [true, false]);
    telemetry.set_standby(true);
    assert_eq!(state(), [true, true]);
    telemetry.metrics.sides.set_connected(Side::Kafka, false);
    assert_eq!(state(), [false, true]);
}

#[test]
fn an_unmoved_slot_is_a_stall_only_while_something_is_owed() {
    let start = Instant::now();
    let telemetry = connected(start);
    let progress = |records, flush, now| {
        let owed = Owed { records, bytes: 0 };
        telemetry.set_progress(&ProgressReport { flush: Lsn(flush), owed, ..ProgressReport::default() }, now);
    };
    // Idle for an hour, then a record: the stall counts from the record, not from the start of the idle time.
    let later = start + Duration::from_secs(3_600);
    progress(0, 1, later);
    progress(1, 1, later + STALL / 2);
    assert_eq!(telemetry.not_ready(later + STALL / 2), Vec::<String>::new());
    let stalled = telemetry.not_ready(later + STALL);
    assert_eq!(stalled, ["the slot has not moved for 60 s while 1 record is in flight"]);
    progress(1, 2, later + STALL);
    assert_eq!(telemetry.not_ready(later + STALL), Vec::<String>::new());
    progress(0, 2, later + STALL * 2);
    assert_eq!(telemetry.not_ready(later + STALL * 10), Vec::<String>::new());
}

#[test]
fn waiting_work_that_is_not_in_flight_is_a_stall_too() {
    let start = Instant::now();
    let telemetry = connected(start);
    let progress = |waits, flush, now| {
        telemetry.set_progress(&ProgressReport { flush: Lsn(flush), waits, ..ProgressReport::default() }, now);
    };
    progress(false, 1, start);
    progress(true, 1, start + STALL / 2);
    assert_eq!(telemetry.not_ready(start + STALL / 2), Vec::<String>::new());
    let stalled = telemetry.not_ready(start + STALL);
    assert_eq!(stalled, ["the slot has not moved for 60 s while an event or a position is waiting for Kafka"]);
    progress(true, 2, start + STALL);
    assert_eq!(telemetry.not_ready(start + STALL), Vec::<String>::new(), "the position was stored");
    progress(false, 2, start + STALL);
    assert_eq!(telemetry.not_ready(start + STALL * 9), Vec::<String>::new());
}

#[test]
fn the_status_is_made_of_the_metrics_and_survives_json() {
    let now = Instant::now();
    let telemetry = connected(now);
    let mut counters = Counters { acknowledged: 5, returned: 1, ..Counters::default() };
    counters.dead_letters[RefusalCode::TooLarge as usize] = 2;
    telemetry.metrics.set_counters(&counters);
    let position = Position { commit: Lsn(0x1_0000_0010), ordinal: 3 };
    let progress = ProgressReport { position, flush: Lsn(30), server_end: Some(Lsn(50)), ..ProgressReport::default() };
    telemetry.set_progress(&progress, now);
    telemetry.note_error("connection lost");
    let status = telemetry.status(now + Duration::from_secs(4));
    assert_eq!((status.events, status.returned, status.lag_bytes, status.uptime_seconds), (5, 1, Some(20), 4));
    assert_eq!((status.position.as_str(), status.flush_lsn.as_str()), ("1/10/3", "0/1E"));
    assert_eq!(status.dead_letters, BTreeMap::from([("too_large".to_owned(), 2)]));
    assert_eq!(status.last_error.as_ref().map(|error| error.message.as_str()), Some("connection lost"));
    let json = serde_json::to_string(&status).expect("plain values");
    assert_eq!(serde_json::from_str::<RelayStatus>(&json).expect("its own output"), status);
}
