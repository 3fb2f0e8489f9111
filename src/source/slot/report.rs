//! What the database says about a slot, for people.

use serde::Serialize;

use super::inspect::inspect_slot;
use crate::relay::resume::Backfill;
use crate::source::detached::detached;
use crate::source::error::SourceError;
use crate::source::opening::SourceOptions;
use crate::source::server::answer::first;
use crate::source::server::identity::Server;
use crate::source::state::relay_state;

/// A slot and what its relay has noted, according to the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SlotReport {
    /// The slot's name.
    pub slot: String,
    pub database: String,
    /// Where the server's WAL ends.
    pub wal_end_lsn: String,
    /// The slot itself; `None` if it does not exist.
    pub stands: Option<SlotStanding>,
    /// What is noted in `outbox.relay`; `None` if no relay has had the slot yet.
    pub noted: Option<NotedReport>,
}

/// An existing slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SlotStanding {
    /// Everything before this is confirmed.
    pub confirmed_flush_lsn: Option<String>,
    /// WAL between it and the server's end, in bytes.
    pub lag_bytes: Option<u64>,
    /// WAL that it retains on the server, in bytes.
    pub retained_wal_bytes: Option<u64>,
    /// How much more WAL can be written before Postgres may invalidate it, in bytes; `None` if nothing limits it.
    pub safe_wal_bytes: Option<i64>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// Why it is invalid, if the server says so.
    pub invalidation: Option<String>,
    /// The server process that streams from it.
    pub active_pid: Option<i32>,
    /// The application name of that process's client, if the role may see it.
    pub held_by: Option<String>,
    /// Whether it is synchronized to standbys.
    pub failover: bool,
}

/// What the relay has noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NotedReport {
    /// Whether the initial backfill is still to be published.
    pub backfill_pending: bool,
    /// Everything committed before this LSN is in Kafka.
    pub published_before_lsn: Option<String>,
    /// And everything before this time, in Postgres's format.
    pub published_before: Option<String>,
    /// The slot is not confirmed past this.
    pub confirm_limit_lsn: Option<String>,
}

/// Looks up a slot.
///
/// # Errors
/// [`SourceError`]: the server can't be reached, or schema outbox is missing.
pub(crate) async fn report(options: &SourceOptions) -> Result<SlotReport, SourceError> {
    let options = options.clone();
    detached(move |_| {
        let (mut control, server) = Server::open_any(&options.connect)?;
        let found = inspect_slot(&mut control, server.version, &options.slot)?;
        let question = "how much WAL the slot retains";
        let rows = control.query(
            "select pg_current_wal_lsn()::text, pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn)::bigint::text, \
             pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint::text, s.safe_wal_size::text, a.application_name \
             from (select 1) one left join pg_replication_slots s on s.slot_name = $1 \
             left join pg_stat_activity a on a.pid = s.active_pid",
            &[Some(&options.slot)],
        )?;
        let row = first(&rows, question)?;
        // Negative if the slot is ahead of what is flushed.
        let bytes = |column| row.text(column).and_then(|text| text.parse::<i64>().ok());
        let positive = |column| bytes(column).map(|bytes| u64::try_from(bytes).unwrap_or_default());
        let stands = found.map(|found| SlotStanding {
            confirmed_flush_lsn: found.confirmed_flush.map(|lsn| lsn.to_string()),
            lag_bytes: positive(1),
            retained_wal_bytes: positive(2),
            safe_wal_bytes: bytes(3),
            wal_status: found.wal_status,
            invalidation: found.invalidation,
            active_pid: found.active_pid,
            held_by: row.text(4).filter(|name| !name.is_empty()).map(str::to_owned),
            failover: found.failover,
        });
        let noted = relay_state::read(&mut control, &server, &options.slot)?.map(|kept| NotedReport {
            backfill_pending: kept.noted.backfill == Backfill::Pending,
            published_before_lsn: kept.published.lsn.map(|lsn| lsn.to_string()),
            published_before: kept.published.at,
            confirm_limit_lsn: kept.noted.confirm_limit.map(|lsn| lsn.to_string()),
        });
        let wal_end_lsn = row.text(0).unwrap_or_default().to_owned();
        control.close();
        Ok(SlotReport { slot: options.slot, database: server.database, wal_end_lsn, stands, noted })
    })
    .await
}
