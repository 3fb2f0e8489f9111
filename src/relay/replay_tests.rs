use super::*;
use crate::relay::boundary::MessageKeys;
use crate::relay::boundary::{Answer, Batch, OwnedRecord, Request, SchemaVersion, Topic, TopicSettings};
use crate::relay::{Core, Settings};
use crate::source::frames::{FrameWriter, RelationFrame};

const SECOND: i64 = 1_000_000;

fn relation() -> RelationFrame {
    RelationFrame::outbox_event(&[
        ("id", 2_950),
        ("schema_name", 25),
        ("schema_version", 25),
        ("key", 25),
        ("payload", 114),
    ])
}

/// Transactions that commit at 100, 200 and so on, a second apart, each with these events (schema and key).
fn stream(transactions: &[&[(&str, &str)]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, events) in (1_u64..).zip(transactions) {
        let committed_at = i64::try_from(index).expect("few") * SECOND;
        let mut writer = FrameWriter { bytes, commit: Lsn(index * 100), committed_at };
        writer.begin().expect("short");
        writer.relation(&relation()).expect("short");
        for (schema, key) in *events {
            let values = [&[7; 16][..], schema.as_bytes(), b"1", key.as_bytes(), b"{}"];
            writer.insert(&relation(), values.map(Some)).expect("short");
        }
        writer.commit(Lsn(index * 100 + 50)).expect("short");
        bytes = writer.bytes;
    }
    bytes
}

fn keepalive(end: u64) -> Vec<u8> {
    [&[b'd', 0, 0, 0, 22, b'k'][..], &end.to_be_bytes(), &[0; 9]].concat()
}

struct Run {
    core: Core,
    idle: Idle,
    records: Vec<OwnedRecord>,
    most_in_flight: usize,
}

/// Feeds the core until it wants more than there is; acknowledges everything whenever it waits for that.
fn run(replay: Replay, bytes: Vec<u8>, stop_after: Option<usize>) -> Run {
    let settings = Settings::of_tests();
    let (now, mut records, mut most_in_flight) = (Instant::now(), Vec::new(), 0);
    let mut core = Core::replaying(settings, replay);
    core.handle_connected(Lsn(0));
    core.handle_batch(Batch { bytes: bytes.into() });
    loop {
        let mut tickets = Vec::new();
        let idle = core.poll(now, |ticket, record| {
            if stop_after.is_some_and(|limit| records.len() == limit) {
                return Offer::Full;
            }
            tickets.push(ticket);
            records.push(OwnedRecord::copy(record));
            Offer::Taken
        });
        let idle = idle.expect("nothing is wrong with these events");
        most_in_flight = most_in_flight.max(core.owed().records);
        for ticket in tickets {
            core.handle_acknowledged(ticket);
        }
        match idle {
            Idle::Answer => answer(&mut core, now),
            Idle::Window => {}
            Idle::Sink => core.stop_intake(),
            Idle::Turn => {}
            Idle::Input | Idle::Drained | Idle::Returned => return Run { core, idle, records, most_in_flight },
        }
    }
}

fn answer(core: &mut Core, now: Instant) {
    let answer = match core.poll_request().expect("it waits for an answer") {
        Request::SchemaVersion(id) if &*id.name == "unknown" => Answer::SchemaVersion(id, None),
        Request::SchemaVersion(id) => {
            let (topic, topic_settings) = (Some("orders".into()), TopicSettings::default());
            let version = SchemaVersion { topic_settings, ..SchemaVersion::plain(id.clone(), topic) };
            Answer::SchemaVersion(id, Some(version))
        }
        Request::Topic(wanted) => Answer::Topic(wanted.name, Ok(Topic { max_message_bytes: 1_048_588 })),
        Request::Type(oid) => Answer::Type(oid, None),
        Request::MessageKeys => {
            Answer::MessageKeys(MessageKeys { read_at: Timestamp(i64::MAX), ..MessageKeys::default() })
        }
    };
    core.handle_answer(answer, now);
}

fn to_the_end() -> Replay {
    let selection = ReplaySelection { to: Lsn(10_000), ..ReplaySelection::default() };
    Replay { id: "r1".to_owned(), selection, ..Replay::default() }
}

fn header(record: &OwnedRecord, wanted: &str) -> Option<String> {
    let (_, value) = record.headers.iter().find(|(name, _)| name == wanted)?;
    value.clone().and_then(|value| String::from_utf8(value).ok())
}

fn positions(run: &Run) -> Vec<String> {
    run.records.iter().filter_map(|record| header(record, "outbox-position")).collect()
}

const THREE: [&[(&str, &str)]; 3] = [&[("a", "x"), ("b", "y")], &[("a", "y")], &[("b", "x"), ("a", "x")]];

#[test]
fn a_replayed_record_differs_only_by_its_mark() {
    let run = run(to_the_end(), stream(&THREE), None);
    assert_eq!(positions(&run), ["0/64/1", "0/64/2", "0/C8/1", "0/12C/1", "0/12C/2"]);
    let names: Vec<_> = run.records[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[names.len() - 3..], ["outbox-position", "outbox-relay", "outbox-replay"]);
    assert_eq!(header(&run.records[0], "outbox-relay").as_deref(), Some("eu-1"));
    assert_eq!(header(&run.records[0], "outbox-replay").as_deref(), Some("r1"));
    assert_eq!(run.idle, Idle::Input, "the end has not come yet");
    assert_eq!(run.core.unfinished(), Position { commit: Lsn(350), ordinal: 1 });
}

