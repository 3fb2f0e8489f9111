//! Signatures that prove that `outbox.emit_message` wrote a logical message, or a relay of this database a position.
//!
//! A signature is an HMAC-SHA256 in hexadecimal, the last member of a JSON object. It covers the bytes before it, so
//! nothing has to be serialized again to check it.

use crate::relay::boundary::{Lsn, MessageKeys, Signed, Timestamp};
use crate::relay::limits::SETTLING_MICROS;

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// `outbox.emit_message`.
    Emit,
    /// Somebody else.
    Unknown,
    /// The keys have to be read again to tell.
    KeysAreOld,
}

impl MessageKeys {
    /// Who wrote the message at `lsn`, in the transaction that commits at `commit`.
    ///
    /// The key that signed it was committed before that transaction, or with it. So keys read later are conclusive,
    /// and one read settles every forgery that is in the WAL by then.
    pub(crate) fn author(&self, content: &[u8], lsn: Lsn, commit: Lsn, committed_at: Timestamp) -> Author {
        let is_newer = commit >= self.read_lsn;
        match (Signed::cut(content), self.unsigned_before) {
            (Some(signed), _) if self.keys.iter().any(|key| key.has_signed(None, &signed)) => Author::Emit,
            (Some(_), _) if is_newer => Author::KeysAreOld,
            (None, Some(before)) if lsn < before => Author::Emit,
            (None, None) if is_newer && committed_at.0 > self.read_at.0.saturating_add(SETTLING_MICROS) => {
                Author::KeysAreOld
            }
            (None, None) => Author::Emit,
            (Some(_), _) | (None, Some(_)) => Author::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::boundary::keys::tests::{key, message};

    #[test]
    fn case_40_only_a_signed_message_is_an_event() {
        let keys = MessageKeys {
            keys: vec![key(1), key(2)],
            unsigned_before: Some(Lsn(100)),
            read_at: Timestamp(0),
            read_lsn: Lsn(1_000),
        };
        let author = |content: &[u8], lsn| keys.author(content, Lsn(lsn), Lsn(lsn + 10), Timestamp(0));
        for known in [1, 2] {
            assert_eq!(author(&message(&key(known), "{\"id\":\"1\""), 500), Author::Emit);
        }
        let good = message(&key(1), "{\"id\":\"1\"");
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert_eq!(author(&changed, 500), Author::Unknown, "byte {at}");
            assert_eq!(author(&good[..at], 500), Author::Unknown, "{at} bytes");
        }
        assert_eq!(author(&message(&key(3), "{\"id\":\"1\""), 50), Author::Unknown, "a wrong proof is never of before");
        assert_eq!(author(b"{\"id\":\"1\"}", 99), Author::Emit);
        assert_eq!(author(b"{\"id\":\"1\"}", 100), Author::Unknown);
    }

    #[test]
    fn case_40_keys_are_read_again_for_what_a_newer_key_can_have_signed_whatever_the_clock_says() {
        let mut keys = MessageKeys { keys: vec![key(1)], read_lsn: Lsn(1_000), ..MessageKeys::default() };
        let other = message(&key(2), "{");
        let author = |keys: &MessageKeys, content: &[u8], commit, at| keys.author(content, Lsn(500), Lsn(commit), at);
        let (early, late) = (Timestamp(0), Timestamp(SETTLING_MICROS + 1));
        for at in [early, late] {
            assert_eq!(author(&keys, &other, 1_000, at), Author::KeysAreOld, "the key came with the same commit");
            assert_eq!(author(&keys, &other, 999, at), Author::Unknown);
            assert_eq!(author(&keys, &message(&key(1), "{"), 1_000, at), Author::Emit);
        }
        // While it is not settled from which LSN messages need a signature.
        assert_eq!(author(&keys, b"{}", 1_000, early), Author::Emit);
        assert_eq!(author(&keys, b"{}", 999, late), Author::Emit);
        assert_eq!(author(&keys, b"{}", 1_000, late), Author::KeysAreOld);
        // Once it is, no key makes one an event.
        keys.unsigned_before = Some(Lsn(0));
        assert_eq!(author(&keys, b"{}", 1_000, late), Author::Unknown);
        // One read settles everything in the WAL.
        keys.read_lsn = Lsn(2_000);
        assert!((1_000..2_000).all(|commit| author(&keys, &other, commit, late) == Author::Unknown));
    }
}
