//! Where a stream begins: by what is known of the slot here, what the server has, and what this process had.

use std::time::{Duration, Instant};

use crate::postgres::{Error, Interrupt};
use crate::relay::boundary::Lsn;
use crate::relay::confirm::Resume;
use crate::source::error::SourceError;
use crate::source::opening::{Opening, SourceOptions};
use crate::source::slot::inspect::{CreatedSlot, SlotState, create_slot, drop_slot, inspect_slot};
use crate::source::slot::lease::LeaseAcquisition;
use crate::source::state::gap_count::look;
use crate::source::state::gap_report::{Published, Unpublished};
use crate::source::state::relay_state::{self, Backfill, Recovery, RelayState};

/// How long a walsender that was told to end may hold its slot.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often that is looked at.
const RELEASE_POLL: Duration = Duration::from_millis(20);

/// Where a stream begins.
pub(crate) enum Begin {
    At {
        start: Lsn,
        backfill_end: Option<Lsn>,
    },
    /// With a new slot, and the rows from before it.
    Anew(Option<Recovery>),
    /// With the slot as it was made, and the rows from before it once more.
    Again(Lsn, Option<Recovery>),
}

impl Opening {
    /// Where to begin, by what is known of the slot here and what the server has.
    pub(crate) fn begin_at(
        &mut self,
        resume: Option<Resume>,
        acquisition: LeaseAcquisition,
    ) -> Result<Begin, SourceError> {
        let slot = self.options.slot.clone();
        let kept = relay_state::read(&mut self.control, &self.server, &slot)?;
        let switch = kept.as_ref().map_or(Ok(None), |kept| self.check_history(kept))?;
        let published = kept.as_ref().map(|kept| kept.published.clone()).unwrap_or_default();
        let recovery = kept.as_ref().and_then(|kept| kept.recovery.clone());
        let noted = kept.as_ref().map(|kept| kept.backfill);
        self.position = kept.as_ref().and_then(|kept| kept.position);
        let Some(found) = self.released_slot()? else {
            return match noted {
                Some(Backfill::Done) => {
                    Err(SourceError::SlotMissing { slot, unpublished: self.unpublished(published) })
                }
                None | Some(Backfill::Pending) => Ok(Begin::Anew(recovery)),
            };
        };
        let confirmed = match found.check(&slot, &self.server.database) {
            Ok(confirmed) => confirmed,
            // Nothing was confirmed yet, so nothing is lost with it.
            Err(SourceError::SlotLost { .. })
                if noted == Some(Backfill::Pending) && !matches!(resume, Some(Resume::Confirmed(_))) =>
            {
                tracing::warn!(slot = %slot, "slot is made again: it was lost before its first backfill was finished");
                drop_slot(&mut self.control, &slot)?;
                return Ok(Begin::Anew(recovery));
            }
            Err(SourceError::SlotLost { slot, reason, confirmed_flush, .. }) => {
                let unpublished = self.unpublished(published);
                return Err(SourceError::SlotLost { slot, reason, confirmed_flush, unpublished });
            }
            Err(error) => return Err(error),
        };
        let start = match resume {
            // The stream was lost behind the rows from before the slot, which has not moved since.
            Some(Resume::Backfilled(end)) if noted == Some(Backfill::Pending) && confirmed == end => {
                return Ok(Begin::At { start: end, backfill_end: Some(end) });
            }
            Some(Resume::Confirmed(resume)) => Some(resume),
            // The slot is another one by now, or it is noted already that those rows are published.
            Some(Resume::Backfilled(_)) | None => None,
        };
        // What this process confirmed included the backfill, which comes first.
        let backfill = if start.is_some_and(|start| start >= confirmed) { Some(Backfill::Done) } else { noted };
        match backfill {
            // RelayState, for what is in its WAL and in no table: logical messages, and rows that were deleted at once.
            Some(Backfill::Pending) => {
                tracing::info!(slot = %slot, "rows from before the slot are read again: the first backfill was not finished");
                return Ok(Begin::Again(confirmed, recovery));
            }
            None => tracing::info!(slot = %slot, "slot was made by another hand: rows from before it are left out"),
            Some(Backfill::Done) => {}
        }
        // Up to where it was confirmed: by this process, or by whoever had the lease before, who has noted more before he confirmed it.
        let confirm_limit = kept.as_ref().and_then(|kept| kept.confirm_limit);
        let limit = match acquisition {
            LeaseAcquisition::Kept => start.or(confirm_limit),
            // A slot is copied to a standby sooner, perhaps, than the last note.
            LeaseAcquisition::New => start.max(confirm_limit.map(|limit| limit.max(switch.unwrap_or_default()))),
        };
        self.check_not_past(confirmed, limit.unwrap_or(confirmed), &published)?;
        let start = start.map_or(confirmed, |start| start.max(confirmed));
        relay_state::write(&mut self.control, &self.server, &self.system, &slot, Some(confirmed))?;
        Ok(Begin::At { start, backfill_end: None })
    }

