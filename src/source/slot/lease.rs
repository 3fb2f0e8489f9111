//! The lease on a slot: one relay at a time holds it, the others stand by.
//!
//! It is an advisory [lock] in a session of its own, with a heartbeat every second. A process that dies loses it at
//! once; one that hangs or is cut off from the network after [`LEASE_SILENCE`], when the server ends the session. The
//! holder may terminate a walsender that a predecessor has left on the slot. The notes in `outbox.relay` are written
//! on the same session, so a relay that has lost its lease notes nothing, and confirms nothing that is not noted.
//!
//! [lock]: super::lock

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use super::heartbeat::{Beat, Heartbeat};
use super::lock::{beat, lock};
use crate::postgres::{ConnectOptions, Connection, Error, WaitLimit};
use crate::relay::resume::LeaseAcquisition;
use crate::source::error::SourceError;
use crate::source::limits::{LEASE_ANSWER, LEASE_BEAT, LEASE_SILENCE, LEASE_STATEMENT, LEASE_VALIDITY, STANDBY_GRACE};
use crate::source::state::note::{Note, NoteTaken, NoteWriter};
use crate::source::state::relay_state;

/// The lease on a slot, as one process holds or requests it.
#[derive(Debug)]
pub struct Lease {
    connect: ConnectOptions,
    slot: String,
    state: Mutex<LeaseState>,
    /// Another relay held it at the last request.
    stood_by: AtomicBool,
    /// It was taken, and nobody has checked yet where another relay may have left the slot.
    is_new: AtomicBool,
    /// The heartbeat of the current holder, or the last one. Each has its own: an earlier thread may fail late.
    /// Separate from the state, whose lock is held while Postgres is asked.
    heartbeat: Mutex<Arc<Heartbeat>>,
}

#[derive(Debug)]
enum LeaseState {
    /// Not requested, or lost.
    Free,
    /// Another relay holds it. The session is kept for the next attempt.
    Waiting(Connection),
    Held(LeaseThread),
}

/// The thread that owns the session.
#[derive(Debug)]
struct LeaseThread {
    commands: Sender<Command>,
    ended: watch::Receiver<bool>,
}

struct Command {
    write: LeaseWrite,
    answer: oneshot::Sender<Result<Option<NoteTaken>, SourceError>>,
}

/// What is written on the session.
enum LeaseWrite {
    Note(Note),
    BackfillPublished,
}

impl Lease {
    /// A lease that is not held yet.
    #[must_use]
    pub fn new(connect: ConnectOptions, slot: String) -> Self {
        Self {
            connect,
            slot,
            state: Mutex::new(LeaseState::Free),
            stood_by: AtomicBool::new(false),
            is_new: AtomicBool::new(false),
            heartbeat: Mutex::default(),
        }
    }