#[test]
fn only_selected_events_are_published() {
    let at = |second| Some(Timestamp::from_postgres(second * SECOND));
    let position = |commit, ordinal| Position { commit: Lsn(commit), ordinal };
    let check = |selection: ReplaySelection, expected: &[&str]| {
        let replay = Replay { selection: ReplaySelection { to: Lsn(10_000), ..selection.clone() }, ..to_the_end() };
        let run = run(replay, stream(&THREE), None);
        assert_eq!(positions(&run), expected, "{selection:?}");
        let replayed = run.core.replayed().expect("it is a replay");
        assert_eq!(replayed.left_out, 5 - expected.len() as u64);
        let seen = |sighting: &Option<Sighting>| sighting.as_ref().map(|sighting| sighting.position.to_string());
        assert_eq!(seen(&replayed.first).as_deref(), expected.first().copied());
        assert_eq!(seen(&replayed.last).as_deref(), expected.last().copied());
    };
    check(
        ReplaySelection { from: position(100, 2), ..ReplaySelection::default() },
        &["0/64/2", "0/C8/1", "0/12C/1", "0/12C/2"],
    );
    check(ReplaySelection { since: at(2), until: at(2), ..ReplaySelection::default() }, &["0/C8/1"]);
    check(ReplaySelection { schemas: vec!["b".to_owned()], ..ReplaySelection::default() }, &["0/64/2", "0/12C/1"]);
    check(ReplaySelection { keys: vec!["y".to_owned()], ..ReplaySelection::default() }, &["0/64/2", "0/C8/1"]);
    let both = ["a".to_owned(), "c".to_owned()].to_vec();
    let keys = vec!["x".to_owned()];
    check(ReplaySelection { schemas: both, keys, since: at(3), ..ReplaySelection::default() }, &["0/12C/2"]);
}

#[test]
fn a_replay_ends_after_its_last_commit_at_the_next_one_or_a_keepalive() {
    let to = |to| Replay { selection: ReplaySelection { to: Lsn(to), ..ReplaySelection::default() }, ..to_the_end() };
    for (last, expected) in [(100, 2), (199, 2), (200, 3), (299, 3), (300, 5)] {
        let bytes = [stream(&THREE), keepalive(400)].concat();
        let run = run(to(last), bytes, None);
        assert_eq!((run.idle, run.records.len()), (Idle::Drained, expected), "to {last}");
        assert!(run.core.replayed().is_some_and(|replayed| replayed.is_complete));
    }
    let run_idle = |end| run(to(300), keepalive(end), None).idle;
    assert_eq!((run_idle(300), run_idle(301)), (Idle::Input, Idle::Drained), "a keepalive tells what was read");
}

#[test]
fn an_end_time_ends_reading_after_a_margin() {
    let until = Some(Timestamp::from_postgres(2 * SECOND));
    let replay =
        Replay { selection: ReplaySelection { to: Lsn(1 << 40), until, ..ReplaySelection::default() }, ..to_the_end() };
    let many: Vec<&[(&str, &str)]> = vec![&[("a", "x")]; 70];
    let run = run(replay, stream(&many), None);
    assert_eq!((run.idle, run.records.len()), (Idle::Drained, 2));
    assert_eq!(run.core.received(), Lsn(6_250), "62 s were read");
}

#[test]
fn a_replay_to_a_topic_sends_everything_there_and_marks_dead_letters() {
    let replay = Replay { topic: Some("again".to_owned()), ..to_the_end() };
    let run = run(replay, stream(&[&[("a", "x"), ("unknown", "x")]]), None);
    let topics: Vec<_> = run.records.iter().map(|record| record.topic.as_str()).collect();
    assert_eq!(topics, ["again", "dead"]);
    assert_eq!(header(&run.records[1], "outbox-replay").as_deref(), Some("r1"));
    assert_eq!(header(&run.records[1], "outbox-topic").as_deref(), Some("again"));
}

#[test]
fn a_large_transaction_is_read_in_bounded_memory_and_can_be_abandoned() {
    let events: Vec<(&str, &str)> = vec![("a", "x"); 1_000];
    let whole = run(to_the_end(), stream(&[&events]), None);
    assert_eq!((whole.records.len(), whole.most_in_flight), (1_000, 10));
    let part = run(to_the_end(), stream(&[&events]), Some(437));
    assert_eq!((part.idle, part.records.len()), (Idle::Drained, 437));
    assert!(!part.core.replayed().is_some_and(|replayed| replayed.is_complete));
    let from = part.core.unfinished();
    assert_eq!(from, Position { commit: Lsn(100), ordinal: 438 });
    let selection = ReplaySelection { from, ..to_the_end().selection };
    let rest = run(Replay { selection, ..to_the_end() }, stream(&[&events]), None);
    assert_eq!([positions(&part), positions(&rest)].concat(), positions(&whole));
}
