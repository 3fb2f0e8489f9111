//! The other upper bound: walpost without Kafka. A relay in a separate process whose sink discards every record.
//!
//! What the sink "acknowledges" is confirmed to the slot, so on any slot but the benchmark's it would lose events: it refuses to run
//! there.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::backlog::{Backlog, drop_slot};
use super::child::Child;
use super::error::BenchError;
use super::relay;
use super::report::RunReport;
use super::stage::Stage;
use super::without_kafka;
use crate::exit::CommandError;
use crate::relay::boundary::{Record, Ticket};
use crate::sink::{Accepted, Closed, Deliveries, SendError, Sink, SinkError};

/// The name of the hidden command for [`run`].
pub(crate) const COMMAND: &str = "bench-null";
/// Time limit for a backlog.
const LIMIT: Duration = Duration::from_secs(3_600);

/// When records arrived, in microseconds since the Unix epoch, for the parent process on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NullReport {
    /// The first record.
    pub first_unix_micros: u64,
    /// The last of the expected records.
    pub last_unix_micros: u64,
}

/// Runs a relay without Kafka, with the configuration of `walpost run`, until this many events have arrived.
///
/// # Errors
/// The slot does not belong to the benchmark ([`BenchError::ForeignSlot`]), or as `walpost run`.
pub(crate) async fn run(
    path: Option<&Path>,
    events: u64,
    interrupts: CancellationToken,
) -> Result<NullReport, CommandError> {
    let config = without_kafka::config(path)?;
    let report = Arc::new(Mutex::new(NullReport::default()));
    let done = interrupts.child_token();
    let sink = NullSink {
        accepted: Accepted::default(),
        seen: 0,
        expected: events,
        report: Arc::clone(&report),
        done: done.clone(),
    };
    without_kafka::run(sink, &config, done).await?;
    let report = *report.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(report)
}

/// Reads the backlog once, in a separate process.
pub(super) async fn measure(stage: &Stage, backlog: &Backlog) -> Result<RunReport, BenchError> {
    let slot = backlog.slot(stage).await?;
    let settings = stage.relay_settings(&slot, backlog.content.payload, None);
    let mut command: Command = relay::command(&settings)?;
    command.arg(COMMAND).arg("--events").arg(backlog.events.to_string());
    let clock = SystemTime::now();
    let child = Child::spawn("walpost without Kafka", command, &stage.workspace)?;
    let started = child.started;
    let ended = child.end(LIMIT).await?;
    drop_slot(stage, &slot).await?;
    let report: NullReport = serde_json::from_str(&ended.printed).unwrap_or_default();
    let since_start = |micros: u64| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
        started + at.duration_since(clock).unwrap_or_default()
    };
    let (first, last) = (since_start(report.first_unix_micros), since_start(report.last_unix_micros));
    Ok(RunReport::new(backlog.events, backlog.events, started, Some(first), last, &ended))
}

/// Accepts and discards everything.
struct NullSink {
    /// Acknowledgements since the last call.
    accepted: Accepted,
    seen: u64,
    expected: u64,
    report: Arc<Mutex<NullReport>>,
    done: CancellationToken,
}

impl NullSink {
    fn note(&self, note: impl FnOnce(&mut NullReport, u64)) {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX);
        note(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner), micros);
    }
}

impl Sink for NullSink {
    fn send(&mut self, ticket: Ticket, _record: &Record<'_>) -> Result<(), SendError> {
        self.accepted.push(ticket);
        self.seen += 1;
        if self.seen == 1 {
            self.note(|report, micros| report.first_unix_micros = micros);
        }
        if self.seen == self.expected {
            self.note(|report, micros| report.last_unix_micros = micros);
            self.done.cancel();
        }
        Ok(())
    }

    async fn deliveries(&mut self, into: &mut Deliveries) -> Result<(), SinkError> {
        self.accepted.deliveries(into).await;
        Ok(())
    }

    async fn close(self, _timeout: Duration) -> Closed {
        self.accepted.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_acknowledges_everything_and_ends_after_the_last() {
        let (report, done) = (Arc::new(Mutex::new(NullReport::default())), CancellationToken::new());
        let mut sink = NullSink {
            accepted: Accepted::default(),
            seen: 0,
            expected: 2,
            report: Arc::clone(&report),
            done: done.clone(),
        };
        let record = Record { topic: "t", key: None, value: None, headers: &[], timestamp_millis: 0 };
        sink.send(Ticket(0), &record).expect("it accepts everything");
        assert!(!done.is_cancelled());
        sink.send(Ticket(1), &record).expect("it accepts everything");
        assert!(done.is_cancelled());
        let mut deliveries = Deliveries::default();
        sink.deliveries(&mut deliveries).await.expect("it never fails");
        assert_eq!(deliveries.acked, [Ticket(0), Ticket(1)]);
        let report = *report.lock().expect("no test panicked");
        assert!(0 < report.first_unix_micros && report.first_unix_micros <= report.last_unix_micros);
    }
}
