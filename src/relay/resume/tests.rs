//! Tables of what is known, and how a stream then starts.

use std::time::Instant;

use super::*;
use crate::relay::boundary::HeaderStyle;
use crate::relay::boundary::{Batch, Checkpoint, Position, Record, Timestamp};
use crate::relay::confirm::StreamStart;
use crate::relay::{Core, Halt, Idle, Offer, OnRejected, Settings};

/// A server on timeline 3, which branched from 1 at 100 and from 2 at 200.
fn server() -> Server {
    let ancestry = Ancestry(vec![(1, Lsn(100)), (2, Lsn(200))]);
    Server { system_identifier: "7".to_owned(), timeline: 3, ancestry, wal_end: Lsn(900) }
}

fn noted(backfill: Backfill, limit: impl Into<Option<u64>>) -> Option<NotedState> {
    let confirm_limit = limit.into().map(Lsn);
    Some(NotedState { system_identifier: "7".to_owned(), timeline: Some(3), backfill, confirm_limit })
}

/// A start with a slot at 500.
fn known(noted: Option<NotedState>) -> StartFacts {
    StartFacts {
        noted,
        slot: Slot::At(Lsn(500)),
        server: server(),
        resume: None,
        last: None,
        acquisition: LeaseAcquisition::New,
    }
}

fn lost() -> Slot {
    Slot::Lost { confirmed: Lsn(500), reason: "its WAL was removed".to_owned() }
}

const fn at(start: u64) -> Result<ResumePlan, Gap> {
    Ok(ResumePlan::At { start: Lsn(start), backfill_end: None })
}

const fn advanced(expected: u64) -> Result<ResumePlan, Gap> {
    Err(Gap::SlotAdvanced { found: Lsn(500), expected: Lsn(expected) })
}

const ANEW: Result<ResumePlan, Gap> = Ok(ResumePlan::MakeAnew { drops: false });
const AGAIN: Result<ResumePlan, Gap> = Ok(ResumePlan::BackfillAgain { start: Lsn(500) });

const fn confirmed(lsn: u64) -> Option<Resume> {
    Some(Resume::Confirmed(Lsn(lsn)))
}

const fn backfilled(lsn: u64) -> Option<Resume> {
    Some(Resume::Backfilled(Lsn(lsn)))
}

#[test]
fn a_missing_slot_is_created_only_if_nothing_was_confirmed() {
    use Backfill::{Done, Pending};
    let missing = Err(Gap::SlotMissing);
    for (noted, resume, expected) in [
        (None, None, ANEW),
        (None, backfilled(500), ANEW),
        (None, confirmed(500), missing.clone()),
        (noted(Pending, None), None, ANEW),
        (noted(Pending, None), backfilled(500), ANEW),
        // Reset by an operator in between.
        (noted(Pending, None), confirmed(500), ANEW),
        (noted(Done, 500), None, missing.clone()),
        (noted(Done, 500), confirmed(500), missing),
    ] {
        let known = StartFacts { slot: Slot::Missing, resume, ..known(noted) };
        assert_eq!(plan(&known), expected, "{known:?}");
    }
}

#[test]
fn an_invalidated_slot_is_dropped_only_if_nothing_was_confirmed() {
    use Backfill::{Done, Pending};
    let gap = Err(Gap::SlotLost { confirmed: Lsn(500), reason: "its WAL was removed".to_owned() });
    let anew = Ok(ResumePlan::MakeAnew { drops: true });
    for (noted, resume, expected) in [
        (noted(Pending, None), None, anew.clone()),
        (noted(Pending, None), backfilled(500), anew),
        (noted(Pending, None), confirmed(500), gap.clone()),
        (noted(Done, 500), None, gap.clone()),
        (None, None, gap),
    ] {
        let known = StartFacts { slot: lost(), resume, ..known(noted) };
        assert_eq!(plan(&known), expected, "{known:?}");
    }
}

#[test]
fn the_backfill_is_repeated_until_it_is_noted_as_published() {
    use Backfill::{Done, Pending};
    let behind_them = Ok(ResumePlan::At { start: Lsn(500), backfill_end: Some(Lsn(500)) });
    for (noted, resume, expected) in [
        (noted(Pending, None), None, AGAIN),
        (noted(Pending, None), backfilled(500), behind_them),
        (noted(Pending, None), backfilled(499), AGAIN),
        (noted(Pending, None), backfilled(501), AGAIN),
        // What was confirmed belongs to another slot, if this one is further.
        (noted(Pending, None), confirmed(499), AGAIN),
        (noted(Pending, None), confirmed(500), at(500)),
        // Noted, but the answer was lost.
        (noted(Done, None), backfilled(500), at(500)),
        // Something else created the slot.
        (None, None, at(500)),
        (None, backfilled(500), at(500)),
    ] {
        let known = StartFacts { resume, ..known(noted) };
        assert_eq!(plan(&known), expected, "{known:?}");
    }
}

