//! What is found of the server, its schema and the slot, as findings. Pure.

use super::report::{Finding, failure, ok, warning};
use crate::postgres::quote_identifier;
use crate::relay::boundary::Lsn;
use crate::source::{SlotState, SourceError, TableName};

/// The newest major version that walpost is tested with.
const NEWEST_MAJOR: u32 = 18;
/// WAL that a slot keeps without anybody streaming from it before that is worth a warning, in bytes.
const RETAINED_BYTES: u64 = 1 << 30;
/// Least of max_slot_wal_keep_size that survives a stop of the relay on a busy server, in bytes.
const KEEP_BYTES: i64 = 1 << 30;
/// Days ahead for which there should be partitions, at least.
const DAYS_AHEAD: i64 = 1;

/// `server_version_num`.
#[must_use]
pub fn version(number: u32) -> Finding {
    let shown = format!("{}.{}", number / 10_000, number % 10_000);
    match number / 10_000 {
        ..14 => failure("version", SourceError::ServerTooOld(shown).to_string()),
        major if major > NEWEST_MAJOR => warning(
            "version",
            format!("PostgreSQL {shown} is newer than those that walpost is tested with, 14 to {NEWEST_MAJOR}"),
        ),
        _ => ok("version", format!("PostgreSQL {shown}")),
    }
}

/// Replication slots in use, of how many, and whether ours is one of them.
#[must_use]
pub fn slots(used: u32, limit: u32, has_ours: bool) -> Finding {
    match used >= limit && !has_ours {
        true => failure("replication_slots", SourceError::SlotsUsedUp { limit }.to_string()),
        false => ok("replication_slots", format!("{used} of {limit} in use")),
    }
}

/// Walsenders in use, of how many, and whether a relay of ours is one of them.
#[must_use]
pub fn senders(used: u32, limit: u32, has_ours: bool) -> Finding {
    match used >= limit && !has_ours {
        true => failure("wal_senders", SourceError::SendersUsedUp { limit }.to_string()),
        false => ok("wal_senders", format!("{used} of {limit} in use")),
    }
}

/// `max_slot_wal_keep_size` in mebibytes, -1 for none.
#[must_use]
pub fn keep_size(mebibytes: i64) -> Finding {
    let check = "max_slot_wal_keep_size";
    if mebibytes < 0 {
        return warning(
            check,
            "no limit: a relay that is stopped for long fills the server's disk: run `alter system set max_slot_wal_keep_size = '50GB'` with what the disk can spare, and `select pg_reload_conf()`",
        );
    }
    let shown = bytes(u64::try_from(mebibytes).unwrap_or(0) << 20);
    if mebibytes.saturating_mul(1 << 20) < KEEP_BYTES {
        return warning(
            check,
            format!(
                "{shown}: a short stop of the relay on a busy server loses the slot: run `alter system set max_slot_wal_keep_size = '50GB'` with what the disk can spare, and `select pg_reload_conf()`"
            ),
        );
    }
    ok(check, format!("{shown}: a relay that is further behind loses its slot"))
}

/// `idle_replication_slot_timeout` in seconds, where the server has it (18 and newer).
#[must_use]
pub fn idle_timeout(seconds: i64) -> Finding {
    match seconds {
        ..=0 => ok("idle_slot_timeout", "none"),
        _ => warning(
            "idle_slot_timeout",
            format!(
                "a slot that nobody streams from for {seconds} s is invalidated: run `alter system set idle_replication_slot_timeout = 0` and `select pg_reload_conf()`"
            ),
        ),
    }
}

/// A migration, by its number, what it brings and the digest of its SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The number.
    pub version: i64,
    /// What it brings.
    pub description: String,
    /// The digest.
    pub checksum: Vec<u8>,
}

/// What the database says about migrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// There is no schema outbox.
    Nothing,
    /// Schema outbox was made with another tool, or this role may not see what made it.
    Unknown,
    /// These, each with its number and the digest of its SQL.
    Steps(Vec<(i64, Vec<u8>)>),
}

/// Migrations that were applied, and those that this walpost has.
#[must_use]
pub fn migrations(applied: &Applied, known: &[Step]) -> Finding {
    let check = "migrations";
    let steps = match applied {
        Applied::Nothing => return failure(check, "there is no schema outbox in this database: run `walpost migrate`"),
        Applied::Unknown => {
            return ok(check, "schema outbox is there; whether it is current this role can't see (outbox._migrations)");
        }
        Applied::Steps(steps) => steps,
    };
    for step in known {
        match steps.iter().find(|(version, _)| *version == step.version) {
            None => {
                let Step { version, description, .. } = step;
                return failure(
                    check,
                    format!("migration {version} ({description}) is missing: run `walpost migrate`"),
                );
            }
            Some((_, checksum)) if *checksum != step.checksum => {
                let text = format!(
                    "migration {} was applied in another version of its SQL: compare `walpost migrate --print` with what is there",
                    step.version
                );
                return failure(check, text);
            }
            Some(_) => {}
        }
    }
    match steps.iter().find(|(version, _)| known.iter().all(|step| step.version != *version)) {
        Some((version, _)) => {
            warning(check, format!("migration {version} is of a newer walpost: install that one for the relay too"))
        }
        None => ok(check, format!("{} applied, none is missing", steps.len())),
    }
}

