//! What distinguishes a relay's own positions from forged ones.

use crate::relay::boundary::PositionKeys;

/// What a position is checked with.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) keys: PositionKeys,
    /// A position of another cluster is not checked: that it is one is an error of its own.
    pub(super) system_identifier: String,
}
