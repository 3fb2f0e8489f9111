//! What Kafka still owes: tickets, commits, and records to send again.

pub mod ledger;
pub mod retry_queue;
pub mod back_off;