#[test]
fn a_slot_past_what_a_relay_has_confirmed_is_a_gap() {
    use LeaseAcquisition::{Kept, New};
    for (limit, resume, acquisition, expected) in [
        (Some(500), None, New, at(500)),
        (Some(499), None, New, advanced(499)),
        (Some(600), None, New, at(500)),
        (None, None, New, at(500)),
        (Some(499), None, Kept, advanced(499)),
        // A status update was lost, or Postgres crashed.
        (Some(600), confirmed(550), Kept, at(550)),
        (Some(600), confirmed(550), New, at(550)),
        (None, confirmed(550), New, at(550)),
        // While the lease is held, only this process confirms.
        (Some(600), confirmed(499), Kept, advanced(499)),
        (None, confirmed(499), Kept, advanced(499)),
        // Another relay held it in between, and noted more.
        (Some(600), confirmed(499), New, at(500)),
        (Some(499), confirmed(400), New, advanced(499)),
        (Some(400), confirmed(499), New, advanced(499)),
    ] {
        let known = StartFacts { resume, acquisition, ..known(noted(Backfill::Done, limit)) };
        assert_eq!(plan(&known), expected, "{known:?}");
    }
}

#[test]
fn a_slot_of_another_cluster_or_timeline_is_left_alone() {
    let of = |system: &str, timeline| {
        let noted = noted(Backfill::Done, 150).expect("a row");
        known(Some(NotedState { system_identifier: system.to_owned(), timeline, ..noted }))
    };
    let changed = Gap::SystemChanged { known: "8".to_owned(), found: "7".to_owned() };
    assert_eq!(plan(&of("8", Some(3))), Err(changed.clone()));
    assert_eq!(plan(&of("7", Some(4))), Err(Gap::TimelineForeign { before: 4, now: 3 }));
    // No slot is created on another cluster either.
    assert_eq!(plan(&StartFacts { slot: Slot::Missing, ..of("8", Some(3)) }), Err(changed));
    let before_timelines = StartFacts { slot: Slot::At(Lsn(150)), ..of("7", None) };
    assert_eq!(plan(&before_timelines), at(150), "noted by a version that kept no timeline");
}

#[test]
fn a_promoted_standby_resumes_from_before_the_switch() {
    let of = |timeline, stands, limit, acquisition| {
        let noted = noted(Backfill::Done, limit).map(|noted| NotedState { timeline: Some(timeline), ..noted });
        plan(&StartFacts { slot: Slot::At(Lsn(stands)), acquisition, ..known(noted) })
    };
    let past = |found, expected| Err(Gap::SlotAdvanced { found: Lsn(found), expected: Lsn(expected) });
    assert_eq!(of(1, 100, 60, LeaseAcquisition::New), at(100), "the slot was copied after the last note");
    assert_eq!(of(1, 101, 60, LeaseAcquisition::New), past(101, 100));
    assert_eq!(of(2, 200, 60, LeaseAcquisition::New), at(200));
    assert_eq!(of(1, 150, 150, LeaseAcquisition::New), at(150));
    assert_eq!(of(1, 101, 60, LeaseAcquisition::Kept), past(101, 60));
    let unnoted = noted(Backfill::Done, None).map(|noted| NotedState { timeline: Some(1), ..noted });
    assert_eq!(plan(&known(unnoted)), at(500), "nothing was ever noted");
}

#[test]
fn a_process_resumes_only_on_the_server_it_streamed_from() {
    let last = |system: &str, timeline| Some(LastStreamed { system_identifier: system.to_owned(), timeline });
    let with = |last, resume| plan(&StartFacts { last, resume, ..known(noted(Backfill::Done, 600)) });
    assert_eq!(with(last("7", 3), confirmed(500)), at(500));
    assert_eq!(with(last("7", 2), confirmed(500)), Err(Gap::TimelineChanged { before: 2, now: 3 }));
    let changed = Gap::SystemChanged { known: "8".to_owned(), found: "7".to_owned() };
    assert_eq!(with(last("8", 3), confirmed(500)), Err(changed));
    assert_eq!(with(last("7", 3), confirmed(900)), at(900));
    let rewound = Gap::ServerRewound { found: Lsn(900), expected: Lsn(901) };
    assert_eq!(with(last("7", 3), confirmed(901)), Err(rewound.clone()));
    assert_eq!(with(last("7", 3), backfilled(901)), Err(rewound));
}

// Positions in Kafka.

