//! Where an event goes: schema versions, topics, and what is known of them.

pub mod topic_name;
pub mod destination;
pub mod data_schema;
pub mod catalogue;
pub(super) mod payload;
