//! The relay's own row in `outbox.relay`: whether the rows that were there before the slot have been published, and whether
//! positions are kept in Kafka.

use super::error::SourceError;
use super::slot::{Server, text};
use crate::postgres::{Connection, Error, sqlstate};
use crate::relay::boundary::Lsn;

/// How far the rows from before the slot are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backfill {
    /// Begun or about to begin; nothing of the stream has been confirmed.
    Pending,
    /// All published, or left to another hand.
    Done,
}

impl Backfill {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
        }
    }
}

/// Reads the row of a slot, which must have been made on the cluster with this system identifier.
pub(super) fn read(
    control: &mut Connection,
    server: &Server,
    system_identifier: &str,
    slot: &str,
) -> Result<Option<Backfill>, SourceError> {
    let rows = control
        .query("select system_identifier, backfill from outbox.relay where slot = $1", &[Some(slot)])
        .map_err(|error| explain(error, server, "read outbox.relay"))?;
    let Some(row) = rows.first() else { return Ok(None) };
    let question = "what outbox.relay holds";
    let stored = text(row, 0, question)?;
    if stored != system_identifier {
        let found = system_identifier.to_owned();
        return Err(SourceError::SystemChanged { slot: slot.to_owned(), stored, found });
    }
    match row.text(1) {
        Some("pending") => Ok(Some(Backfill::Pending)),
        Some("done") => Ok(Some(Backfill::Done)),
        _ => Err(SourceError::Answer { question }),
    }
}

/// Writes the row of a slot.
pub(super) fn write(
    control: &mut Connection,
    server: &Server,
    system_identifier: &str,
    slot: &str,
    backfill: Backfill,
) -> Result<(), SourceError> {
    // A slot that is to be made has no position yet.
    let sql = "insert into outbox.relay as relay (slot, system_identifier, backfill) values ($1, $2, $3) \
               on conflict (slot) do update set backfill = excluded.backfill, updated_at = now(), \
               position = case excluded.backfill when 'done' then relay.position end";
    control
        .query(sql, &[Some(slot), Some(system_identifier), Some(backfill.as_str())])
        .map_err(|error| explain(error, server, "write outbox.relay"))?;
    Ok(())
}

/// Notes that every row from before the slot has been published.
pub(super) fn finish_backfill(control: &mut Connection, server: &Server, slot: &str) -> Result<(), SourceError> {
    let sql = "update outbox.relay set backfill = 'done', updated_at = now() where slot = $1";
    control.query(sql, &[Some(slot)]).map_err(|error| explain(error, server, "write outbox.relay"))?;
    Ok(())
}

/// A position of the slot that was stored in Kafka, if positions are kept there.
pub(super) fn position(control: &mut Connection, server: &Server, slot: &str) -> Result<Option<Lsn>, SourceError> {
    let rows = control
        .query("select position::text from outbox.relay where slot = $1", &[Some(slot)])
        .map_err(|error| explain(error, server, "read outbox.relay"))?;
    Ok(rows.first().and_then(|row| row.text(0)?.parse().ok()))
}

/// Notes such a position, or that none is kept.
pub(super) fn write_position(
    control: &mut Connection,
    server: &Server,
    slot: &str,
    position: Option<Lsn>,
) -> Result<(), SourceError> {
    let sql = "update outbox.relay set position = $2::text::pg_lsn, updated_at = now() where slot = $1";
    let position = position.map(|lsn| lsn.to_string());
    control
        .query(sql, &[Some(slot), position.as_deref()])
        .map_err(|error| explain(error, server, "write outbox.relay"))?;
    Ok(())
}

fn explain(error: Error, server: &Server, doing: &'static str) -> SourceError {
    match error.sqlstate() {
        Some(sqlstate::UNDEFINED_TABLE | sqlstate::INVALID_SCHEMA_NAME) => {
            SourceError::MigrationsMissing { database: server.database.clone() }
        }
        Some(sqlstate::INSUFFICIENT_PRIVILEGE) => SourceError::NoPrivilege { role: server.role.clone(), doing },
        _ => error.into(),
    }
}

/// Holds, while the control connection lives, the right to make, drop or fill the slot. Two relays that start at once
/// would else take the one's unfinished slot for a leftover of the other's.
pub(super) fn lock(control: &mut Connection, slot: &str) -> Result<(), SourceError> {
    let key = "hashtext('walpost'), hashtext($1)";
    let rows = control.query(&format!("select pg_try_advisory_lock({key})"), &[Some(slot)])?;
    if rows.first().is_some_and(|row| row.is_true(0)) {
        return Ok(());
    }
    // Postgres shows the two halves of such a key as unsigned numbers in classid and objid, with objsubid 2.
    let rows = control.query(
        "select pid from pg_locks where locktype = 'advisory' and objsubid = 2 and granted \
         and classid::bigint::bit(32) = hashtext('walpost')::bit(32) and objid::bigint::bit(32) = hashtext($1)::bit(32)",
        &[Some(slot)],
    )?;
    let pid = rows.first().and_then(|row| row.text(0)).and_then(|pid| pid.parse().ok());
    Err(SourceError::SlotHeld { slot: slot.to_owned(), pid })
}