fn stored_on(timeline: u32, commit: u64, flush: u64) -> StoredAt {
    let position = Position { commit: Lsn(commit), ordinal: 2 };
    let checkpoint = Checkpoint { position, committed_at: None, flush: Lsn(flush) };
    StoredAt { system_identifier: "7".to_owned(), timeline, checkpoint }
}

/// A stream that started at `start`, on a server that branched from timeline 2 at 200.
fn begun(start: u64, noted: impl Into<Option<u64>>) -> Begun {
    Begun { server: server(), start: Lsn(start), noted: noted.into().map(Lsn), first: StreamStart::Continued }
}

fn first_rows(begun: Begun) -> Begun {
    Begun { first: StreamStart::FirstRows, ..begun }
}

fn skipped(stored: &StoredAt, begun: &Begun) -> Result<u64, PositionGap> {
    let checkpoint = skip_to(&Stored::At(stored.clone()), begun)?.expect("events are skipped");
    assert_eq!(checkpoint, Checkpoint { flush: checkpoint.flush, ..stored.checkpoint });
    Ok(checkpoint.flush.0)
}

#[test]
fn a_slot_behind_the_position_is_resumed_and_one_ahead_of_it_is_a_gap() {
    let stored = stored_on(3, 595, 600);
    for start in [500, 600] {
        assert_eq!(skipped(&stored, &begun(start, None)), Ok(600));
    }
    let gap = PositionGap::Behind { start: Lsn(601), flush: Lsn(600) };
    assert_eq!(skipped(&stored, &begun(601, None)), Err(gap));
}

#[test]
fn case_39_a_position_before_the_noted_one_is_refused() {
    let stored = stored_on(3, 595, 600);
    assert_eq!(skipped(&stored, &begun(500, 600)), Ok(600));
    let old = PositionGap::Old { flush: Lsn(600), noted: Lsn(601) };
    assert_eq!(skipped(&stored, &begun(500, 601)), Err(old));
    let later = stored_on(3, 601, 600);
    assert_eq!(skipped(&later, &begun(500, 601)), Ok(600), "of an event behind the noted LSN, after a restart");
}

#[test]
fn a_position_past_the_end_of_the_wal_is_refused() {
    assert_eq!(skipped(&stored_on(3, 595, 900), &begun(500, None)), Ok(900));
    let rewound = PositionGap::Rewound { end: Lsn(900), flush: Lsn(901) };
    assert_eq!(skipped(&stored_on(3, 595, 901), &begun(500, None)), Err(rewound));
}

#[test]
fn past_the_end_of_its_timeline_a_position_says_nothing() {
    let stored = stored_on(2, 195, 250);
    assert_eq!(skipped(&stored, &begun(150, None)), Ok(200));
    assert_eq!(skipped(&stored_on(2, 180, 190), &begun(150, None)), Ok(190));
    assert_eq!(skipped(&stored, &begun(201, None)), Err(PositionGap::Behind { start: Lsn(201), flush: Lsn(200) }));
    let Server { ancestry, .. } = server();
    assert_eq!([3, 1].map(|timeline| flush_on(&ancestry, timeline, Lsn(250))), [Lsn(250), Lsn(100)]);
}

#[test]
fn a_missing_position_is_refused_if_one_was_stored() {
    for (stored, gap) in [(Stored::Nothing, PositionGap::Lost), (Stored::Forgotten, PositionGap::Forgotten)] {
        assert_eq!(skip_to(&stored, &begun(500, None)), Ok(None));
        assert_eq!(skip_to(&stored, &begun(500, 400)), Err(gap));
        assert_eq!(skip_to(&stored, &first_rows(begun(500, 400))), Ok(None), "the slot is new");
    }
}

#[test]
fn a_position_of_another_history_is_reported_before_fencing() {
    use StreamStart::{Continued, FirstRows};
    let origin = |stored: &StoredAt, first| same_origin(stored, &server(), first);
    assert_eq!(origin(&stored_on(3, 850, 860), Continued), Ok(()));
    assert_eq!(origin(&stored_on(1, 99, 120), Continued), Ok(()), "a promoted standby has that event, too");
    for (timeline, commit, parted) in [(1, 100, Some(Lsn(100))), (4, 50, None)] {
        let stored = stored_on(timeline, commit, 860);
        let position = stored.checkpoint.position;
        let gap = OtherOrigin::Timeline { stored: timeline, found: 3, position, parted };
        assert_eq!(origin(&stored, Continued), Err(gap.clone()));
        assert_eq!(origin(&stored, FirstRows), Ok(()), "the promoted standby has made a new slot");
        assert_eq!(skipped(&stored, &begun(50, None)), Err(PositionGap::Origin(gap)));
    }
    let other = StoredAt { system_identifier: "8".to_owned(), ..stored_on(3, 50, 60) };
    let gap = OtherOrigin::System { stored: "8".to_owned(), found: "7".to_owned() };
    assert_eq!(origin(&other, FirstRows), Err(gap.clone()));
    let stored = Stored::At(other);
    assert_eq!(skip_to(&stored, &first_rows(begun(50, None))), Err(PositionGap::Origin(gap)));
}

