//! From the reader thread to the driver: a channel bounded in batches and bytes, with signals in the other direction.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::error::SourceError;
use crate::postgres::{Error, Interrupt};
use crate::relay::boundary::{Batch, Lsn};
use crate::source::limits::{CHANNEL_BATCHES, CHANNEL_BYTES};

/// How the stream must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamStop {
    /// Not at all.
    No,
    /// Confirm, end the copy, wait for the server.
    Orderly,
    /// At once.
    Abandon,
}

/// What the thread and its handle share.
#[derive(Debug)]
pub(crate) struct StreamShared {
    confirmed: AtomicU64,
    push: AtomicBool,
    stop: AtomicU8,
    waits_for_room: AtomicBool,
    backfilled: AtomicBool,
    queued_bytes: AtomicUsize,
    failure: Mutex<Option<SourceError>>,
    wake: UnixStream,
    pub(crate) interrupt: Interrupt,
}

impl StreamShared {
    /// The LSN to report.
    pub(crate) fn confirmed(&self) -> Lsn {
        Lsn(self.confirmed.load(Ordering::SeqCst))
    }

    /// Sets the LSN to report, which never moves backwards.
    pub(crate) fn confirm(&self, lsn: Lsn) {
        let before = self.confirmed.swap(lsn.0, Ordering::SeqCst);
        assert!(before <= lsn.0, "a confirmed LSN never moves backwards: {lsn} after {}", Lsn(before));
    }

    /// Asks for a report at once.
    pub(crate) fn push(&self) {
        self.push.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(crate) fn take_push(&self) -> bool {
        self.push.swap(false, Ordering::SeqCst)
    }

    /// The whole backfill has been handed over.
    pub(crate) fn set_backfilled(&self) {
        self.backfilled.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_backfilled(&self) -> bool {
        self.backfilled.load(Ordering::SeqCst)
    }

    pub(crate) fn request_stop(&self, stop: StreamStop) {
        self.stop.fetch_max(stop as u8, Ordering::SeqCst);
        self.interrupt.set();
        self.wake();
    }

    pub(crate) fn stop(&self) -> StreamStop {
        match self.stop.load(Ordering::SeqCst) {
            0 => StreamStop::No,
            1 => StreamStop::Orderly,
            _ => StreamStop::Abandon,
        }
    }

    pub(crate) fn fail(&self, error: SourceError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub(crate) fn take_failure(&self) -> Option<SourceError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Makes room for what the driver has taken.
    pub(crate) fn taken(&self, batch: &Batch) {
        self.queued_bytes.fetch_sub(batch.bytes.len(), Ordering::SeqCst);
        if self.waits_for_room.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        // Full means that a wake-up is already on its way; closed, that the thread has ended.
        let _ = (&self.wake).write(&[0]);
    }
}

/// The thread's end.
#[derive(Debug)]
pub(crate) struct BatchChannel {
    sender: mpsc::Sender<Batch>,
    pub(crate) shared: Arc<StreamShared>,
    bell: UnixStream,
}

/// Creates both ends; `confirmed` is what is reported until something is confirmed.
pub(crate) fn channel(
    confirmed: Lsn,
    interrupt: Interrupt,
) -> std::io::Result<(BatchChannel, mpsc::Receiver<Batch>, Arc<StreamShared>)> {
    let (wake, bell) = UnixStream::pair()?;
    wake.set_nonblocking(true)?;
    bell.set_nonblocking(true)?;
    let shared = Arc::new(StreamShared {
        confirmed: AtomicU64::new(confirmed.0),
        push: AtomicBool::new(false),
        stop: AtomicU8::new(0),
        waits_for_room: AtomicBool::new(false),
        backfilled: AtomicBool::new(false),
        queued_bytes: AtomicUsize::new(0),
        failure: Mutex::new(None),
        wake,
        interrupt,
    });
    let (sender, receiver) = mpsc::channel(CHANNEL_BATCHES);
    Ok((BatchChannel { sender, shared: shared.clone(), bell }, receiver, shared))
}

/// The outcome of an attempt to hand over a batch.
#[derive(Debug)]
pub(crate) enum Handed {
    Over,
    /// There is no room; the batch is returned.
    Full(Batch),
    /// The receiver is gone.
    Unwanted,
}

impl BatchChannel {
    /// Puts a batch into the channel if there is room.
    pub(crate) fn try_hand_over(&mut self, batch: Batch) -> Handed {
        let bytes = batch.bytes.len();
        let queued = self.shared.queued_bytes.load(Ordering::SeqCst);
        if queued > 0 && queued + bytes > CHANNEL_BYTES {
            return Handed::Full(batch);
        }
        // Counted before it can be taken, so that the count never drops below zero.
        self.shared.queued_bytes.fetch_add(bytes, Ordering::SeqCst);
        let failed = match self.sender.try_send(batch) {
            Ok(()) => return Handed::Over,
            Err(mpsc::error::TrySendError::Full(batch)) => Handed::Full(batch),
            Err(mpsc::error::TrySendError::Closed(_)) => Handed::Unwanted,
        };
        self.shared.queued_bytes.fetch_sub(bytes, Ordering::SeqCst);
        failed
    }

    /// Puts bytes into the channel, waiting for room as long as it takes.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the stream is to stop.
    pub(crate) fn hand_over(&mut self, bytes: Vec<u8>) -> Result<(), SourceError> {
        let mut batch = Batch { bytes: Bytes::from(bytes) };
        loop {
            if self.shared.stop() != StreamStop::No {
                return Err(Error::Interrupted.into());
            }
            match self.try_hand_over(batch) {
                Handed::Over => return Ok(()),
                Handed::Unwanted => return Err(Error::Interrupted.into()),
                Handed::Full(again) => batch = again,
            }
            self.wait_for_room(&batch, None)?;
        }
    }

    /// Waits until there may be room for the batch, the bell rings for another reason, or the deadline passes.
    pub(crate) fn wait_for_room(&mut self, batch: &Batch, until: Option<Instant>) -> Result<(), Error> {
        self.shared.waits_for_room.store(true, Ordering::SeqCst);
        // The driver may have made room before it could see that the thread waits.
        let queued = self.shared.queued_bytes.load(Ordering::SeqCst);
        let room = self.sender.capacity() > 0 && (queued == 0 || queued + batch.bytes.len() <= CHANNEL_BYTES);
        if !room && !self.sender.is_closed() {
            wait(&mut [PollFd::new(&self.bell, PollFlags::IN)], until)?;
        }
        self.shared.waits_for_room.store(false, Ordering::SeqCst);
        self.silence();
        Ok(())
    }

    /// What to poll for the bell.
    pub(crate) fn bell(&self) -> &UnixStream {
        &self.bell
    }

    /// Drains the bell; what it rang for is in [`StreamShared`].
    pub(crate) fn silence(&mut self) {
        let _ = self.bell.read(&mut [0; 64]);
    }
}

/// Polls until one of the descriptors is ready or the deadline passes.
pub(crate) fn wait(descriptors: &mut [PollFd<'_>], until: Option<Instant>) -> Result<(), Error> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    // poll takes milliseconds; rounding up keeps it from ending just before the deadline and being called again.
    let left = left.map(|left| left + Duration::from_millis(1));
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(descriptors, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(Error::Closed { source: Some(error.into()) }),
    }
}
