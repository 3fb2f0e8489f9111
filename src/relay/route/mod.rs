//! Where an event goes: schema versions, topics, and what is known of them.

pub mod destination;
pub mod topic_name;
pub mod metadata_cache;
pub mod data_schema;
pub(super) mod payload;
