//! Cuts complete CopyData messages off the received bytes, without looking at rows.

use crate::postgres::{HEADER_BYTES, Head, ProtocolError};
use crate::relay::boundary::Lsn;
use crate::source::boundary::place::StreamPlace;
use crate::source::limits::BEHIND_MICROS;

/// Offset of XLogData's body: after type, start, end and time.
const XLOG_HEADER_BYTES: usize = HEADER_BYTES + 1 + 3 * 8;
/// Offset of XLogData's send time.
const SENT_AT: usize = HEADER_BYTES + 1 + 2 * 8;
/// Offset of Begin's commit time: after the type and the final LSN.
const BEGIN_TIME: usize = XLOG_HEADER_BYTES + 1 + 8;
/// Offset of Commit's end LSN: after the type, the flags and the commit LSN.
const COMMIT_END: usize = XLOG_HEADER_BYTES + 1 + 1 + 8;
/// Offset of a keepalive's reply flag: after the type, the end and the time.
const REPLY_FLAG: usize = HEADER_BYTES + 1 + 2 * 8;

/// What was seen while cutting. Both times are the server's own, so a wrong local clock does no harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FramingState {
    committed_at: Option<i64>,
    sent_at: Option<i64>,
    /// The current position of the stream.
    pub(crate) place: StreamPlace,
    /// A keepalive requests a reply.
    pub(crate) reply_requested: bool,
}

impl FramingState {
    /// Only the start of the stream.
    pub(crate) fn after(start: Lsn) -> Self {
        Self { place: StreamPlace { transaction: None, after: start }, ..Self::default() }
    }

    /// Whether the last row was sent long after its transaction had committed.
    pub(crate) fn is_behind(&self) -> bool {
        match (self.committed_at, self.sent_at) {
            (Some(committed_at), Some(sent_at)) => sent_at.saturating_sub(committed_at) > BEHIND_MICROS,
            _ => false,
        }
    }

    /// Extracts what a complete CopyData message shows.
    pub(crate) fn look(&mut self, message: &[u8]) {
        match message.get(HEADER_BYTES) {
            Some(b'w') => {
                self.sent_at = time(message, SENT_AT).or(self.sent_at);
                match message.get(XLOG_HEADER_BYTES) {
                    Some(b'B') => {
                        self.committed_at = time(message, BEGIN_TIME).or(self.committed_at);
                        self.place.transaction = lsn(message, XLOG_HEADER_BYTES + 1);
                    }
                    Some(b'C') => {
                        self.place =
                            StreamPlace { transaction: None, after: lsn(message, COMMIT_END).unwrap_or_default() };
                    }
                    _ => {}
                }
            }
            Some(b'k') => {
                self.reply_requested |= message.get(REPLY_FLAG) == Some(&1);
                if self.place.transaction.is_none() {
                    self.place.after = lsn(message, HEADER_BYTES + 1).unwrap_or_default().max(self.place.after);
                }
            }
            _ => {}
        }
    }
}

fn lsn(message: &[u8], place: usize) -> Option<Lsn> {
    message.get(place..)?.first_chunk().map(|bytes| Lsn(u64::from_be_bytes(*bytes)))
}

fn time(message: &[u8], place: usize) -> Option<i64> {
    message.get(place..)?.first_chunk().map(|bytes| i64::from_be_bytes(*bytes))
}

/// What is at the start of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Framed {
    /// Length of the complete CopyData messages.
    pub(crate) whole: usize,
    /// What follows them.
    pub(crate) next: Next,
}

/// What follows the complete CopyData messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, or a partial message.
    More,
    /// The start of a CopyData message that is larger than the limit.
    Large(Head),
    /// Another complete message.
    Other(Head),
    /// Not a message.
    Broken(ProtocolError),
}

