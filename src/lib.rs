//! walpost: a transactional outbox relay for PostgreSQL and Apache Kafka.

#[cfg(feature = "cli")]
pub mod config;
#[cfg(feature = "cli")]
pub mod relay;
