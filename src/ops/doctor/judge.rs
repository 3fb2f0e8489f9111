//! Judges facts about the server, its schema and the slot. Pure.

use super::report::{Finding, Severity, failure, ok, warning};
use crate::migrations::{AppliedSteps, MigrationStep, UpToDate, compare};
use crate::postgres::{quote_identifier, sqlstate};
use crate::relay::boundary::Lsn;
use crate::source::{SlotState, SourceError, TableName};

/// The newest PostgreSQL major version that walpost is tested with.
const NEWEST_MAJOR: u32 = 18;
/// WAL retained for an inactive slot that is worth a warning, in bytes.
const RETAINED_BYTES: u64 = 1 << 30;
/// Smallest max_slot_wal_keep_size that survives a short stop of the relay on a busy server, in bytes.
const KEEP_BYTES: i64 = 1 << 30;
/// Fewest days ahead for which partitions should exist.
const DAYS_AHEAD: i64 = 1;

/// `server_version_num`.
#[must_use]
pub(crate) fn version(number: u32) -> Finding {
    let shown = format!("{}.{}", number / 10_000, number % 10_000);
    match number / 10_000 {
        ..14 => failure("version", SourceError::ServerTooOld(shown).to_string()),
        major if major > NEWEST_MAJOR => warning(
            "version",
            format!("PostgreSQL {shown} is newer than the versions walpost is tested with, 14 to {NEWEST_MAJOR}"),
        ),
        _ => ok("version", format!("PostgreSQL {shown}")),
    }
}

/// Replication slots in use, their limit, and whether ours is one of them.
#[must_use]
pub(crate) fn slots(used: u32, limit: u32, has_ours: bool) -> Finding {
    match used >= limit && !has_ours {
        true => failure("replication_slots", SourceError::SlotsUsedUp { limit }.to_string()),
        false => ok("replication_slots", format!("{used} of {limit} in use")),
    }
}

/// Walsenders in use, their limit, and whether our relay is one of them.
#[must_use]
pub(crate) fn senders(used: u32, limit: u32, has_ours: bool) -> Finding {
    match used >= limit && !has_ours {
        true => failure("wal_senders", SourceError::SendersUsedUp { limit }.to_string()),
        false => ok("wal_senders", format!("{used} of {limit} in use")),
    }
}

/// `max_slot_wal_keep_size` in mebibytes, -1 for no limit.
#[must_use]
pub(crate) fn keep_size(mebibytes: i64) -> Finding {
    let check = "max_slot_wal_keep_size";
    if mebibytes < 0 {
        return warning(
            check,
            "no limit, so a long stop of the relay fills the server's disk: run `alter system set max_slot_wal_keep_size = '50GB'`, with a size that the disk can spare, and `select pg_reload_conf()`",
        );
    }
    let shown = bytes(u64::try_from(mebibytes).unwrap_or(0) << 20);
    if mebibytes.saturating_mul(1 << 20) < KEEP_BYTES {
        return warning(
            check,
            format!(
                "{shown}, so even a short stop of the relay on a busy server invalidates the slot: run `alter system set max_slot_wal_keep_size = '50GB'`, with a size that the disk can spare, and `select pg_reload_conf()`"
            ),
        );
    }
    ok(check, format!("{shown}; the slot is invalidated if the relay falls further behind"))
}

/// `idle_replication_slot_timeout` in seconds (PostgreSQL 18 and newer).
#[must_use]
pub(crate) fn idle_timeout(seconds: i64) -> Finding {
    match seconds {
        ..=0 => ok("idle_slot_timeout", "none"),
        _ => warning(
            "idle_slot_timeout",
            format!(
                "a slot that is inactive for {seconds} s is invalidated: run `alter system set idle_replication_slot_timeout = 0` and `select pg_reload_conf()`"
            ),
        ),
    }
}

/// Whether a query failed for missing privileges.
#[must_use]
pub(crate) fn is_denied(error: &SourceError) -> bool {
    matches!(error, SourceError::Postgres(error) if error.sqlstate() == Some(sqlstate::INSUFFICIENT_PRIVILEGE))
}

