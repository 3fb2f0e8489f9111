//! How far a slot may be confirmed, in each state of its gate.

use super::*;

const fn settled(lsn: u64) -> Reached {
    Reached { settled: Lsn(lsn), stored: None }
}

const fn stored(settled: u64, stored: u64) -> Reached {
    Reached { settled: Lsn(settled), stored: Some(Lsn(stored)) }
}

fn confirm(gate: &mut Gate, reached: Reached) -> Option<u64> {
    gate.poll(reached).confirm.map(|lsn| lsn.0)
}

/// A relay's gate with a stream from 100.
fn streaming() -> Gate {
    let mut gate = Gate::new(Notes::Required);
    assert_eq!(gate.handle_up(Lsn(100), None), StreamStart::Continued);
    gate
}

#[test]
fn nothing_is_confirmed_past_what_is_noted() {
    let mut gate = streaming();
    let wanted = Wanted::Limit { flush: Lsn(150), noted: Lsn(100) };
    assert_eq!(gate.poll(settled(150)), GateStep { confirm: None, note: Some(wanted) });
    gate.handle_noted(Lsn(120));
    assert_eq!(confirm(&mut gate, settled(150)), Some(120));
    gate.handle_noted(Lsn(900));
    assert_eq!(confirm(&mut gate, settled(150)), Some(150));
    gate.handle_noted(Lsn(110));
    assert_eq!(confirm(&mut gate, settled(160)), Some(160), "a limit that was noted stays");
}

#[test]
fn nothing_is_confirmed_past_what_kafka_has_stored() {
    let mut gate = streaming();
    gate.handle_noted(Lsn(900));
    assert_eq!(confirm(&mut gate, stored(150, 0)), None, "no position yet");
    assert_eq!(confirm(&mut gate, stored(150, 140)), Some(140));
    assert_eq!(confirm(&mut gate, stored(145, 160)), Some(145), "a position that a predecessor has stored");
}

#[test]
fn an_lsn_is_confirmed_once() {
    let mut gate = streaming();
    gate.handle_noted(Lsn(900));
    assert_eq!(confirm(&mut gate, settled(100)), None, "the slot stands there");
    assert_eq!(confirm(&mut gate, settled(101)), Some(101));
    assert_eq!(confirm(&mut gate, settled(101)), None);
    assert_eq!(confirm(&mut gate, settled(90)), None);
    assert_eq!(gate.resume(), Some(Resume::Confirmed(Lsn(101))));
}

#[test]
fn a_note_is_never_below_what_is_confirmed() {
    let mut gate = streaming();
    let wanted = Wanted::Limit { flush: Lsn(100), noted: Lsn(100) };
    assert_eq!(gate.poll(stored(0, 0)).note, Some(wanted));
}

#[test]
fn nothing_is_confirmed_before_the_first_backfill_is_noted() {
    let mut gate = Gate::new(Notes::Required);
    assert_eq!(gate.poll(settled(900)), GateStep::default(), "no stream yet");
    assert_eq!(gate.handle_up(Lsn(50), Some(Lsn(50))), StreamStart::FirstRows);
    gate.handle_noted(Lsn(900));
    assert_eq!(gate.poll(settled(49)), GateStep::default());
    for reached in [stored(50, 49), stored(49, 50)] {
        assert_eq!(gate.poll(reached), GateStep::default());
    }
    assert!(!gate.is_past_backfill());
    assert_eq!((gate.backfill_end(), gate.resume()), (Some(Lsn(50)), None));
    for reached in [settled(50), settled(80), stored(50, 50)] {
        assert_eq!(gate.poll(reached), GateStep { confirm: None, note: Some(Wanted::Backfill) });
    }
    gate.handle_backfill_noted();
    assert!(gate.is_past_backfill() && gate.backfill_end().is_none());
    assert_eq!(gate.resume(), Some(Resume::Confirmed(Lsn(50))));
    assert_eq!(confirm(&mut gate, settled(50)), None);
    assert_eq!(confirm(&mut gate, settled(80)), Some(80));
}

