//! Just enough of a decoder to check what a stream brought.

use std::time::Duration;

use crate::postgres::{Body, HEADER_BYTES, Head};
use crate::relay::boundary::{Batch, Lsn};
use crate::source::stream::handle::Stream;
use crate::source::{SourceError, StreamEvent};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Begin {
        commit: Lsn,
    },
    Commit {
        commit: Lsn,
        end: Lsn,
    },
    /// Everything after the tag.
    Relation(Vec<u8>),
    Insert {
        relation: i32,
        values: Vec<Option<(u8, Vec<u8>)>>,
    },
    Logical,
    Keepalive {
        end: Lsn,
    },
}

pub(super) fn decode(batch: &Batch) -> Vec<Message> {
    let mut rest = batch.bytes.as_ref();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let head = Head::read(rest, 0).expect("a message").expect("a whole message");
        assert_eq!(head.tag, b'd');
        let (message, after) = rest.split_at(head.total);
        messages.push(decode_message(&message[HEADER_BYTES..]));
        rest = after;
    }
    messages
}

fn lsn(body: &mut Body<'_>) -> Lsn {
    Lsn(u64::from_be_bytes(body.take(8, "an LSN").expect("eight bytes").try_into().expect("eight bytes")))
}

fn decode_message(bytes: &[u8]) -> Message {
    let mut body = Body::new(bytes, 0);
    let what = "a part of a message";
    if body.byte(what) == Ok(b'k') {
        return Message::Keepalive { end: lsn(&mut body) };
    }
    body.take(24, what).expect("XLogData");
    match body.byte(what).expect("a tag") {
        b'B' => Message::Begin { commit: lsn(&mut body) },
        b'C' => {
            body.byte(what).expect("flags");
            Message::Commit { commit: lsn(&mut body), end: lsn(&mut body) }
        }
        b'R' => Message::Relation(body.rest().to_vec()),
        b'I' => {
            let relation = body.i32(what).expect("an oid");
            assert_eq!(body.byte(what), Ok(b'N'));
            let columns = body.i16(what).expect("a number of columns");
            let value = |_| match body.byte(what).expect("a kind") {
                b'n' => None,
                kind => Some((kind, body.value(what).expect("a value").expect("no null").to_vec())),
            };
            let values = (0..columns).map(value).collect();
            assert!(body.is_empty(), "something follows the last column");
            Message::Insert { relation, values }
        }
        b'M' => Message::Logical,
        tag => panic!("unexpected message {tag}"),
    }
}

/// The next batch, decoded.
pub(super) async fn next(stream: &mut Stream) -> Vec<Message> {
    match tokio::time::timeout(Duration::from_secs(60), stream.next()).await.expect("something within a minute") {
        StreamEvent::Batch(batch) => decode(&batch),
        StreamEvent::Lost(error) => panic!("the stream is lost: {error} ({error:?})"),
    }
}

/// Batches up to and including the one that satisfies the condition.
pub(super) async fn until(stream: &mut Stream, mut enough: impl FnMut(&[Message]) -> bool) -> Vec<Message> {
    let mut messages = Vec::new();
    while !enough(&messages) {
        messages.extend(next(stream).await);
    }
    messages
}

/// The payloads of the inserts, which are the second column.
pub(super) fn payloads(messages: &[Message]) -> Vec<String> {
    let payload = |message: &Message| match message {
        Message::Insert { values, .. } => {
            Some(values[1].as_ref().map_or("null".to_owned(), |(_, value)| String::from_utf8_lossy(value).into_owned()))
        }
        _ => None,
    };
    messages.iter().filter_map(payload).collect()
}

/// Reads until this many payloads are there and the last transaction is complete; returns the last commit's end.
pub(super) async fn read_payloads(stream: &mut Stream, count: usize) -> (Vec<String>, Lsn) {
    let complete = |messages: &[Message]| {
        let last = messages.iter().rev().find(|message| !matches!(message, Message::Keepalive { .. }));
        payloads(messages).len() >= count && matches!(last, Some(Message::Commit { .. }))
    };
    let messages = until(stream, complete).await;
    let end = messages.iter().rev().find_map(|message| match message {
        Message::Commit { end, .. } => Some(*end),
        _ => None,
    });
    (payloads(&messages), end.expect("a commit"))
}

/// What ends the stream.
pub(super) async fn lost(stream: &mut Stream) -> SourceError {
    loop {
        match tokio::time::timeout(Duration::from_secs(60), stream.next()).await.expect("an end within a minute") {
            StreamEvent::Batch(_) => {}
            StreamEvent::Lost(error) => return error,
        }
    }
}
