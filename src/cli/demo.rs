//! `walpost demo`: everything on one machine, checked event by event.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::demo::{self, DemoError, Options, Report, View};
use crate::signals::Interrupts;
use crate::venue::{Colour, Named};

/// The log's filter unless the user has one: the demo shows itself what the relay waits for.
pub const LOG_FILTER: &str = "error";

/// Show the whole way from a transaction to a consumer on this machine, and check every event.
///
/// Needs nothing set up: a PostgreSQL and a Kafka are started for it and removed after it. An order service writes orders and
/// events in the same transactions, some of which roll back; the relay publishes the events, and a consumer reads them.
/// Exits with 0 only if no event was lost or out of order. Ctrl-C ends the writing early; a second one ends the check too.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Use this PostgreSQL (wal_level = logical): the demo creates a database of its own there and drops it at its end.
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,

    /// Use this Kafka: the demo creates topics of its own there and deletes them at its end.
    #[arg(long, value_name = "SERVERS")]
    pub kafka: Option<String>,

    /// A property of librdkafka that it takes to reach that Kafka, such as security.protocol=SSL; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = property, requires = "kafka")]
    pub kafka_property: Vec<(String, String)>,

    /// Transactions a second.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub rate: u32,

    /// How long the order service writes: seconds, or such as 90s, 5m; an hour at most.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub duration: Duration,

    /// Report in one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs the demo, shows its progress on stderr and reports to `out`.
///
/// # Errors
/// A [`DemoError`], which knows its exit code: the demo had no result, or not the one that it should have. Or the report could not
/// be written.
pub async fn run(args: &DemoArgs, out: &mut (impl Write + IsTerminal + Send)) -> anyhow::Result<()> {
    let interrupts = Interrupts::listen().context("listen for signals")?;
    let named = Named {
        postgres: args.postgres.clone(),
        kafka: args.kafka.clone(),
        kafka_properties: BTreeMap::from_iter(args.kafka_property.iter().cloned()),
    };
    let options = Options { named, rate: args.rate, duration: args.duration };
    let report = demo::run(&options, &View::stderr(), &interrupts).await?;
    write(&report, args.json, out).context("write the report")?;
    if report.is_success() { Ok(()) } else { Err(DemoError::Failed.into()) }
}

fn write(report: &Report, json: bool, out: &mut (impl Write + IsTerminal)) -> std::io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, report)?;
        writeln!(out)?;
    } else {
        let colour = Colour::of(out);
        write!(out, "\n{}", report.table(colour))?;
    }
    out.flush()
}

/// A property as NAME=VALUE.
pub(super) fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Longest duration: an audit of more events than an hour brings would fill a small machine's memory.
const DURATION_MOST: Duration = Duration::from_secs(3_600);

/// A duration as seconds or minutes.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(number) => (number, 60.0),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let seconds = number.trim().parse::<f64>().map(|number| number * unit);
    match seconds.ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(duration) if !duration.is_zero() && duration <= DURATION_MOST => Ok(duration),
        _ => Err("write a number of seconds, or such as 90s or 5m; an hour at most".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_seconds_or_minutes_up_to_an_hour() {
        let read = |text| duration(text).ok().map(|duration| duration.as_millis());
        assert_eq!(["10", "10s", "0.5s", "2m", "60m"].map(read), [10_000, 10_000, 500, 120_000, 3_600_000].map(Some));
        for bad in ["", "0", "-1", "1h", "61m", "NaN", "inf", "s"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_property_has_a_name_and_may_hold_equals_signs() {
        assert_eq!(property("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert!(property("=c").is_err() && property("a").is_err());
    }
}
