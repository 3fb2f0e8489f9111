//! Keys that tell the relay's own positions from those of others.

use crate::relay::boundary::MacKey;

/// What positions are signed and checked with. Who can write to the topic could else move a relay back, or on past events.
#[derive(Clone, Debug, Default)]
pub struct PositionKeys {
    /// The keys, the one to sign with first.
    pub keys: Vec<MacKey>,
    /// The relay has signed its positions before, and none of an earlier version has stored one since: one without a proof is not its own.
    pub must_be_signed: bool,
}

/// Whose positions are to be told from forged ones.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) keys: PositionKeys,
    pub(super) system_identifier: String,
}
