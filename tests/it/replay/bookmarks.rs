//! `walpost bookmark`.

use super::Stage;
use crate::harness::{Relay, config};
use crate::lifecycle::{SCHEMA, emit};

#[tokio::test(flavor = "multi_thread")]
async fn a_bookmark_holds_its_position_until_it_is_dropped() {
    let mut stage = Stage::new("bookmarks", "").await;
    let name = stage.harness.name().to_owned();
    assert_eq!(stage.report("bookmark", &["list"]), serde_json::json!([]));
    let before = stage.lsn().await;
    let made = stage.report("bookmark", &["create", "one"]);
    assert_eq!(made["slot"], format!("{name}_bm_one"));
    stage.harness.execute(&emit("a", 0, 10)).await;
    stage.published(10).await;
    let lsn = stage.lsn().await;
    stage.harness.execute(&emit("a", 10, 30)).await;
    stage.published(30).await;
    // From a position that the first bookmark holds, although the relay has passed it.
    let second = stage.report("bookmark", &["create", "two", "--at-lsn", &lsn]);
    let position = |bookmark: &serde_json::Value| bookmark["position"].as_str().expect("a position").to_owned();
    let exact = format!(
        "select '{}'::pg_lsn <= '{lsn}' and '{}'::pg_lsn >= '{before}' \
        and '{}'::pg_lsn > '{}'::pg_lsn",
        position(&second),
        position(&made),
        position(&second),
        position(&made)
    );
    stage.harness.wait_for(&exact).await;
    let replay = |bookmark: &str| stage.report("replay", &["--bookmark", bookmark, "--dry-run"])["events"].clone();
    assert_eq!((replay("one"), replay("two")), (30.into(), 20.into()));

    let listed = stage.report("bookmark", &["list"]);
    let names: Vec<_> = listed.as_array().expect("a list").iter().map(|one| one["name"].as_str()).collect();
    assert_eq!(names, [Some("one"), Some("two")]);
    assert!(listed[0]["retained_wal_bytes"].as_u64() > Some(0) && listed[0]["age_seconds"].as_u64().is_some());
    assert_eq!((&listed[0]["wal_status"], position(&listed[0])), (&"reserved".into(), position(&made)));
    assert!(listed[0]["time"].is_string() && listed[1]["time"].is_null(), "{listed}");

    stage.report("bookmark", &["drop", "one"]);
    let held = format!("select count(*)::text from pg_replication_slots where slot_name like '{name}\\_bm\\_%'");
    assert_eq!(stage.harness.query_text(&held).await.as_deref(), Some("1"));
    assert_eq!(replay("two"), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_unknown_and_foreign_bookmarks_are_refused() {
    let stage = Stage::new("no_bookmarks", "").await;
    let name = stage.harness.name();
    stage.report("bookmark", &["create", "here"]);
    assert!(stage.refused(1, "bookmark", &["create", "here"]).contains("already exists (slot db_bm_here)"));
    for illegal in ["Here", "a-b", "", "ü"] {
        assert!(
            stage.refused(1, "bookmark", &["create", illegal]).contains("is not a valid bookmark name"),
            "{illegal}"
        );
    }
    assert!(stage.refused(1, "bookmark", &["drop", "nowhere"]).contains("slot db has no bookmark nowhere"));
    assert!(stage.refused(1, "replay", &["--bookmark", "nowhere"]).contains("has no bookmark nowhere"));
    let foreign = format!("{name}_bm_foreign");
    stage.harness.execute(&format!("select pg_create_logical_replication_slot('{foreign}', 'pgoutput')")).await;
    assert!(
        stage
            .refused(1, "bookmark", &["drop", "foreign"])
            .contains("db_bm_foreign was not created by `walpost bookmark create`")
    );
    let there = format!("select count(*) = 1 from pg_replication_slots where slot_name = '{foreign}'");
    stage.harness.wait_for(&there).await;
    assert!(stage.refused(1, "bookmark", &["create", "x", "--since", "no time"]).contains("no time is not a time"));
    assert!(
        stage
            .refused(69, "bookmark", &["create", "x", "--since", "1h"])
            .contains("only [relay] rewind keeps an index of times")
    );
    assert!(stage.refused(1, "bookmark", &["create", "x", "--at-lsn", "FFFF/0"]).contains("past the end"));
    assert!(stage.refused(69, "bookmark", &["create", "x", "--at-lsn", "0/1"]).contains("no slot holds position 0/1"));
    // A bookmark whose slot was dropped by something else is reported as gone, and can be dropped.
    stage.harness.execute(&format!("select pg_drop_replication_slot('{name}_bm_here')")).await;
    assert_eq!(stage.report("bookmark", &["list"])[0]["wal_status"], "gone");
    assert!(stage.refused(69, "replay", &["--bookmark", "here"]).contains("bookmark here has lost its WAL"));
    stage.report("bookmark", &["drop", "here"]);
    assert_eq!(stage.report("bookmark", &["list"]), serde_json::json!([]));
}

/// Postgres advances a slot by reading whole records; the first record of a page follows the page's header.
#[tokio::test(flavor = "multi_thread")]
async fn a_bookmark_at_a_commit_after_a_page_header_holds_that_commit() {
    let mut stage = Stage::new("bookmark_pages", "").await;
    stage.report("bookmark", &["create", "start"]);
    // 17 bytes further each time, so that records start at every offset.
    let emit = format!(
        "select outbox.emit('{SCHEMA}', 'k', json_build_object('n', n, 'fill', repeat('x', 17 * (n % 400)))); commit;"
    );
    let each =
        format!("do $$ begin for n in 1..1500 loop perform {} end loop; end $$", emit.trim_start_matches("select "));
    stage.harness.execute(&each).await;
    stage.published(1_500).await;
    let (first, _) = stage.records(1_500).await;
    let lsn = |record: &crate::harness::Received| {
        let position = record.header("outbox-position").expect("a position").to_owned();
        position.rsplit_once('/').expect("an LSN and a place").0.to_owned()
    };
    let place = |lsn: &str| u64::from_str_radix(lsn.split_once('/').expect("an LSN").1, 16).expect("digits") % 8_192;
    let behind: Vec<String> = first.iter().map(lsn).filter(|lsn| place(lsn) <= 40).collect();
    assert!(!behind.is_empty(), "no commit is the first record of its page");
    for (index, lsn) in behind.iter().take(4).enumerate() {
        let name = format!("page_{index}");
        stage.report("bookmark", &["create", &name, "--at-lsn", lsn]);
        let replay = stage.report("replay", &["--bookmark", &name, "--to-lsn", lsn, "--dry-run"]);
        assert_eq!((&replay["events"], &replay["first"]["position"]), (&1.into(), &format!("{lsn}/1").into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relays_role_can_use_bookmarks_and_replay() {
    let mut stage = Stage::new("position_rights", "").await;
    let role = format!("{}_relay", stage.harness.name());
    stage.harness.execute(&format!("create role {role} login password 'secret' replication")).await;
    let granted = stage.run("migrate", &["--relay-role", &role]);
    assert!(granted.status.success(), "{}", granted.stderr);
    let mut url = url::Url::parse(stage.harness.url()).expect("a URL");
    url.set_username(&role).expect("a URL with a user");
    url.set_password(Some("secret")).expect("a URL with a password");
    let text = config(&stage.harness, "rewind = \"1h\"\n").replace(stage.harness.url(), url.as_str());
    std::fs::write(stage.config_path(), &text).expect("it can be written");
    assert!(stage.relay.terminate().await.success());
    stage.relay = Relay::start_with(&text);
    stage.relay.wait_for("a window", |status| status["rewind"].is_object()).await;
    let start = stage.harness.query_text("select clock_timestamp()::text").await.expect("a time");
    stage.report("bookmark", &["create", "b"]);
    stage.harness.execute(&emit("a", 0, 5)).await;
    stage.published(5).await;
    for origin in [&["--bookmark", "b"][..], &["--since", &start], &["--from-table"]] {
        assert_eq!(stage.report("replay", &[origin, &["--dry-run"]].concat())["events"], 5, "{origin:?}");
    }
    stage.report("bookmark", &["drop", "b"]);
    assert!(stage.relay.terminate().await.success());
    // A role whose grants are from before there were bookmarks is told how to get the missing ones.
    stage.harness.execute(&format!("revoke all on outbox.bookmark from {role}")).await;
    let message = stage.refused(69, "bookmark", &["list"]);
    assert!(message.contains("may not read outbox.bookmark: run `walpost migrate --relay-role db_relay`"), "{message}");
    stage.harness.execute(&format!("drop owned by {role}; drop role {role}")).await;
}
