//! The Kafka client: its settings, its callbacks, and the lifetime of a producer.

pub(super) mod compression;
pub(super) mod properties;
pub(super) mod options;
pub(super) mod partition;
pub(super) mod connection;
pub(super) mod reachability;
pub(super) mod error_code;
pub(super) mod context;
pub(super) mod native;
pub(super) mod message;
pub(super) mod flush;
pub(super) mod in_flight;
pub(super) mod routes;
pub(super) mod partition_load;
pub(super) mod gathering;
pub(super) mod warmup;
pub(super) mod producer_client;
pub(super) mod topic_reader;
pub(super) mod authorized;
