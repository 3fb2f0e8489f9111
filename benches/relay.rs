//! Nanoseconds per event of each part of the core, so that a regression can be located.
//!
//! ```sh
//! cargo bench --bench relay            # all of them
//! cargo bench --bench relay -- ledger  # those with this in their names
//! ```
//!
//! Each part processes the same backlog repeatedly. The median of the samples is reported, and the fastest, which other processes
//! disturb least. The part of `core` that no other line covers belongs to the publisher and the metadata cache.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use walpost::relay::HeaderStyle;
use walpost::relay::boundary::MessageKeys;
use walpost::relay::boundary::{
    Answer, Batch, ContractNumber, Format, Lsn, Position, Request, SchemaVersion, Ticket, Timestamp, Topic,
};
use walpost::relay::decode::event::{self, Event};
use walpost::relay::decode::outbox::{Layout, Outbox};
use walpost::relay::decode::pgoutput::{self, Frame, Message, Tuple};
use walpost::relay::delivery::ledger::{Ledger, RecordKind};
use walpost::relay::publish::encode::{ContractHeaders, Encoder, RowHeaders, Stamps};
use walpost::relay::route::destination::TopicPattern;
use walpost::relay::{Core, Idle, Offer, OnRejected, Settings};
use walpost::source::frames::{FrameWriter, RelationFrame};

/// Events per pass: a few batches of the socket's thread.
const EVENTS: u64 = 10_000;
/// Timed passes, and warm-up passes.
const SAMPLES: usize = 30;
const WARM_UP: usize = 3;
/// The schema version of all events.
const SCHEMA: (&str, &str) = ("order.placed", "1");

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo passes `--bench`; a test run of all targets does not, and needs no figures.
    let samples = if arguments.iter().any(|argument| argument == "--bench") { SAMPLES } else { 1 };
    let wanted = arguments.iter().find(|argument| !argument.starts_with("--"));
    let bench = |name: &str, pass: &mut dyn FnMut()| {
        if wanted.is_none_or(|wanted| name.contains(wanted.as_str())) {
            report(name, samples, pass);
        }
    };
    let backlogs = [1, 10, 100].map(|per_transaction| (per_transaction, backlog(per_transaction)));
    for (per_transaction, frames) in &backlogs {
        bench(&format!("frames, {per_transaction} per transaction"), &mut || frames_alone(frames));
    }
    let frames = &backlogs[1].1;
    let layout = layout(frames);
    let rows = rows(frames);
    bench("decode a row to an event", &mut || {
        rows.iter().for_each(|row| drop(black_box(event::from_row(row, &layout))));
    });
    let events: Vec<Event<'_>> = rows.iter().map(|row| event::from_row(row, &layout).0).collect();
    for (name, style) in [("cloudevents", HeaderStyle::CloudEvents), ("plain", HeaderStyle::Plain)] {
        bench(&format!("encode headers, {name}"), &mut || encode(&events, style, None));
    }
    let traced = br#"{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tenant": 7}"#;
    bench("encode headers, cloudevents, two row headers", &mut || {
        encode(&events, HeaderStyle::CloudEvents, Some(traced));
    });
    bench("ledger, in order", &mut || ledger(|ticket| ticket));
    bench("ledger, each hundred reversed", &mut || ledger(|ticket| ticket / 100 * 100 + 99 - ticket % 100));
    for (per_transaction, frames) in &backlogs {
        bench(&format!("core, {per_transaction} per transaction"), &mut || core(frames));
    }
}

fn report(name: &str, samples: usize, pass: &mut dyn FnMut()) {
    (0..WARM_UP.min(samples)).for_each(|_| pass());
    let sample = |_| {
        let began = Instant::now();
        pass();
        began.elapsed().as_secs_f64() * 1e9 / EVENTS as f64
    };
    let mut nanos: Vec<f64> = (0..samples).map(sample).collect();
    nanos.sort_unstable_by(f64::total_cmp);
    println!("{name:<46}{:>9.1} ns per event{:>9.1} at best", nanos[nanos.len() / 2], nanos[0]);
}

/// Decodes every frame and every message in it, without the rows.
fn frames_alone(frames: &[u8]) {
    let mut rest = frames;
    while !rest.is_empty() {
        let (frame, length) = pgoutput::next_frame(rest).expect("whole frames");
        if let Frame::XLogData(message) = frame {
            black_box(pgoutput::decode(message).expect("pgoutput"));
        }
        rest = &rest[length..];
    }
}

