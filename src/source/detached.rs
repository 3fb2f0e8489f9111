//! Blocking work off the runtime.

use tokio::sync::oneshot;

use super::error::SourceError;
use crate::postgres::{Error, Interrupt};

/// Runs blocking work on a thread of its own; dropping the future interrupts it, and the runtime's end does not wait
/// for it.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl FnOnce(&Interrupt) -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    struct OnDrop(Interrupt);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.set();
        }
    }
    let interrupt = Interrupt::default();
    let guard = OnDrop(interrupt.clone());
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new()
        .name("walpost-connect".to_owned())
        .spawn(move || drop(answer.send(work(&interrupt))))
        .map_err(Error::closed_by)?;
    let result = answered.await.expect("the connecting thread does not panic");
    drop(guard);
    result
}
