//! `walpost doctor`: checks database, Kafka and permissions, one line each, with the command that fixes it. It changes nothing, and
//! works before anything is set up.
//!
//! - [`report`]: findings and their summary; pure
//! - [`judge`]: judges facts about the server and the slot; pure
//! - [`topics`]: judges topics; pure
//! - `clock`: compares the clocks of the database server and this machine
//! - [`ask_postgres`], [`ask_kafka`]: query the servers; what the relay also checks at start is reported with the same error
//!   ([`SourceError`](crate::source::SourceError))
//!
//! It does not check what can't be checked without side effects: whether Kafka allows a transactional id shows only by taking it, which
//! would fence a running relay.

pub mod report;
mod secrets;
pub mod judge;
pub mod topics;
mod clock;
pub mod ask_postgres;
mod ask_stream;
pub mod ask_kafka;

use crate::config::Config;
use report::Report;

/// Runs all checks.
pub async fn examine(config: &Config) -> Report {
    let mut report = Report::default();
    let (in_postgres, wanted) = ask_postgres::ask(config).await;
    report.findings.extend(in_postgres);
    report.findings.extend(ask_kafka::ask(config, wanted).await);
    report
}
