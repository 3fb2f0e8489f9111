//! walpost: a transactional outbox relay for PostgreSQL and Apache Kafka.

#[cfg(feature = "cli")]
pub mod relay;
#[cfg(feature = "cli")]
pub mod sink;
