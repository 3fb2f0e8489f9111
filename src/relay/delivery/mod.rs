//! What is still owed to Kafka: tickets, commits, and records to send again.

pub mod ledger;
pub mod window;
pub mod retry_queue;
