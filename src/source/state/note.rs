//! What is noted in `outbox.relay` while the slot streams.

use super::secrets;
use crate::postgres::Connection;
use crate::relay::boundary::{Lsn, PositionKey, PositionProof};
use crate::source::error::SourceError;
use crate::source::server::answer::first;

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
    /// What that position bears.
    pub proof: PositionProof,
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

/// What a note is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteTaken {
    /// How far the slot may be confirmed.
    pub limit: Lsn,
    /// The keys for positions, newest first, if they are not the ones that were known before.
    pub position_keys: Option<Vec<PositionKey>>,
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
    /// The ids of the keys for positions, as Postgres lists them.
    keys: Option<String>,
}

impl NoteWriter {
    /// Writes a note on the lease's session; returns how far the slot may then be confirmed, and which keys are new.
    ///
    /// A noted position never moves backwards: a start that finds an older one in Kafka refuses it, and would accept it
    /// at the next attempt if its last note said so.
    pub(crate) fn write(
        &mut self,
        session: &mut Connection,
        slot: &str,
        note: &Note,
    ) -> Result<NoteTaken, SourceError> {
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
             position_signed = position_signed or $8::bigint is not null, \
             signed_position = case when $8::bigint is not null and $3 <> '0/0' \
                 then greatest(signed_position, $3::text::pg_lsn) else signed_position end, \
             position_key = case when $3 is null then null else coalesce($8::bigint, position_key) end, \
             epoch_position = case when $9::boolean and $3 <> '0/0' \
                 then greatest(epoch_position, $3::text::pg_lsn) else epoch_position end, \
             position = case when $3 is null then null when $3 = '0/0' then position \
                 else greatest(position, $3::text::pg_lsn) end, \
             confirm_limit = greatest($2::text::pg_lsn, least($4::text::pg_lsn, pg_current_wal_insert_lsn())), \
             published_lsn = coalesce($5::text::pg_lsn, published_lsn), \
             published_at = coalesce($6::text::timestamptz, published_at), \
             published_xid = coalesce($7::text::xid8, published_xid) \
             where slot = $1 returning confirm_limit::text, \
             (select string_agg(id::text, ',' order by id) from outbox.secret where purpose = 'position')",
            &[
                Some(slot),
                Some(&flush),
                stored.as_deref(),
                Some(&ahead),
                published.as_ref().map(|moment| moment.lsn.to_string()).as_deref(),
                published.as_ref().map(|moment| moment.at.as_str()),
                published.as_ref().map(|moment| moment.xid.as_str()),
                note.proof.signed_by.map(|id| id.to_string()).as_deref(),
                Some(if note.proof.is_of_epoch { "t" } else { "f" }),
            ],
        )?;
        let row = first(&rows, question)?;
        let limit = row.text(0).and_then(|text| text.parse().ok());
        let keys = row.text(1).map(str::to_owned);
        let position_keys = match keys == self.keys {
            true => None,
            false => Some(secrets::read_position_keys(session)?),
        };
        self.keys = keys;
        if self.next.is_none() {
            self.next = moment(session)?;
        }
        let limit = limit.ok_or(SourceError::Answer { question })?;
        Ok(NoteTaken { limit, position_keys })
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
