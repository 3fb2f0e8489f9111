//! Replays that can't begin, and those that are interrupted.

use std::time::Duration;

use walpost::lab::sandbox::{KafkaOptions, PostgresOptions};

use super::{Stage, positions};
use crate::harness::{Harness, program};
use crate::lifecycle::emit;

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_no_slot_holds_is_refused_with_the_oldest_held_one() {
    let mut stage = Stage::new("replay_gone", "").await;
    let lsn = stage.lsn().await;
    stage.harness.execute(&emit("a", 0, 10)).await;
    stage.published(10).await;
    let message = stage.refused(69, "replay", &["--from-lsn", &lsn]);
    assert!(message.contains(&format!("no slot holds position {lsn} any more: the oldest available is ")), "{message}");
    for part in ["by slot db; start there", "walpost replay --from-table", "[relay] rewind", "walpost bookmark create"]
    {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    let message = stage.refused(69, "replay", &["--since", "1h"]);
    assert!(
        message.contains("no position is known for") && message.contains("[relay] rewind keeps an index of times"),
        "{message}"
    );
    let message = stage.refused(1, "replay", &["--from-lsn", "FFFF/0"]);
    assert!(message.contains("position FFFF/0 is past the end of the WAL"), "{message}");
    for usage in [&["--to-lsn", "0/1"][..], &["--from-lsn", "x"], &["--from-lsn", "0/1", "--bookmark", "b"], &[]] {
        stage.refused(2, "replay", usage);
    }
    assert_eq!(stage.harness.count_records(&stage.topic()).await, 10, "nothing was published again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_replay_prints_the_resume_command_and_both_parts_are_complete() {
    let harness =
        Harness::with_own_servers("replay_interrupted", PostgresOptions::default(), KafkaOptions::default()).await;
    let mut stage = Stage::on(harness, "").await;
    stage.report("bookmark", &["create", "start"]);
    // One transaction, so that it is interrupted in the middle of it.
    stage.harness.execute(&emit("a", 0, 60_000)).await;
    stage.published(60_000).await;
    let path = stage.config_path();
    let mut child =
        program::command("replay", &["--config", &path, "--bookmark", "start", "--json"]).spawn().expect("it starts");
    // The topic grows, so the replay is running.
    while stage.harness.count_records(&stage.topic()).await < 61_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let status = child.wait().expect("it ends");
    let output = child.wait_with_output().expect("its output");
    let stderr = String::from_utf8(output.stderr).expect("text");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(status.code(), Some(1), "{stderr}");
    let command = report["go_on"].as_str().expect("the report has the command to continue");
    assert!(stderr.contains("interrupted at ") && stderr.contains(command), "{stderr}");
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(words[..2], ["walpost", "replay"]);
    let rest = program::run("replay", &words[2..]);
    assert_eq!(rest.code(), Some(0), "{}", rest.stderr);
    let (first, replays) = stage.records(120_000).await;
    assert_eq!(replays.len(), 1, "both parts have the same id");
    let again = replays.values().next().expect("one");
    assert_eq!(positions(again), positions(&first), "everything once");
    assert!(report["events"].as_u64() < Some(60_000), "it was interrupted: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_reconnects_without_duplicates() {
    let mut stage = Stage::new("replay_lost", "").await;
    stage.report("bookmark", &["create", "start"]);
    for batch in 0..20 {
        stage.harness.execute(&emit("a", batch * 2_000, (batch + 1) * 2_000)).await;
    }
    stage.published(40_000).await;
    let path = stage.config_path();
    let child = program::command("replay", &["--config", &path, "--bookmark", "start", "--json"]).spawn();
    let child = child.expect("it starts");
    let end = "select pg_terminate_backend(pid) from pg_stat_replication \
               where application_name = 'walpost ' || current_database() || ' replay' and pid = (select active_pid from pg_replication_slots where temporary and database = current_database() limit 1)";
    while stage.harness.query(end).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let output =
        tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("no panic").expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (first, replays) = stage.records(80_000).await;
    assert_eq!(positions(replays.values().next().expect("one")), positions(&first));
}