/// Cuts; `offset` is where `bytes` start in the connection. A CopyData message may have `limit` bytes.
pub(crate) fn frame(bytes: &[u8], offset: u64, limit: usize, seen: &mut FramingState) -> Framed {
    let mut whole = 0;
    loop {
        let rest = &bytes[whole..];
        let next = match Head::read(rest, offset + whole as u64) {
            Err(error) => Next::Broken(error),
            Ok(None) => Next::More,
            Ok(Some(head)) if head.total > limit => match head.tag {
                b'd' => Next::Large(head),
                _ => Next::Broken(ProtocolError { what: "a message that is too long", offset: offset + whole as u64 }),
            },
            Ok(Some(head)) if rest.len() < head.total => Next::More,
            Ok(Some(Head { tag: b'd', total })) => {
                seen.look(&rest[..total]);
                whole += total;
                continue;
            }
            Ok(Some(head)) => Next::Other(head),
        };
        return Framed { whole, next };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::frames::FrameWriter;

    const LIMIT: usize = 1_000;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("test bodies are short");
        [&[tag][..], &length.to_be_bytes(), body].concat()
    }

    fn begin(committed_at: i64, sent_at: i64) -> Vec<u8> {
        let mut writer = FrameWriter { bytes: vec![], commit: Lsn(1), committed_at };
        writer.begin().expect("short");
        writer.bytes[SENT_AT..SENT_AT + 8].copy_from_slice(&sent_at.to_be_bytes());
        writer.bytes
    }

    fn seen(bytes: &[u8]) -> FramingState {
        let mut seen = FramingState::default();
        assert_eq!(frame(bytes, 0, LIMIT, &mut seen).whole, bytes.len());
        seen
    }

    #[test]
    fn being_behind_is_measured_by_the_servers_clock() {
        assert!(!seen(&begin(0, BEHIND_MICROS)).is_behind());
        assert!(seen(&begin(0, BEHIND_MICROS + 1)).is_behind());
        assert!(!seen(&[begin(0, i64::MAX), begin(i64::MIN, 0), begin(5, 6)].concat()).is_behind());
        assert!(!FramingState::default().is_behind());
    }

    #[test]
    fn a_keepalive_that_requests_a_reply_is_detected() {
        let keepalive = |reply| message(b'd', &[&b"k"[..], &[0; 16], &[reply]].concat());
        assert!(seen(&keepalive(1)).reply_requested);
        assert!(!seen(&keepalive(0)).reply_requested);
        assert!(seen(&[keepalive(1), keepalive(0)].concat()).reply_requested);
    }

    #[test]
    fn other_messages_and_nonsense_end_the_cut() {
        let copy = message(b'd', b"x");
        let mut seen = FramingState::default();
        let bytes = [&copy[..], &message(b'c', b"")].concat();
        let done = Framed { whole: copy.len(), next: Next::Other(Head { tag: b'c', total: 5 }) };
        assert_eq!(frame(&bytes, 0, LIMIT, &mut seen), done);
        let bytes = [&copy[..], &[b'd', 255, 0, 0, 0]].concat();
        let error = ProtocolError { what: "a negative message length", offset: 100 + 6 + 1 };
        assert_eq!(frame(&bytes, 100, LIMIT, &mut seen), Framed { whole: copy.len(), next: Next::Broken(error) });
    }

    #[test]
    fn case_38_a_message_above_the_limit_ends_the_cut_with_its_head() {
        let copy = message(b'd', b"x");
        for (tag, total, expected) in [
            (b'd', LIMIT + 1, Next::Large(Head { tag: b'd', total: LIMIT + 1 })),
            (b'd', LIMIT, Next::More),
            (b'E', LIMIT + 1, Next::Broken(ProtocolError { what: "a message that is too long", offset: 6 })),
        ] {
            let length = u32::try_from(total - 1).expect("short").to_be_bytes();
            let bytes = [&copy[..], &[tag], &length].concat();
            assert_eq!(
                frame(&bytes, 0, LIMIT, &mut FramingState::default()),
                Framed { whole: copy.len(), next: expected }
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(frame(&bytes, 0, LIMIT, &mut FramingState::default()).whole <= bytes.len());
        }

        #[test]
        fn a_partial_message_stays(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..6), kept in 0.0..1.0_f64) {
            let messages: Vec<Vec<u8>> = bodies.iter().map(|body| message(b'd', body)).collect();
            let bytes = messages.concat();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a short length")]
            let end = (bytes.len() as f64 * kept) as usize;
            let mut whole = 0;
            for message in &messages {
                if whole + message.len() <= end { whole += message.len() } else { break }
            }
            prop_assert_eq!(frame(&bytes[..end], 0, LIMIT, &mut FramingState::default()), Framed { whole, next: Next::More });
        }
    }
}
