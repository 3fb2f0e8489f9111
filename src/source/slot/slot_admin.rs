//! An operator's decisions about a slot that can no longer be trusted.

use std::sync::Arc;

use super::inspect::{check_slot_name, drop_slot, inspect_slot};
use super::lease::Lease;
use crate::postgres::Connection;
use crate::relay::boundary::Lsn;
use crate::relay::resume::Gap;
use crate::source::boundary::gap_report::{Published, Unpublished};
use crate::source::detached::detached;
use crate::source::error::SourceError;
use crate::source::opening::SourceOptions;
use crate::source::server::identity::{Server, System};
use crate::source::state::gap_count::look;
use crate::source::state::relay_state::{self, RelayState};

/// Which rows are published again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those that may never have been published, according to the notes.
    Unpublished,
    /// All that the outbox tables have.
    Everything,
}

/// A slot that the relay recreates at its next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recreated {
    /// Where the old one was; `None` if there was none.
    pub dropped_at: Option<Lsn>,
    /// What is published again.
    pub unpublished: Unpublished,
}

/// Gives up a slot: drops it if it exists, and notes that the relay recreates it at its next start and first
/// publishes again, from the outbox tables, what may be missing.
///
/// # Errors
/// [`SourceError`]; [`SourceError::SlotHeld`] while a relay holds it. Nothing is changed then.
pub(crate) async fn recreate(options: &SourceOptions, scope: Scope) -> Result<Recreated, SourceError> {
    let (options, lease) = decide(options);
    detached(move |_| {
        let mut admin = SlotAdmin::open(&options, &lease)?;
        // Transaction ids mean nothing on another cluster.
        let kept = admin.kept.take().filter(|kept| kept.noted.system_identifier == admin.system.identifier);
        let published = match scope {
            Scope::Unpublished => kept.map(|kept| kept.published).unwrap_or_default(),
            Scope::Everything => Published::default(),
        };
        let found = inspect_slot(&mut admin.control, admin.server.version, &options.slot)?;
        match found.as_ref().map(|found| found.check(&options.slot, &admin.server.database)) {
            None | Some(Ok(_) | Err(SourceError::SlotLost { .. } | SourceError::SlotTwoPhase { .. })) => {}
            Some(Err(foreign)) => return Err(foreign),
        }
        if let Some(pid) = found.as_ref().and_then(|found| found.active_pid) {
            return Err(SourceError::SlotHeld { slot: options.slot.clone(), pid: Some(pid) });
        }
        let unpublished = look(&mut admin.control, &options.publication, &options.tables, published);
        let from_xid = unpublished.published.xid.as_deref().unwrap_or("0");
        // Noted first: a slot that still exists does no harm to a future backfill.
        relay_state::begin_recovery(&mut admin.control, &admin.server, &admin.system, &options.slot, from_xid)?;
        if found.is_some() {
            drop_slot(&mut admin.control, &options.slot)?;
        }
        let dropped_at = found.map(|found| found.confirmed_flush.unwrap_or_default());
        Ok(Recreated { dropped_at, unpublished })
    })
    .await
}

/// A slot about to be adopted where it is, whatever was skipped. No relay holds it meanwhile.
pub(crate) struct Adoption {
    admin: SlotAdmin,
    slot: String,
    /// Held until the end.
    lease: Arc<Lease>,
}

impl Adoption {
    /// Checks that the slot exists and that no relay holds it.
    ///
    /// # Errors
    /// [`SourceError`]; [`SourceError::SlotHeld`] while a relay holds it, [`SourceError::SlotMissing`] if there is
    /// none.
    pub(crate) async fn begin(options: &SourceOptions) -> Result<Self, SourceError> {
        let (options, lease) = decide(options);
        detached(move |_| {
            let mut adoption = Self { admin: SlotAdmin::open(&options, &lease)?, slot: options.slot, lease };
            adoption.stands()?;
            Ok(adoption)
        })
        .await
    }

    /// The cluster's system identifier.
    #[must_use]
    pub(crate) fn system_identifier(&self) -> &str {
        &self.admin.system.identifier
    }

    /// Notes the slot's position, from which the next start continues; returns it. With `forgets` the position in
    /// Kafka was forgotten.
    ///
    /// # Errors
    /// As [`Adoption::begin`].
    pub(crate) async fn finish(mut self, forgets: bool) -> Result<Lsn, SourceError> {
        detached(move |_| {
            // The steps in between may have taken longer than the server waits for a silent session.
            self.lease.take()?;
            let stands = self.stands()?;
            let SlotAdmin { control, server, system, .. } = &mut self.admin;
            relay_state::adopt(control, server, system, &self.slot, stands, forgets)?;
            Ok(stands)
        })
        .await
    }

    fn stands(&mut self) -> Result<Lsn, SourceError> {
        let slot = self.slot.clone();
        let Some(found) = inspect_slot(&mut self.admin.control, self.admin.server.version, &slot)? else {
            return Err(SourceError::of(Gap::SlotMissing, &slot, Unpublished::default));
        };
        let stands = found.check(&slot, &self.admin.server.database)?;
        if found.active_pid.is_some() {
            return Err(SourceError::SlotHeld { slot, pid: found.active_pid });
        }
        Ok(stands)
    }
}

pub(crate) fn decide(options: &SourceOptions) -> (SourceOptions, Arc<Lease>) {
    (options.clone(), Arc::new(Lease::new(options.connect.clone(), options.slot.clone())))
}

/// What is needed to decide, with the lease held.
pub(crate) struct SlotAdmin {
    pub(crate) control: Connection,
    pub(crate) server: Server,
    pub(crate) system: System,
    pub(crate) kept: Option<RelayState>,
}

impl SlotAdmin {
    pub(crate) fn open(options: &SourceOptions, lease: &Lease) -> Result<Self, SourceError> {
        check_slot_name(&options.slot)?;
        let (mut control, server) = Server::open(&options.connect)?;
        lease.take()?;
        let system = server.identify(&options.connect, &mut control)?;
        let kept = relay_state::read(&mut control, &server, &options.slot)?;
        Ok(Self { control, server, system, kept })
    }
}
