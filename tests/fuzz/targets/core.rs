//! Feeds arbitrary pgoutput messages to the whole core: it stops with an error or publishes, and confirms no unacknowledged record.
#![no_main]

use std::time::Instant;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use walpost::relay::HeaderStyle;
use walpost::relay::boundary::MessageKeys;
use walpost::relay::boundary::{
    Answer, Batch, ColumnType, Lsn, Refusal, RefusalCode, Request, SchemaVersion, Ticket, Timestamp, Topic, WantedTopic,
};
use walpost::relay::decode::outbox::Outbox;
use walpost::relay::route::destination::TopicPattern;
use walpost::relay::{Core, Idle, Offer, OnRejected, Settings};

/// As many requests and answers as a batch of a few kilobytes can cause.
const STEPS_MAX: usize = 100_000;

fuzz_target!(|data: &[u8]| {
    let now = Instant::now();
    let mut core = Core::new(settings());
    core.handle_connected(Lsn(0));
    core.handle_batch(Batch { bytes: framed(data) });
    let mut tickets = Vec::new();
    let mut flush = Lsn(0);
    for _ in 0..STEPS_MAX {
        let offered = core.poll(now, |ticket, record| {
            assert!(!record.topic.is_empty(), "a record has a topic");
            tickets.push(ticket);
            Offer::Taken
        });
        assert!(core.flush() >= flush, "the flush LSN never moves backwards");
        flush = core.flush();
        match offered {
            Err(_) | Ok(Idle::Input) => break,
            Ok(Idle::Answer) => answer(&mut core, now),
            Ok(_) => settle(&mut core, &mut tickets),
        }
    }
    settle(&mut core, &mut tickets);
    assert_eq!(core.owed().records, 0, "everything that was taken is acknowledged");
});

fn settle(core: &mut Core, tickets: &mut Vec<Ticket>) {
    for ticket in tickets.drain(..) {
        core.handle_acknowledged(ticket);
    }
}

fn answer(core: &mut Core, now: Instant) {
    let Some(request) = core.poll_request() else { return };
    let answer = match request {
        Request::Topic(WantedTopic { name, .. }) if name.is_empty() => {
            let refusal = Refusal { code: RefusalCode::UnknownTopic, detail: "no name".to_owned() };
            Answer::Topic(name, Err(refusal))
        }
        Request::Topic(wanted) => Answer::Topic(wanted.name, Ok(Topic { max_message_bytes: 1_000 })),
        Request::MessageKeys => {
            Answer::MessageKeys(MessageKeys { read_at: Timestamp(i64::MAX), ..MessageKeys::default() })
        }
        // Some exist, some don't, and some are sent as text.
        Request::Type(oid) => {
            let sent_as = (oid % 2 == 0).then_some(25);
            Answer::Type(oid, (oid % 3 > 0).then(|| ColumnType { name: "public.own".to_owned(), sent_as }))
        }
        // Some are registered, some are not.
        Request::SchemaVersion(id) if id.name.len() % 2 == 0 => Answer::SchemaVersion(id, None),
        Request::SchemaVersion(id) => {
            let topic = Some("topic".into());
            // And some have a schema, which arbitrary bytes are then checked with.
            let schema = (id.name.len() % 3 == 0).then(|| r#"{"required": ["id"], "maxProperties": 3}"#.into());
            let found = SchemaVersion { schema, ..SchemaVersion::plain(id.clone(), topic) };
            Answer::SchemaVersion(id, Some(found))
        }
    };
    core.handle_answer(answer, now);
}

/// Each message follows a byte with its length, in a frame as the source splits it.
fn framed(mut data: &[u8]) -> Bytes {
    let mut frames = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let (body, tail) = rest.split_at(usize::from(*length).min(rest.len()));
        let total = u32::try_from(body.len() + 29).expect("a body is short");
        frames.extend([&b"d"[..], &total.to_be_bytes(), b"w", &[0; 24], body].concat());
        data = tail;
    }
    frames.into()
}

fn settings() -> Settings {
    Settings {
        outboxes: vec![Outbox::walpost("outbox", "event"), Outbox::debezium("public", "outboxevent")],
        header_style: HeaderStyle::CloudEvents,
        source: "/fuzz".to_owned(),
        schema_base: "urn:walpost:schema:".to_owned(),
        relay: "fuzz".to_owned(),
        on_rejected: OnRejected::DeadLetter,
        dead_letter_topic: "outbox.dead-letter".to_owned(),
        topics: vec![TopicPattern::any()],
        max_in_flight: 10,
        max_in_flight_bytes: 1_000,
    }
}
