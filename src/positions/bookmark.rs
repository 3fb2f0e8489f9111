//! Bookmarks: each is an inactive logical slot, `<slot>_bm_<name>`, and a row in `outbox.bookmark`.

use super::error::BookmarkError;
use super::moment::{self, PositionMoment, micros};
use crate::postgres::{Connection, WaitLimit, sqlstate};
use crate::relay::boundary::{Lsn, Timestamp};
use crate::source::{self, Server, SourceError, explain_statement};

/// Longest slot name, in bytes (`NAMEDATALEN` - 1).
const SLOT_BYTES: usize = 63;

/// How long Postgres may decode WAL to advance a new bookmark to its position.
const ADVANCE_LIMIT: std::time::Duration = std::time::Duration::from_secs(3_600);

/// A position past everything, which every slot holds.
const ANYWHERE: Lsn = Lsn(u64::MAX);

/// A bookmark and the state of its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bookmark {
    /// The operator's name for it.
    pub name: String,
    /// Its replication slot.
    pub slot: String,
    /// The position that it holds; `None` if its WAL is lost.
    pub position: Option<Lsn>,
    /// The time of that position, if known.
    pub at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its age, in seconds.
    pub age_seconds: u64,
    /// WAL that it retains on the server's disk, in bytes.
    pub retained_wal_bytes: u64,
    /// `wal_status` of the slot: `reserved`, `extended`, `unreserved` or `lost`; `gone` if the slot does not exist.
    pub wal_status: String,
}

/// Where to create a bookmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BookmarkStart {
    /// At the current end of the WAL.
    Now,
    /// At a position.
    At(Lsn),
    /// At or before a time.
    Since(Timestamp),
}

/// The slot name of a bookmark.
///
/// # Errors
/// [`BookmarkError::Name`].
pub(crate) fn slot_name(relay_slot: &str, name: &str) -> Result<String, BookmarkError> {
    let longest = SLOT_BYTES.saturating_sub(relay_slot.len() + "_bm_".len());
    let is_legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if name.is_empty() || name.len() > longest || !name.bytes().all(is_legal) {
        return Err(BookmarkError::Name { name: name.to_owned(), slot: relay_slot.to_owned(), longest });
    }
    Ok(format!("{relay_slot}_bm_{name}"))
}

/// Creates a bookmark: copies a slot that holds the position, and advances the copy to it.
///
/// # Errors
/// [`BookmarkError`]; no bookmark is left behind.
pub(crate) fn create(
    control: &mut Connection,
    server: &Server,
    system: &str,
    relay_slot: &str,
    name: &str,
    place: &BookmarkStart,
) -> Result<Bookmark, BookmarkError> {
    let slot = slot_name(relay_slot, name)?;
    let taken = control.query("select from pg_replication_slots where slot_name = $1", &[Some(&slot)])?;
    if !taken.is_empty() {
        return Err(BookmarkError::Exists { name: name.to_owned(), slot });
    }
    let target = resolve(control, server, system, place)?;
    let at = target.and_then(|(_, at)| at);
    register(control, server, (&slot, relay_slot, name, at))?;
    // The slot of an up-to-date relay may pass the current end of the WAL at any moment.
    match source::copy_holder(control, None, target.map_or(ANYWHERE, |(wanted, _)| wanted), &slot) {
        Ok(_) => {}
        // Another session created it first.
        Err(SourceError::SlotHeld { slot, .. }) => {
            return Err(BookmarkError::Exists { name: name.to_owned(), slot });
        }
        Err(error) => {
            forget(control, server, &slot)?;
            return Err(error.into());
        }
    }
    if let Err(error) = settle(control, server, (&slot, relay_slot, name), target.map(|(wanted, _)| wanted)) {
        // A leftover slot would retain WAL unnoticed.
        let _ = control.query("select pg_drop_replication_slot($1)", &[Some(&slot)]);
        forget(control, server, &slot)?;
        return Err(error);
    }
    let made = list(control, server, relay_slot)?.into_iter().find(|bookmark| bookmark.name == name);
    made.ok_or_else(|| BookmarkError::Unknown { name: name.to_owned(), relay_slot: relay_slot.to_owned() })
}

/// The position of a place and its time, if known; `None`: the end of the WAL.
fn resolve(
    control: &mut Connection,
    server: &Server,
    system: &str,
    place: &BookmarkStart,
) -> Result<Option<(Lsn, Option<Timestamp>)>, BookmarkError> {
    match *place {
        BookmarkStart::Now => Ok(None),
        BookmarkStart::At(wanted) => match log_end(control)? {
            end if wanted > end => Err(BookmarkError::Ahead { wanted, end }),
            _ => Ok(Some((wanted, None))),
        },
        BookmarkStart::Since(time) => match moment::at_or_before(control, server, system, time)? {
            Some(PositionMoment { lsn, at }) => Ok(Some((lsn, Some(at)))),
            None => {
                let oldest = moment::from(control, server, system, Lsn(0))?.map(|moment| moment.at);
                Err(BookmarkError::TimeUnknown { wanted: time, oldest })
            }
        },
    }
}

/// Advances the slot of a new bookmark to its position, or to the end of the WAL.
fn settle(
    control: &mut Connection,
    server: &Server,
    (slot, relay_slot, name): (&str, &str, &str),
    wanted: Option<Lsn>,
) -> Result<(), BookmarkError> {
    let target = wanted.map_or_else(|| log_end(control), Ok)?;
    if wanted.is_none() {
        // Taken after the position, as for any recorded time.
        let sql = format!("select {}", moment::micros("clock_timestamp()"));
        let rows = control.simple_query(&sql)?;
        let now = rows.first().and_then(|row| row.text(0)).and_then(|micros| micros.parse().ok());
        register(control, server, (slot, relay_slot, name, now.map(Timestamp)))?;
    }
    control.set_wait_limit(WaitLimit::Timeout(ADVANCE_LIMIT));
    source::advance(control, slot, target)?;
    control.set_wait_limit(WaitLimit::Timeout(crate::postgres::ANSWER_TIMEOUT));
    Ok(())
}

