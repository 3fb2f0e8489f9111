//! Reads messages that are larger than any record may be, in bounded memory: small values are kept, and of a large
//! one only its length.
//!
//! The resulting frame is an Insert or a logical message like any other, except for what was withheld:
//! [`pgoutput`](crate::relay::decode::pgoutput) recognizes those values by tags that Postgres never sends.

use crate::postgres::{HEADER_BYTES, Head, ProtocolError};
use crate::relay::decode::pgoutput::{LONG_MESSAGE, WITHHELD};
use crate::source::row_budget::{HEAD_BYTES, INSERT_BYTES, RowBudget};

/// Logical message: flags and LSN.
const MESSAGE_BYTES: usize = 1 + 8;
/// What is kept of a logical message's prefix. The relay's own is shorter.
const PREFIX_BYTES: usize = 64;

/// Reads one large CopyData message.
#[derive(Debug)]
pub(crate) struct Skimmer {
    kept: Vec<u8>,
    step: Step,
    budget: RowBudget,
    /// Remaining columns.
    columns: u16,
    /// Remaining bytes of the message.
    left: usize,
    /// The next byte's offset in the connection.
    offset: u64,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// This many bytes are kept, and then read as this part.
    Gather(Part, usize),
    /// This many bytes of a value are kept.
    Copy(usize),
    /// This many bytes are dropped.
    Skip(usize),
    /// A logical message's prefix, up to its zero byte; this many more bytes of it can be kept.
    Prefix(usize),
    /// Nothing more follows.
    End,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Head,
    Insert,
    Kind,
    ValueLength,
    Message,
    ContentLength,
}

impl Skimmer {
    /// Starts with the first byte of the message with this head.
    pub(crate) fn new(head: Head, offset: u64, limit: usize) -> Self {
        let step = Step::Gather(Part::Head, HEAD_BYTES);
        Self { kept: Vec::new(), step, budget: RowBudget::new(limit), columns: 0, left: head.total, offset }
    }

