//! Keys that tell logical messages and positions written by walpost from those written by others.
//!
//! A signature is an HMAC-SHA256 in hexadecimal, the last member of a JSON object. It covers the bytes before it, so
//! nothing has to be serialized again to check it.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{Lsn, Timestamp};

/// What separates the signed bytes from the digits of the signature.
const BEFORE: &[u8] = b",\"proof\":\"";
/// What follows them.
const AFTER: &[u8] = b"\"}";
/// Bytes in a digest.
const DIGEST: usize = 32;
/// Bytes in a block of SHA-256.
const BLOCK: usize = 64;

/// An HMAC-SHA256 key as stored in `outbox.secret`: xored with each of the two pads.
#[derive(Clone, PartialEq, Eq)]
pub struct MacKey {
    inner: [u8; BLOCK],
    outer: [u8; BLOCK],
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey")
    }
}

impl MacKey {
    /// From the two columns; `None` if they have the wrong length.
    #[must_use]
    pub fn new(inner: &[u8], outer: &[u8]) -> Option<Self> {
        Some(Self { inner: inner.try_into().ok()?, outer: outer.try_into().ok()? })
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; DIGEST] {
        let mut inner = Sha256::new_with_prefix(self.inner);
        parts.iter().for_each(|part| inner.update(part));
        Sha256::new_with_prefix(self.outer).chain_update(inner.finalize()).finalize().into()
    }

    /// Appends the signature to a JSON object. `context` is covered too, but not written.
    ///
    /// # Panics
    /// If `object` does not end with a brace.
    pub fn sign(&self, context: &[u8], object: &mut Vec<u8>) {
        assert_eq!(object.pop(), Some(b'}'), "only JSON objects are signed");
        let digest = self.mac(&[&length(context), context, object]);
        object.extend_from_slice(BEFORE);
        object.extend(digest.iter().flat_map(|byte| [hex(byte >> 4), hex(byte & 0xF)]));
        object.extend_from_slice(AFTER);
    }

    /// Whether the signature was made with this key.
    pub(crate) fn has_signed(&self, context: Option<&[u8]>, signed: &Signed<'_>) -> bool {
        let expected = match context {
            None => self.mac(&[signed.body]),
            Some(context) => self.mac(&[&length(context), context, signed.body]),
        };
        // Constant time.
        expected.iter().zip(signed.digest).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

fn length(context: &[u8]) -> [u8; 8] {
    (context.len() as u64).to_be_bytes()
}

fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble)]
}

/// A JSON object split into the signed part and the signature.
pub(crate) struct Signed<'a> {
    body: &'a [u8],
    digest: [u8; DIGEST],
}

impl<'a> Signed<'a> {
    pub(crate) fn cut(object: &'a [u8]) -> Option<Self> {
        let object = object.strip_suffix(AFTER)?;
        let (rest, digits) = object.split_at_checked(object.len().checked_sub(2 * DIGEST)?)?;
        let body = rest.strip_suffix(BEFORE)?;
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let mut digest = [0; DIGEST];
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self { body, digest })
    }
}

/// What logical messages are checked with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageKeys {
    /// Every key that existed when they were read.
    pub keys: Vec<MacKey>,
    /// Messages before this LSN need no signature; `None` if that LSN is not known yet, and then no message needs one.
    pub unsigned_before: Option<Lsn>,
    /// When the keys were read, by the server's clock.
    pub read_at: Timestamp,
    /// Where the WAL ended then.
    pub read_lsn: Lsn,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn key(byte: u8) -> MacKey {
        MacKey::new(&[byte ^ 0x36; BLOCK], &[byte ^ 0x5C; BLOCK]).expect("two blocks")
    }

    pub(crate) fn message(key: &MacKey, body: &str) -> Vec<u8> {
        let digits: String = key.mac(&[body.as_bytes()]).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{body},\"proof\":\"{digits}\"}}").into_bytes()
    }

    #[test]
    fn the_digest_is_the_one_of_rfc_4231() {
        // Test case 2 of RFC 4231 has a key of four bytes: the rest of the block is zero.
        let mut block = [0; BLOCK];
        block[..4].copy_from_slice(b"Jefe");
        let key = MacKey::new(&block.map(|byte| byte ^ 0x36), &block.map(|byte| byte ^ 0x5C)).expect("two blocks");
        let digest = key.mac(&[b"what do ya want ", b"for nothing?"]);
        let shown: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(shown, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
