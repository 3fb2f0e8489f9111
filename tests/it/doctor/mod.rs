//! `walpost doctor`: each test breaks one thing and expects that one line to change.

mod database;
mod kafka;
mod server;
mod slot;

use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Harness, config, walpost};

/// A report.
#[derive(Debug)]
pub(crate) struct Found {
    code: Option<i32>,
    /// Verdict, check and text of each line.
    lines: Vec<[String; 3]>,
    err: String,
}

impl Found {
    /// The lines of a check, as `verdict: text` with `db` for the test's own name.
    pub(crate) fn of(&self, harness: &Harness, check: &str) -> Vec<String> {
        let lines = self.lines.iter().filter(|[_, found, _]| found == check);
        lines.map(|[verdict, _, what]| format!("{verdict}: {what}").replace(harness.name(), "db")).collect()
    }

    /// Checks that are not ok.
    fn not_ok(&self) -> Vec<(&str, &str)> {
        let lines = self.lines.iter().filter(|[verdict, ..]| verdict != "ok");
        lines.map(|[verdict, check, _]| (check.as_str(), verdict.as_str())).collect()
    }
}

/// Runs doctor with this configuration.
pub(crate) fn examine(config: &str) -> Found {
    let folder: TempDir = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("walpost.toml");
    std::fs::write(&path, config).expect("the configuration is written");
    let output = walpost().args(["doctor", "--json", "--config"]).arg(&path).stdin(Stdio::null()).output();
    let output = output.expect("the binary runs");
    let err = String::from_utf8(output.stderr).expect("it writes UTF-8");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {err}"));
    let lines = report["findings"].as_array().expect("a list").iter();
    let text = |line: &Value, key: &str| line[key].as_str().expect("text").to_owned();
    let lines = lines.map(|line| ["verdict", "check", "what"].map(|key| text(line, key)));
    Found { code: output.status.code(), lines: lines.collect(), err }
}

/// The only line whose verdict has changed, as `check: verdict: text`.
fn changed(harness: &Harness, before: &Found, after: &Found) -> String {
    // The stored position is looked for only where it can be.
    let is_shown = |line: &&[String; 3]| line[..2] != ["ok", "position"];
    let [was, is] = [before, after].map(|found| found.lines.iter().filter(is_shown).collect::<Vec<_>>());
    assert_eq!(was.len(), is.len(), "{before:?}\n{after:?}");
    let lines = was.into_iter().zip(is);
    let changed: Vec<_> = lines.filter(|(before, after)| before[..2] != after[..2]).map(|(_, after)| after).collect();
    assert_eq!(changed.len(), 1, "not one line: {changed:?}");
    let [verdict, check, what] = changed[0];
    let code = if verdict == "failure" { 69 } else { 0 };
    assert_eq!(after.code, Some(code), "{after:?}");
    format!("{check}: {verdict}: {what}\n").replace(harness.name(), "db")
}

/// Damages something with a statement, and reverts it with `fix`.
async fn broken_by(harness: &Harness, config: &str, damage: &str, fix: &str) -> String {
    let before = examine(config);
    harness.execute(damage).await;
    let line = changed(harness, &before, &examine(config));
    harness.execute(fix).await;
    let after = examine(config);
    assert_eq!(before.not_ok(), after.not_ok(), "{fix} does not revert {damage}");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_without_any_setup_doctor_says_how_to_start_and_changes_nothing() {
    let harness = Harness::new("doctor_new").await;
    let config = config(&harness, "");
    let found = examine(&config);
    assert_eq!(found.code, Some(69), "{found:?}");
    let failures: Vec<_> = found.not_ok().into_iter().filter(|(_, verdict)| *verdict == "failure").collect();
    assert_eq!(failures, [("migrations", "failure"), ("publication", "failure")]);
    let lines = found.of(&harness, "migrations");
    assert_eq!(lines, ["failure: this database has no schema outbox: run `walpost migrate`"]);
    assert!(found.err.contains("2 of the checks failed"), "{found:?}");

    harness.migrate().await;
    harness.register("order.placed").await;
    let found = examine(&config);
    assert_eq!(found.code, Some(0), "{found:?}");
    assert_eq!(found.not_ok(), [("max_slot_wal_keep_size", "warning")]);
    assert_eq!(found.of(&harness, "slot"), ["ok: db does not exist yet: the first start creates it"]);
    assert_eq!(found.of(&harness, "topic"), ["ok: db.order.placed does not exist yet: the relay creates it"]);
    assert_eq!(
        found.of(&harness, "dead_letter_topic"),
        ["ok: db.dead-letter does not exist yet: the relay creates it"]
    );
    for topic in ["order.placed", "dead-letter"] {
        assert_eq!(harness.partitions(&harness.topic(topic)), 0, "{topic} was created");
    }
    let sql = format!(
        "select (select count(*) from outbox.relay)::text || (select count(*) from pg_replication_slots where slot_name = '{}')::text",
        harness.name()
    );
    assert_eq!(harness.query_text(&sql).await.as_deref(), Some("00"), "a slot or its state was created");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_doctor_reports_only_the_mistakes_of_a_bad_configuration() {
    let harness = Harness::new("doctor_config").await;
    let found = examine(&format!("{}\n[relay2]\nx = 1\n", config(&harness, "").replace("slot =", "slots =")));
    assert_eq!(found.code, Some(64), "{found:?}");
    assert!(found.lines.len() >= 2, "{found:?}");
    assert!(
        found.lines.iter().all(|[verdict, check, _]| verdict == "failure" && check == "configuration"),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_the_other_server_is_checked_when_one_is_unreachable() {
    let harness = Harness::migrated("doctor_alone").await;
    let whole = config(&harness, "");
    let found = examine(&whole.replace(harness.kafka(), "127.0.0.1:1"));
    let lines = found.of(&harness, "kafka");
    assert!(
        lines[0].starts_with("failure: Kafka at 127.0.0.1:1 did not answer") && lines[0].contains("refused"),
        "{lines:?}"
    );
    assert_eq!((found.code, found.of(&harness, "migrations").len()), (Some(69), 1), "{found:?}");

    let port = url::Url::parse(harness.url()).expect("a URL").port().expect("a port");
    let found = examine(&whole.replace(&format!(":{port}/"), ":1/"));
    let lines = found.of(&harness, "postgres");
    assert!(
        lines[0].starts_with("failure: ") && lines[0].ends_with("start Postgres, or correct the database URL"),
        "{lines:?}"
    );
    assert_eq!((found.code, found.of(&harness, "dead_letter_topic").len()), (Some(69), 1), "{found:?}");
}
