//! Times of positions: the index in `outbox.moment`, which the relay keeps with a rewind window, and the times of bookmarks.

use super::error::BookmarkError;
use crate::postgres::{Connection, Error};
use crate::relay::boundary::{Lsn, Timestamp};
use crate::source::{Server, SourceError, explain_statement};

/// An LSN and a time: what commits at that time or later has its commit record at that LSN or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PositionMoment {
    pub lsn: Lsn,
    /// The time, by the server's clock.
    pub at: Timestamp,
}

/// All known moments of a cluster; its system identifier is the first parameter.
const KNOWN: &str = "known as (select lsn, at from outbox.moment where system_identifier = $1 \
     union all select s.confirmed_flush_lsn, b.at from outbox.bookmark b join pg_replication_slots s on s.slot_name = b.slot \
     where b.at is not null and s.confirmed_flush_lsn is not null)";

/// SQL for a time as microseconds since the Unix epoch.
pub(super) fn micros(time: &str) -> String {
    format!("(extract(epoch from {time}) * 1000000)::bigint::text")
}

/// Records the current end of the WAL and the time.
///
/// # Errors
/// [`SourceError`]: the table can't be written or the connection failed.
pub(crate) fn note(control: &mut Connection, server: &Server, system: &str, slot: &str) -> Result<(), SourceError> {
    // LSN first, then time: a commit between the two is after the LSN, which is all that a moment claims.
    let rows = control.simple_query("select pg_current_wal_insert_lsn()")?;
    let end = rows.first().and_then(|row| row.text(0)).ok_or(SourceError::Answer { question: "where its log ends" })?;
    let sql = "insert into outbox.moment (slot, system_identifier, lsn, at) \
               values ($1, $2, $3::text::pg_lsn, clock_timestamp()) on conflict do nothing";
    control
        .write(sql, &[Some(slot), Some(system), Some(end)])
        .map_err(|error| explain_statement(error, server, "write outbox.moment"))?;
    Ok(())
}

/// The last moment that is certain to be at or before a time. If the clock was set back, that is the one before the first later time.
///
/// # Errors
/// As [`note`].
pub(crate) fn at_or_before(
    control: &mut Connection,
    server: &Server,
    system: &str,
    time: Timestamp,
) -> Result<Option<PositionMoment>, SourceError> {
    let sql = format!(
        "with {KNOWN} select lsn, {} from known where lsn < coalesce((select min(lsn) from known \
         where at > 'epoch'::timestamptz + $2::text::bigint * interval '1 microsecond'), 'FFFFFFFF/FFFFFFFF') \
         order by lsn desc limit 1",
        micros("at")
    );
    one(control, server, &sql, &[Some(system), Some(&time.0.to_string())])
}

/// The earliest moment at or after a position.
///
/// # Errors
/// As [`note`].
pub(crate) fn from(
    control: &mut Connection,
    server: &Server,
    system: &str,
    position: Lsn,
) -> Result<Option<PositionMoment>, SourceError> {
    let sql = format!(
        "with {KNOWN} select lsn, {} from known where lsn >= $2::text::pg_lsn order by lsn limit 1",
        micros("at")
    );
    one(control, server, &sql, &[Some(system), Some(&position.to_string())])
}

fn one(
    control: &mut Connection,
    server: &Server,
    sql: &str,
    parameters: &[Option<&str>],
) -> Result<Option<PositionMoment>, SourceError> {
    let rows =
        control.query(sql, parameters).map_err(|error| explain_statement(error, server, "read outbox.moment"))?;
    let Some(row) = rows.first() else { return Ok(None) };
    let moment = || Some(PositionMoment { lsn: row.text(0)?.parse().ok()?, at: Timestamp(row.text(1)?.parse().ok()?) });
    moment().map(Some).ok_or(SourceError::Answer { question: "which moment a position was" })
}

/// Parses a time on the server: any timestamp that PostgreSQL accepts, in UTC unless it has a zone, or an age such as "90s",
/// "15m", "2h" or "7d".
///
/// # Errors
/// [`BookmarkError::NoTime`] with the server's error if it is neither.
pub(crate) fn parse(control: &mut Connection, text: &str) -> Result<Timestamp, BookmarkError> {
    let is_ago = text
        .strip_suffix(['s', 'm', 'h', 'd', 'w'])
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let time = if is_ago { "clock_timestamp() - $1::text::interval" } else { "$1::text::timestamptz" };
    control.configure("set timezone = 'UTC'")?;
    let rows = match control.query(&format!("select {}", micros(time)), &[Some(text)]) {
        Err(Error::Server(error)) => {
            return Err(BookmarkError::NoTime { text: text.to_owned(), reason: error.message });
        }
        asked => asked?,
    };
    let micros = rows.first().and_then(|row| row.text(0)).and_then(|text| text.parse().ok());
    Ok(micros.map(Timestamp).ok_or(SourceError::Answer { question: "what time that is" })?)
}
