//! What positions in Kafka are signed and checked with. Without it, anyone with write access to their topic could move a
//! relay back, or past events.

use uuid::Uuid;

use super::keys::{MacKey, Signed};

/// A key that positions are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionKey {
    /// Its row in `outbox.secret`.
    pub id: i64,
    pub key: MacKey,
}

/// The keys of a relay, and the epoch of its positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PositionKeys {
    /// The keys; the first one is used for signing.
    pub keys: Vec<PositionKey>,
    /// The relay has signed its positions before, and no older version has stored one since: an unsigned one is not
    /// its own.
    pub must_be_signed: bool,
    /// Part of each position. It is renewed when the position is forgotten, so that nobody can bring that one back by
    /// writing it again. `None` until the first time.
    pub epoch: Option<Uuid>,
    /// No older version, whose positions have no epoch, has stored one since the last with an epoch.
    pub must_have_epoch: bool,
}

/// Who signed a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// It has no signature.
    Missing,
    /// It has one that none of the keys made.
    Invalid,
    /// The key with this id did.
    By(i64),
}

/// What a stored position bears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PositionProof {
    /// The id of the key that signed it.
    pub signed_by: Option<i64>,
    /// Its epoch is the current one.
    pub is_of_epoch: bool,
}

impl PositionKeys {
    /// The id of the key that signs.
    #[must_use]
    pub fn signing(&self) -> Option<i64> {
        self.keys.first().map(|key| key.id)
    }

    /// Appends a signature to a JSON object, if there is a key. `context` is covered too, but not written.
    pub fn sign(&self, context: &[u8], object: &mut Vec<u8>) {
        if let Some(signing) = self.keys.first() {
            signing.key.sign(context, object);
        }
    }

    /// Which key signed a JSON object.
    #[must_use]
    pub fn signature(&self, context: &[u8], object: &[u8]) -> Signature {
        let Some(signed) = Signed::cut(object) else { return Signature::Missing };
        let signer = self.keys.iter().find(|key| key.key.has_signed(Some(context), &signed));
        signer.map_or(Signature::Invalid, |key| Signature::By(key.id))
    }

    /// Whether a position with this epoch counts.
    #[must_use]
    pub fn accepts(&self, epoch: Option<Uuid>) -> bool {
        epoch == self.epoch || epoch.is_none() && !self.must_have_epoch
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::key;
    use super::*;

    fn keys(ids: &[u8]) -> PositionKeys {
        let keys = ids.iter().map(|id| PositionKey { id: i64::from(*id), key: key(*id) });
        PositionKeys { keys: keys.collect(), ..PositionKeys::default() }
    }

    #[test]
    fn a_signature_is_valid_only_in_its_context() {
        let mut object = b"{\"a\":1}".to_vec();
        keys(&[1]).sign(b"relay/slot", &mut object);
        assert!(serde_json::from_slice::<serde_json::Value>(&object).is_ok());
        assert_eq!(keys(&[2, 1]).signature(b"relay/slot", &object), Signature::By(1));
        assert_eq!(keys(&[2]).signature(b"relay/slot", &object), Signature::Invalid);
        assert_eq!(keys(&[1]).signature(b"relay/slot2", &object), Signature::Invalid);
        assert_eq!(keys(&[1]).signature(b"relay/slot", b"{\"a\":1}"), Signature::Missing);
    }

    #[test]
    fn case_39_positions_of_another_epoch_do_not_count_nor_do_those_without_one_after_the_first() {
        let (now, before) = (Some(Uuid::from_u128(2)), Some(Uuid::from_u128(1)));
        let keys = |epoch, must_have_epoch| PositionKeys { epoch, must_have_epoch, ..PositionKeys::default() };
        assert!(keys(None, true).accepts(None) && keys(now, true).accepts(now));
        assert!(keys(now, false).accepts(None), "an older version was the last to store one");
        assert!(!keys(now, true).accepts(None));
        for must_have_epoch in [false, true] {
            assert!(!keys(now, must_have_epoch).accepts(before) && !keys(None, must_have_epoch).accepts(before));
        }
    }
}
