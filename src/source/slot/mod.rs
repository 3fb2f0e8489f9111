//! The slot: its state, who may stream from it, and what operators do to it.

pub(super) mod lock;
pub(super) mod heartbeat;
pub(super) mod lease;
pub(super) mod inspect;
pub(super) mod release;
pub(super) mod slot_copy;
pub(super) mod advance;
pub(super) mod synchronous;
pub(super) mod report;
pub(super) mod slot_admin;
