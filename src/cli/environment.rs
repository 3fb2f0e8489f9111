//! Shared by the demo and the benchmark: server arguments and report output.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::kafka_property::Property;
use crate::lab::environment::Named;
use crate::terminal::Colour;

/// Existing servers to use in place of temporary ones.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Use this PostgreSQL (wal_level = logical); creates a database there and drops it at the end.
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,

    /// Use this Kafka; creates topics there and deletes them at the end.
    #[arg(long, value_name = "SERVERS")]
    pub kafka: Option<String>,

    /// A librdkafka property needed to connect to that Kafka, such as security.protocol=SSL; repeatable.
    #[arg(long, value_name = "NAME=VALUE", value_parser = Property, requires = "kafka")]
    pub kafka_property: Vec<(String, String)>,
}

impl ServerArgs {
    pub(super) fn named(&self) -> Named {
        Named {
            postgres: self.postgres.clone(),
            kafka: self.kafka.clone(),
            kafka_properties: BTreeMap::from_iter(self.kafka_property.iter().cloned()),
        }
    }
}

/// Writes a report as one line of JSON or as a table.
pub(super) fn write<R: Serialize>(
    report: &R,
    json: bool,
    table: impl FnOnce(&R, Colour) -> String,
    out: &mut (impl Write + IsTerminal),
) -> std::io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, report)?;
        writeln!(out)?;
    } else {
        let colour = Colour::of(out);
        write!(out, "\n{}", table(report, colour))?;
    }
    out.flush()
}

/// Longest duration: the audit keeps all events in memory.
const DURATION_MOST: Duration = Duration::from_secs(3_600);

/// Parses a duration in seconds or minutes.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(number) => (number, 60.0),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let seconds = number.trim().parse::<f64>().map(|number| number * unit);
    match seconds.ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(duration) if !duration.is_zero() && duration <= DURATION_MOST => Ok(duration),
        _ => Err("expected a number of seconds, or a duration such as 90s or 5m, at most an hour".to_owned()),
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
}
