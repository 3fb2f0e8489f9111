use std::time::Instant;

use super::*;
use crate::relay::Settings;
use crate::relay::boundary::{Answer, Batch, Lsn, SchemaVersion};
use crate::relay::publish::publisher::Offer;
use crate::source::frames::{FrameWriter, RelationFrame};

fn relation() -> RelationFrame {
    RelationFrame::outbox_event(&[
        ("id", 2_950),
        ("schema_name", 25),
        ("schema_version", 25),
        ("topic", 25),
        ("key", 25),
        ("payload", 114),
    ])
}

/// A core that was given these rows: schema, topic, payload.
fn core(rows: &[(&str, &str, &str)]) -> Core {
    let mut writer = FrameWriter { bytes: Vec::new(), commit: Lsn(100), committed_at: 0 };
    writer.begin().expect("short");
    writer.relation(&relation()).expect("short");
    for (schema, topic, payload) in rows {
        let values = [&[7; 16][..], schema.as_bytes(), b"1", topic.as_bytes(), b"k", payload.as_bytes()];
        writer.insert(&relation(), values.map(Some)).expect("short");
    }
    writer.commit(Lsn(150)).expect("short");
    let mut core = Core::new(Settings::of_tests());
    core.handle_connected(Lsn(0));
    core.handle_batch(Batch { bytes: writer.bytes.into() });
    core
}

/// Answers about schema versions until the first topic is asked for.
fn first_topic(core: &mut Core) -> Request {
    let now = Instant::now();
    loop {
        core.poll(now, |_, _| Offer::Taken).expect("nothing is wrong with these events");
        match core.poll_request().expect("it waits for an answer") {
            Request::SchemaVersion(id) => {
                let schema = (&*id.name == "strict").then(|| r#"{"type": "object"}"#.into());
                let version = SchemaVersion { schema, ..SchemaVersion::plain(id.clone(), None) };
                core.handle_answer(Answer::SchemaVersion(id, Some(version)), now);
            }
            request => return request,
        }
    }
}

#[test]
fn case_40_topics_of_later_rows_are_named_unless_the_row_is_sure_to_be_refused() {
    let rows = [
        ("strict", "a", "{}"),
        ("strict", "b", "{}"),
        ("strict", "a", "{}"),
        ("strict", "broken", "1"),
        ("strict", "__internal", "{}"),
        ("strict", "b", "{}"),
        ("not.asked.for.yet", "unknown", "1"),
        ("strict", "c", "{}"),
    ];
    let mut core = core(&rows);
    let request = first_topic(&mut core);
    assert!(matches!(&request, Request::Topic(wanted) if &*wanted.name == "a"), "{request:?}");
    let names: Vec<_> = core.topics_ahead(&request).into_iter().map(|wanted| wanted.name.to_string()).collect();
    assert_eq!(names, ["b", "c"]);
    assert!(core.topics_ahead(&Request::MessageKeys).is_empty(), "other questions create nothing");
}

#[test]
fn schema_versions_of_later_rows_are_named_once() {
    let rows = [
        ("first", "a", "{}"),
        ("second", "b", "{}"),
        ("first", "a", "{}"),
        ("second", "c", "{}"),
        (&"x".repeat(2_000), "d", "{}"),
        ("third", "e", "{}"),
    ];
    let mut core = core(&rows);
    let now = Instant::now();
    core.poll(now, |_, _| Offer::Taken).expect("nothing is wrong with these events");
    let request = core.poll_request().expect("it waits for an answer");
    assert!(matches!(&request, Request::SchemaVersion(id) if &*id.name == "first"), "{request:?}");
    let ahead = core.versions_ahead(&request);
    assert_eq!(ahead.iter().map(|id| &*id.name).collect::<Vec<_>>(), ["second", "third"]);
    // What was answered early is not asked for.
    let third = ahead[1].clone();
    let version = SchemaVersion::plain(third.clone(), None);
    core.handle_answer(Answer::SchemaVersion(third, Some(version)), now);
    let ahead = core.versions_ahead(&request);
    assert_eq!(ahead.iter().map(|id| &*id.name).collect::<Vec<_>>(), ["second"]);
    assert!(core.versions_ahead(&Request::MessageKeys).is_empty());
}
