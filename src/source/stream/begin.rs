//! Where a stream starts: based on the notes, the server's state, and what this process knows.

use crate::postgres::{Error, Interrupt};
use crate::relay::boundary::Lsn;
use crate::relay::confirm::Resume;
use crate::relay::resume::{self, Gap, LeaseAcquisition, NotedState, ResumePlan, Slot, StartFacts};
use crate::source::boundary::gap_report::Published;
use crate::source::error::SourceError;
use crate::source::opening::{Opening, SourceOptions};
use crate::source::origin::Origin;
use crate::source::slot::inspect::{
    CreatedSlot, SlotState, create_slot, drop_slot, inspect_slot, prepared_transactions,
};
use crate::source::slot::release::{Release, Stale};
use crate::source::state::gap_count::look;
use crate::source::state::relay_state::{self, Recovery};

/// Where a stream starts.
pub(crate) enum Begin {
    At {
        start: Lsn,
        backfill_end: Option<Lsn>,
    },
    /// With a new slot, and a backfill.
    Anew(Option<Recovery>),
    /// With the slot as it was created, and a repeated backfill.
    Again(Lsn, Option<Recovery>),
}

impl Opening {
    /// Where to start, based on the notes about the slot and the server's state.
    pub(crate) fn begin_at(
        &mut self,
        resume: Option<Resume>,
        last: Option<&Origin>,
        acquisition: LeaseAcquisition,
    ) -> Result<Begin, SourceError> {
        let slot = self.options.slot.clone();
        let kept = relay_state::read(&mut self.control, &self.server, &slot)?;
        let published = kept.as_ref().map(|kept| kept.published.clone()).unwrap_or_default();
        let recovery = kept.as_ref().and_then(|kept| kept.recovery.clone());
        self.position = kept.as_ref().and_then(|kept| kept.position);
        let (noted, last, server) = (kept.map(|kept| kept.noted), last.map(Origin::streamed), self.system.facts());
        let mut known = StartFacts { noted, slot: Slot::Missing, server, resume, last, acquisition };
        match resume::same_history(&known) {
            Ok(switch) => self.tell_of_switch(known.noted.as_ref(), switch),
            Err(gap) => return Err(self.explain(gap, published)),
        }
        let found = self.released_slot()?;
        known.slot = found.map_or(Ok(Slot::Missing), |found| found.facts(&slot, &self.server.database))?;
        match resume::plan(&known).map_err(|gap| self.explain(gap, published))? {
            ResumePlan::MakeAnew { drops } => {
                if drops {
                    tracing::warn!(slot, "recreating the slot: it was lost before the initial backfill finished");
                    drop_slot(&mut self.control, &slot)?;
                }
                Ok(Begin::Anew(recovery))
            }
            ResumePlan::BackfillAgain { start } => {
                tracing::info!(slot, "restarting the initial backfill: it was not finished");
                Ok(Begin::Again(start, recovery))
            }
            ResumePlan::At { start, backfill_end: Some(end) } => Ok(Begin::At { start, backfill_end: Some(end) }),
            ResumePlan::At { start, backfill_end: None } => {
                if known.noted.is_none() {
                    tracing::info!(slot, "slot was not created by walpost: skipping the initial backfill");
                }
                if let Slot::At(stands) = known.slot {
                    relay_state::write(&mut self.control, &self.server, &self.system, &slot, Some(stands))?;
                }
                Ok(Begin::At { start, backfill_end: None })
            }
        }
    }

    fn tell_of_switch(&self, noted: Option<&NotedState>, switch: Option<Lsn>) {
        if let (Some(before), Some(switch)) = (noted.and_then(|noted| noted.timeline), switch) {
            let (slot, now) = (&self.options.slot, self.system.timeline);
            tracing::warn!(
                slot, before, now, switch = %switch,
                "server timeline changed: a standby was promoted or the database was restored; continuing at the slot's position"
            );
        }
    }

    /// The gap as an error, with what may be missing because of it.
    pub(crate) fn explain(&mut self, gap: Gap, published: Published) -> SourceError {
        let published = match gap {
            // Transaction ids mean nothing on another cluster.
            Gap::SystemChanged { .. } => Published::default(),
            _ => published,
        };
        let SourceOptions { publication, tables, .. } = &self.options;
        let control = &mut self.control;
        SourceError::of(gap, &self.options.slot, || look(control, publication, tables, published))
    }

    /// The slot, freed from a stale walsender.
    fn released_slot(&mut self) -> Result<Option<SlotState>, SourceError> {
        let slot = &self.options.slot;
        let mut release = Release::new(slot, Stale::AnyRelays);
        loop {
            let found = inspect_slot(&mut self.control, self.server.version, slot)?;
            let Some(pid) = found.as_ref().and_then(|found| found.active_pid) else { return Ok(found) };
            release.wait(&mut self.control, pid)?;
        }
    }

    pub(crate) fn create(&mut self, interrupt: &Interrupt) -> Result<CreatedSlot, SourceError> {
        let slot = &self.options.slot;
        relay_state::write(&mut self.control, &self.server, &self.system, slot, None)?;
        let sql = "select count(*) from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid()";
        let open = self.control.simple_query(sql)?;
        if let Some(count) = open.first().and_then(|row| row.text(0)).filter(|count| *count != "0") {
            tracing::info!(slot = %slot, transactions = %count, "slot creation is waiting for open transactions to end");
        }
        if let Some(transactions) = prepared_transactions(&mut self.control)? {
            tracing::warn!(
                slot = %slot, transactions,
                "slot creation is waiting for prepared transactions: run `commit prepared` or `rollback prepared` in the database of each"
            );
        }
        // It is idle for as long as the backfill takes.
        self.replication.configure("set idle_session_timeout = 0")?;
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
