//! `walpost doctor`: everything that a first run can trip over, a line each, with the command that mends it. It changes nothing, and
//! works with nothing set up yet.
//!
//! - [`report`]: a finding, and what all of them come to; pure
//! - [`judge`]: what is found of the server and the slot, as findings; pure
//! - [`topics`]: the same for topics; pure
//! - `clock`: the clocks of the two machines
//! - [`ask_postgres`], [`ask_kafka`]: ask; what the relay's start checks is asked in its words
//!   ([`SourceError`](crate::source::SourceError))
//!
//! What can't be told without doing it is not claimed: whether Kafka allows a transactional id shows only when it is taken, which would
//! fence a running relay.

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

/// Looks at everything.
pub async fn examine(config: &Config) -> Report {
    let mut report = Report::default();
    let (in_postgres, wanted) = ask_postgres::ask(config).await;
    report.findings.extend(in_postgres);
    report.findings.extend(ask_kafka::ask(config, wanted).await);
    report
}
