//! `walpost doctor`: checks database, Kafka and permissions, and says how to fix what is wrong.

use std::io::{IsTerminal, Write};
use std::path::Path;

use clap::Args;

use crate::config::{Config, process_environment};
use crate::exit::{self, CommandError, Context, EndsCommand};
use crate::ops::doctor;
use crate::ops::doctor::report::{DoctorReport, Severity, failure, ok};
use crate::terminal::Colour;

/// Default log filter. Failures are part of the report.
pub(super) const LOG_FILTER: &str = "off";

/// Check database, Kafka and permissions; changes nothing.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Checks failed, so the relay would not work: how many.
#[derive(Debug, thiserror::Error)]
#[error("{0} of the checks failed; the report says how to fix each")]
pub(super) struct Unwell(usize);

impl EndsCommand for Unwell {
    fn exit_code(&self) -> u8 {
        exit::UNAVAILABLE
    }
}

/// Runs all checks and reports to `out`. `path` is the configuration file given with `--config`.
///
/// # Errors
/// The configuration has mistakes; [`Unwell`] if a check fails; or writing the report failed.
pub(super) async fn run(
    args: &DoctorArgs,
    path: Option<&Path>,
    out: &mut (impl Write + IsTerminal),
) -> Result<(), CommandError> {
    let config = match Config::load(path, process_environment()) {
        Ok(config) => config,
        Err(errors) => {
            let findings = errors.0.iter().map(|error| failure("configuration", error.to_string())).collect();
            write(&DoctorReport { findings }, args.json, out)?;
            return Err(errors.into());
        }
    };
    let mut report = doctor::examine(&config).await;
    report.findings.insert(0, ok("configuration", "valid"));
    write(&report, args.json, out)?;
    match report.count(Severity::Failure) {
        0 => Ok(()),
        failures => Err(Unwell(failures).into()),
    }
}

fn write(report: &DoctorReport, as_json: bool, out: &mut (impl Write + IsTerminal)) -> Result<(), CommandError> {
    let colour = Colour::of(out);
    let text = if as_json {
        let mut line = serde_json::to_string(report).context("write the report")?;
        line.push('\n');
        line
    } else {
        report.text(|verdict, word| {
            let code = match verdict {
                Severity::Ok => Colour::GREEN,
                Severity::Warning => Colour::BOLD,
                Severity::Failure => Colour::RED,
            };
            colour.paint(code, word)
        })
    };
    super::write(out, &text)
}
