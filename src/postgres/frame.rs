//! Messages of the frontend/backend protocol, cut out of a stream of bytes.
//!
//! Nothing that arrives can make the decoder panic, or allocate more than has arrived: a length is a claim until its
//! bytes are there.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes before a message's body: the type and the length.
pub(crate) const HEADER_BYTES: usize = 5;

/// The longest message that is taken, in bytes: Postgres' own limit for an allocation (`MaxAllocSize`), past which no
/// server can send one.
const MAX_MESSAGE_BYTES: usize = 1 << 30;

/// Bytes that are not the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message from Postgres: {what} at byte {offset} of the connection")]
pub struct ProtocolError {
    /// What is wrong.
    pub what: &'static str,
    /// Where, in bytes since the connection's first.
    pub offset: u64,
}

/// One message: its type and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The message type.
    pub tag: u8,
    /// What follows type and length.
    pub body: Bytes,
    /// Where the body starts, in bytes since the connection's first.
    pub offset: u64,
}

impl Frame {
    /// A cursor over the body.
    pub(crate) fn reader(&self) -> Body<'_> {
        Body::new(&self.body, self.offset)
    }
}

/// The head of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The message type.
    pub(crate) tag: u8,
    /// Bytes of the whole message, head included; at least [`HEADER_BYTES`].
    pub(crate) total: usize,
}

impl Head {
    /// Reads the head at the start of `bytes`, which stand at `offset` of the connection; `None` if it is not all there.
    pub(crate) fn read(bytes: &[u8], offset: u64) -> Result<Option<Self>, ProtocolError> {
        let Some((head, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        // The length counts itself, so 4 is the smallest.
        match usize::try_from(length) {
            Ok(length) if length < 4 => Err(ProtocolError { what: "a message length below 4", offset: offset + 1 }),
            Ok(length) if length >= MAX_MESSAGE_BYTES => {
                Err(ProtocolError { what: "a message length above 1 GiB", offset: offset + 1 })
            }
            Ok(length) => Ok(Some(Self { tag: head[0], total: length + 1 })),
            Err(_) => Err(ProtocolError { what: "a negative message length", offset: offset + 1 }),
        }
    }
}

/// Cuts frames out of what has been received.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// Where the buffer starts, in bytes since the connection's first.
    offset: u64,
    /// Bytes of a CopyData message that are to come, when a part of it has been taken.
    open: usize,
}

/// What stands at the start of a [`Framer`].
#[derive(Debug)]
pub(crate) enum Data {
    /// What has arrived of a CopyData message's body.
    Piece(Bytes),
    /// Nothing that can be taken yet.
    More,
    /// Another message.
    Other,
}

impl Framer {
    /// Adds bytes that have arrived.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`ProtocolError`] if the next bytes can't be the head of a message. The connection is then of no further use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ProtocolError> {
        let Some(head) = Head::read(&self.buffer, self.offset)? else { return Ok(None) };
        if self.buffer.len() < head.total {
            return Ok(None);
        }
        let mut body = self.buffer.split_to(head.total).freeze();
        body.advance(HEADER_BYTES);
        let frame = Frame { tag: head.tag, body, offset: self.offset + HEADER_BYTES as u64 };
        self.offset += head.total as u64;
        Ok(Some(frame))
    }

    /// What has arrived of a CopyData message. Until its end no other message can be taken.
    ///
    /// # Errors
    /// As [`Self::next_frame`].
    pub(crate) fn next_data(&mut self) -> Result<Data, ProtocolError> {
        if self.is_between() {
            match Head::read(&self.buffer, self.offset)? {
                None => return Ok(Data::More),
                Some(Head { tag: b'd', total }) => {
                    self.buffer.advance(HEADER_BYTES);
                    self.offset += HEADER_BYTES as u64;
                    self.open = total - HEADER_BYTES;
                }
                Some(_) => return Ok(Data::Other),
            }
        } else if self.buffer.is_empty() {
            return Ok(Data::More);
        }
        let piece = self.buffer.split_to(self.open.min(self.buffer.len())).freeze();
        self.open -= piece.len();
        self.offset += piece.len() as u64;
        Ok(Data::Piece(piece))
    }

    /// Whether no message has been taken in part.
    pub(crate) const fn is_between(&self) -> bool {
        self.open == 0
    }

