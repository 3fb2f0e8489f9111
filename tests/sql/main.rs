//! The SQL surface against a real PostgreSQL: `WALPOST_TEST_POSTGRES` (a superuser's URL), or else a cluster of the installed
//! version, made for this run.
#![cfg(all(feature = "cli", feature = "tokio-postgres"))]

mod emit;
mod maintain;
mod migrate;
mod producer;
mod roles;
mod schema_version;
mod support;
