//! Checks for what prevents rows from being sent or confirmed: encodings, server settings, a transaction that can't be sent.

use super::report::{Finding, failure, ok, warning};
use crate::postgres::{Connection, Error};
use crate::relay::decode::text_encoding::Encoding;
use crate::source::{Server, SourceError, waits_for_relay};

/// Runs the checks. `has_schema`: schema outbox exists.
pub(super) fn ask(
    control: &mut Connection,
    server: &Server,
    slot: &str,
    has_schema: bool,
) -> Result<Vec<Finding>, SourceError> {
    let mut findings = vec![encoding(server)];
    findings.extend(read_only(control)?);
    findings.extend(synchronous(control, slot)?);
    if has_schema {
        findings.extend(unsendable(control, slot)?);
    }
    Ok(findings)
}

fn encoding(server: &Server) -> Finding {
    let (check, name) = ("server_encoding", &server.encoding);
    match Encoding::of(name) {
        Some(Encoding::Utf8) => ok(check, name.clone()),
        Some(Encoding::Unchecked) => warning(
            check,
            "SQL_ASCII: Postgres does not validate text; an event whose text is not UTF-8 becomes a dead letter (undecodable)",
        ),
        Some(Encoding::Converted(..)) => ok(check, format!("{name}: the relay converts it to UTF-8")),
        None => warning(
            check,
            format!(
                "{name}: only Postgres can convert it to UTF-8, and a row that it can't convert blocks the slot until `walpost slot skip` skips its transaction"
            ),
        ),
    }
}

/// Checks the session default; the doctor's own session is read-only.
fn read_only(control: &mut Connection) -> Result<Option<Finding>, SourceError> {
    let rows =
        control.simple_query("select reset_val from pg_settings where name = 'default_transaction_read_only'")?;
    let is_on = rows.first().and_then(|row| row.text(0)) == Some("on");
    Ok(is_on.then(|| {
        warning(
            "read_only",
            "default_transaction_read_only is on: services can't emit events, though the relay still writes its state. Once it is no longer needed, run `alter system reset default_transaction_read_only` and `select pg_reload_conf()`, or reset it on the database or the role",
        )
    }))
}

fn synchronous(control: &mut Connection, slot: &str) -> Result<Option<Finding>, SourceError> {
    let rows = control.query(
        "select a.application_name from pg_replication_slots s join pg_stat_activity a on a.pid = s.active_pid where s.slot_name = $1",
        &[Some(slot)],
    )?;
    let application = rows.first().and_then(|row| row.text(0)).unwrap_or_default();
    let names = waits_for_relay(control, slot, application)?;
    Ok(names.map(|names| {
        warning(
            "synchronous_standby_names",
            format!(
                "\"{names}\" makes the relay a synchronous standby, so each commit waits until Kafka has its events: list only standbys, such as `alter system set synchronous_standby_names = 'FIRST 1 (standby1)'`, and run `select pg_reload_conf()`"
            ),
        )
    }))
}

/// Checks for an unsendable transaction recorded by the relay.
fn unsendable(control: &mut Connection, slot: &str) -> Result<Option<Finding>, SourceError> {
    let sql = "select to_jsonb(r) ->> 'unsendable_lsn', to_jsonb(r) ->> 'unsendable_error' from outbox.relay r where slot = $1";
    let rows = match control.query(sql, &[Some(slot)]) {
        Ok(rows) => rows,
        // The finding on privileges reports it.
        Err(Error::Server(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let noted = rows.first().and_then(|row| Some((row.text(0)?, row.text(1).unwrap_or_default())));
    Ok(noted.map(|(lsn, error)| {
        failure(
            "transaction",
            format!(
                "Postgres can't send the transaction at {lsn}, which blocks the slot: {error}; if the error persists, stop the relay and run `walpost slot skip --lsn {lsn}`"
            ),
        )
    }))
}
