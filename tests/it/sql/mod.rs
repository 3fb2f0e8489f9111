//! The SQL surface, on the shared PostgreSQL only.

mod database;
mod emit;
mod emit_bytes;
mod limits;
mod maintain;
mod migrate;
mod producer;
mod roles;
mod schema_version;
