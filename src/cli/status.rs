//! `walpost status`: the slot as the database reports it, and the relay as its `/status` does.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::config::{Config, process_environment};
use crate::driver::source_options;
use crate::exit::{CommandError, Context};
use crate::fault::{Fault, chain};
use crate::http;
use crate::source::{self, SlotReport};
use crate::terminal::{grouped, visible};

/// Default log filter. Failures are reported when the command ends.
pub(super) const LOG_FILTER: &str = "error";

/// How long to wait for the relay's `/status`.
const ANSWER: Duration = Duration::from_secs(2);

/// The refresh interval of `--watch`.
const INTERVAL: Duration = Duration::from_secs(1);

/// Show the state of the slot and the relay.
#[derive(Args, Clone, Copy, Debug)]
pub struct StatusArgs {
    /// Refresh every second until interrupted.
    #[arg(long)]
    pub watch: bool,

    /// Print one line of JSON per report.
    #[arg(long)]
    pub json: bool,
}

/// One report.
#[derive(Serialize)]
struct Report {
    /// The slot; null if the database can't be asked.
    slot: Option<SlotReport>,
    /// Why the database can't be asked.
    database_unreachable: Option<String>,
    /// The relay's `/status`; null if it can't be reached.
    relay: Option<Value>,
    /// Why the relay can't be reached.
    relay_unreachable: Option<String>,
}

