//! Which moment a position was: the index in `outbox.moment`, kept by the relay while it has a rewind window, and what bookmarks know.

use super::error::BookmarkError;
use super::explain;
use crate::postgres::{Connection, Error};
use crate::relay::boundary::{Lsn, Timestamp};
use crate::source::{Server, SourceError};

/// A place in the log and its time: whatever commits then or later has its commit record there or behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The place.
    pub lsn: Lsn,
    /// The time, by the server's clock.
    pub at: Timestamp,
}

/// Every moment that is known of a cluster, which is the first parameter.
const KNOWN: &str = "known as (select lsn, at from outbox.moment where system_identifier = $1 \
     union all select s.confirmed_flush_lsn, b.at from outbox.bookmark b join pg_replication_slots s on s.slot_name = b.slot \
     where b.at is not null and s.confirmed_flush_lsn is not null)";

/// A time as microseconds since 1970, in SQL.
pub(super) fn micros(time: &str) -> String {
    format!("(extract(epoch from {time}) * 1000000)::bigint::text")
}

/// Notes where the log ends now.
///
/// # Errors
/// [`SourceError`]: the table can't be written, or the connection failed.
pub fn note(control: &mut Connection, server: &Server, system: &str, slot: &str) -> Result<(), SourceError> {
    // The place first, then the time: a commit between the two is later than the place, and that is all that is said.
    let rows = control.simple_query("select pg_current_wal_insert_lsn()")?;
    let end = rows.first().and_then(|row| row.text(0)).ok_or(SourceError::Answer { question: "where its log ends" })?;
    let sql = "insert into outbox.moment (slot, system_identifier, lsn, at) \
               values ($1, $2, $3::text::pg_lsn, clock_timestamp()) on conflict do nothing";
    control
        .write(sql, &[Some(slot), Some(system), Some(end)])
        .map_err(|error| explain(error, server, "write outbox.moment"))?;
    Ok(())
}

/// The last moment that is surely at or before a time. Where the clock was set back, that is the one before the first later time.
///
/// # Errors
/// As [`note`].
pub fn at_or_before(
    control: &mut Connection,
    server: &Server,
    system: &str,
    time: Timestamp,
) -> Result<Option<Moment>, SourceError> {
    let sql = format!(
        "with {KNOWN} select lsn, {} from known where lsn < coalesce((select min(lsn) from known \
         where at > 'epoch'::timestamptz + $2::text::bigint * interval '1 microsecond'), 'FFFFFFFF/FFFFFFFF') \
         order by lsn desc limit 1",
        micros("at")
    );
    one(control, server, &sql, &[Some(system), Some(&time.0.to_string())])
}

/// The earliest moment at or behind a position.
///
/// # Errors
/// As [`note`].
pub fn from(
    control: &mut Connection,
    server: &Server,
    system: &str,
    position: Lsn,
) -> Result<Option<Moment>, SourceError> {
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
) -> Result<Option<Moment>, SourceError> {
    let rows = control.query(sql, parameters).map_err(|error| explain(error, server, "read outbox.moment"))?;
    let Some(row) = rows.first() else { return Ok(None) };
    let moment = || Some(Moment { lsn: row.text(0)?.parse().ok()?, at: Timestamp(row.text(1)?.parse().ok()?) });
    moment().map(Some).ok_or(SourceError::Answer { question: "which moment a position was" })
}

/// A time as people write it, by the server: what PostgreSQL reads as a time, in UTC unless it names a zone, or a duration such as
/// "90s", "15m", "2h" or "7d", which is so long ago.
///
/// # Errors
/// [`BookmarkError::NoTime`] with the server's own words if it is neither.
pub fn parse(control: &mut Connection, text: &str) -> Result<Timestamp, BookmarkError> {
    let is_ago = text
        .strip_suffix(['s', 'm', 'h', 'd', 'w'])
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let time = if is_ago { "clock_timestamp() - $1::text::interval" } else { "$1::text::timestamptz" };
    control.simple_query("set timezone = 'UTC'")?;
    let rows = match control.query(&format!("select {}", micros(time)), &[Some(text)]) {
        Err(Error::Server(error)) => {
            return Err(BookmarkError::NoTime { text: text.to_owned(), reason: error.message });
        }
        asked => asked?,
    };
    let micros = rows.first().and_then(|row| row.text(0)).and_then(|text| text.parse().ok());
    Ok(micros.map(Timestamp).ok_or(SourceError::Answer { question: "what time that is" })?)
}