/// Whether a finding says that privileges or migrations are missing.
#[must_use]
pub(crate) fn lacks_rights(findings: &[Finding]) -> bool {
    let is_one = |found: &Finding| ["migrations", "rights"].contains(&found.check);
    findings.iter().any(|found| found.verdict == Severity::Failure && is_one(found))
}

/// Compares the applied migrations with those of this walpost, as a start does.
#[must_use]
pub(crate) fn migrations(applied: &AppliedSteps, known: &[MigrationStep]) -> Finding {
    let check = "migrations";
    match compare(applied, known) {
        Err(gap) => failure(check, gap.to_string()),
        Ok(UpToDate::Unknown) => {
            ok(check, "schema outbox exists; this role can't read outbox._migrations to see whether it is current")
        }
        Ok(UpToDate::Newer(version)) => {
            warning(check, format!("migration {version} comes from a newer walpost: upgrade the relay"))
        }
        Ok(UpToDate::Same(count)) => ok(check, format!("{count} applied, none missing")),
    }
}

/// Days ahead for which outbox.event has partitions.
#[must_use]
pub(crate) fn partitions(days_ahead: i64) -> Finding {
    match days_ahead >= DAYS_AHEAD {
        true => ok("partitions", format!("exist for {days_ahead} days ahead")),
        false => warning(
            "partitions",
            "outbox.event has no partition for tomorrow, so rows would go to outbox.event_default: start the relay, which creates partitions, or run `select * from outbox.maintain(retention => null)`",
        ),
    }
}

/// Whether a publication publishes more than inserts.
#[must_use]
pub(crate) fn replica_identity(publication: &str, publishes_changes: bool) -> Finding {
    match publishes_changes {
        false => ok("replica_identity", "not needed: the publication has inserts only"),
        true => warning(
            "replica_identity",
            format!(
                "publication {publication} also publishes updates or deletes, which the relay ignores and Postgres refuses on a table without a replica identity: run `alter publication {} set (publish = 'insert')`",
                quote_identifier(publication)
            ),
        ),
    }
}

/// Roles that can read `outbox.secret` and should not.
#[must_use]
pub(crate) fn secret_readers(readers: &str) -> Finding {
    warning(
        "secrets",
        format!(
            "{readers} can read outbox.secret, and with its keys forge messages that are published as events: run `revoke select on outbox.secret from {readers}`, then `select outbox.add_secret('message')`"
        ),
    )
}

/// Row-level security policies that hide rows from this role.
#[must_use]
pub(crate) fn row_security(role: &str, hidden: &[String], has_slot: bool) -> Finding {
    if hidden.is_empty() {
        return ok("row_security", "no policies hide rows from this role");
    }
    let (tables, role) = (hidden.join(", "), quote_identifier(role));
    let fix = format!("run `alter role {role} bypassrls`");
    match has_slot {
        // The WAL is not subject to policies.
        true => warning(
            "row_security",
            format!(
                "policies hide rows of {tables} from this role when it reads the table, as it does with a new slot: {fix}"
            ),
        ),
        false => failure(
            "row_security",
            format!("policies hide rows of {tables} from this role, and the first start reads the table: {fix}"),
        ),
    }
}

/// An outbox table without a created_at column, and the column it is ordered by instead.
#[must_use]
pub(crate) fn order(table: &TableName, stand_in: &str) -> Finding {
    let what = format!(
        "table {table} has no created_at column, so the first start reads its rows in the order of {stand_in}: if it has such a column, name it in [[outbox]] columns"
    );
    warning("order", what)
}

/// A published table that the configuration does not name.
#[must_use]
pub(crate) fn stray_outbox(publication: &str, table: &TableName) -> Finding {
    let what = format!(
        "{publication} has table {table}, but no [[outbox]] names it, so its events are ignored: add an [[outbox]] for it, or run `alter publication {} drop table {table}`",
        quote_identifier(publication)
    );
    warning("publication", what)
}