    /// Takes what has arrived; returns how many bytes of it belong to the message.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<usize, ProtocolError> {
        let mut rest = &bytes[..bytes.len().min(self.left)];
        let taken = rest.len();
        while !rest.is_empty() {
            let count = match self.step {
                Step::Gather(_, missing) | Step::Copy(missing) | Step::Skip(missing) => missing.min(rest.len()),
                Step::Prefix(_) => rest.iter().position(|byte| *byte == 0).map_or(rest.len(), |zero| zero + 1),
                Step::End => return Err(self.broken("bytes after the end of a message")),
            };
            let (piece, behind) = rest.split_at(count);
            rest = behind;
            self.left -= count;
            self.offset += count as u64;
            self.take(piece)?;
        }
        if self.left == 0 && !matches!(self.step, Step::End) {
            return Err(self.broken("a message that ends inside a value"));
        }
        Ok(taken)
    }

    /// Whether the message has been read to its end.
    pub(crate) const fn is_done(&self) -> bool {
        self.left == 0
    }

    /// What is left of the message, as a CopyData message.
    pub(crate) fn into_frame(self) -> Result<Vec<u8>, ProtocolError> {
        let mut frame = self.kept;
        let length = u32::try_from(frame.len() - 1);
        let length = length.map_err(|_| ProtocolError { what: "a message that is too long", offset: self.offset })?;
        frame[1..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(frame)
    }

    const fn broken(&self, what: &'static str) -> ProtocolError {
        ProtocolError { what, offset: self.offset }
    }

    /// Takes a piece that lies wholly within the current step.
    fn take(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        match self.step {
            Step::Gather(part, missing) => {
                self.kept.extend_from_slice(piece);
                match missing - piece.len() {
                    0 => self.look(part)?,
                    missing => self.step = Step::Gather(part, missing),
                }
            }
            Step::Copy(missing) => {
                self.kept.extend_from_slice(piece);
                self.go_on(missing - piece.len(), Step::Copy);
            }
            Step::Skip(missing) => self.go_on(missing - piece.len(), Step::Skip),
            Step::Prefix(room) => {
                let (text, ends) = piece.strip_suffix(&[0]).map_or((piece, false), |text| (text, true));
                let kept = &text[..text.len().min(room)];
                self.kept.extend_from_slice(kept);
                self.step = Step::Prefix(room - kept.len());
                if ends {
                    self.kept.push(0);
                    self.step = Step::Gather(Part::ContentLength, 4);
                }
            }
            Step::End => {}
        }
        Ok(())
    }

    /// Inside a value; at its end the next one follows.
    fn go_on(&mut self, missing: usize, step: impl FnOnce(usize) -> Step) {
        if missing > 0 {
            self.step = step(missing);
        } else {
            self.next_column();
        }
    }

    fn next_column(&mut self) {
        self.step = match self.columns {
            0 => Step::End,
            _ => Step::Gather(Part::Kind, 1),
        };
        self.columns = self.columns.saturating_sub(1);
    }

    /// Reads the part that is now complete.
    fn look(&mut self, part: Part) -> Result<(), ProtocolError> {
        let last = *self.kept.last().unwrap_or(&0);
        match part {
            Part::Head => {
                self.step = match (self.kept[HEADER_BYTES], last) {
                    (b'w', b'I') => Step::Gather(Part::Insert, INSERT_BYTES),
                    (b'w', b'M') => Step::Gather(Part::Message, MESSAGE_BYTES),
                    // Updates, deletes and truncates are irrelevant for an outbox. What is left of anything else is
                    // not decoded.
                    _ if self.left == 0 => Step::End,
                    _ => Step::Skip(self.left),
                };
            }
            Part::Insert => {
                self.columns = u16::from_be_bytes([self.kept[self.kept.len() - 2], last]);
                self.next_column();
            }
            Part::Kind if matches!(last, b't' | b'b') => self.step = Step::Gather(Part::ValueLength, 4),
            Part::Kind if matches!(last, b'n' | b'u') => {
                self.budget.null();
                self.next_column();
            }
            Part::Kind => return Err(self.broken("an unknown kind of value")),
            Part::ValueLength => {
                let length = self.length()?;
                if self.budget.keeps(length) {
                    self.go_on(length, Step::Copy);
                } else {
                    let kind = self.kept.len() - 5;
                    self.kept[kind] = WITHHELD;
                    self.go_on(length, Step::Skip);
                }
            }
            Part::Message => self.step = Step::Prefix(PREFIX_BYTES),
            Part::ContentLength => {
                let length = self.length()?;
                self.kept[HEAD_BYTES - 1] = LONG_MESSAGE;
                self.go_on(length, Step::Skip);
            }
        }
        Ok(())
    }

    /// The length that is now complete: no more than the rest of the message.
    fn length(&self) -> Result<usize, ProtocolError> {
        let length = self.kept.last_chunk().map(|bytes| i32::from_be_bytes(*bytes));
        let length = length.and_then(|length| usize::try_from(length).ok());
        length.filter(|length| *length <= self.left).ok_or_else(|| self.broken("a value longer than its message"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::relay::decode::pgoutput::{self, Frame, Message, Value};

    fn message(body: &[u8]) -> Vec<u8> {
        let body = [&b"w"[..], &[7; 24], body].concat();
        let length = u32::try_from(body.len() + 4).expect("short");
        [&b"d"[..], &length.to_be_bytes(), &body].concat()
    }

    fn insert(values: &[Value<'_>]) -> Vec<u8> {
        let mut body = b"I\0\0\0\x01N".to_vec();
        body.extend(u16::try_from(values.len()).expect("few").to_be_bytes());
        for value in values {
            let (kind, bytes) = match value {
                Value::Text(bytes) => (b't', bytes),
                Value::Binary(bytes) => (b'b', bytes),
                _ => {
                    body.push(if *value == Value::Null { b'n' } else { b'u' });
                    continue;
                }
            };
            body.push(kind);
            body.extend(u32::try_from(bytes.len()).expect("short").to_be_bytes());
            body.extend_from_slice(bytes);
        }
        message(&body)
    }

    /// The result for a message that arrives in pieces of this size, followed by another message.
    fn skim(message: &[u8], limit: usize, piece: usize) -> Result<Vec<u8>, ProtocolError> {
        let head = Head::read(message, 0).expect("a sound head").expect("a whole head");
        let mut skimmer = Skimmer::new(head, 0, limit);
        let bytes = [message, b"dnext"].concat();
        let mut taken = 0;
        for piece in bytes.chunks(piece) {
            taken += skimmer.feed(piece)?;
            assert!(
                skimmer.kept.len() <= (2 * limit).max(HEAD_BYTES + PREFIX_BYTES) + 5 * 100,
                "{}",
                skimmer.kept.len()
            );
        }
        assert_eq!((taken, skimmer.is_done()), (message.len(), true));
        skimmer.into_frame()
    }

    fn decoded(frame: &[u8]) -> Message<'_> {
        let (message, length) = pgoutput::next_frame(frame).expect("a frame");
        assert_eq!(length, frame.len());
        let Frame::XLogData(message) = message else { panic!("{message:?}") };
        pgoutput::decode(message).expect("a message")
    }

    fn values() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
        prop::collection::vec((0..5_u8, prop::collection::vec(any::<u8>(), 0..60)), 0..12)
    }

    fn value((kind, bytes): &(u8, Vec<u8>)) -> Value<'_> {
        match kind {
            0 => Value::Null,
            1 => Value::Unchanged,
            2 => Value::Text(bytes),
            _ => Value::Binary(bytes),
        }
    }

    proptest! {
        #[test]
        fn case_38_small_values_of_a_large_row_are_kept_wherever_it_is_cut(columns in values(), limit in 30_usize..300) {
            let values: Vec<Value<'_>> = columns.iter().map(value).collect();
            let message = insert(&values);
            let mut budget = RowBudget::new(limit);
            let expected: Vec<Value<'_>> = values
                .iter()
                .map(|value| match value {
                    Value::Text(bytes) | Value::Binary(bytes) if !budget.keeps(bytes.len()) => {
                        Value::Withheld(u32::try_from(bytes.len()).expect("short"))
                    }
                    Value::Null | Value::Unchanged => {
                        budget.null();
                        *value
                    }
                    kept => *kept,
                })
                .collect();
            let whole = skim(&message, limit, message.len());
            for piece in 1..message.len() {
                prop_assert_eq!(&skim(&message, limit, piece), &whole);
            }
            let frame = whole.expect("a frame");
            let Message::Insert { relation: 1, row } = decoded(&frame) else { panic!("no insert") };
            prop_assert_eq!(row.values().collect::<Vec<_>>(), expected);
            prop_assert_eq!(skim(&message, message.len(), 7), Ok(message));
        }

        #[test]
        fn case_38_any_bytes_are_skimmed_or_refused(body in prop::collection::vec(any::<u8>(), 0..80), tag in 0..3_usize, piece in 1_usize..20) {
            let message = message(&[&[b"IMx"[tag]], &body[..]].concat());
            let _ = skim(&message, 60, piece);
        }
    }

    #[test]
    fn case_38_of_a_large_logical_message_its_prefix_and_length_are_kept() {
        let body = |prefix: &[u8], length: u32| {
            [&b"M\x01"[..], &[9; 8], prefix, &[0], &length.to_be_bytes(), &vec![b'x'; length as usize]].concat()
        };
        let large = message(&body(b"outbox", 5_000));
        for piece in [1, 10, 1_000, 6_000] {
            let frame = skim(&large, 100, piece).expect("a frame");
            let expected = Message::LongLogical { transactional: true, prefix: b"outbox", length: 5_000 };
            assert_eq!(decoded(&frame), expected);
        }
        let long_prefix = message(&body(&[b'p'; 3_000], 0));
        let frame = skim(&long_prefix, 100, 11).expect("a frame");
        assert_eq!(
            decoded(&frame),
            Message::LongLogical { transactional: true, prefix: &[b'p'; PREFIX_BYTES], length: 0 }
        );
    }

    #[test]
    fn case_38_updates_are_ignored_and_broken_rows_are_refused() {
        let update = message(&[&b"U"[..], &[1; 500]].concat());
        assert_eq!(decoded(&skim(&update, 100, 13).expect("a frame")), Message::Ignored);
        let broken = |body: &[u8]| skim(&message(body), 100, 3).expect_err("it is broken").what;
        assert_eq!(broken(b"I\0\0\0\x01N\0\x01t\0\0\0\x09abc"), "a value longer than its message");
        assert_eq!(broken(b"I\0\0\0\x01N\0\x01t\0\0\0\x02abc"), "bytes after the end of a message");
        assert_eq!(broken(b"I\0\0\0\x01N\0\x02t\0\0\0\x03abc"), "a message that ends inside a value");
        assert_eq!(broken(b"I\0\0\0\x01N\0\x01W\0\0\0\x03abc"), "an unknown kind of value");
        assert_eq!(broken(b"I\0\0\0\x01N\0\x01t\xFF\0\0\0abc"), "a value longer than its message");
    }
}