    /// How many bytes wait for the rest of their message.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// What has arrived and is not cut off yet, and where it starts in the connection's bytes.
    pub(crate) fn into_rest(self) -> (Vec<u8>, u64) {
        (self.buffer.to_vec(), self.offset)
    }
}

/// A cursor over a message's body.
#[derive(Clone, Debug)]
pub(crate) struct Body<'a> {
    rest: &'a [u8],
    offset: u64,
}

impl<'a> Body<'a> {
    pub(crate) fn new(bytes: &'a [u8], offset: u64) -> Self {
        Self { rest: bytes, offset }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn fail(&self, what: &'static str) -> ProtocolError {
        ProtocolError { what, offset: self.offset }
    }

    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], ProtocolError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.fail(what))?;
        self.rest = rest;
        self.offset += count as u64;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], ProtocolError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.fail(what))?;
        self.rest = rest;
        self.offset += N as u64;
        Ok(*taken)
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, ProtocolError> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn i16(&mut self, what: &'static str) -> Result<i16, ProtocolError> {
        Ok(i16::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn i32(&mut self, what: &'static str) -> Result<i32, ProtocolError> {
        Ok(i32::from_be_bytes(self.array(what)?))
    }

    /// The bytes up to a NUL, which is taken too.
    pub(crate) fn c_string(&mut self, what: &'static str) -> Result<&'a [u8], ProtocolError> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or_else(|| self.fail(what))?;
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        self.offset += end as u64 + 1;
        Ok(text)
    }

    /// A value with its length before it; a length of -1 is null.
    pub(crate) fn value(&mut self, what: &'static str) -> Result<Option<&'a [u8]>, ProtocolError> {
        match self.i32(what)? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| self.fail(what))?;
                self.take(length, what).map(Some)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::postgres::ServerError;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("test bodies are short");
        [&[tag][..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn lengths_that_no_server_sends_are_errors_with_their_place() {
        for (length, what) in [
            (-1, "a negative message length"),
            (i32::MIN, "a negative message length"),
            (0, "a message length below 4"),
            (3, "a message length below 4"),
            (i32::MAX, "a message length above 1 GiB"),
            (1 << 30, "a message length above 1 GiB"),
        ] {
            let mut framer = Framer::default();
            framer.extend(&message(b'Z', b"I"));
            framer.extend(&[&b"d"[..], &i32::to_be_bytes(length)].concat());
            assert!(framer.next_frame().expect("the first message is sound").is_some());
            assert_eq!(framer.next_frame(), Err(ProtocolError { what, offset: 7 }), "length {length}");
        }
    }

    #[test]
    fn a_length_allocates_nothing_before_its_bytes_arrive() {
        let mut framer = Framer::default();
        framer.extend(&[&b"d"[..], &(900_000_000_i32).to_be_bytes(), b"abc"].concat());
        assert_eq!(framer.next_frame(), Ok(None));
        assert!(framer.buffer.capacity() < 1_000, "{} bytes were allocated for 8", framer.buffer.capacity());
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_frames_or_an_error(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12)) {
            let mut framer = Framer::default();
            let mut arrived = 0;
            'pieces: for piece in &pieces {
                framer.extend(piece);
                arrived += piece.len();
                loop {
                    match framer.next_frame() {
                        Ok(Some(frame)) => {
                            prop_assert!(frame.body.len() <= arrived);
                            let _ = ServerError::parse(&mut frame.reader());
                            let mut body = frame.reader();
                            while let Ok(Some(_)) = body.value("a value") {}
                        }
                        Ok(None) => break,
                        Err(error) => {
                            prop_assert!(error.offset <= arrived as u64);
                            break 'pieces;
                        }
                    }
                }
                prop_assert!(framer.pending() <= arrived);
            }
        }

        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            bodies in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..50)), 0..10),
            cut in 1_usize..64,
        ) {
            let bytes: Vec<u8> = bodies.iter().flat_map(|(tag, body)| message(*tag, body)).collect();
            let mut framer = Framer::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(cut) {
                framer.extend(piece);
                while let Some(frame) = framer.next_frame().expect("sound messages") {
                    seen.push((frame.tag, frame.body.to_vec()));
                }
            }
            prop_assert_eq!(seen, bodies);
            prop_assert_eq!(framer.pending(), 0);
        }
    }
}