    /// Whether the server is the one that the row in `outbox.relay` is about, or has come from it; where its timeline began then.
    fn check_history(&mut self, kept: &RelayState) -> Result<Option<Lsn>, SourceError> {
        let slot = self.options.slot.clone();
        if kept.system_identifier != self.system.identifier {
            let (stored, found) = (kept.system_identifier.clone(), self.system.identifier.clone());
            // Ids of transactions mean nothing on another cluster.
            let unpublished = self.unpublished(Published::default());
            return Err(SourceError::SystemChanged { slot, stored, found, unpublished });
        }
        let Some(before) = kept.timeline.filter(|timeline| *timeline != self.system.timeline) else {
            return Ok(None);
        };
        match self.ancestry.end_of(before) {
            Some(switch) => {
                let now = self.system.timeline;
                tracing::warn!(
                    slot, before, now, switch = %switch,
                    "the server has another timeline: a standby was promoted, or the database was restored; the relay goes on where the slot stands"
                );
                Ok(Some(switch))
            }
            None => Err(SourceError::TimelineForeign { slot, before, now: self.system.timeline }),
        }
    }

    /// The slot, freed from a walsender that nobody listens to any more: the lease is ours, so it is not another relay's.
    fn released_slot(&mut self) -> Result<Option<SlotState>, SourceError> {
        let slot = self.options.slot.clone();
        let since = Instant::now();
        let mut told = None;
        loop {
            let found = inspect_slot(&mut self.control, self.server.version, &slot)?;
            let Some(pid) = found.as_ref().and_then(|found| found.active_pid) else { return Ok(found) };
            if told != Some(pid) {
                // Of another program, such as pg_recvlogical, it is not ours to end.
                let ended = self.control.query(
                    "select pg_terminate_backend(pid) from pg_stat_activity \
                     where pid = $1::text::integer and usename = current_user \
                       and (application_name = current_setting('application_name') or application_name like 'walpost%')",
                    &[Some(&pid.to_string())],
                )?;
                if ended.is_empty() {
                    return Err(SourceError::SlotHeld { slot, pid: Some(pid) });
                }
                tracing::warn!(slot, pid, "a walsender that a relay has left behind is ended");
                told = Some(pid);
            }
            if since.elapsed() > RELEASE_TIMEOUT {
                return Err(SourceError::SlotHeld { slot, pid: Some(pid) });
            }
            std::thread::sleep(RELEASE_POLL);
        }
    }

    pub(crate) fn check_not_past(
        &mut self,
        found: Lsn,
        expected: Lsn,
        published: &Published,
    ) -> Result<(), SourceError> {
        if found > expected {
            let (slot, unpublished) = (self.options.slot.clone(), self.unpublished(published.clone()));
            return Err(SourceError::SlotAdvanced { slot, found, expected, unpublished });
        }
        Ok(())
    }

    fn unpublished(&mut self, published: Published) -> Box<Unpublished> {
        let SourceOptions { publication, tables, .. } = &self.options;
        Box::new(look(&mut self.control, publication, tables, published))
    }

    pub(crate) fn create(&mut self, interrupt: &Interrupt) -> Result<CreatedSlot, SourceError> {
        let slot = &self.options.slot;
        relay_state::write(&mut self.control, &self.server, &self.system, slot, None)?;
        let sql = "select count(*) from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid()";
        let open = self.control.simple_query(sql)?;
        if let Some(count) = open.first().and_then(|row| row.text(0)).filter(|count| *count != "0") {
            tracing::info!(slot = %slot, transactions = %count, "slot creation waits for transactions that are open");
        }
        // These have no session, and may have been forgotten.
        let sql = "select string_agg(quote_literal(gid) || ' in ' || database || ' since ' || prepared::text, ', ' order by prepared) \
                   from (select gid, database, prepared from pg_prepared_xacts order by prepared limit 10) oldest";
        let prepared = self.control.simple_query(sql)?;
        if let Some(transactions) = prepared.first().and_then(|row| row.text(0)) {
            tracing::warn!(
                slot = %slot, transactions,
                "slot creation waits for prepared transactions: end each with `commit prepared` or `rollback prepared` in its database"
            );
        }
        // It stays idle for as long as the backfill takes.
        self.replication.simple_query("set idle_session_timeout = 0")?;
        let pid = self.replication.process_id();
        let made = create_slot(&mut self.replication, &mut self.control, self.server.version, slot, interrupt);
        if let Err(SourceError::Postgres(Error::Interrupted)) = &made {
            // It waits for a transaction, not for us, and would not notice before that has ended.
            self.control.query("select pg_terminate_backend($1::text::int)", &[Some(&pid.to_string())])?;
        }
        let slot = made?;
        tracing::info!(slot = %self.options.slot, lsn = %slot.consistent_point, "slot created");
        Ok(slot)
    }
}
