//! Waits until a slot is free, and terminates the stale walsender that holds it.

use std::time::Instant;

use crate::postgres::Connection;
use crate::source::error::SourceError;
use crate::source::limits::{RELEASE_POLL, RELEASE_TIMEOUT};

/// Which walsenders are terminated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    /// None: the session has been closed already.
    Closed,
    /// This process's own, of its last stream.
    Own(i32),
    /// That of any earlier relay: the lease is ours, so it is not another relay's.
    AnyRelays,
}

/// The wait for one slot.
pub(crate) struct Release<'a> {
    slot: &'a str,
    stale: Stale,
    since: Instant,
    terminated: Option<i32>,
}

impl<'a> Release<'a> {
    pub(crate) fn new(slot: &'a str, stale: Stale) -> Self {
        Self { slot, stale, since: Instant::now(), terminated: None }
    }

    /// Waits a moment for the process that holds the slot, and terminates it if it is stale; then the slot is to be
    /// looked up again.
    ///
    /// # Errors
    /// [`SourceError::SlotHeld`]: it is not stale, or holds the slot for too long.
    pub(crate) fn wait(&mut self, control: &mut Connection, pid: i32) -> Result<(), SourceError> {
        if self.terminated != Some(pid) && !self.terminate(control, pid)? || self.since.elapsed() > RELEASE_TIMEOUT {
            return Err(SourceError::SlotHeld { slot: self.slot.to_owned(), pid: Some(pid) });
        }
        std::thread::sleep(RELEASE_POLL);
        Ok(())
    }

    /// Whether the process may be waited for.
    fn terminate(&mut self, control: &mut Connection, pid: i32) -> Result<bool, SourceError> {
        match self.stale {
            Stale::Closed => return Ok(true),
            Stale::Own(own) if own != pid => return Ok(false),
            Stale::Own(_) | Stale::AnyRelays => {}
        }
        // A walsender of another program, such as pg_recvlogical, is not ours to terminate.
        let terminated = control.query(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where pid = $1::text::integer and usename = current_user \
               and (application_name = current_setting('application_name') or application_name like 'walpost%')",
            &[Some(&pid.to_string())],
        )?;
        self.terminated = Some(pid);
        if self.stale == Stale::AnyRelays && !terminated.is_empty() {
            tracing::warn!(slot = self.slot, pid, "terminated a stale walsender of an earlier relay");
        }
        // One of ours that is not found has just ended.
        Ok(self.stale != Stale::AnyRelays || !terminated.is_empty())
    }
}