fn encode(events: &[Event<'_>], style: HeaderStyle, row_headers: Option<&[u8]>) {
    let encoder =
        Encoder { style, source: "/shop".to_owned(), relay: "walpost".to_owned(), recovered: None, replay: None };
    let contract = ContractHeaders {
        name: Some(SCHEMA.0),
        data_schema: Some("urn:walpost:schema:order.placed/1"),
        format: Some(Format::Json),
        violation: None,
        topic: Some("shop.orders"),
    };
    for (ordinal, event) in (1..).zip(events) {
        let stamps = Stamps::new(Position { commit: Lsn(0x16_B374_D848), ordinal }, Timestamp(1_790_000_000_123_456));
        let row_headers = RowHeaders::parse(row_headers).expect("an object");
        black_box(encoder.headers(event, &row_headers, contract, &stamps).list);
    }
}

/// Issues tickets, ten per commit, and settles each a thousand tickets later, in the order of `settled`.
fn ledger(settled: impl Fn(u64) -> u64) {
    const WINDOW: u64 = 1_000;
    let mut ledger = Ledger::default();
    for number in 0..EVENTS + WINDOW {
        if number < EVENTS {
            let position = Position { commit: Lsn(number - number % 10), ordinal: number % 10 + 1 };
            ledger.issue(300, Timestamp(0), position, (ContractNumber::NONE, RecordKind::Record));
            if number % 10 == 9 {
                ledger.commit(Lsn(number));
            }
        }
        if let Some(number) = number.checked_sub(WINDOW) {
            black_box(ledger.settle(Ticket(settled(number))));
        }
    }
    assert_eq!(ledger.flush(), Lsn(EVENTS - 1), "everything is settled");
}

/// From frames to offered records and the flush LSN; a batch's records are acknowledged once it is consumed.
fn core(frames: &Bytes) {
    let now = Instant::now();
    let mut core = Core::new(Settings {
        outboxes: vec![Outbox::walpost("outbox", "event")],
        header_style: HeaderStyle::CloudEvents,
        source: "/shop".to_owned(),
        schema_base: "urn:walpost:schema:".to_owned(),
        relay: "walpost".to_owned(),
        on_rejected: OnRejected::DeadLetter,
        dead_letter_topic: "outbox.dead-letter".to_owned(),
        topics: vec![TopicPattern::any()],
        max_in_flight: 20_000,
        max_in_flight_bytes: 16 * 1024 * 1024,
    });
    core.handle_connected(Lsn(0));
    core.handle_batch(Batch { bytes: frames.clone() });
    let mut tickets = Vec::new();
    loop {
        let idle = core.poll(now, |ticket, record| {
            black_box(record);
            tickets.push(ticket);
            Offer::Taken
        });
        let idle = idle.expect("these events are valid");
        if idle == Idle::Answer {
            answer(&mut core, now);
        }
        for ticket in tickets.drain(..) {
            black_box(core.handle_acknowledged(ticket));
        }
        if idle == Idle::Input {
            break;
        }
    }
    assert_eq!(core.counters().acknowledged, EVENTS, "every event became a record");
}

fn answer(core: &mut Core, now: Instant) {
    let answer = match core.poll_request().expect("it waits for an answer") {
        Request::SchemaVersion(id) => {
            let topic = Some("orders".into());
            Answer::SchemaVersion(id.clone(), Some(SchemaVersion::plain(id, topic)))
        }
        Request::Topic(wanted) => Answer::Topic(wanted.name, Ok(Topic { max_message_bytes: 1_048_588 })),
        Request::Type(oid) => Answer::Type(oid, None),
        Request::MessageKeys => {
            Answer::MessageKeys(MessageKeys { read_at: Timestamp(i64::MAX), ..MessageKeys::default() })
        }
    };
    core.handle_answer(answer, now);
}

/// A stream of events of 240 bytes, as the walsender sends it.
fn backlog(per_transaction: u64) -> Bytes {
    let relation = relation();
    let mut writer = FrameWriter { bytes: Vec::new(), commit: Lsn(0), committed_at: 0 };
    for first in (0..EVENTS).step_by(usize::try_from(per_transaction).expect("a small number")) {
        let end = Lsn((first + per_transaction) * 400);
        writer.commit = Lsn(end.0 - 50);
        writer.begin().expect("short frames");
        if first == 0 {
            writer.relation(&relation).expect("short frames");
        }
        for number in first..first + per_transaction {
            let payload = format!(r#"{{"order_id": "{number:0>12}", "note": "{:x<200}"}}"#, "");
            assert_eq!(payload.len(), 240, "as in walpost bench");
            let (id, key) = (u128::from(number).to_be_bytes(), format!("customer-{}", number % 5_000));
            let values: [Option<&[u8]>; 8] = [
                Some(&id),
                Some(SCHEMA.0.as_bytes()),
                Some(SCHEMA.1.as_bytes()),
                None,
                Some(key.as_bytes()),
                Some(payload.as_bytes()),
                None,
                Some(&[0; 8]),
            ];
            writer.insert(&relation, values).expect("short frames");
        }
        writer.commit(end).expect("short frames");
    }
    writer.bytes.into()
}

fn relation() -> RelationFrame {
    RelationFrame::outbox_event(&[
        ("id", 2_950),
        ("schema_name", 25),
        ("schema_version", 25),
        ("topic", 25),
        ("key", 25),
        ("payload", 114),
        ("headers", 3_802),
        ("created_at", 1_184),
    ])
}

/// The rows of a backlog.
fn rows(frames: &[u8]) -> Vec<Tuple<'_>> {
    let rows = messages(frames).into_iter().filter_map(|message| match message {
        Message::Insert { row, .. } => Some(row),
        _ => None,
    });
    rows.collect()
}

fn layout(frames: &[u8]) -> Layout {
    let relation = messages(frames).into_iter().find_map(|message| match message {
        Message::Relation(relation) => Some(relation),
        _ => None,
    });
    let outbox = Outbox::walpost("outbox", "event");
    Layout::resolve(&outbox, &relation.expect("it comes first"), |_| Ok(None)).expect("it is complete")
}

fn messages(frames: &[u8]) -> Vec<Message<'_>> {
    let (mut rest, mut messages) = (frames, Vec::new());
    while !rest.is_empty() {
        let (frame, length) = pgoutput::next_frame(rest).expect("whole frames");
        if let Frame::XLogData(message) = frame {
            messages.push(pgoutput::decode(message).expect("pgoutput"));
        }
        rest = &rest[length..];
    }
    messages
}