/// A partition whose rows are not streamed, and which takes no more.
#[must_use]
pub(crate) fn archived(table: &TableName, part: &TableName) -> Finding {
    let what = format!(
        "partition {part} of {table} is not streamed: it is unlogged or foreign, and takes no rows; the first start publishes its existing rows; detach it before that if they are already published"
    );
    warning("publication", what)
}

/// The end of the WAL, and whether the slot advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotPace {
    /// The end of the WAL.
    pub end: Lsn,
    /// Whether the slot advanced while watched, or was at the end.
    pub moves: bool,
}

/// What to do about prepared transactions that a slot's creation waits for.
fn finish(prepared: &str) -> String {
    format!("prepared transactions {prepared}: run `commit prepared` or `rollback prepared` in the database of each")
}

/// A slot that does not exist, with the prepared transactions of the cluster.
#[must_use]
pub(crate) fn slot_missing(name: &str, prepared: Option<&str>) -> Finding {
    match prepared {
        None => ok("slot", format!("{name} does not exist yet: the first start creates it")),
        Some(prepared) => warning(
            "slot",
            format!("{name} does not exist yet, and the first start, which creates it, waits for {}", finish(prepared)),
        ),
    }
}

/// A slot that another session is creating, with the prepared transactions of the cluster.
#[must_use]
pub(crate) fn slot_in_creation(name: &str, pid: Option<i32>, prepared: Option<&str>) -> Finding {
    let pid = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    let waits_for = match prepared {
        None => "the transactions that were open when it began".to_owned(),
        Some(prepared) => finish(prepared),
    };
    warning("slot", format!("{name} is being created{pid}, which waits for {waits_for}"))
}

/// The slot, if it exists and can be streamed from.
#[must_use]
pub(crate) fn slot(name: &str, found: &SlotState, user: Option<&str>, pace: SlotPace, version: u32) -> Vec<Finding> {
    let behind = found.confirmed_flush.map_or(0, |confirmed| pace.end.0.saturating_sub(confirmed.0));
    let kept = found.restart_lsn.map_or(0, |restart| pace.end.0.saturating_sub(restart.0));
    let held = match (found.active_pid, user) {
        (Some(pid), Some(user)) => format!("{user} (process {pid}) streams from it"),
        (Some(pid), None) => format!("process {pid} streams from it"),
        (None, _) => "inactive".to_owned(),
    };
    let mut findings = vec![match (found.temporary, found.active_pid, pace.moves) {
        (true, ..) => failure(
            "slot",
            format!(
                "{name} is a temporary slot: end the session that holds it, and the first start creates a permanent one"
            ),
        ),
        (false, Some(_), false) => warning(
            "slot",
            format!(
                "{held} but has not confirmed anything for some seconds, {} behind: check the relay's /status, and whether Kafka accepts its records",
                bytes(behind)
            ),
        ),
        _ => ok("slot", format!("{name}: {held}, confirmed up to {} behind the end of the WAL", bytes(behind))),
    }];
    findings.push(match found.wal_status.as_deref() {
        Some("unreserved") => warning(
            "retained_wal",
            format!("{}: the server is about to remove WAL that the slot needs: start the relay now, or raise max_slot_wal_keep_size", bytes(kept)),
        ),
        _ if found.active_pid.is_none() && kept > RETAINED_BYTES => warning(
            "retained_wal",
            format!("{} retained for an inactive slot: start `walpost run`", bytes(kept)),
        ),
        _ => ok("retained_wal", format!("{} retained for the slot", bytes(kept))),
    });
    if version >= 170_000 {
        findings.push(match found.failover {
            true => ok("failover", "the slot is synchronized to standbys that have sync_replication_slots on"),
            false => warning(
                "failover",
                format!("the slot is lost when a standby is promoted: stop the relay and run `ALTER_REPLICATION_SLOT {name} (FAILOVER true)` on a replication connection (psql \"replication=database ...\")"),
            ),
        });
    }
    findings
}

/// Formats a number of bytes.
pub(super) fn bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
