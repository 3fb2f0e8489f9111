//! A slot in the catalog: what it is, whether it can be used, and how it is created and dropped.

use crate::postgres::{ANSWER_TIMEOUT, Connection, Error, Interrupt, WaitLimit, quote_identifier, sqlstate};
use crate::relay::boundary::Lsn;
use crate::relay::resume::Slot;
use crate::source::error::SourceError;
use crate::source::server::answer::{first, lsn, setting, text};

/// From this version on slot options are in parentheses.
const OPTION_LIST_VERSION: u32 = 150_000;
/// From this version on slots can have the failover option and say why they are invalid.
const FAILOVER_VERSION: u32 = 170_000;
/// The longest slot name, in bytes (`NAMEDATALEN - 1`).
const NAME_BYTES: usize = 63;

/// A slot as in the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotState {
    /// The output plugin; `None` for a physical slot.
    pub plugin: Option<String>,
    /// The database; `None` for a physical slot.
    pub database: Option<String>,
    /// The server process that streams from it.
    pub active_pid: Option<i32>,
    /// The oldest WAL that it retains; `None` if it no longer retains any.
    pub restart_lsn: Option<Lsn>,
    /// Everything before this is confirmed.
    pub confirmed_flush: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved` or `lost`; `None` if it retains no WAL.
    pub wal_status: Option<String>,
    /// Why it is invalid, if the server says so (16 and newer).
    pub invalidation: Option<String>,
    /// Whether it is synchronized to standbys (17 and newer).
    pub failover: bool,
    /// Whether it is dropped with its session.
    pub temporary: bool,
    /// Whether it decodes at PREPARE.
    pub two_phase: bool,
}

impl SlotState {
    /// Whether the relay can stream from the slot; whether something already does is another question.
    ///
    /// # Errors
    /// [`SourceError::SlotPhysical`], [`SourceError::SlotPlugin`], [`SourceError::SlotDatabase`],
    /// [`SourceError::SlotTwoPhase`], [`SourceError::SlotLost`], [`SourceError::SlotHeld`] while it is being created.
    pub(crate) fn check(&self, slot: &str, database: &str) -> Result<Lsn, SourceError> {
        let slot = slot.to_owned();
        match (self.plugin.as_deref(), self.database.as_deref()) {
            (None, _) | (_, None) => return Err(SourceError::SlotPhysical { slot }),
            (Some(plugin), _) if plugin != "pgoutput" => {
                return Err(SourceError::SlotPlugin { slot, plugin: plugin.to_owned() });
            }
            (_, Some(found)) if found != database => {
                return Err(SourceError::SlotDatabase { slot, found: found.to_owned(), wanted: database.to_owned() });
            }
            _ if self.is_being_created() => return Err(SourceError::SlotHeld { slot, pid: self.active_pid }),
            _ if self.two_phase => return Err(SourceError::SlotTwoPhase { slot }),
            _ => {}
        }
        let confirmed_flush = self.confirmed_flush.unwrap_or_default();
        if self.wal_status.as_deref() == Some("lost") || self.invalidation.is_some() || self.confirmed_flush.is_none() {
            let reason = self.invalidation.as_deref().filter(|reason| *reason != "wal_removed");
            let reason = reason.unwrap_or("its WAL was removed").to_owned();
            let unpublished = Box::default();
            return Err(SourceError::SlotLost { slot, reason, confirmed_flush, unpublished });
        }
        Ok(confirmed_flush)
    }

    /// Whether a session is creating it, which can take as long as transactions are open: it has no position yet, and
    /// none is lost.
    #[must_use]
    pub(crate) fn is_being_created(&self) -> bool {
        let is_lost = self.wal_status.as_deref() == Some("lost") || self.invalidation.is_some();
        self.plugin.is_some() && self.active_pid.is_some() && self.confirmed_flush.is_none() && !is_lost
    }

    /// The slot, as input for planning a start.
    ///
    /// # Errors
    /// Those of [`SlotState::check`], except for an invalidated slot.
    pub(crate) fn facts(&self, slot: &str, database: &str) -> Result<Slot, SourceError> {
        match self.check(slot, database) {
            Ok(confirmed) => Ok(Slot::At(confirmed)),
            Err(SourceError::SlotLost { reason, confirmed_flush: confirmed, .. }) => {
                Ok(Slot::Lost { confirmed, reason })
            }
            Err(unfit) => Err(unfit),
        }
    }
}

/// Looks up a slot on a control connection; `None` if there is none of that name.
///
/// # Errors
/// Those of the connection.
pub(crate) fn inspect_slot(
    control: &mut Connection,
    version: u32,
    slot: &str,
) -> Result<Option<SlotState>, SourceError> {
    let newer = match version {
        FAILOVER_VERSION.. => "failover, invalidation_reason",
        160_000.. => "false, case when conflicting then 'conflict with recovery' end",
        _ => "false, null",
    };
    let sql = format!(
        "select plugin, database, active_pid, restart_lsn, confirmed_flush_lsn, wal_status, temporary, two_phase, \
         {newer} from pg_replication_slots where slot_name = $1"
    );
    let rows = control.query(&sql, &[Some(slot)])?;
    Ok(rows.first().map(|row| SlotState {
        plugin: row.text(0).map(str::to_owned),
        database: row.text(1).map(str::to_owned),
        active_pid: row.text(2).and_then(|pid| pid.parse().ok()),
        restart_lsn: lsn(row, 3),
        confirmed_flush: lsn(row, 4),
        wal_status: row.text(5).map(str::to_owned),
        temporary: row.is_true(6),
        two_phase: row.is_true(7),
        failover: row.is_true(8),
        invalidation: row.text(9).map(str::to_owned),
    }))
}

/// Whether Postgres accepts the name (`ReplicationSlotValidateName`).
///
/// # Errors
/// [`SourceError::SlotName`].
pub(crate) fn check_slot_name(slot: &str) -> Result<(), SourceError> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=NAME_BYTES).contains(&slot.len()) && slot.bytes().all(fits) {
        Ok(())
    } else {
        Err(SourceError::SlotName(slot.to_owned()))
    }
}

/// A newly created slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreatedSlot {
    /// Transactions whose commit record starts at or after this are streamed; the snapshot sees all others.
    pub consistent_point: Lsn,
    /// The snapshot, which lives until the next command on the replication connection.
    pub snapshot: Option<String>,
}

/// Creates a slot, with the failover option if the server has it, and exports the snapshot of its start.
///
/// It waits for every transaction that is open at that time; `interrupt` ends the wait, and leaves no slot behind.
///
/// # Errors
/// [`SourceError::SlotsUsedUp`], [`SourceError::SlotHeld`] if the slot was created meanwhile, and those of the
/// connections.
pub(crate) fn create_slot(
    replication: &mut Connection,
    control: &mut Connection,
    version: u32,
    slot: &str,
    interrupt: &Interrupt,
) -> Result<CreatedSlot, SourceError> {
    check_slot_name(slot)?;
    let options = match version {
        FAILOVER_VERSION.. => "(SNAPSHOT 'export', FAILOVER true)",
        OPTION_LIST_VERSION.. => "(SNAPSHOT 'export')",
        _ => "EXPORT_SNAPSHOT",
    };
    let question = "CREATE_REPLICATION_SLOT";
    let sql = format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput {options}", quote_identifier(slot));
    replication.set_wait_limit(WaitLimit::Until(interrupt.clone()));
    let rows = match replication.simple_query(&sql) {
        Ok(rows) => rows,
        Err(error) => return Err(explain_creation(error, control, slot)),
    };
    replication.set_wait_limit(WaitLimit::Timeout(ANSWER_TIMEOUT));
    let row = first(&rows, question)?;
    Ok(CreatedSlot {
        consistent_point: lsn(row, 1).ok_or(SourceError::Answer { question })?,
        snapshot: Some(text(row, 2, question)?),
    })
}

/// The oldest prepared transactions of the cluster, for people: creating a slot waits for them. They have no session, and
/// may have been forgotten.
///
/// # Errors
/// Those of the connection.
pub(crate) fn prepared_transactions(control: &mut Connection) -> Result<Option<String>, Error> {
    let sql = "select string_agg(quote_literal(gid) || ' in ' || database || ' since ' || prepared::text, ', ' order by prepared) \
               from (select gid, database, prepared from pg_prepared_xacts order by prepared limit 10) oldest";
    let rows = control.simple_query(sql)?;
    Ok(rows.first().and_then(|row| row.text(0)).map(str::to_owned))
}

/// Drops a slot that nobody streams from.
///
/// # Errors
/// Those of the connection.
pub(crate) fn drop_slot(control: &mut Connection, slot: &str) -> Result<(), SourceError> {
    control.query("select pg_drop_replication_slot($1)", &[Some(slot)])?;
    Ok(())
}

/// The error for a slot that the server did not create.
pub(crate) fn explain_creation(error: Error, control: &mut Connection, slot: &str) -> SourceError {
    match error.sqlstate() {
        Some(sqlstate::CONFIGURATION_LIMIT_EXCEEDED) => match setting(control, "max_replication_slots") {
            Ok(limit) => SourceError::SlotsUsedUp { limit },
            Err(error) => error,
        },
        Some(sqlstate::DUPLICATE_OBJECT) => SourceError::SlotHeld { slot: slot.to_owned(), pid: None },
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_names_are_validated_as_postgres_does() {
        for good in ["walpost", "a", "0_1", &"x".repeat(63)] {
            assert!(check_slot_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Walpost", "wal-post", "wal post", "ü", "a\"b", &"x".repeat(64)] {
            assert!(matches!(check_slot_name(bad), Err(SourceError::SlotName(_))), "{bad}");
        }
    }
}