#[test]
fn a_half_read_backfill_restarts() {
    let mut gate = Gate::new(Notes::Required);
    gate.handle_up(Lsn(50), Some(Lsn(50)));
    gate.handle_lost(false);
    assert_eq!((gate.resume(), gate.last(settled(900)), gate.unnoted_backfill()), (None, None, None));
    assert_eq!(gate.handle_up(Lsn(50), Some(Lsn(50))), StreamStart::FirstRows);
}

#[test]
fn a_fully_read_backfill_is_not_repeated_and_is_noted_only_while_streaming() {
    let mut gate = Gate::new(Notes::Required);
    gate.handle_up(Lsn(50), Some(Lsn(50)));
    gate.handle_lost(true);
    assert_eq!((gate.resume(), gate.backfill_end()), (Some(Resume::Backfilled(Lsn(50))), None));
    assert_eq!(gate.unnoted_backfill(), Some(Lsn(50)), "a stop waits for the next stream");
    assert_eq!(gate.poll(settled(50)), GateStep::default(), "the lease may be another's");
    gate.handle_backfill_noted();
    assert_eq!(gate.resume(), Some(Resume::Backfilled(Lsn(50))), "a note about another backfill");
    assert_eq!(gate.last(settled(50)), None, "it is not noted");
    assert_eq!(gate.handle_up(Lsn(50), Some(Lsn(50))), StreamStart::Continued);
    assert_eq!(gate.poll(settled(50)).note, Some(Wanted::Backfill));
    gate.handle_lost(false);
    assert_eq!(gate.resume(), Some(Resume::Backfilled(Lsn(50))), "lost again");
    assert_eq!(gate.handle_up(Lsn(70), Some(Lsn(70))), StreamStart::FirstRows, "of a slot that was made anew");
}

#[test]
fn a_noted_limit_is_confirmed_on_the_next_stream() {
    let mut gate = streaming();
    gate.handle_noted(Lsn(130));
    gate.handle_lost(false);
    assert!(!gate.is_past_backfill());
    let step = gate.poll(settled(150));
    assert_eq!(step, GateStep { confirm: Some(Lsn(130)), note: None }, "no note without a lease");
    assert_eq!(gate.resume(), Some(Resume::Confirmed(Lsn(130))));
    assert_eq!(gate.handle_up(Lsn(130), None), StreamStart::Continued);
    assert_eq!(confirm(&mut gate, settled(130)), None);
}

#[test]
fn the_slots_position_is_never_behind_what_was_confirmed() {
    let mut gate = streaming();
    gate.handle_noted(Lsn(150));
    gate.poll(settled(150));
    gate.handle_lost(false);
    gate.handle_up(Lsn(140), None);
    assert_eq!(gate.resume(), Some(Resume::Confirmed(Lsn(150))));
    gate.handle_lost(false);
    gate.handle_up(Lsn(170), None);
    assert_eq!(gate.resume(), Some(Resume::Confirmed(Lsn(170))));
    assert_eq!(confirm(&mut gate, settled(160)), None);
}

#[test]
fn without_a_stream_the_slot_is_advanced_to_what_is_in_kafka() {
    let mut gate = streaming();
    gate.handle_noted(Lsn(130));
    gate.handle_lost(false);
    assert_eq!(gate.last(settled(150)), Some(Lsn(150)), "whoever moves it notes that first");
    assert_eq!(gate.last(stored(150, 140)), Some(Lsn(140)));
    assert_eq!(gate.last(stored(150, 0)), Some(Lsn(100)), "where it was confirmed");
}

#[test]
fn a_slot_that_may_be_another_is_left_alone() {
    let mut gate = streaming();
    gate.handle_noted(Lsn(900));
    gate.handle_dead();
    assert_eq!(gate.poll(settled(150)), GateStep::default());
    assert_eq!((gate.last(settled(150)), gate.resume(), gate.is_past_backfill()), (None, None, false));
}

#[test]
fn a_replay_neither_writes_nor_awaits_notes() {
    let mut gate = Gate::new(Notes::Unneeded);
    gate.handle_up(Lsn(100), None);
    assert_eq!(gate.poll(settled(150)), GateStep { confirm: Some(Lsn(150)), note: None });
}
