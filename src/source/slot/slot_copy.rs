//! Which slots hold which positions, and copies of them.
//!
//! A slot can stream every transaction whose commit record starts at or after its `confirmed_flush_lsn`, and so can a
//! copy of it (`pg_copy_logical_replication_slot`), even of an active slot. Asked for an earlier position Postgres
//! silently starts at that LSN, so a copy's position is read back.

use super::inspect::explain_creation;
use crate::postgres::{Connection, quote_literal, sqlstate};
use crate::relay::boundary::Lsn;
use crate::source::boundary::holder::{Held, NotHeld, holder};
use crate::source::error::SourceError;
use crate::source::limits::COPY_ATTEMPTS;
use crate::source::server::answer::first;

/// The slots of this database that events can be read from, by what they hold, earliest first.
///
/// # Errors
/// Those of the connection.
pub(crate) fn held(connection: &mut Connection) -> Result<Vec<Held>, SourceError> {
    let rows = connection.simple_query(
        "select slot_name, confirmed_flush_lsn from pg_replication_slots \
         where plugin = 'pgoutput' and database = current_database() and not temporary \
             and confirmed_flush_lsn is not null and restart_lsn is not null and wal_status is distinct from 'lost' \
         order by confirmed_flush_lsn, slot_name",
    )?;
    let slot =
        |row: &crate::postgres::Row| Some(Held { slot: row.text(0)?.to_owned(), from: row.text(1)?.parse().ok()? });
    rows.iter().map(|row| slot(row).ok_or(SourceError::Answer { question: "replication slots" })).collect()
}

/// Copies a slot that holds a position, under a free name: on `session` if there is one, which a temporary copy does
/// not outlive.
///
/// # Errors
/// [`SourceError::NotHeld`], [`SourceError::SlotsUsedUp`], and those of the connections.
pub(crate) fn copy_holder(
    control: &mut Connection,
    mut session: Option<&mut Connection>,
    wanted: Lsn,
    name: &str,
) -> Result<Held, SourceError> {
    let is_temporary = session.is_some();
    let mut run = |control: &mut Connection, sql: &str| session.as_deref_mut().unwrap_or(control).simple_query(sql);
    for _ in 0..COPY_ATTEMPTS {
        let chosen = holder(&held(control)?, wanted)?.clone();
        let sql = format!(
            "select lsn from pg_copy_logical_replication_slot({}, {}, {})",
            quote_literal(&chosen.slot),
            quote_literal(name),
            is_temporary
        );
        let rows = match run(control, &sql) {
            Ok(rows) => rows,
            // It is gone, or was moved while it was copied.
            Err(error) if is_about_the_holder(error.sqlstate()) => continue,
            Err(error) => return Err(explain_creation(error, control, name)),
        };
        let question = "the start of a copied slot";
        let from = first(&rows, question)?.text(0).and_then(|lsn| lsn.parse().ok());
        let from: Lsn = from.ok_or(SourceError::Answer { question })?;
        if from <= wanted {
            return Ok(Held { slot: chosen.slot, from });
        }
        run(control, &format!("select pg_drop_replication_slot({})", quote_literal(name)))?;
    }
    Err(NotHeld { wanted, oldest: held(control)?.first().cloned() }.into())
}

fn is_about_the_holder(code: Option<&str>) -> bool {
    matches!(code, Some(sqlstate::UNDEFINED_OBJECT | sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE))
}

/// Advances a slot as far as it still holds `wanted`; returns its new position. Postgres reads the WAL in between,
/// and the slot's `restart_lsn` follows to one of the places that it finds there.
///
/// # Errors
/// Those of the connection.
pub(crate) fn advance(control: &mut Connection, slot: &str, wanted: Lsn) -> Result<Lsn, SourceError> {
    let question = "the position of a slot";
    let target = wanted.to_string();
    let rows = control.query(
        "select case when confirmed_flush_lsn >= $2::text::pg_lsn then confirmed_flush_lsn \
                else (pg_replication_slot_advance(slot_name, $2::text::pg_lsn)).end_lsn end \
         from pg_replication_slots where slot_name = $1",
        &[Some(slot), Some(&target)],
    )?;
    let stands = first(&rows, question)?.text(0).and_then(|lsn| lsn.parse().ok());
    stands.ok_or(SourceError::Answer { question })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_slot_that_holds_a_position_is_chosen() {
        let slot = |slot: &str, from| Held { slot: slot.to_owned(), from: Lsn(from) };
        let held = [slot("day", 10), slot("hour", 20), slot("now", 30)];
        let chosen = |wanted| holder(&held, Lsn(wanted)).map(|held| held.slot.as_str());
        assert_eq!((chosen(10), chosen(29), chosen(99)), (Ok("day"), Ok("hour"), Ok("now")));
        let refused = holder(&held, Lsn(9)).expect_err("nothing holds it");
        assert_eq!(refused, NotHeld { wanted: Lsn(9), oldest: Some(held[0].clone()) });
        assert!(refused.to_string().contains("0/A, held by slot day"), "{refused}");
        assert!(holder(&[], Lsn(9)).is_err_and(|refused| refused.to_string().contains("this database has no slot")));
    }
}
