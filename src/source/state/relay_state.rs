//! The relay's own row in `outbox.relay`: whether the initial backfill has been published, how far the slot was
//! confirmed, and what is in Kafka.

use crate::postgres::{Connection, Error};
use crate::relay::boundary::{Lsn, PositionProof};
use crate::relay::resume::{Backfill, NotedState};
use crate::source::boundary::gap_report::Published;
use crate::source::error::SourceError;
use crate::source::server::answer::text;
use crate::source::server::identity::{Server, System};
use crate::source::server::refusal::explain_statement;

fn text_of(backfill: Backfill) -> &'static str {
    match backfill {
        Backfill::Pending => "pending",
        Backfill::Done => "done",
    }
}

/// What is noted about a slot.
#[derive(Clone, Debug)]
pub(crate) struct RelayState {
    /// Input for planning a start.
    pub(crate) noted: NotedState,
    /// A position of the slot stored in Kafka, if positions are stored there.
    pub(crate) position: Option<Lsn>,
    /// What is certainly in Kafka.
    pub(crate) published: Published,
    /// The backfill repeats what may have been lost with another slot.
    pub(crate) recovery: Option<Recovery>,
}

/// Which rows a backfill repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Rows of transactions with this id or a later one.
    pub from_xid: String,
    /// How far the relay had come with the lost slot; 0/0 if unknown.
    pub after: Lsn,
}

/// Reads the row of a slot.
pub(crate) fn read(control: &mut Connection, server: &Server, slot: &str) -> Result<Option<RelayState>, SourceError> {
    let question = "the row in outbox.relay";
    let rows = control
        .query(
            "select system_identifier, backfill, timeline::text, position::text, confirm_limit::text, \
             published_lsn::text, published_at::text, published_xid::text, recover_from::text \
             from outbox.relay where slot = $1",
            &[Some(slot)],
        )
        .map_err(|error| explain_statement(error, server, "read outbox.relay"))?;
    let Some(row) = rows.first() else { return Ok(None) };
    let lsn = |column: usize| row.text(column).and_then(|text| text.parse::<Lsn>().ok());
    let published = Published { lsn: lsn(5), at: row.text(6).map(str::to_owned), xid: row.text(7).map(str::to_owned) };
    let recovery =
        row.text(8).map(|xid| Recovery { from_xid: xid.to_owned(), after: published.lsn.unwrap_or_default() });
    let noted = NotedState {
        system_identifier: text(row, 0, question)?,
        backfill: match row.text(1) {
            Some("pending") => Backfill::Pending,
            Some("done") => Backfill::Done,
            _ => return Err(SourceError::Answer { question }),
        },
        timeline: row.text(2).and_then(|text| text.parse().ok()),
        confirm_limit: lsn(4),
    };
    Ok(Some(RelayState {
        noted,
        // Nothing was stored yet if it is the start of all WAL.
        position: lsn(3).filter(|position| *position != Lsn(0)),
        published,
        recovery,
    }))
}

