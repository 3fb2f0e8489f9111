//! What stands in the way of sending rows and confirming them: encodings, settings of the server, a transaction that can't be sent.

use super::report::{Finding, failure, ok, warning};
use crate::postgres::{Connection, Error};
use crate::relay::decode::text_encoding::Encoding;
use crate::source::{Server, SourceError, waits_for_relay};

/// Asks for all of it. `has_schema` if schema outbox is there.
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
            "SQL_ASCII: Postgres takes any bytes for text; an event whose text is not UTF-8 becomes a dead letter (undecodable)",
        ),
        Some(Encoding::Converted(..)) => ok(check, format!("{name}, which the relay converts to UTF-8")),
        None => warning(
            check,
            format!(
                "{name}: only Postgres can convert it to UTF-8, and a row that it can't convert stops the slot until `walpost slot skip` passes over its transaction"
            ),
        ),
    }
}

/// By what the session began with: the doctor's own is set to read only.
fn read_only(control: &mut Connection) -> Result<Option<Finding>, SourceError> {
    let rows =
        control.simple_query("select reset_val from pg_settings where name = 'default_transaction_read_only'")?;
    let is_on = rows.first().and_then(|row| row.text(0)) == Some("on");
    Ok(is_on.then(|| {
        warning(
            "read_only",
            "default_transaction_read_only is on: services can't emit events; the relay's own notes are written all the same. Once it is no longer needed, run `alter system reset default_transaction_read_only` and `select pg_reload_conf()`, or reset it on the database or the role",
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
                "\"{names}\" takes the relay for a synchronous standby, so each commit waits until Kafka has its events: name the standbys, such as `alter system set synchronous_standby_names = 'FIRST 1 (standby1)'`, and run `select pg_reload_conf()`"
            ),
        )
    }))
}

/// As the relay has noted it.
fn unsendable(control: &mut Connection, slot: &str) -> Result<Option<Finding>, SourceError> {
    let sql = "select to_jsonb(r) ->> 'unsendable_lsn', to_jsonb(r) ->> 'unsendable_error' from outbox.relay r where slot = $1";
    let rows = match control.query(sql, &[Some(slot)]) {
        Ok(rows) => rows,
        // It is told by the line about rights.
        Err(Error::Server(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let noted = rows.first().and_then(|row| Some((row.text(0)?, row.text(1).unwrap_or_default())));
    Ok(noted.map(|(lsn, error)| {
        failure(
            "transaction",
            format!(
                "Postgres can't send the transaction at {lsn}, and the slot stands still: {error}; if that does not pass, stop the relay and run `walpost slot skip --lsn {lsn}`"
            ),
        )
    }))
}
