use super::super::report::Severity::{Failure, Ok, Warning};
use super::*;

#[test]
fn case_49_what_a_slots_creation_waits_for_is_named() {
    use crate::ops::doctor::report::Severity;
    let missing = slot_missing("s", None);
    assert_eq!(
        (missing.verdict, missing.what.as_str()),
        (Severity::Ok, "s does not exist yet: the first start creates it")
    );
    let prepared = Some("'a' in shop since yesterday");
    for finding in [slot_missing("s", prepared), slot_in_creation("s", Some(7), prepared)] {
        assert_eq!(finding.verdict, Severity::Warning);
        assert!(
            finding.what.contains("waits for prepared transactions 'a' in shop since yesterday: run `"),
            "{finding:?}"
        );
    }
    let open = slot_in_creation("s", Some(7), None).what;
    assert_eq!(open, "s is being created (process 7), which waits for the transactions that were open when it began");
}

fn found() -> SlotState {
    SlotState {
        plugin: Some("pgoutput".to_owned()),
        database: Some("shop".to_owned()),
        active_pid: Some(7),
        restart_lsn: Some(Lsn(0)),
        confirmed_flush: Some(Lsn(100)),
        wal_status: Some("reserved".to_owned()),
        invalidation: None,
        failover: true,
        temporary: false,
        two_phase: false,
    }
}

#[test]
fn versions_14_to_18_are_supported() {
    let verdicts = [130_022, 140_000, 180_003, 190_000].map(|number| version(number).verdict);
    assert_eq!(verdicts, [Failure, Ok, Ok, Warning]);
}

#[test]
fn exhausted_limits_fail_only_without_a_slot_or_walsender_of_ones_own() {
    for judge in [slots, senders] {
        let verdicts = [judge(9, 10, false), judge(10, 10, false), judge(10, 10, true), judge(0, 0, false)];
        assert_eq!(verdicts.map(|finding| finding.verdict), [Ok, Failure, Ok, Failure]);
    }
}

#[test]
fn an_absent_and_a_small_wal_limit_are_warnings() {
    assert_eq!(
        [-1, 0, 1_023, 1_024, 1 << 40].map(|limit| keep_size(limit).verdict),
        [Warning, Warning, Warning, Ok, Ok]
    );
    assert_eq!([-1, 0, 1].map(|seconds| idle_timeout(seconds).verdict), [Ok, Ok, Warning]);
}

#[test]
fn missing_changed_and_newer_migrations_are_found() {
    let step = |version| MigrationStep { version, description: "x".to_owned(), checksum: vec![1] };
    let known = [step(1), step(2)];
    let judge = |applied: &[(i64, u8)]| {
        let steps = applied.iter().map(|(version, sum)| (*version, vec![*sum])).collect();
        migrations(&AppliedSteps::Steps(steps), &known)
    };
    assert_eq!(judge(&[(1, 1), (2, 1)]).verdict, Ok);
    assert_eq!(judge(&[(1, 1)]).what, "migration 2 (x) is missing: run `walpost migrate`");
    assert_eq!(judge(&[(1, 1), (2, 9)]).verdict, Failure);
    assert_eq!(judge(&[(1, 1), (2, 1), (3, 1)]).verdict, Warning);
    assert_eq!(migrations(&AppliedSteps::Nothing, &known).verdict, Failure);
    assert_eq!(migrations(&AppliedSteps::Unknown, &known).verdict, Ok);
}

#[test]
fn a_slot_finding_names_its_holder_and_lag() {
    let judge = |found: &SlotState, moves, version| {
        let pace = SlotPace { end: Lsn(2 << 30), moves };
        slot("walpost", found, Some("walpost shop"), pace, version)
            .into_iter()
            .map(|f| (f.check, f.verdict))
            .collect::<Vec<_>>()
    };
    assert_eq!(judge(&found(), true, 180_000), [("slot", Ok), ("retained_wal", Ok), ("failover", Ok)]);
    assert_eq!(judge(&found(), true, 160_000).len(), 2, "older servers have no failover slots");
    assert_eq!(judge(&found(), false, 160_000)[0].1, Warning);
    let idle = SlotState { active_pid: None, failover: false, ..found() };
    assert_eq!(judge(&idle, false, 170_000), [("slot", Ok), ("retained_wal", Warning), ("failover", Warning)]);
    let temporary = SlotState { temporary: true, ..found() };
    assert_eq!(judge(&temporary, true, 160_000)[0].1, Failure);
    let threatened = SlotState { wal_status: Some("unreserved".to_owned()), ..found() };
    assert_eq!(judge(&threatened, true, 160_000)[1].1, Warning);
}

#[test]
fn policies_fail_only_before_the_first_start() {
    let hidden = ["outbox.event".to_owned()];
    let verdicts = [row_security("r", &[], false), row_security("r", &hidden, false), row_security("r", &hidden, true)];
    assert_eq!(verdicts.map(|finding| finding.verdict), [Ok, Failure, Warning]);
    assert_eq!([partitions(0), partitions(7)].map(|finding| finding.verdict), [Warning, Ok]);
    assert_eq!([false, true].map(|changes| replica_identity("outbox", changes).verdict), [Ok, Warning]);
}
