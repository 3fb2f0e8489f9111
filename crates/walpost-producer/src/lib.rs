//! Emit events to the outbox of a PostgreSQL database, in the transaction that they are about. walpost, the relay, publishes them to
//! Apache Kafka once that transaction has committed.
//!
//! ```toml
//! walpost-producer = { version = "0.1", features = ["sqlx"] }
//! ```
//!
//! | feature | what it adds |
//! |---|---|
//! | `sqlx` | [`sqlx::emit`], `emit_batch`, `emit_bytes` and `emit_message` in transactions of sqlx |
//! | `tokio-postgres` | [`tokio_postgres::emit`], `emit_batch`, `emit_bytes` and `emit_message` in transactions of tokio-postgres |
//! | `check` | [`schema`] and, with a client, [`Contract`]: checks payloads before they are emitted, with the relay's code |
//!
//! An [`Event`] describes what to publish. `emit` writes it in one round trip, `emit_batch` writes many in one, and `emit_bytes` writes
//! a payload that is not JSON. `emit_message` writes only to the write-ahead log, without a table row. All of them call SQL functions
//! (`migrations/0003_emit.sql`), so the role needs no privileges other than to execute these.
//!
//! An emit costs the server about 1.2 times the CPU of a bare insert of the same row, and no more write-ahead log; see
//! `migrations/0003_emit.sql` for the figures and how they were measured.
//!
//! Nothing is published if the transaction rolls back. A refused event fails its transaction, like any PostgreSQL error.

#![warn(missing_docs)]

#[cfg(feature = "check")]
pub mod schema;

#[cfg(any(feature = "sqlx", feature = "tokio-postgres"))]
mod event;
#[cfg(all(feature = "check", any(feature = "sqlx", feature = "tokio-postgres")))]
mod contract;
#[cfg(any(feature = "sqlx", feature = "tokio-postgres"))]
mod error;
#[cfg(any(feature = "sqlx", feature = "tokio-postgres"))]
mod statement;
#[cfg(feature = "sqlx")]
pub mod sqlx;
#[cfg(feature = "tokio-postgres")]
pub mod tokio_postgres;

#[cfg(all(feature = "check", any(feature = "sqlx", feature = "tokio-postgres")))]
pub use self::contract::{Contract, ContractError};
#[cfg(any(feature = "sqlx", feature = "tokio-postgres"))]
pub use self::error::EmitError;
#[cfg(any(feature = "sqlx", feature = "tokio-postgres"))]
pub use self::event::Event;
