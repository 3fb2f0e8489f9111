//! What is published again, and that it equals the first time.

use super::{Stage, assert_same, positions, split};
use crate::lifecycle::{SCHEMA, emit};

/// Three transactions after a bookmark: 20 events of one key, 30 of another, a rolled back one, 10 of a third and another schema.
async fn three(name: &str) -> Stage {
    let mut stage = Stage::new(name, "name = \"the-relay\"\n").await;
    stage.report("bookmark", &["create", "start"]);
    let harness = &stage.harness;
    harness
        .execute(&format!(
            "select outbox.register_schema_version(name => 'other', version => '1', topic => '{}')",
            stage.topic()
        ))
        .await;
    harness.execute(&emit("a", 0, 20)).await;
    harness.execute(&emit("b", 20, 50)).await;
    harness.execute(&format!("begin; {}; rollback", emit("a", 900, 910))).await;
    harness
        .execute(&format!(
            "begin; {}; select outbox.emit('other', 'c', '{{\"n\": 60}}', headers => '{{\"traceparent\": \"00-x\"}}'); commit",
            emit("c", 50, 60)
        ))
        .await;
    stage.published(61).await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_from_a_bookmark_or_an_lsn_repeats_the_records_with_a_mark() {
    let stage = three("replay_whole").await;
    let report = stage.report("replay", &["--bookmark", "start"]);
    assert_eq!((&report["events"], &report["complete"], &report["left_out"]), (&61.into(), &true.into(), &0.into()));
    let (first, replays) = stage.records(122).await;
    let id = report["replay"].as_str().expect("a replay has an id");
    assert_eq!(replays.keys().collect::<Vec<_>>(), [id]);
    assert_same(&first, &replays[id]);
    assert!(first.iter().all(|record| record.header("outbox-relay") == Some("the-relay")));
    // The header follows the relay's headers and precedes the row's.
    let traced = replays[id].iter().find(|record| record.header("traceparent").is_some()).expect("one has a header");
    let names: Vec<_> = traced.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[names.len() - 3..], ["outbox-relay", "outbox-replay", "traceparent"]);

    // From an LSN, and from a position in the middle of its transaction, with a user-defined id.
    let mut ordered: Vec<_> = first.iter().filter(|record| record.key_text() == Some("b")).collect();
    ordered.sort_by_key(|record| record.offset);
    let position = ordered[0].header("outbox-position").expect("a position");
    let lsn = position.rsplit_once('/').expect("an LSN and a place").0;
    assert_eq!(stage.report("replay", &["--from-lsn", lsn, "--id", "from-lsn"])["events"], 41);
    let middle = format!("{lsn}/11");
    assert_eq!(stage.report("replay", &["--from-lsn", &middle, "--to-lsn", lsn, "--id", "part"])["events"], 20);
    let (first, replays) = stage.records(122 + 61).await;
    assert_same(
        &first.iter().filter(|record| record.key_text() != Some("a")).cloned().collect::<Vec<_>>(),
        &replays["from-lsn"],
    );
    assert!(replays["part"].iter().all(|record| record.key_text() == Some("b")));
    assert!(positions(&replays["part"]).contains(&middle.as_str()));
    // The relay has not noticed: it published no event twice, and its slot and state are unchanged.
    assert_eq!(first.len(), 61);
    assert_eq!(stage.relay.status().await["events"], 61);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_selected_by_schema_key_and_time_and_sent_to_another_topic() {
    let stage = three("replay_select").await;
    let replay =
        |arguments: &[&str]| stage.report("replay", &[&["--bookmark", "start", "--dry-run"], arguments].concat());
    for (arguments, events) in [
        (&[][..], 61),
        (&["--schema", SCHEMA], 60),
        (&["--schema", "other"], 1),
        (&["--schema", "nothing"], 0),
        (&["--key", "a", "--key", "c"], 31),
        (&["--schema", SCHEMA, "--key", "c"], 10),
        (&["--since", "1h"], 61),
        (&["--until", "1h"], 0),
        (&["--until", "2100-01-01"], 61),
    ] {
        let report = replay(arguments);
        assert_eq!((&report["events"], &report["complete"]), (&events.into(), &true.into()), "{arguments:?}");
    }
    let (first, replays) = stage.records(61).await;
    assert!(replays.is_empty(), "a dry run publishes nothing");
    // By the commit time, which is the record's timestamp, exact to the transaction.
    let b = first.iter().find(|record| record.key_text() == Some("b")).expect("b was published");
    let millis = b.timestamp_ms.expect("a timestamp");
    let text = format!("select ('epoch'::timestamptz + {millis} * interval '1 ms')::text");
    let since = stage.harness.query_text(&text).await.expect("a time");
    let of_b = replay(&["--since", &since]);
    let later: Vec<_> = first.iter().filter(|record| record.timestamp_ms >= Some(millis)).collect();
    assert_eq!(of_b["events"], later.len());

    let target = stage.harness.topic("again");
    let report = stage.report("replay", &["--bookmark", "start", "--topic", &target, "--id", "elsewhere"]);
    assert_eq!(report["events"], 61);
    let (none, again) = split(stage.harness.consume(&target, 61).await);
    assert!(none.is_empty());
    assert_eq!(positions(&again["elsewhere"]), positions(&first));
    assert_eq!(stage.harness.count_records(&stage.topic()).await, 61, "nothing was sent to the original topic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_first_and_last_event_without_payloads() {
    let stage = three("replay_dry").await;
    let ended = stage.run("replay", &["--bookmark", "start", "--dry-run"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let (first, _) = stage.records(61).await;
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let slot = format!("{}_bm_start", stage.harness.name());
    assert!(lines[0].starts_with("would publish 61 events again, from ") && lines[0].ends_with(&slot), "{lines:?}");
    let of = |key: &str, last: bool| {
        let mut of: Vec<_> = first.iter().filter(|record| record.key_text() == Some(key)).collect();
        of.sort_by_key(|record| record.offset);
        let record = if last { of[of.len() - 1] } else { of[0] };
        record.header("outbox-position").expect("a position").to_owned()
    };
    let begins = [format!("  first {} of 20", of("a", false)), format!("  last  {} of 20", of("c", true))];
    assert!(lines[1].starts_with(&begins[0]) && lines[1].ends_with("Z, load, key a"), "{lines:?}");
    assert!(lines[2].starts_with(&begins[1]) && lines[2].ends_with("Z, other, key c"), "{lines:?}");
    assert!(!ended.stdout.contains("{\"n\""), "no payload: {}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_a_replay_are_marked_and_newly_registered_schemas_are_used() {
    let mut stage = Stage::new("replay_letters", "").await;
    stage.report("bookmark", &["create", "start"]);
    stage
        .harness
        .execute(
            "insert into outbox.event (schema_name, schema_version, key, payload) values ('later', '1', 'k', '1'), \
             ('never', '1', 'k', '2')",
        )
        .await;
    stage.published(2).await;
    stage.harness.register("later").await;
    let report = stage.report("replay", &["--bookmark", "start"]);
    assert_eq!((&report["events"], &report["dead_letters"]["unknown_schema"]), (&2.into(), &1.into()));
    assert_eq!(stage.harness.consume(&stage.harness.topic("later"), 1).await.len(), 1);
    let (first, replays) = split(stage.harness.consume(&stage.harness.topic("dead-letter"), 3).await);
    assert_eq!(first.len(), 2);
    let dead_letters = replays.values().next().expect("the replay's dead letter is marked");
    assert_eq!(dead_letters.len(), 1);
    assert_eq!(dead_letters[0].header("outbox-error"), Some("unknown_schema"));
    assert_eq!(dead_letters[0].header("outbox-position"), first[1].header("outbox-position"));
}
