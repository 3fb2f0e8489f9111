//! What is confirmed or resumed after a stream was lost.

use super::decoded::read_payloads;
use super::{Outbox, connect, lease_of};
use crate::postgres::scratch::Scratch;
use crate::relay::boundary::{Lsn, PositionProof};
use crate::relay::confirm::Resume;
use crate::source::{Note, NoteLimit, Origin, SourceError, confirm_without_stream};

#[tokio::test]
async fn a_slot_is_advanced_without_a_stream_only_on_its_own_server() {
    let outbox = Outbox::new(Scratch::shared(), "moved");
    let mut source = outbox.connect().await;
    let (_, start) = read_payloads(&mut source.stream, 0).await;
    lease_of(&outbox.options).note_backfill().await.expect("noted");
    outbox.insert(&["published"]);
    let lsn: Lsn = outbox.value("select pg_current_wal_lsn()").parse().expect("an LSN");
    let origin = source.origin.clone();
    let lease = lease_of(&outbox.options);

    let other = Origin { timeline: origin.timeline + 1, ..origin.clone() };
    let error = confirm_without_stream(&outbox.options, &lease, lsn, &other).await.expect_err("another timeline");
    assert!(matches!(error, SourceError::TimelineChanged { .. }), "{error:?}");
    let other = Origin { system_identifier: "1".to_owned(), ..origin.clone() };
    let error = confirm_without_stream(&outbox.options, &lease, lsn, &other).await.expect_err("another cluster");
    assert!(matches!(error, SourceError::SystemChanged { .. }), "{error:?}");
    let error =
        confirm_without_stream(&outbox.options, &lease, Lsn(u64::MAX / 2), &origin).await.expect_err("no such WAL");
    assert!(matches!(error, SourceError::ServerRewound { .. }), "{error:?}");
    let other = Origin { walsender: 0, ..origin.clone() };
    let error = confirm_without_stream(&outbox.options, &lease, lsn, &other).await.expect_err("another relay streams");
    assert!(matches!(error, SourceError::SlotHeld { .. }), "{error:?}");
    assert_eq!(outbox.confirmed_flush(), start, "nothing has moved it");

    // Its own walsender still holds the slot.
    confirm_without_stream(&outbox.options, &lease, lsn, &origin).await.expect("confirmed");
    assert_eq!(outbox.confirmed_flush(), lsn);
}

#[tokio::test]
async fn case_40_a_noted_position_never_goes_back() {
    let outbox = Outbox::new(Scratch::shared(), "noted");
    let source = outbox.connect().await;
    let lease = lease_of(&outbox.options);
    lease.note_backfill().await.expect("noted");
    assert_eq!(
        outbox.value("select confirm_limit from outbox.relay"),
        source.start.to_string(),
        "where the slot stands"
    );
    for (stored, signed_by) in [(0x50, Some(1)), (0x40, Some(1)), (0, None)] {
        let proof = PositionProof { signed_by, is_of_epoch: signed_by.is_some() };
        let stored = Some(Lsn(stored));
        let note = Note { flush: source.start, received: source.start, stored, proof, extent: NoteLimit::Exact };
        lease.note(note).await.expect("noted");
        assert_eq!(
            outbox.value(
                "select concat_ws(' ', position, signed_position, epoch_position, position_key) from outbox.relay"
            ),
            "0/50 0/50 0/50 1"
        );
    }
    // A relay that delivers at least once stores none.
    let note = Note {
        flush: source.start,
        received: source.start,
        stored: None,
        proof: PositionProof::default(),
        extent: NoteLimit::Exact,
    };
    lease.note(note).await.expect("noted");
    assert_eq!(outbox.value("select position is null from outbox.relay"), "t");
}

#[tokio::test]
async fn a_fully_read_backfill_is_not_read_again() {
    let outbox = Outbox::new(Scratch::shared(), "read_whole");
    outbox.insert(&["before"]);
    let mut source = outbox.connect().await;
    let end = source.backfill_end.expect("a backfill");
    assert_eq!(read_payloads(&mut source.stream, 1).await.0, ["before"]);
    // The end of the copy comes after its last row.
    while !source.stream.is_backfilled() {
        tokio::task::yield_now().await;
    }
    outbox.insert(&["after"]);
    drop(source);

    // Resumed, and the note that they are published is still to be written.
    let resume = Some(Resume::Backfilled(end));
    let mut source = loop {
        match connect(&outbox.options, resume).await {
            Err(error) if error.is_transient() => tokio::task::yield_now().await,
            other => break other.expect("a stream"),
        }
    };
    assert_eq!(source.backfill_end, Some(end));
    assert_eq!(read_payloads(&mut source.stream, 1).await.0, ["after"]);
    drop(source);

    // With a recreated slot, all rows come again.
    let other = Some(Resume::Backfilled(Lsn(1)));
    let mut source = loop {
        match connect(&outbox.options, other).await {
            Err(error) if error.is_transient() => tokio::task::yield_now().await,
            other => break other.expect("a stream"),
        }
    };
    assert_eq!(read_payloads(&mut source.stream, 2).await.0, ["before", "after"]);
}
