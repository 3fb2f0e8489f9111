//! Keys that tell the relay's own positions from others.

use crate::relay::boundary::MacKey;

/// Keys to sign and check positions with. Without them, anyone with write access to the topic could move a relay
/// back, or past events.
#[derive(Clone, Debug, Default)]
pub struct PositionKeys {
    /// The keys; the first one is used for signing.
    pub keys: Vec<MacKey>,
    /// The relay has signed its positions before, and no older version has stored one since: an unsigned one is not
    /// its own.
    pub must_be_signed: bool,
}

/// Whose positions to tell from forged ones.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) keys: PositionKeys,
    pub(super) system_identifier: String,
}
