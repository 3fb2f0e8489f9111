//! walpost: a transactional outbox relay for PostgreSQL and Apache Kafka.

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod config;
#[cfg(any(feature = "sqlx", feature = "tokio-postgres"))]
pub mod producer;
#[cfg(feature = "cli")]
pub mod migrations;
#[cfg(feature = "cli")]
pub mod postgres;
#[cfg(feature = "cli")]
pub mod source;
#[cfg(feature = "cli")]
pub mod relay;
#[cfg(feature = "cli")]
pub mod sink;
#[cfg(feature = "cli")]
pub mod contracts;
#[cfg(feature = "cli")]
pub mod demo;
#[cfg(feature = "cli")]
pub mod driver;
#[cfg(feature = "cli")]
pub mod fault;
#[cfg(feature = "cli")]
pub mod telemetry;
#[cfg(feature = "cli")]
pub mod http;
#[cfg(feature = "cli")]
pub mod sandbox;