#[test]
fn nothing_is_skipped_during_a_backfill() {
    for stored in [stored_on(3, 595, 600), stored_on(3, 995, 1_000)] {
        assert_eq!(skip_to(&Stored::At(stored), &first_rows(begun(700, 600))), Ok(None));
    }
}

// The event at the position.

fn event(commit: u64, ordinal: u64) -> Position {
    Position { commit: Lsn(commit), ordinal }
}

fn guard(committed_at: Option<i64>) -> Guard {
    let committed_at = committed_at.map(Timestamp);
    let stored = Checkpoint { position: event(100, 3), committed_at, flush: Lsn(90) };
    Guard::ahead(&stored, Lsn(50)).expect("it comes again")
}

#[test]
fn an_event_that_is_not_resent_is_not_waited_for() {
    let stored = |position| Checkpoint { position, committed_at: None, flush: Lsn(130) };
    let ahead = Guard::ahead(&stored(event(100, 1)), Lsn(100));
    assert_eq!(ahead.map(|guard| guard.start()), Some(Lsn(100)));
    assert_eq!(Guard::ahead(&stored(event(100, 1)), Lsn(101)), None, "its transaction is confirmed");
    assert_eq!(Guard::ahead(&stored(Position::default()), Lsn(0)), None, "nothing was taken yet");
}

#[test]
fn only_an_event_with_the_positions_place_and_commit_time_matches() {
    let guard = guard(Some(7));
    assert_eq!(guard.is(event(60, 9), Timestamp(1)), Ok(false));
    assert_eq!(guard.is(event(100, 2), Timestamp(7)), Ok(false));
    assert_eq!(guard.is(event(100, 3), Timestamp(7)), Ok(true));
    for (position, committed_at) in [(event(100, 1), 8), (event(100, 3), 8), (event(100, 4), 7), (event(101, 1), 7)] {
        let found = guard.is(position, Timestamp(committed_at));
        assert!(matches!(found, Err(Halt::Displaced { .. })), "{position}: {found:?}");
    }
}

#[test]
fn a_position_without_a_commit_time_is_recognized_by_its_place() {
    assert_eq!(guard(None).is(event(100, 3), Timestamp(8)), Ok(true));
    assert!(guard(None).is(event(100, 4), Timestamp(8)).is_err());
}

#[test]
fn a_stream_past_the_position_lacks_the_event() {
    assert_eq!(guard(None).check_before(Lsn(100)), Ok(()));
    assert!(guard(None).check_before(Lsn(101)).is_err());
}

#[test]
fn nothing_is_confirmed_before_the_event_at_the_position_has_come() {
    let mut core = Core::new(settings());
    core.handle_connected(Lsn(50));
    let stored = Checkpoint { position: event(100, 1), committed_at: None, flush: Lsn(90) };
    core.handle_stored(&stored);
    let mut offer = |_, _: &Record<'_>| Offer::Taken;
    core.handle_batch(Batch { bytes: empty_transaction(60, 70).into() });
    assert_eq!(core.poll(Instant::now(), &mut offer), Ok(Idle::Input));
    assert_eq!((core.received(), core.flush(), core.settled()), (Lsn(70), Lsn(50), None));
    core.handle_batch(Batch { bytes: empty_transaction(110, 120).into() });
    let halt = core.poll(Instant::now(), &mut offer);
    assert!(matches!(halt, Err(Halt::Displaced { .. })), "{halt:?}");
    assert_eq!(core.flush(), Lsn(50));
}

fn settings() -> Settings {
    Settings {
        outboxes: Vec::new(),
        header_style: HeaderStyle::CloudEvents,
        source: String::new(),
        schema_base: String::new(),
        relay: String::new(),
        on_rejected: OnRejected::DeadLetter,
        dead_letter_topic: "outbox.dead-letter".to_owned(),
        topics: Vec::new(),
        max_in_flight: 1,
        max_in_flight_bytes: 1,
    }
}

fn empty_transaction(commit: u64, end: u64) -> Vec<u8> {
    let message = |body: &[u8]| {
        let length = u32::try_from(4 + 25 + body.len()).expect("short").to_be_bytes();
        [&b"d"[..], &length, b"w", &[0; 24], body].concat()
    };
    let begin = message(&[&b"B"[..], &commit.to_be_bytes(), &[0; 12]].concat());
    let commit = message(&[&b"C\0"[..], &commit.to_be_bytes(), &end.to_be_bytes(), &[0; 8]].concat());
    [begin, commit].concat()
}
