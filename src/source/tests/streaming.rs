//! A healthy stream.

use std::time::Duration;

use super::decoded::{Message, lost, next, payloads, read_payloads, until};
use super::{Outbox, connect, lease_of, options};
use crate::postgres::Error;
use crate::postgres::scratch::{Scratch, eventually};
use crate::relay::boundary::{Lsn, PositionProof};
use crate::relay::confirm::Resume;
use crate::source::{Note, NoteLimit, SourceError, inspect_slot};

#[tokio::test]
async fn backfilled_rows_come_once_and_streamed_ones_follow_in_the_same_format() {
    let outbox = Outbox::new(Scratch::shared(), "backfill");
    outbox.sql("insert into outbox.event (payload, acl, created_at) values ('second', 'admin=r/admin', now())");
    outbox.sql("insert into outbox.event (payload, created_at) values ('first', now() - interval '1 day'), (null, now() - interval '1 hour')");
    outbox.sql("alter table outbox.event add column gone int; alter table outbox.event drop column gone");
    let mut source = outbox.connect().await;
    outbox.sql("insert into outbox.event (payload, acl) values ('live', 'admin=r/admin')");

    let end = source.backfill_end.expect("a backfill");
    let messages = until(&mut source.stream, |messages| payloads(messages).len() >= 4).await;
    assert_eq!(payloads(&messages), ["first", "null", "second", "live"]);
    let begin = messages.iter().find(|message| matches!(message, Message::Begin { .. }));
    assert_eq!(begin, Some(&Message::Begin { commit: Lsn(end.0 - 1) }));
    assert!(messages.contains(&Message::Commit { commit: Lsn(end.0 - 1), end }));
    let relations: Vec<&Message> = messages.iter().filter(|message| matches!(message, Message::Relation(_))).collect();
    assert_eq!(relations.len(), 2);
    assert_eq!(relations[0], relations[1], "the backfill's relation is not the walsender's");
    let inserts: Vec<_> = messages
        .iter()
        .filter_map(|message| match message {
            Message::Insert { relation, values } => Some((relation, values)),
            _ => None,
        })
        .collect();
    // The same row except for its id and time: kinds, encodings and relation must be the same.
    let ((old_relation, old), (new_relation, new)) = (inserts[2], inserts[3]);
    assert_eq!(old_relation, new_relation);
    let kinds = |values: &[Option<(u8, Vec<u8>)>]| {
        values.iter().map(|value| value.as_ref().map(|(kind, value)| (*kind, value.len()))).collect::<Vec<_>>()
    };
    let lengths = |values: &[Option<(u8, Vec<u8>)>]| {
        kinds(values).into_iter().enumerate().filter(|(i, _)| *i != 1).collect::<Vec<_>>()
    };
    assert_eq!(lengths(old), lengths(new));
    assert_eq!(old[2], Some((b't', b"admin=r/admin".to_vec())), "a type without a binary form is sent as text");

    assert_eq!(outbox.value("select backfill from outbox.relay"), "pending");
    lease_of(&outbox.options).note_backfill().await.expect("noted");
    assert_eq!(outbox.value("select backfill from outbox.relay"), "done");
    source.stream.confirm(end);
    source.stream.stop().await.expect("an orderly end");
    // The live row was not confirmed; the others are not repeated.
    let mut source = outbox.connect().await;
    assert_eq!(source.backfill_end, None);
    assert_eq!(read_payloads(&mut source.stream, 1).await.0, ["live"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_open_while_the_slot_is_created_arrives_once() {
    let outbox = Outbox::new(Scratch::shared(), "open_transaction");
    let mut writer = crate::postgres::Connection::open(&outbox.options.connect).expect("a connection");
    writer.simple_query("begin; insert into outbox.event (payload) values ('open')").expect("a row");
    outbox.insert(&["before"]);
    let options = outbox.options.clone();
    let connecting = tokio::spawn(async move { connect(&options, None).await });
    eventually("the slot's creation to wait", || {
        let sql = "select 1 from pg_stat_activity where backend_type = 'walsender' and wait_event = 'transactionid' and datname = 'open_transaction'";
        outbox.sql(sql).first().cloned()
    });
    outbox.insert(&["meanwhile"]);
    writer.simple_query("commit").expect("committed");
    let mut source = connecting.await.expect("no panic").expect("a stream");
    outbox.insert(&["after"]);
    let (mut seen, _) = read_payloads(&mut source.stream, 4).await;
    seen.sort();
    assert_eq!(seen, ["after", "before", "meanwhile", "open"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_up_during_slot_creation_leaves_no_slot() {
    let outbox = Outbox::new(Scratch::shared(), "given_up");
    let mut writer = crate::postgres::Connection::open(&outbox.options.connect).expect("a connection");
    writer.simple_query("begin; insert into outbox.event (payload) values ('open')").expect("a row");
    let options = outbox.options.clone();
    let connecting = tokio::spawn(async move { connect(&options, None).await });
    let walsenders = "select 1 from pg_stat_activity where backend_type = 'walsender' and datname = 'given_up'";
    eventually("the slot's creation to begin", || (outbox.slot_count() == 1).then_some(()));
    connecting.abort();
    eventually("the walsender to end", || outbox.sql(walsenders).is_empty().then_some(()));
    assert_eq!(outbox.slot_count(), 0);
    writer.simple_query("commit").expect("committed");
    let mut source = outbox.connect().await;
    assert_eq!(read_payloads(&mut source.stream, 1).await.0, ["open"]);
}

#[tokio::test]
async fn an_unfinished_backfill_restarts() {
    let outbox = Outbox::new(Scratch::shared(), "unfinished");
    // More than the channel holds, so that the thread is in the middle of it.
    outbox.sql("insert into outbox.event (payload) select repeat('x', 10000) from generate_series(1, 3000)");
    let mut source = outbox.connect().await;
    let first = source.backfill_end;
    next(&mut source.stream).await;
    drop(source);
    // Like a poller that marks what it has seen. The stream brings no update, so the second read must have the row.
    outbox.sql("update outbox.event set payload = 'marked' where id = 2999");
    outbox.insert(&["between"]);
    let mut source = loop {
        // The interrupted session may hold its lock a little longer.
        match outbox.try_connect().await {
            Err(SourceError::SlotHeld { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
            other => break other.expect("a stream"),
        }
    };
    assert_eq!(source.backfill_end, first, "the slot is kept, for what is in its log alone");
    let (seen, _) = read_payloads(&mut source.stream, 3002).await;
    let times = |text: &str| seen.iter().filter(|payload| *payload == text).count();
    assert_eq!((times("marked"), times("between"), seen.len()), (1, 2, 3002), "what is between may come from both");

    // Confirmed by this process, although the note was not written: it is not restarted.
    let end = source.backfill_end.expect("a backfill");
    source.stream.confirm(end);
    let resume = source.stream.confirmed();
    assert_eq!(resume, Some(end));
    source.stream.stop().await.expect("an orderly end");
    let source = connect(&outbox.options, resume.map(Resume::Confirmed)).await.expect("a stream");
    assert_eq!(source.backfill_end, None);
    assert_eq!(outbox.value("select backfill from outbox.relay"), "done");
}

#[tokio::test]
async fn what_is_confirmed_reaches_the_slot_and_is_not_sent_again() {
    let outbox = Outbox::new(Scratch::shared(), "feedback");
    let mut source = outbox.connect().await;
    let end = source.backfill_end.expect("a backfill");
    read_payloads(&mut source.stream, 0).await;
    outbox.insert(&["a", "b"]);
    let (seen, committed) = read_payloads(&mut source.stream, 2).await;
    assert_eq!(seen, ["a", "b"]);
    assert!(committed > end);
    source.stream.confirm_now(committed);
    eventually("the slot to move", || (outbox.confirmed_flush() == committed).then_some(()));
    lease_of(&outbox.options).note_backfill().await.expect("noted");

    outbox.insert(&["c"]);
    let (_, committed) = read_payloads(&mut source.stream, 1).await;
    let note = Note {
        flush: committed,
        received: committed,
        stored: None,
        proof: PositionProof::default(),
        extent: NoteLimit::Exact,
    };
    lease_of(&outbox.options).note(note).await.expect("noted");
    source.stream.confirm(committed);
    source.stream.stop().await.expect("an orderly end");
    // No waiting: a clean end means that the server has it.
    assert_eq!((outbox.confirmed_flush(), outbox.slot("active").as_str()), (committed, "f"));
    outbox.insert(&["d"]);
    let mut source = outbox.connect().await;
    assert_eq!(source.start, committed);
    assert_eq!(read_payloads(&mut source.stream, 1).await.0, ["d"]);
}

#[tokio::test]
async fn a_slot_that_fell_back_is_resumed_where_this_process_was() {
    let outbox = Outbox::new(Scratch::shared(), "fell_back");
    let mut source = outbox.connect().await;
    read_payloads(&mut source.stream, 0).await;
    lease_of(&outbox.options).note_backfill().await.expect("noted");
    outbox.insert(&["a"]);
    let (_, confirmed) = read_payloads(&mut source.stream, 1).await;
    outbox.insert(&["b"]);
    // Dropped with nothing reported, the slot is where a crash of the server would have left it.
    drop(source);
    eventually("the slot to be free", || (outbox.slot("active") == "f").then_some(()));
    assert!(outbox.confirmed_flush() < confirmed);
    let mut source = connect(&outbox.options, Some(Resume::Confirmed(confirmed))).await.expect("a stream");
    assert_eq!(read_payloads(&mut source.stream, 1).await.0, ["b"]);
}

#[tokio::test]
async fn a_new_slot_is_what_the_catalog_shows() {
    let outbox = Outbox::new(Scratch::shared(), "catalog");
    let mut source = outbox.connect().await;
    read_payloads(&mut source.stream, 0).await;
    let mut control = crate::postgres::Connection::open(&outbox.options.connect).expect("a connection");
    let version = source.server.version;
    let slot = inspect_slot(&mut control, version, "catalog").expect("an answer").expect("a slot");
    assert_eq!((slot.plugin.as_deref(), slot.database.as_deref()), (Some("pgoutput"), Some("catalog")));
    assert_eq!((slot.confirmed_flush, slot.wal_status.as_deref()), (Some(source.start), Some("reserved")));
    assert!(slot.restart_lsn <= slot.confirmed_flush && slot.invalidation.is_none());
    assert_eq!((slot.temporary, slot.two_phase, slot.failover), (false, false, version >= 170_000));
    assert_eq!(inspect_slot(&mut control, version, "nowhere").expect("an answer"), None);
}

#[tokio::test]
async fn an_idle_stream_brings_keepalives_that_follow_a_busy_database() {
    let outbox = Outbox::new(Scratch::shared(), "idle");
    let mut source = outbox.connect().await;
    outbox.sql("create table other (x int); insert into other select generate_series(1, 1000)");
    let target: Lsn = outbox.value("select pg_current_wal_lsn()").parse().expect("an LSN");
    let follows =
        |messages: &[Message]| messages.iter().any(|m| matches!(m, Message::Keepalive { end } if *end >= target));
    until(&mut source.stream, follows).await;
}

#[tokio::test]
async fn status_updates_go_on_while_nobody_reads() {
    static SERVER: std::sync::OnceLock<Scratch> = std::sync::OnceLock::new();
    let server = SERVER.get_or_init(|| Scratch::start(&[("wal_sender_timeout", "2s")]));
    let outbox = Outbox::new(server, "full_channel");
    let mut source = outbox.connect().await;
    read_payloads(&mut source.stream, 0).await;
    outbox.sql("insert into outbox.event (payload) select repeat('x', 1000) from generate_series(1, 60000)");
    let replied = "select count(*) from pg_stat_replication where reply_time > now() - interval '1500 milliseconds'";
    let since = "select extract(epoch from clock_timestamp())";
    let start: f64 = outbox.value(since).parse().expect("seconds");
    // Three times wal_sender_timeout by the server's own clock, with the connection alive all the while.
    while outbox.value(since).parse::<f64>().expect("seconds") < start + 6.0 {
        assert_eq!(outbox.value("select count(*) from pg_stat_replication"), "1", "the walsender has given up");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(outbox.value(replied), "1");
    assert_eq!(read_payloads(&mut source.stream, 60_000).await.0.len(), 60_000);
}

#[tokio::test]
async fn an_unread_stream_still_ends_cleanly() {
    let outbox = Outbox::new(Scratch::shared(), "unread");
    let mut source = outbox.connect().await;
    let (_, end) = read_payloads(&mut source.stream, 0).await;
    lease_of(&outbox.options).note_backfill().await.expect("noted");
    outbox.sql("insert into outbox.event (payload) select repeat('x', 1000) from generate_series(1, 60000)");
    outbox.insert(&["last"]);
    source.stream.confirm(end);
    source.stream.stop().await.expect("an orderly end");
    assert_eq!(outbox.slot("active"), "f");
    let mut source = outbox.connect().await;
    let (seen, _) = read_payloads(&mut source.stream, 60_001).await;
    assert_eq!((seen.len(), seen.last().map(String::as_str)), (60_001, Some("last")));
}

#[tokio::test]
async fn large_rows_and_long_backlogs_arrive_whole() {
    let outbox = Outbox::new(Scratch::shared(), "large");
    let mut source = outbox.connect().await;
    outbox.sql(
        "insert into outbox.event (payload) select repeat(chr(64 + i % 26), i * 700000) from generate_series(1, 8) i",
    );
    outbox.sql("insert into outbox.event (payload) select i::text from generate_series(1, 100000) i");
    outbox.sql("do $$ begin for i in 1..2000 loop insert into outbox.event (payload) values ('t' || i); commit; end loop; end $$");
    let (seen, _) = read_payloads(&mut source.stream, 102_008).await;
    assert_eq!(seen.len(), 102_008);
    for (index, payload) in seen[..8].iter().enumerate() {
        assert_eq!(payload.len(), (index + 1) * 700_000);
    }
    assert!(seen[8..100_008].iter().enumerate().all(|(index, payload)| *payload == (index + 1).to_string()));
    assert!(seen[100_008..].iter().enumerate().all(|(index, payload)| *payload == format!("t{}", index + 1)));
}

#[tokio::test]
async fn tls_and_unix_sockets_carry_the_stream() {
    let server = Scratch::shared();
    let directory = server.directory().display().to_string();
    for (name, more) in [
        ("by_tls", format!("host=localhost hostaddr=127.0.0.1 sslmode=verify-full sslrootcert={directory}/ca.pem")),
        ("by_socket", format!("host={directory}")),
    ] {
        let mut outbox = Outbox::new(server, name);
        outbox.options = options(server.options("admin", &more).with_database(name), name);
        outbox.insert(&["before"]);
        let mut source = outbox.connect().await;
        outbox.sql("insert into outbox.event (payload) select repeat('y', 2000) || i from generate_series(1, 20000) i");
        outbox.insert(&["after"]);
        let (seen, end) = read_payloads(&mut source.stream, 20_002).await;
        assert_eq!((seen.len(), seen[0].as_str(), seen[20_001].as_str()), (20_002, "before", "after"), "{name}");
        source.stream.confirm(end);
        source.stream.stop().await.expect("an orderly end");
        assert_eq!(outbox.confirmed_flush(), end);
    }
}

#[tokio::test]
async fn a_partitioned_table_is_one_table_before_and_after_the_slot() {
    let outbox = Outbox::new(Scratch::shared(), "partitioned");
    outbox.sql(
        "drop table outbox.event;
         create table outbox.event (id bigint generated always as identity, payload text, created_at timestamptz not null default now())
             partition by range (created_at);
         create table outbox.event_old partition of outbox.event for values from (minvalue) to (now() - interval '1 day');
         create table outbox.event_new partition of outbox.event for values from (now() - interval '1 day') to (maxvalue);
         alter publication outbox add table outbox.event;
         insert into outbox.event (payload, created_at) values ('new', now()), ('old', now() - interval '2 days')",
    );
    let mut source = outbox.connect().await;
    outbox.sql("insert into outbox.event (payload, created_at) values ('later', now() - interval '2 days')");
    let messages = until(&mut source.stream, |messages| payloads(messages).len() >= 3).await;
    assert_eq!(payloads(&messages), ["old", "new", "later"]);
    let relations: std::collections::HashSet<_> = messages
        .iter()
        .filter_map(|message| match message {
            Message::Insert { relation, .. } => Some(*relation),
            _ => None,
        })
        .collect();
    assert_eq!(relations.len(), 1);
}

#[tokio::test]
async fn a_terminated_walsender_ends_the_stream_after_what_it_sent() {
    let outbox = Outbox::new(Scratch::shared(), "terminated");
    let mut source = outbox.connect().await;
    outbox.insert(&["sent"]);
    read_payloads(&mut source.stream, 1).await;
    outbox.sql("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'terminated'");
    let error = lost(&mut source.stream).await;
    assert!(error.is_transient(), "{error:?}");
    assert!(matches!(error, SourceError::Postgres(Error::Server(_) | Error::Closed { .. })), "{error:?}");
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    static SERVER: std::sync::OnceLock<Scratch> = std::sync::OnceLock::new();
    let server = SERVER.get_or_init(|| Scratch::start(&[("wal_sender_timeout", "2s")]));
    let outbox = Outbox::new(server, "silent");
    let mut source = outbox.connect().await;
    read_payloads(&mut source.stream, 0).await;
    // The socket stays open, but nothing arrives any more.
    let pid: i32 = eventually("the walsender", || outbox.slot("active_pid").parse().ok());
    let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stopped");
    let error = lost(&mut source.stream).await;
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("it continues");
    assert!(matches!(error, SourceError::Postgres(Error::Timeout { .. })), "{error:?}");
}

#[tokio::test]
#[should_panic(expected = "a confirmed LSN never moves backwards")]
async fn confirming_a_lower_lsn_is_a_bug() {
    let outbox = Outbox::new(Scratch::shared(), "monotone");
    let mut source = outbox.connect().await;
    source.stream.confirm(source.start);
    source.stream.confirm(Lsn(source.start.0 - 1));
}