/// Days from now for which outbox.event has partitions.
#[must_use]
pub fn partitions(days_ahead: i64) -> Finding {
    match days_ahead >= DAYS_AHEAD {
        true => ok("partitions", format!("made for {days_ahead} days ahead")),
        false => warning(
            "partitions",
            "outbox.event has none for tomorrow, so its rows would go to outbox.event_default: start the relay, which makes them, or run `select * from outbox.maintain(retention => null)`",
        ),
    }
}

/// What a publication publishes besides inserts.
#[must_use]
pub fn replica_identity(publication: &str, publishes_changes: bool) -> Finding {
    match publishes_changes {
        false => ok("replica_identity", "not needed: the publication has inserts alone"),
        true => warning(
            "replica_identity",
            format!(
                "publication {publication} publishes updates or deletes too, which the relay passes over and Postgres refuses on a table without a replica identity: run `alter publication {} set (publish = 'insert')`",
                quote_identifier(publication)
            ),
        ),
    }
}

/// Roles that may read `outbox.secret` and should not.
#[must_use]
pub fn secret_readers(readers: &str) -> Finding {
    warning(
        "secrets",
        format!(
            "{readers} may read outbox.secret, and with its keys write messages that are published as events: run `revoke select on outbox.secret from {readers}`, then `select outbox.add_secret('message')`"
        ),
    )
}

/// Row-level security that hides rows of a table from this role.
#[must_use]
pub fn row_security(role: &str, hidden: &[String], has_slot: bool) -> Finding {
    if hidden.is_empty() {
        return ok("row_security", "no policy hides rows from this role");
    }
    let (tables, role) = (hidden.join(", "), quote_identifier(role));
    let mend = format!("run `alter role {role} bypassrls`");
    match has_slot {
        // The log knows no policies.
        true => warning(
            "row_security",
            format!(
                "policies hide rows of {tables} from this role when it reads the table, as it does with a new slot: {mend}"
            ),
        ),
        false => failure(
            "row_security",
            format!("policies hide rows of {tables} from this role, and the first start reads the table: {mend}"),
        ),
    }
}

/// The bytes of hexadecimal digits, as `encode(..., 'hex')` has them.
#[must_use]
pub fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// An outbox table without a column that tells the age of its rows, and what stands in for it.
#[must_use]
pub fn order(table: &TableName, stand_in: &str) -> Finding {
    let what = format!(
        "table {table} has no created_at column: the first start reads its rows in the order of {stand_in}; name such a column in [[outbox]] columns if there is one"
    );
    warning("order", what)
}

/// An outbox table that is streamed and that the configuration does not name.
#[must_use]
pub fn stray_outbox(publication: &str, table: &TableName) -> Finding {
    let what = format!(
        "{publication} has table {table}, which no [[outbox]] names, so its events are passed over: add an [[outbox]] with that table, or run `alter publication {} drop table {table}`",
        quote_identifier(publication)
    );
    warning("publication", what)
}

/// Where the server's log ends, and how fast the slot follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The end of the log.
    pub end: Lsn,
    /// Whether the slot was confirmed further while it was looked at, or was at the end.
    pub moves: bool,
}

/// The slot, where there is one and it can be streamed from.
#[must_use]
pub fn slot(name: &str, found: &SlotState, user: Option<&str>, pace: Pace, version: u32) -> Vec<Finding> {
    let behind = found.confirmed_flush.map_or(0, |confirmed| pace.end.0.saturating_sub(confirmed.0));
    let kept = found.restart_lsn.map_or(0, |restart| pace.end.0.saturating_sub(restart.0));
    let held = match (found.active_pid, user) {
        (Some(pid), Some(user)) => format!("{user} (process {pid}) streams from it"),
        (Some(pid), None) => format!("process {pid} streams from it"),
        (None, _) => "nobody streams from it".to_owned(),
    };
    let mut findings = vec![match (found.temporary, found.active_pid, pace.moves) {
        (true, ..) => failure(
            "slot",
            format!(
                "{name} is temporary and ends with its session: end that session, and the first start makes a slot that stays"
            ),
        ),
        (false, Some(_), false) => warning(
            "slot",
            format!(
                "{held}, and has confirmed nothing for some seconds, {} behind: see /status of the relay, and whether Kafka takes its records",
                bytes(behind)
            ),
        ),
        _ => ok("slot", format!("{name}: {held}, confirmed up to {} behind the end of the log", bytes(behind))),
    }];
    findings.push(match found.wal_status.as_deref() {
        Some("unreserved") => warning(
            "retained_wal",
            format!("{}: the server is about to remove WAL that the slot needs: start the relay now, or raise max_slot_wal_keep_size", bytes(kept)),
        ),
        _ if found.active_pid.is_none() && kept > RETAINED_BYTES => warning(
            "retained_wal",
            format!("{} are kept for the slot, and nobody streams from it: start `walpost run`", bytes(kept)),
        ),
        _ => ok("retained_wal", format!("{} are kept for the slot", bytes(kept))),
    });
    if version >= 170_000 {
        findings.push(match found.failover {
            true => ok("failover", "the slot is kept on standbys that synchronize slots"),
            false => warning(
                "failover",
                format!("the slot is lost when a standby is promoted: stop the relay and run `ALTER_REPLICATION_SLOT {name} (FAILOVER true)` on a replication connection (psql \"replication=database ...\")"),
            ),
        });
    }
    findings
}

/// A number of bytes for people.
pub(super) fn bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
