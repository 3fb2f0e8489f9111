//! Confirms without a stream: the connection was lost, or its walsender does not answer.

use std::sync::Arc;

use super::inspect::inspect_slot;
use super::lease::Lease;
use super::release::{Release, Stale};
use crate::relay::boundary::Lsn;
use crate::relay::resume::{self, Gap};
use crate::source::boundary::gap_report::Unpublished;
use crate::source::detached::detached;
use crate::source::error::SourceError;
use crate::source::opening::SourceOptions;
use crate::source::origin::Origin;
use crate::source::server::identity::Server;
use crate::source::state::relay_state;

/// Advances the slot to an LSN that this process has confirmed but could not report on its last stream. That stream's
/// walsender may still hold the slot, silent or busy with a large transaction, and is then terminated.
///
/// # Errors
/// [`SourceError`]: the slot is unchanged. [`SourceError::SlotHeld`] if another relay has taken over,
/// [`SourceError::TimelineChanged`] or [`SourceError::SystemChanged`] if the LSN may mean something else on this
/// server.
pub(crate) async fn confirm_without_stream(
    options: &SourceOptions,
    lease: &Arc<Lease>,
    lsn: Lsn,
    last: &Origin,
) -> Result<(), SourceError> {
    let (options, lease, last) = (options.clone(), Arc::clone(lease), last.clone());
    detached(move |_| advance(&options, &lease, lsn, &last)).await
}

fn advance(options: &SourceOptions, lease: &Lease, lsn: Lsn, last: &Origin) -> Result<(), SourceError> {
    let slot = &options.slot;
    // Whoever holds it now is about to stream from the slot's position.
    lease.take()?;
    let (mut control, server) = Server::open_any(&options.connect)?;
    let system = server.identify(&options.connect, &mut control)?;
    let gap = |gap| SourceError::of(gap, slot, Unpublished::default);
    resume::same_server(&system.facts(), Some(&last.streamed()), Some(lsn)).map_err(gap)?;
    let mut release = Release::new(slot, Stale::Own(last.walsender));
    loop {
        let found = inspect_slot(&mut control, server.version, slot)?;
        let found = found.ok_or(Gap::SlotMissing).map_err(gap)?;
        if found.check(slot, &server.database)? >= lsn {
            return Ok(());
        }
        let Some(pid) = found.active_pid else { break };
        release.wait(&mut control, pid)?;
    }
    // Noted before the slot is moved: a start treats a slot past the noted limit as advanced by something else.
    relay_state::note_end(&mut control, &server, slot, lsn)?;
    control.query("select pg_replication_slot_advance($1, $2::text::pg_lsn)", &[Some(slot), Some(&lsn.to_string())])?;
    Ok(())
}
