//! What is noted in `outbox.relay` while the slot streams.

use crate::postgres::Connection;
use crate::relay::boundary::Lsn;
use crate::source::error::SourceError;
use crate::source::slot::inspect::first;

/// The relay's progress, for `outbox.relay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Everything before this LSN is in Kafka.
    pub flush: Lsn,
    /// How far the stream was read.
    pub received: Lsn,
    /// A position stored in Kafka, if positions are stored there; which of several does not matter. 0/0 is none yet,
    /// and keeps what is noted.
    pub stored: Option<Lsn>,
    /// Whether that position is signed.
    pub is_signed: bool,
    /// Whether more will follow.
    pub extent: NoteLimit,
}

/// How far the slot may be confirmed before the next note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteLimit {
    /// As far as the stream was read: the rest is on its way to Kafka.
    Ahead,
    /// Not past what is in Kafka: the relay is stopping.
    Exact,
}

/// A point before which every transaction has ended, for `outbox.relay.published_*`.
#[derive(Clone, Debug)]
struct Moment {
    lsn: Lsn,
    at: String,
    xid: String,
}

/// Writes notes, and remembers the point to record once the relay has passed it.
#[derive(Debug, Default)]
pub(crate) struct NoteWriter {
    next: Option<Moment>,
}

impl NoteWriter {
    /// Writes a note on the lease's session; returns how far the slot may then be confirmed.
    ///
    /// A noted position never moves backwards: a start that finds an older one in Kafka refuses it, and would accept it
    /// at the next attempt if its last note said so.
    pub(crate) fn write(&mut self, session: &mut Connection, slot: &str, note: &Note) -> Result<Lsn, SourceError> {
        let question = "how far the slot may be confirmed";
        let published = self.next.take_if(|moment| moment.lsn <= note.flush);
        let (flush, stored) = (note.flush.to_string(), note.stored.map(|lsn| lsn.to_string()));
        let ahead = match note.extent {
            NoteLimit::Ahead => note.received,
            NoteLimit::Exact => note.flush,
        };
        let ahead = ahead.to_string();
        let rows = session.query(
            "update outbox.relay set updated_at = now(), \
             position_signed = position_signed or $8::boolean, \
             signed_position = case when $8::boolean and $3 <> '0/0' \
                 then greatest(signed_position, $3::text::pg_lsn) else signed_position end, \
             position = case when $3 is null then null when $3 = '0/0' then position \
                 else greatest(position, $3::text::pg_lsn) end, \
             confirm_limit = greatest($2::text::pg_lsn, least($4::text::pg_lsn, pg_current_wal_insert_lsn())), \
             published_lsn = coalesce($5::text::pg_lsn, published_lsn), \
             published_at = coalesce($6::text::timestamptz, published_at), \
             published_xid = coalesce($7::text::xid8, published_xid) \
             where slot = $1 returning confirm_limit::text",
            &[
                Some(slot),
                Some(&flush),
                stored.as_deref(),
                Some(&ahead),
                published.as_ref().map(|moment| moment.lsn.to_string()).as_deref(),
                published.as_ref().map(|moment| moment.at.as_str()),
                published.as_ref().map(|moment| moment.xid.as_str()),
                Some(if note.is_signed { "t" } else { "f" }),
            ],
        )?;
        let limit = first(&rows, question)?.text(0).and_then(|text| text.parse().ok());
        if self.next.is_none() {
            self.next = moment(session)?;
        }
        limit.ok_or(SourceError::Answer { question })
    }
}

/// The current point. The statement's snapshot is taken before the end of the WAL is read, so what had ended by then
/// ended before it.
fn moment(session: &mut Connection) -> Result<Option<Moment>, SourceError> {
    let rows = session.simple_query(
        "select pg_current_wal_insert_lsn(), statement_timestamp(), pg_snapshot_xmin(pg_current_snapshot())",
    )?;
    let of = |row: &crate::postgres::Row| {
        let (lsn, at, xid) = (row.text(0)?.parse().ok()?, row.text(1)?.to_owned(), row.text(2)?.to_owned());
        Some(Moment { lsn, at, xid })
    };
    Ok(rows.first().and_then(of))
}
