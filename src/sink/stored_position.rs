//! The position that a relay stores in Kafka: written in the transaction that makes it true, read at the start.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::relay::boundary::{Checkpoint, PositionKeys, PositionProof, Timestamp};

/// The Postgres cluster that a position belongs to. LSNs of another cluster or timeline mean something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub system_identifier: String,
    pub timeline: u32,
}

/// A position as stored in Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPosition {
    /// How far everything is in Kafka.
    pub checkpoint: Checkpoint,
    /// Whose it is.
    pub cluster: Cluster,
    /// The transaction in which it was written, a number of its own: two may carry the same checkpoint, of which only
    /// one is committed. Nil if the value has none.
    pub transaction: Uuid,
    /// The epoch in which it was stored, if there was one.
    pub epoch: Option<Uuid>,
    /// The id of the key that signed it, which proves that a relay of this database wrote it.
    pub signed_by: Option<i64>,
}

/// What the topic has under a relay's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PositionEntry {
    /// No record.
    Nothing,
    /// A null value: somebody decided that the relay starts at the slot's confirmed_flush_lsn.
    Forgotten,
    Position(StoredPosition),
}

impl PositionEntry {
    /// The position, if there is one.
    #[must_use]
    pub const fn position(&self) -> Option<&StoredPosition> {
        match self {
            Self::Position(stored) => Some(stored),
            Self::Nothing | Self::Forgotten => None,
        }
    }
}

/// The record's value.
#[derive(Serialize, Deserialize)]
struct Value {
    position: String,
    /// When the transaction at the position committed, in microseconds since the Unix epoch. Older values have none,
    /// nor has one from before the first event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    committed_at_micros: Option<i64>,
    flush: String,
    #[serde(flatten)]
    cluster: Cluster,
    #[serde(default)]
    transaction: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<Uuid>,
    version: String,
}

impl StoredPosition {
    /// The value under `key`, signed if there is a signing key.
    pub(super) fn encode(&self, key: &str, keys: &PositionKeys) -> Vec<u8> {
        let value = Value {
            position: self.checkpoint.position.to_string(),
            committed_at_micros: self.checkpoint.committed_at.map(|at| at.0),
            flush: self.checkpoint.flush.to_string(),
            cluster: self.cluster.clone(),
            transaction: self.transaction,
            epoch: self.epoch,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut value = serde_json::to_vec(&value).expect("strings and numbers serialize to JSON");
        keys.sign(key.as_bytes(), &mut value);
        value
    }

    /// What is stored now, with these keys.
    pub(super) fn new(checkpoint: Checkpoint, cluster: Cluster, keys: &PositionKeys) -> Self {
        Self { checkpoint, cluster, transaction: Uuid::now_v7(), epoch: keys.epoch, signed_by: keys.signing() }
    }

    /// What it bears, for those who have these keys.
    pub(super) fn proof(&self, keys: &PositionKeys) -> PositionProof {
        PositionProof { signed_by: self.signed_by, is_of_epoch: self.epoch == keys.epoch }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let Value { position, committed_at_micros, flush, cluster, transaction, epoch, .. } =
            serde_json::from_slice(bytes).ok()?;
        let (position, flush) = (position.parse().ok()?, flush.parse().ok()?);
        Some(Self {
            checkpoint: Checkpoint { position, committed_at: committed_at_micros.map(Timestamp), flush },
            cluster,
            transaction,
            epoch,
            signed_by: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::relay::boundary::{Lsn, Position};

    #[test]
    fn a_position_is_json_that_a_person_can_read() {
        let position = Position { commit: Lsn(0x1_0000_00FF), ordinal: 3 };
        let mut stored = StoredPosition {
            checkpoint: Checkpoint { position, committed_at: Some(Timestamp(1_700_000_000_000_001)), flush: Lsn(0x80) },
            cluster: Cluster { system_identifier: "7012".to_owned(), timeline: 2 },
            transaction: Uuid::from_u128(1),
            epoch: Some(Uuid::from_u128(2)),
            signed_by: None,
        };
        let bytes = stored.encode("k", &PositionKeys::default());
        let text = String::from_utf8(bytes.clone()).expect("JSON is text").replace(env!("CARGO_PKG_VERSION"), "V");
        expect![[r#"{"position":"1/FF/3","committed_at_micros":1700000000000001,"flush":"0/80","system_identifier":"7012","timeline":2,"transaction":"00000000-0000-0000-0000-000000000001","epoch":"00000000-0000-0000-0000-000000000002","version":"V"}"#]]
            .assert_eq(&text);
        assert_eq!(StoredPosition::decode(&bytes), Some(stored.clone()));
        let older =
            br#"{"position":"1/FF/3","flush":"0/80","system_identifier":"7012","timeline":2,"version":"0.1.0"}"#;
        stored.checkpoint.committed_at = None;
        stored.transaction = Uuid::nil();
        stored.epoch = None;
        assert_eq!(
            StoredPosition::decode(older),
            Some(stored),
            "a value from before there were commit times, transactions and epochs"
        );
        for bad in [
            &b"{}"[..],
            b"",
            b"null",
            br#"{"position":"x","flush":"0/0","system_identifier":"","timeline":1,"version":""}"#,
        ] {
            assert_eq!(StoredPosition::decode(bad), None);
        }
    }
}