    /// Whether the lease is certainly held now, by a clock that keeps running while the process is stopped and the
    /// machine sleeps; true if it was never taken, because then there is nothing to publish, or no need for a lease.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.heartbeat().is_younger(LEASE_VALIDITY)
    }

    /// Takes the lease if it is free, and does nothing if it is already held. Blocks.
    pub(crate) fn take(&self) -> Result<LeaseAcquisition, SourceError> {
        let mut state = self.state();
        let mut session = match std::mem::replace(&mut *state, LeaseState::Free) {
            LeaseState::Held(holder) if !*holder.ended.borrow() => {
                *state = LeaseState::Held(holder);
                return Ok(if self.is_new.load(Ordering::Relaxed) {
                    LeaseAcquisition::New
                } else {
                    LeaseAcquisition::Kept
                });
            }
            LeaseState::Waiting(session) => session,
            LeaseState::Free | LeaseState::Held(_) => {
                let session = Connection::open(&self.connect)?;
                if self.stood_by.load(Ordering::Relaxed) {
                    std::thread::sleep(STANDBY_GRACE);
                }
                session
            }
        };
        session.set_wait_limit(WaitLimit::Timeout(LEASE_ANSWER));
        let asked = Beat::begin();
        if let Some(pid) = lock(&mut session, &self.slot)? {
            self.stood_by.store(true, Ordering::Relaxed);
            *state = LeaseState::Waiting(session);
            return Err(SourceError::SlotHeld { slot: self.slot.clone(), pid });
        }
        session.configure(&format!(
            "set idle_session_timeout = {}; set statement_timeout = {}; set default_transaction_read_only = off",
            LEASE_SILENCE.as_millis(),
            LEASE_STATEMENT.as_millis()
        ))?;
        self.stood_by.store(false, Ordering::Relaxed);
        self.is_new.store(true, Ordering::Relaxed);
        let heartbeat = Arc::<Heartbeat>::default();
        heartbeat.start(asked);
        *state = LeaseState::Held(LeaseThread::spawn(session, self.slot.clone(), Arc::clone(&heartbeat))?);
        *self.heartbeat() = heartbeat;
        Ok(LeaseAcquisition::New)
    }

    /// It is known where the previous holder of the lease left the slot.
    pub(crate) fn settle(&self) {
        self.is_new.store(false, Ordering::Relaxed);
    }

    /// Writes a note; returns the LSN up to which the slot may be confirmed from now on, and the keys for positions if they have changed.
    ///
    /// # Errors
    /// [`SourceError`]: nothing may be confirmed beyond what was noted before.
    pub async fn note(&self, note: Note) -> Result<NoteTaken, SourceError> {
        self.send(LeaseWrite::Note(note)).await?.ok_or_else(gone)
    }

    /// Notes that the backfill has been published, so that no later start publishes it again.
    ///
    /// # Errors
    /// [`SourceError`]: it is not noted, or it is unknown whether it is.
    pub async fn note_backfill(&self) -> Result<(), SourceError> {
        self.send(LeaseWrite::BackfillPublished).await?;
        Ok(())
    }

    async fn send(&self, write: LeaseWrite) -> Result<Option<NoteTaken>, SourceError> {
        let (answer, answered) = oneshot::channel();
        {
            let state = self.state();
            let LeaseState::Held(holder) = &*state else { return Err(gone()) };
            holder.commands.send(Command { write, answer }).map_err(|_| gone())?;
        }
        answered.await.map_err(|_| gone())?
    }

    /// Waits until the held lease is lost; for ever if none is held. Cancel-safe.
    pub async fn lost(&self) {
        let held = match &*self.state() {
            LeaseState::Held(holder) => Some(holder.ended.clone()),
            LeaseState::Free | LeaseState::Waiting(_) => None,
        };
        let Some(mut ended) = held else { return std::future::pending().await };
        // An error means that the thread is gone, which is the same.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Releases the lease, at once.
    pub fn release(&self) {
        self.heartbeat().stop();
        *self.state() = LeaseState::Free;
    }

    fn heartbeat(&self) -> MutexGuard<'_, Arc<Heartbeat>> {
        // It is replaced as a whole.
        self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, LeaseState> {
        // A state is replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone() -> SourceError {
    Error::Closed { source: None }.into()
}

impl LeaseThread {
    fn spawn(session: Connection, slot: String, heartbeat: Arc<Heartbeat>) -> Result<Self, SourceError> {
        let (commands, orders) = channel();
        let (end, ended) = watch::channel(false);
        let thread = std::thread::Builder::new().name("walpost-lease".to_owned()).spawn(move || {
            if let Err(error) = hold(session, &slot, &orders, &heartbeat) {
                heartbeat.stop();
                tracing::warn!(slot, error = %error, "lease on the slot lost");
            }
            // The receiver may be gone.
            let _ = end.send(true);
        });
        thread.map_err(Error::closed_by)?;
        Ok(Self { commands, ended })
    }
}

/// Sends heartbeats, and writes requested notes, until the lease is released or the session is lost.
fn hold(
    mut session: Connection,
    slot: &str,
    orders: &Receiver<Command>,
    heartbeat: &Heartbeat,
) -> Result<(), SourceError> {
    let mut writer = NoteWriter::default();
    loop {
        let order = orders.recv_timeout(LEASE_BEAT);
        let asked = Beat::begin();
        match order {
            Ok(Command { write, answer }) => {
                let written = match write {
                    LeaseWrite::Note(note) => writer.write(&mut session, slot, &note).map(Some),
                    LeaseWrite::BackfillPublished => relay_state::finish_backfill(&mut session, slot).map(|()| None),
                };
                match written {
                    Ok(limit) => drop(answer.send(Ok(limit))),
                    // A failed statement is retried; the session lives on.
                    Err(error @ SourceError::Postgres(Error::Server(_))) if error.is_statements_end() => {
                        drop(answer.send(Err(error)));
                    }
                    Err(error) => {
                        drop(answer.send(Err(gone())));
                        return Err(error);
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => beat(&mut session, slot)?,
            Err(RecvTimeoutError::Disconnected) => {
                session.close();
                return Ok(());
            }
        }
        heartbeat.confirm(asked);
    }
}
