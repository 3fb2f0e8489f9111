//! What asks a program to end: Ctrl-C, a supervisor, a terminal that closes.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What has been asked for so far.
#[derive(Clone, Debug, Default)]
pub struct Interrupts {
    /// Begin nothing new, and bring to its end what has begun.
    pub stop: CancellationToken,
    /// End at once.
    pub abort: CancellationToken,
}

impl Interrupts {
    /// Listens for SIGINT, SIGTERM and SIGHUP from now on: the first means stop, the next abort.
    ///
    /// # Errors
    /// The system does not let this process listen.
    pub fn listen() -> std::io::Result<Self> {
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
    // All three mean the same here.
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
