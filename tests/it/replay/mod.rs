//! Publishing again, and the positions to do it from: `walpost replay`, `walpost bookmark`, `[relay] rewind`.

mod accidents;
mod concurrent;
mod bookmarks;
mod selection;
mod tables;
mod window;

use std::collections::BTreeMap;

use tempfile::TempDir;

use crate::harness::program::{self, Ended};
use crate::harness::{Harness, Received, Relay, config};
use crate::lifecycle::{SCHEMA, prepare};

/// A harness with a ready relay, and a configuration for commands.
struct Stage {
    harness: Harness,
    relay: Relay,
    folder: TempDir,
}

impl Stage {
    /// `relay` are keys of `[relay]` for both.
    async fn new(name: &str, relay: &str) -> Self {
        Self::on(Harness::new(name).await, relay).await
    }

    async fn on(harness: Harness, keys: &str) -> Self {
        prepare(&harness).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = config(&harness, keys);
        std::fs::write(folder.path().join("walpost.toml"), &config).expect("the configuration is written");
        let mut relay = Relay::start_with(&config);
        relay.ready().await;
        Self { harness, relay, folder }
    }

    fn config_path(&self) -> String {
        self.folder.path().join("walpost.toml").display().to_string()
    }

    /// Runs a command with the configuration.
    fn run(&self, name: &str, arguments: &[&str]) -> Ended {
        let path = self.config_path();
        program::run(name, &[&["--config", path.as_str()], arguments].concat())
    }

    /// Runs a command that succeeds, and parses its report.
    #[track_caller]
    fn report(&self, name: &str, arguments: &[&str]) -> serde_json::Value {
        let ended = self.run(name, &[arguments, &["--json"]].concat());
        assert_eq!(ended.code(), Some(0), "{name} {arguments:?}: {}{}", ended.stdout, ended.stderr);
        ended.report()
    }

    /// Runs a command that is refused with this exit code; returns its message, with `db` for the test's name.
    #[track_caller]
    fn refused(&self, code: i32, name: &str, arguments: &[&str]) -> String {
        let ended = self.run(name, arguments);
        assert_eq!(ended.code(), Some(code), "{name} {arguments:?}: {}{}", ended.stdout, ended.stderr);
        ended.stderr.replace(self.harness.name(), "db")
    }

    /// The topic of [`SCHEMA`].
    fn topic(&self) -> String {
        self.harness.topic(SCHEMA)
    }

    /// Waits until the relay has published this many events, and its slot has passed them.
    async fn published(&mut self, count: u64) {
        crate::lifecycle::published(&mut self.relay, count).await;
        let end = self.harness.query_text("select pg_current_wal_lsn()::text").await.expect("an LSN");
        let name = self.harness.name();
        let passed =
            format!("select confirmed_flush_lsn >= '{end}' from pg_replication_slots where slot_name = '{name}'");
        self.harness.wait_for(&passed).await;
    }

    async fn lsn(&self) -> String {
        self.harness.query_text("select pg_current_wal_insert_lsn()::text").await.expect("an LSN")
    }

    /// The topic's records: those of the first time, and those of each replay by its id.
    async fn records(&self, count: usize) -> (Vec<Received>, BTreeMap<String, Vec<Received>>) {
        split(self.harness.consume(&self.topic(), count).await)
    }
}

fn split(records: Vec<Received>) -> (Vec<Received>, BTreeMap<String, Vec<Received>>) {
    let (mut first, mut replays) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
    for record in records {
        match record.header("outbox-replay").map(str::to_owned) {
            None => first.push(record),
            Some(id) => replays.entry(id).or_default().push(record),
        }
    }
    (first, replays)
}

/// Fails unless the second records repeat the first, partition by partition: key, value, timestamp, partition and headers, except for
/// the replay's header and, with another topic, the partition.
#[track_caller]
fn assert_same(first: &[Received], again: &[Received]) {
    let bare = |records: &[Received]| {
        let mut by_partition: BTreeMap<i32, Vec<Received>> = BTreeMap::new();
        for record in records {
            let mut record = record.clone();
            record.offset = 0;
            record.headers.retain(|(name, _)| name != "outbox-replay");
            by_partition.entry(record.partition).or_default().push(record);
        }
        by_partition
    };
    assert_eq!(bare(first), bare(again));
}

fn positions(records: &[Received]) -> Vec<&str> {
    let mut positions: Vec<_> = records.iter().filter_map(|record| record.header("outbox-position")).collect();
    positions.sort_unstable();
    positions
}
