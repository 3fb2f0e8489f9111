//! Where an event goes, and whether it may.

pub mod topic_name;
pub mod destination;
pub mod catalogue;
pub(super) mod payload;
pub(super) mod check;
