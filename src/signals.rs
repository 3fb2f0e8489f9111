//! Requests to end the program: Ctrl-C, a supervisor, a terminal that closes.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What has been requested so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupts {
    /// Start nothing new, and finish what has started.
    pub stop: CancellationToken,
    /// End at once.
    pub abort: CancellationToken,
}

impl Interrupts {
    /// Listens for SIGINT, SIGTERM and SIGHUP from now on: the first one means stop, the next one abort.
    ///
    /// # Errors
    /// The system does not let this process listen.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        let (interrupts, mut signals) = (Self::default(), [interrupt?, terminate?, hangup?]);
        let heard = interrupts.clone();
        tokio::spawn(async move {
            any(&mut signals).await;
            heard.stop.cancel();
            any(&mut signals).await;
            heard.abort.cancel();
        });
        Ok(interrupts)
    }
}

async fn any([interrupt, terminate, hangup]: &mut [Signal; 3]) {
    // All three mean the same.
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