/// A slot's row as input for planning a start, and the position noted in it; `None` also if the role can't read it, or migrations are missing.
///
/// # Errors
/// Those of the connection.
pub(crate) fn read_noted(
    control: &mut Connection,
    server: &Server,
    slot: &str,
) -> Result<Option<(NotedState, Option<Lsn>)>, SourceError> {
    match read(control, server, slot) {
        Ok(kept) => Ok(kept.map(|kept| (kept.noted, kept.position))),
        Err(
            SourceError::MigrationsMissing { .. }
            | SourceError::MigrationsOutdated { .. }
            | SourceError::NoPrivilege { .. }
            | SourceError::Postgres(Error::Server(_)),
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the row of a slot that is about to stream from this server; with `stands`, its position, unless it must be
/// created.
pub(crate) fn write(
    control: &mut Connection,
    server: &Server,
    system: &System,
    slot: &str,
    stands: Option<Lsn>,
) -> Result<(), SourceError> {
    // A slot that must be created has no stored position yet, and no confirmed one. A usable slot that was found may
    // be past the last note, once: after a promotion.
    let sql = "insert into outbox.relay as relay (slot, system_identifier, backfill, timeline) \
               values ($1, $2, $3, $4::text::integer) \
               on conflict (slot) do update set backfill = excluded.backfill, updated_at = now(), \
               timeline = excluded.timeline, \
               position = case excluded.backfill when 'done' then relay.position end, \
               confirm_limit = case when excluded.backfill = 'done' and relay.confirm_limit is not null \
                   then greatest(relay.confirm_limit, $5::text::pg_lsn) end";
    let backfill = if stands.is_some() { Backfill::Done } else { Backfill::Pending };
    let (timeline, stands) = (system.timeline.to_string(), stands.map(|stands| stands.to_string()));
    control
        .write(
            sql,
            &[Some(slot), Some(&system.identifier), Some(text_of(backfill)), Some(&timeline), stands.as_deref()],
        )
        .map_err(|error| explain_statement(error, server, "write outbox.relay"))?;
    Ok(())
}

/// What is known to be published, as long as the cluster is the same: on another, its LSNs and transaction ids mean
/// nothing.
const OF_THIS_CLUSTER: &str = "\
    published_lsn = case when relay.system_identifier = excluded.system_identifier then relay.published_lsn end, \
    published_at = case when relay.system_identifier = excluded.system_identifier then relay.published_at end, \
    published_xid = case when relay.system_identifier = excluded.system_identifier then relay.published_xid end";

/// Notes that the slot must be recreated, and that rows of transactions from this id on must be published again.
pub(crate) fn begin_recovery(
    control: &mut Connection,
    server: &Server,
    system: &System,
    slot: &str,
    from_xid: &str,
) -> Result<(), SourceError> {
    let sql = format!(
        "insert into outbox.relay as relay (slot, system_identifier, backfill, timeline, recover_from, position_epoch) \
               values ($1, $2, 'pending', $3::text::integer, $4::text::xid8, gen_random_uuid()) \
               on conflict (slot) do update set system_identifier = excluded.system_identifier, backfill = 'pending', \
               timeline = excluded.timeline, recover_from = excluded.recover_from, position = null, \
               position_epoch = excluded.position_epoch, epoch_position = null, position_key = null, \
               confirm_limit = null, updated_at = now(), {OF_THIS_CLUSTER}"
    );
    let timeline = system.timeline.to_string();
    control
        .write(&sql, &[Some(slot), Some(&system.identifier), Some(&timeline), Some(from_xid)])
        .map_err(|error| explain_statement(error, server, "write outbox.relay"))?;
    Ok(())
}

/// Notes that the slot is adopted where it is. A pending backfill stays pending. With `forgets` the position in Kafka
/// is unknown from now on, and if somebody writes it again it is of an earlier epoch.
pub(crate) fn adopt(
    control: &mut Connection,
    server: &Server,
    system: &System,
    slot: &str,
    stands: Lsn,
    forgets: bool,
) -> Result<(), SourceError> {
    let sql = format!(
        "insert into outbox.relay as relay (slot, system_identifier, backfill, timeline, confirm_limit, position_epoch) \
               values ($1, $2, 'done', $3::text::integer, $4::text::pg_lsn, case when $5 then gen_random_uuid() end) \
               on conflict (slot) do update set system_identifier = excluded.system_identifier, \
               timeline = excluded.timeline, confirm_limit = excluded.confirm_limit, \
               position = case when $5 then null else relay.position end, \
               position_epoch = case when $5 then excluded.position_epoch else relay.position_epoch end, \
               epoch_position = case when $5 then null else relay.epoch_position end, \
               position_key = case when $5 then null else relay.position_key end, \
               updated_at = now(), {OF_THIS_CLUSTER}"
    );
    let (timeline, stands) = (system.timeline.to_string(), stands.to_string());
    let forgets = if forgets { "t" } else { "f" };
    control
        .write(&sql, &[Some(slot), Some(&system.identifier), Some(&timeline), Some(&stands), Some(forgets)])
        .map_err(|error| explain_statement(error, server, "write outbox.relay"))?;
    Ok(())
}

/// Notes that the slot is about to be moved to `past`, past the transaction that Postgres can't send; and that Kafka has a position there,
/// where `stored` says so.
pub(crate) fn skip(
    control: &mut Connection,
    server: &Server,
    system: &System,
    slot: &str,
    past: Lsn,
    stored: Option<PositionProof>,
) -> Result<(), SourceError> {
    // A position that was noted is later where a relay has come further before: then it stays. The position noted here is the
    // transaction's own, not the one past it: should Postgres be able to send it by the next start, a relay may store a position within it.
    let sql = format!(
        "insert into outbox.relay as relay (slot, system_identifier, backfill, timeline, confirm_limit, position, \
               signed_position, position_signed, position_key, epoch_position) \
               values ($1, $2, 'done', $3::text::integer, $4::text::pg_lsn, case when $5 then $7::text::pg_lsn end, \
               case when $6::bigint is not null then $7::text::pg_lsn end, $6::bigint is not null, $6::bigint, \
               case when $8 then $7::text::pg_lsn end) \
               on conflict (slot) do update set system_identifier = excluded.system_identifier, \
               timeline = excluded.timeline, confirm_limit = excluded.confirm_limit, \
               position = greatest(relay.position, excluded.position), \
               signed_position = case when excluded.position_signed and excluded.position > relay.position is not false \
                   then excluded.signed_position else relay.signed_position end, \
               position_signed = relay.position_signed or excluded.position_signed, \
               position_key = coalesce(excluded.position_key, relay.position_key), \
               epoch_position = case when excluded.epoch_position is not null and excluded.position > relay.position is not false \
                   then excluded.epoch_position else relay.epoch_position end, \
               unsendable_lsn = null, unsendable_error = null, updated_at = now(), {OF_THIS_CLUSTER}"
    );
    let (timeline, commit, past) = (system.timeline.to_string(), Lsn(past.0 - 1).to_string(), past.to_string());
    let flag = |is: bool| Some(if is { "t" } else { "f" });
    let proof = stored.unwrap_or_default();
    let signed_by = proof.signed_by.map(|id| id.to_string());
    let parameters = [
        Some(slot),
        Some(&system.identifier),
        Some(&timeline),
        Some(&past),
        flag(stored.is_some()),
        signed_by.as_deref(),
        Some(&commit),
        flag(proof.is_of_epoch),
    ];
    control.write(&sql, &parameters).map_err(|error| explain_statement(error, server, "write outbox.relay"))?;
    Ok(())
}

/// Notes that the backfill has been published.
pub(crate) fn finish_backfill(session: &mut Connection, slot: &str) -> Result<(), SourceError> {
    // The slot has not moved since it was made. From here on a start can tell one that something else advanced.
    let sql = "update outbox.relay set backfill = 'done', recover_from = null, updated_at = now(), \
        confirm_limit = greatest(confirm_limit, (select confirmed_flush_lsn from pg_replication_slots where slot_name = $1)) \
        where slot = $1";
    session.query(sql, &[Some(slot)])?;
    Ok(())
}

/// Notes how far a slot is about to be confirmed, without its lease.
pub(crate) fn note_end(control: &mut Connection, server: &Server, slot: &str, limit: Lsn) -> Result<(), SourceError> {
    let sql = "update outbox.relay set confirm_limit = greatest(confirm_limit, $2::text::pg_lsn), updated_at = now() where slot = $1";
    control
        .write(sql, &[Some(slot), Some(&limit.to_string())])
        .map_err(|error| explain_statement(error, server, "write outbox.relay"))?;
    Ok(())
}