fn log_end(control: &mut Connection) -> Result<Lsn, SourceError> {
    let rows = control.simple_query("select pg_current_wal_flush_lsn()")?;
    let end = rows.first().and_then(|row| row.text(0)).and_then(|lsn| lsn.parse().ok());
    end.ok_or(SourceError::Answer { question: "where its log ends" })
}

fn register(
    control: &mut Connection,
    server: &Server,
    (slot, relay_slot, name, at): (&str, &str, &str, Option<Timestamp>),
) -> Result<(), BookmarkError> {
    // A row without a slot is left from a slot that something else dropped.
    forget(control, server, slot)?;
    let at = at.map(|at| at.0.to_string());
    let sql = "insert into outbox.bookmark (slot, relay_slot, name, at) \
               values ($1, $2, $3, 'epoch'::timestamptz + $4::text::bigint * interval '1 microsecond')";
    control
        .write(sql, &[Some(slot), Some(relay_slot), Some(name), at.as_deref()])
        .map_err(|error| explain_statement(error, server, "write outbox.bookmark"))?;
    Ok(())
}

fn forget(control: &mut Connection, server: &Server, slot: &str) -> Result<(), SourceError> {
    control
        .write("delete from outbox.bookmark where slot = $1", &[Some(slot)])
        .map_err(|error| explain_statement(error, server, "write outbox.bookmark"))?;
    Ok(())
}

/// The bookmarks of a relay's slot, ordered by position.
///
/// # Errors
/// [`SourceError`].
pub(crate) fn list(control: &mut Connection, server: &Server, relay_slot: &str) -> Result<Vec<Bookmark>, SourceError> {
    let sql = format!(
        "select b.name, b.slot, s.confirmed_flush_lsn, {}, {}, \
                floor(extract(epoch from clock_timestamp() - b.created_at))::bigint::text, \
                coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::bigint::text, \
                case when s.slot_name is null then 'gone' else coalesce(s.wal_status, 'lost') end \
         from outbox.bookmark b left join pg_replication_slots s on s.slot_name = b.slot \
         where b.relay_slot = $1 order by s.confirmed_flush_lsn, b.name",
        micros("b.at"),
        micros("b.created_at")
    );
    let rows = control
        .query(&sql, &[Some(relay_slot)])
        .map_err(|error| explain_statement(error, server, "read outbox.bookmark"))?;
    let bookmark = |row: &crate::postgres::Row| {
        let time = |column| row.text(column).and_then(|micros| micros.parse().ok()).map(Timestamp);
        let status = row.text(7)?.to_owned();
        let position = row.text(2).and_then(|lsn| lsn.parse().ok());
        Some(Bookmark {
            name: row.text(0)?.to_owned(),
            slot: row.text(1)?.to_owned(),
            position: position.filter(|_| status != "lost"),
            at: time(3),
            created_at: time(4)?,
            // If the clock was set back, the age is 0, not negative.
            age_seconds: row.text(5)?.parse().unwrap_or(0),
            retained_wal_bytes: row.text(6)?.parse().unwrap_or(0),
            wal_status: status,
        })
    };
    rows.iter().map(|row| bookmark(row).ok_or(SourceError::Answer { question: "which bookmarks there are" })).collect()
}

/// A bookmark of a relay's slot, by name.
///
/// # Errors
/// [`BookmarkError::Name`], [`BookmarkError::Unknown`], [`BookmarkError::NotOurs`], [`BookmarkError::Source`].
pub(crate) fn find(
    control: &mut Connection,
    server: &Server,
    relay_slot: &str,
    name: &str,
) -> Result<Bookmark, BookmarkError> {
    let slot = slot_name(relay_slot, name)?;
    if let Some(found) = list(control, server, relay_slot)?.into_iter().find(|bookmark| bookmark.name == name) {
        return Ok(found);
    }
    let taken = control.query("select from pg_replication_slots where slot_name = $1", &[Some(&slot)])?;
    if !taken.is_empty() {
        return Err(BookmarkError::NotOurs { slot });
    }
    Err(BookmarkError::Unknown { name: name.to_owned(), relay_slot: relay_slot.to_owned() })
}

/// Drops a bookmark, which releases its WAL, and returns its last state.
///
/// # Errors
/// As [`find`].
pub(crate) fn remove(
    control: &mut Connection,
    server: &Server,
    relay_slot: &str,
    name: &str,
) -> Result<Bookmark, BookmarkError> {
    let found = find(control, server, relay_slot, name)?;
    match control.query("select pg_drop_replication_slot($1)", &[Some(&found.slot)]) {
        Ok(_) => {}
        // Another session dropped it first.
        Err(error) if error.sqlstate() == Some(sqlstate::UNDEFINED_OBJECT) => {}
        Err(error) => return Err(error.into()),
    }
    forget(control, server, &found.slot)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmarks_name_must_fit_in_its_slot_name() {
        assert_eq!(slot_name("walpost", "before_deploy").ok().as_deref(), Some("walpost_bm_before_deploy"));
        assert!(slot_name("walpost", &"x".repeat(52)).is_ok());
        for bad in ["", "Before", "a-b", "a b", "ü", "a'b", &"x".repeat(53)] {
            assert!(matches!(slot_name("walpost", bad), Err(BookmarkError::Name { .. })), "{bad}");
        }
        assert!(slot_name(&"s".repeat(63), "a").is_err(), "no name fits");
    }
}
