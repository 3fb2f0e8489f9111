//! `walpost doctor`: checks database, Kafka and permissions, one line each, with the command that fixes it. It changes nothing, and
//! works before anything is set up.
//!
//! - [`report`]: findings and their summary; pure
//! - [`judge`]: judges facts about the server and the slot; pure
//! - [`topics`], [`creation`]: judge topics that exist, and whether missing ones can be created; pure
//! - `clock`: compares the clocks of the database server and this machine
//! - [`ask_postgres`], [`ask_kafka`], [`ask_http`]: query the servers, by the functions that the relay calls at its start, so that
//!   a start refuses nothing that was found well, and with the same errors ([`SourceError`](crate::source::SourceError),
//!   [`Fault`](crate::fault::Fault))
//!
//! It does not check what can't be checked without side effects: whether Kafka allows a transactional id shows only by taking it, which
//! would fence a running relay; and what shows only in the WAL that the slot has yet to send, such as rows from a time without a
//! publication.

pub(crate) mod ask_postgres;
mod ask_stream;
mod slot_facts;
mod clock;
mod secrets;
pub(crate) mod ask_kafka;
pub(crate) mod ask_http;
pub(crate) mod judge;
pub(crate) mod topics;
pub(crate) mod creation;
pub(crate) mod report;

use crate::config::Config;
use report::DoctorReport;

/// Runs all checks.
pub(crate) async fn examine(config: &Config) -> DoctorReport {
    let mut report = DoctorReport::default();
    let (in_postgres, wanted, begun) = ask_postgres::ask(config).await;
    report.findings.extend(in_postgres);
    report.findings.extend(ask_kafka::ask(config, wanted, begun).await);
    report.findings.extend(ask_http::ask(config).await);
    report
}
