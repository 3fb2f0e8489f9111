//! The driver's handle to the stream.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::postgres::{Error, Interrupt};
use crate::relay::boundary::{Batch, Lsn};
use crate::source::batch_channel::{BatchChannel, StreamShared, StreamStop, channel};
use crate::source::error::SourceError;

#[derive(Debug)]
pub enum StreamEvent {
    /// Messages, in order.
    Batch(Batch),
    /// The stream has ended; everything before that has been handed out.
    Lost(SourceError),
}

/// A running stream. Dropping it ends it at once; [`Stream::stop`] ends it cleanly.
#[derive(Debug)]
pub struct Stream {
    receiver: mpsc::Receiver<Batch>,
    shared: Arc<StreamShared>,
    confirmed: Option<Lsn>,
    ended: Option<oneshot::Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// Starts the thread that does the `work` and reports `start` until more is confirmed.
    pub(crate) fn spawn(
        start: Lsn,
        interrupt: Interrupt,
        work: impl FnOnce(&mut BatchChannel) -> Result<(), SourceError> + Send + 'static,
    ) -> Result<Self, SourceError> {
        let (mut channel, receiver, shared) = channel(start, interrupt).map_err(Error::closed_by)?;
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("walpost-stream".to_owned()).spawn(move || {
            if let Err(error) = work(&mut channel) {
                channel.shared.fail(error);
            }
            // The failure is stored before the channel's end signals it.
            drop(channel);
            let _ = end.send(());
        });
        let thread = thread.map_err(Error::closed_by)?;
        Ok(Self { receiver, shared, confirmed: None, ended: Some(ended), thread: Some(thread) })
    }

    /// The next event. Nothing follows [`StreamEvent::Lost`].
    ///
    /// Cancel-safe: a batch is either returned or still in the channel.
    pub async fn next(&mut self) -> StreamEvent {
        match self.receiver.recv().await {
            Some(batch) => {
                self.shared.taken(&batch);
                StreamEvent::Batch(batch)
            }
            None => StreamEvent::Lost(self.failure()),
        }
    }

    /// Tells the server, with the next status update, that everything before `lsn` is safe. The latest LSN counts.
    ///
    /// # Panics
    /// If `lsn` is less than a confirmed one: that is a bug of the caller, and rows would be sent again.
    pub fn confirm(&mut self, lsn: Lsn) {
        self.shared.confirm(lsn);
        self.confirmed = Some(lsn);
    }

    /// As [`Stream::confirm`], without delay.
    ///
    /// # Panics
    /// As [`Stream::confirm`].
    pub fn confirm_now(&mut self, lsn: Lsn) {
        self.confirm(lsn);
        self.shared.push();
    }

    /// The last LSN confirmed on this stream, if any: what [`connect`](crate::source::connect) resumes from.
    #[must_use]
    pub fn confirmed(&self) -> Option<Lsn> {
        self.confirmed
    }

    /// Whether the whole backfill has arrived, if there is one. Certain after [`StreamEvent::Lost`]; before, the rest of it
    /// may still be in the channel.
    #[must_use]
    pub fn is_backfilled(&self) -> bool {
        self.shared.is_backfilled()
    }

    /// Ends the stream cleanly: reports the confirmed LSN and waits, for at most 5 s, until the server has ended its
    /// side. Batches still in the channel are dropped; the server sends them again.
    ///
    /// # Errors
    /// Why it did not end cleanly. The server may then not know the confirmed LSN.
    pub async fn stop(mut self) -> Result<(), SourceError> {
        self.shared.request_stop(StreamStop::Orderly);
        if let Some(ended) = self.ended.take() {
            // An error means that the thread is gone, which is what is awaited.
            let _ = ended.await;
        }
        self.join();
        match self.shared.take_failure() {
            // The backfill was interrupted: there was nothing to confirm.
            None | Some(SourceError::Postgres(Error::Interrupted)) => Ok(()),
            Some(error) => Err(error),
        }
    }

    fn failure(&mut self) -> SourceError {
        self.join();
        self.shared.take_failure().unwrap_or_else(|| Error::Closed { source: None }.into())
    }

    /// The result of the thread; a panic in it continues here, as it states a broken invariant.
    fn join(&mut self) {
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.request_stop(StreamStop::Abandon);
    }
}
