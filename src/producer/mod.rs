//! What services use: an event in the transaction whose outcome it tells.
//!
//! [`Event`] says what is to be published; [`sqlx::emit`] and [`tokio_postgres::emit`] write it with one round trip, and
//! `emit_batch` many of them with one. `emit_message` does the same through the write-ahead log alone, with no row in a table.
//! All call the SQL functions of the same names (`migrations/0003_emit.sql`), so the role needs no right but to call them.
//!
//! An emit costs the server about 1.2 times the CPU of a bare insert of the same row, and no more write-ahead log; the figures and
//! how they were taken are in `migrations/0003_emit.sql`.
//!
//! A service depends on this module alone with `default-features = false` and the feature `sqlx` or `tokio-postgres`. With the feature
//! `check` there is `Contract` too, which checks a payload before it is emitted as the relay does before it is published.
//!
//! Nothing is published if the transaction rolls back. An event that is refused fails its transaction, as any error in
//! PostgreSQL does.

#[cfg(feature = "check")]
mod contract;
mod error;
mod event;
mod statement;

#[cfg(feature = "sqlx")]
pub mod sqlx;
#[cfg(feature = "tokio-postgres")]
pub mod tokio_postgres;

#[cfg(feature = "check")]
pub use self::contract::{Contract, ContractError};
pub use self::error::EmitError;
pub use self::event::Event;
