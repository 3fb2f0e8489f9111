//! The upper bound: pg_recvlogical reads a backlog and discards it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::backlog::{Backlog, drop_slot};
use super::child::Child;
use super::error::BenchError;
use super::report::RunReport;
use super::stage::Stage;

/// Time limit for a backlog.
const LIMIT: Duration = Duration::from_secs(3_600);

/// Reads the backlog once.
pub(super) async fn run(program: &Path, stage: &Stage, backlog: &Backlog) -> Result<RunReport, BenchError> {
    let slot = backlog.slot(stage).await?;
    let mut url = stage.database.url.clone();
    let mut command = Command::new(program);
    if let Some(password) = url.password() {
        // Arguments are visible to everyone on this machine.
        command.env("PGPASSWORD", percent_decoded(password));
        url.set_password(None).expect("a URL with a password can do without");
    }
    command.arg("--dbname").arg(url.as_str()).args(["--slot", &slot, "--start", "--no-loop"]);
    command.args(["--endpos", &backlog.end, "--file", "/dev/null"]);
    // With the same options as the relay.
    let publication = format!("publication_names={}", backlog.content.payload.publication());
    for option in ["proto_version=1", &publication, "binary=true", "messages=true"] {
        command.args(["--option", option]);
    }
    let child = Child::spawn("pg_recvlogical", command, &stage.workspace)?;
    let started = child.started;
    let ended = child.end(LIMIT).await?;
    drop_slot(stage, &slot).await?;
    Ok(RunReport::new(backlog.events, backlog.events, started, ended.first_output, ended.at, &ended))
}

fn percent_decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("p={}", text.replace('+', "%2B").replace('&', "%26")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_decoded_unchanged() {
        for (written, meant) in [("hunter2", "hunter2"), ("a%40b%3A%2F", "a@b:/"), ("a+b%20c&d", "a+b c&d")] {
            assert_eq!(percent_decoded(written), meant);
        }
    }
}