/// Reports once, or with `--watch` every second, to `out`.
///
/// # Errors
/// A [`Fault`] if the database can't be asked, after a report of what the relay says about itself. An unreachable relay is
/// part of the report.
pub(super) async fn run(
    args: &StatusArgs,
    path: Option<&Path>,
    out: &mut (impl Write + Send),
) -> Result<(), CommandError> {
    let config = Config::load(path, process_environment())?;
    let redraws = args.watch && !args.json && std::io::stdout().is_terminal();
    loop {
        let (report, outcome) = look(&config).await;
        let text = if args.json { serde_json::to_string(&report).context("write JSON")? } else { text(&report) };
        // ANSI: move the cursor to the top and clear the screen.
        let clear = if redraws { "\x1b[H\x1b[J" } else { "" };
        writeln!(out, "{clear}{text}").and_then(|()| out.flush()).context("write the report")?;
        if !args.watch {
            return Ok(outcome?);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn look(config: &Config) -> (Report, Result<(), Fault>) {
    let options = source_options(config);
    let (slot, (relay, relay_unreachable)) = tokio::join!(source::report(&options), ask_relay(config));
    let (slot, database_unreachable, outcome) = match slot {
        Ok(slot) => (Some(slot), None, Ok(())),
        Err(error) => (None, Some(chain(&error)), Err(error.into())),
    };
    (Report { slot, database_unreachable, relay, relay_unreachable }, outcome)
}

/// What the relay's `/status` says, or why it says nothing.
async fn ask_relay(config: &Config) -> (Option<Value>, Option<String>) {
    match config.http.listen {
        None => (None, Some("[http] listen is off".to_owned())),
        Some(address) => match ask(address).await {
            Ok(status) => (Some(status), None),
            Err(reason) => (None, Some(format!("no answer at {address}: {reason}"))),
        },
    }
}

async fn ask(address: SocketAddr) -> Result<Value, String> {
    let answer = http::get(http::reachable(address), "/status", ANSWER).await;
    let answer = answer.map_err(|error| chain(&error))?;
    if !answer.status().is_success() {
        return Err(format!("HTTP status {}", answer.status()));
    }
    serde_json::from_slice(answer.body()).map_err(|error| format!("not a status: {error}"))
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let slot = match &report.slot {
        Some(slot) => slot_lines(slot),
        None => {
            let reason = report.database_unreachable.as_deref().unwrap_or_default();
            vec![("slot", format!("unknown: the database can't be asked: {reason}"))]
        }
    };
    for (name, value) in slot.into_iter().chain(relay_lines(report)) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<16}{}", visible(&value));
    }
    text.truncate(text.trim_end().len());
    text
}

fn slot_lines(report: &SlotReport) -> Vec<(&'static str, String)> {
    let mut lines = vec![("slot", format!("{} in database {}", report.slot, report.database))];
    match &report.stands {
        None => lines.push(("", "does not exist".to_owned())),
        Some(stands) => {
            let lsn = stands.confirmed_flush_lsn.as_deref().unwrap_or("unknown");
            let lag = stands.lag_bytes.map(|bytes| format!(", {} bytes behind", grouped(bytes))).unwrap_or_default();
            lines.push(("position", format!("{lsn} of {}{lag}", report.wal_end_lsn)));
            let kept = stands
                .retained_wal_bytes
                .map_or_else(|| "none".to_owned(), |bytes| format!("{} bytes", grouped(bytes)));
            let left = match stands.safe_wal_bytes {
                Some(left) => {
                    format!(", {} bytes before it may be invalidated", grouped(u64::try_from(left).unwrap_or(0)))
                }
                None => String::new(),
            };
            let state = stands.invalidation.as_deref().or(stands.wal_status.as_deref()).unwrap_or("unknown");
            lines.push(("retained wal", format!("{kept} ({state}){left}")));
            let held_by = match (stands.active_pid, &stands.held_by) {
                (Some(pid), Some(name)) => format!("{name} (process {pid})"),
                (Some(pid), None) => format!("process {pid}"),
                (None, _) => "no process".to_owned(),
            };
            lines.push(("held by", held_by));
        }
    }
    if let Some(noted) = &report.noted {
        lines.push(match (&noted.published_before, &noted.published_before_lsn) {
            _ if noted.backfill_pending => ("published", "initial backfill not finished".to_owned()),
            (Some(at), Some(lsn)) => ("published", format!("everything before {at} ({lsn})")),
            _ => ("noted", "no progress noted yet".to_owned()),
        });
    }
    lines
}

fn relay_lines(report: &Report) -> Vec<(&'static str, String)> {
    let Some(relay) = &report.relay else {
        return vec![("relay", report.relay_unreachable.clone().unwrap_or_default())];
    };
    let word = |key: &str| relay[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| grouped(relay[key].as_u64().unwrap_or_default());
    let state = match (relay["ready"].as_bool(), relay["standby"].as_bool()) {
        (_, Some(true)) => "standby".to_owned(),
        (Some(true), _) => "ready".to_owned(),
        _ => {
            let reasons = relay["not_ready"].as_array().into_iter().flatten().filter_map(Value::as_str);
            format!("not ready: {}", reasons.collect::<Vec<_>>().join("; "))
        }
    };
    let mut lines = vec![
        ("relay", format!("{} {}, {}, {state}", word("relay"), word("version"), word("delivery"))),
        ("last event", word("position")),
        ("lag", lag(relay)),
        ("in flight", format!("{} records, {} bytes", number("in_flight_records"), number("in_flight_bytes"))),
        ("events", number("events")),
    ];
    let dead_letters = relay["dead_letters"].as_object().into_iter().flatten();
    let dead_letters: Vec<_> =
        dead_letters.map(|(code, count)| format!("{code} {}", grouped(count.as_u64().unwrap_or_default()))).collect();
    lines.push(("dead letters", if dead_letters.is_empty() { "0".to_owned() } else { dead_letters.join(", ") }));
    if let Some(error) = relay["last_error"]["message"].as_str() {
        lines.push(("last error", error.to_owned()));
    }
    lines
}

fn lag(relay: &Value) -> String {
    let seconds = relay["lag_seconds"].as_f64().map(|seconds| format!("{seconds:.1} s"));
    let bytes = relay["lag_bytes"].as_u64().map(|bytes| format!("{} bytes", grouped(bytes)));
    let known: Vec<String> = [seconds, bytes].into_iter().flatten().collect();
    if known.is_empty() { "unknown".to_owned() } else { known.join(", ") }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;
    use crate::source::{NotedReport, SlotStanding};

    #[test]
    fn a_report_has_one_line_per_fact() {
        let stands = SlotStanding {
            confirmed_flush_lsn: Some("0/10".to_owned()),
            lag_bytes: Some(4096),
            retained_wal_bytes: Some(16_777_216),
            safe_wal_bytes: Some(1_000_000),
            wal_status: Some("reserved".to_owned()),
            invalidation: None,
            active_pid: Some(7),
            held_by: Some("walpost walpost".to_owned()),
            failover: true,
        };
        let noted = NotedReport {
            backfill_pending: false,
            published_before_lsn: Some("0/8".to_owned()),
            published_before: Some("2026-11-21 20:00:00+00".to_owned()),
            confirm_limit_lsn: None,
        };
        let slot = SlotReport {
            slot: "walpost".to_owned(),
            database: "shop".to_owned(),
            wal_end_lsn: "0/1010".to_owned(),
            stands: Some(stands),
            noted: Some(noted),
        };
        let relay = json!({
            "relay": "walpost", "version": "0.1.0", "delivery": "at-least-once", "ready": false, "standby": false,
            "not_ready": ["not connected to Kafka"], "position": "0/8/1", "lag_seconds": 1.25, "lag_bytes": 4096,
            "in_flight_records": 12, "in_flight_bytes": 3400, "events": 1_000_000, "dead_letters": {"too_large": 2},
            "last_error": {"message": "connection lost", "at_unix_millis": 1},
        });
        let report = Report {
            slot: Some(slot.clone()),
            database_unreachable: None,
            relay: Some(relay.clone()),
            relay_unreachable: None,
        };
        expect![[r"
            slot            walpost in database shop
            position        0/10 of 0/1010, 4,096 bytes behind
            retained wal    16,777,216 bytes (reserved), 1,000,000 bytes before it may be invalidated
            held by         walpost walpost (process 7)
            published       everything before 2026-11-21 20:00:00+00 (0/8)
            relay           walpost 0.1.0, at-least-once, not ready: not connected to Kafka
            last event      0/8/1
            lag             1.2 s, 4,096 bytes
            in flight       12 records, 3,400 bytes
            events          1,000,000
            dead letters    too_large 2
            last error      connection lost"]]
        .assert_eq(&text(&report));
        let none = SlotReport { stands: None, noted: None, ..slot };
        let report = Report {
            slot: Some(none),
            database_unreachable: None,
            relay: None,
            relay_unreachable: Some("no answer".to_owned()),
        };
        expect![[r"
            slot            walpost in database shop
                            does not exist
            relay           no answer"]]
        .assert_eq(&text(&report));

        let away = json!({
            "relay": "walpost", "version": "0.1.0", "delivery": "at-least-once", "ready": false, "standby": false,
            "not_ready": ["not connected to Postgres: closed"], "position": "0/8/1", "lag_seconds": null,
            "lag_bytes": null, "in_flight_records": 0, "in_flight_bytes": 0, "events": 7, "dead_letters": {},
        });
        let report = Report {
            slot: None,
            database_unreachable: Some("cannot reach Postgres at db:5432".to_owned()),
            relay: Some(away),
            relay_unreachable: None,
        };
        expect![[r"
            slot            unknown: the database can't be asked: cannot reach Postgres at db:5432
            relay           walpost 0.1.0, at-least-once, not ready: not connected to Postgres: closed
            last event      0/8/1
            lag             unknown
            in flight       0 records, 0 bytes
            events          7
            dead letters    0"]]
        .assert_eq(&text(&report));
    }
}
