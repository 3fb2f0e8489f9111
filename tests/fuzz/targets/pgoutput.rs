//! Arbitrary bytes as frames of the replication stream, and as pgoutput messages. The first byte of the input selects which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walpost::relay::decode::event;
use walpost::relay::decode::outbox::{Layout, Outbox};
use walpost::relay::decode::pgoutput::{self, Frame, Message};

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    if kind % 2 == 0 { frames(bytes) } else { messages(bytes) }
});

fn frames(bytes: &[u8]) {
    let mut layout = None;
    let mut offset = 0;
    while offset < bytes.len() {
        match pgoutput::next_frame(&bytes[offset..]) {
            Ok((frame, length)) => {
                assert!(length >= 5 && length <= bytes.len() - offset, "a frame is not longer than the input");
                if let Frame::XLogData(message) = frame {
                    self::message(message, &mut layout);
                }
                offset += length;
            }
            Err(error) => {
                assert!(error.offset <= bytes.len() - offset, "{error}");
                return;
            }
        }
    }
}

/// Consecutive messages, each after a byte with its length.
fn messages(mut bytes: &[u8]) {
    let mut layout = None;
    while let Some((length, rest)) = bytes.split_first() {
        let (head, tail) = rest.split_at(usize::from(*length).min(rest.len()));
        message(head, &mut layout);
        bytes = tail;
    }
}

fn message(bytes: &[u8], layout: &mut Option<Layout>) {
    match pgoutput::decode(bytes) {
        Ok(Message::Relation(relation)) => {
            for column in relation.columns() {
                assert!(column.name.len() <= bytes.len());
            }
            // A tuple that claims to have all columns must never be misread; one that does not is refused.
            for outbox in [Outbox::walpost("outbox", "event"), Outbox::debezium("public", "outboxevent")] {
                *layout = Layout::resolve(&outbox, &relation, |_| Ok(None)).ok().or(layout.take());
            }
        }
        Ok(Message::Insert { row, .. }) => {
            assert_eq!(row.values().count(), row.len(), "a row that was taken has all its values");
            if let Some(layout) = layout {
                let (event, refusal) = event::from_row(&row, layout);
                let read = event.payload.as_ref().map_or(0, |payload| payload.len());
                assert!(read <= bytes.len(), "nothing is read that was not sent: {refusal:?}");
            }
        }
        Ok(_) => {}
        Err(error) => assert!(error.offset <= bytes.len(), "{error}"),
    }
}
