//! How long ago the server surely took the lease's session for alive.
//!
//! A process that was stopped, or a machine that slept, does not know it: it goes on with what it was doing, and what it had read. So the
//! age is looked at before each record is offered, on a clock that runs on meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// No lease has been asked for: there is nothing to be late for.
const NONE: u64 = 0;
/// The lease is gone.
const LOST: u64 = 1;

/// The last sign of life that was answered.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat(AtomicU64);

/// When the server was asked something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat(u64);

impl Beat {
    /// To be taken before the server is asked: it counts the session's silence from no earlier than that.
    pub(crate) fn begin() -> Self {
        Self(boot_nanos())
    }
}

impl Heartbeat {
    /// The lease was taken.
    pub(crate) fn start(&self, beat: Beat) {
        self.0.store(beat.0, Ordering::Relaxed);
    }

    /// The server has answered. Says nothing of a lease that is gone by now.
    pub(crate) fn confirm(&self, beat: Beat) {
        let held = |last| (last != LOST).then_some(beat.0);
        // An error is a lease that is gone.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, held);
    }

    /// The lease is gone.
    pub(crate) fn stop(&self) {
        self.0.store(LOST, Ordering::Relaxed);
    }

    /// Whether the last beat is younger than `limit`; true where there never was a lease.
    pub(crate) fn is_younger(&self, limit: Duration) -> bool {
        match self.0.load(Ordering::Relaxed) {
            NONE => true,
            LOST => false,
            at => u128::from(boot_nanos().saturating_sub(at)) < limit.as_nanos(),
        }
    }
}

/// Nanoseconds since the machine started, those in which it slept among them.
#[expect(unsafe_code, reason = "the standard library's clock stands still while the machine sleeps")]
fn boot_nanos() -> u64 {
    #[cfg(target_os = "linux")]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    // Elsewhere the monotonic clock runs on.
    #[cfg(not(target_os = "linux"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours, which the call fills. It fails only for a clock that does not exist.
    unsafe { libc::clock_gettime(CLOCK, &raw mut time) };
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    // Above the two marks.
    (seconds * 1_000_000_000 + nanos).max(LOST + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_as_old_as_the_question_that_was_answered_last() {
        let (heartbeat, hour) = (Heartbeat::default(), Duration::from_secs(3_600));
        assert!(heartbeat.is_younger(Duration::ZERO), "nobody has asked for it");
        let beat = Beat::begin();
        heartbeat.start(beat);
        assert!(heartbeat.is_younger(hour) && !heartbeat.is_younger(Duration::ZERO));
        heartbeat.confirm(Beat(beat.0.saturating_sub(7_200_000_000_000).max(2)));
        assert!(boot_nanos() < 3_600_000_000_000 || !heartbeat.is_younger(hour), "stopped for two hours");
        heartbeat.stop();
        heartbeat.confirm(Beat::begin());
        assert!(!heartbeat.is_younger(hour), "an answer that comes late");
        heartbeat.start(Beat::begin());
        assert!(heartbeat.is_younger(hour));
    }
}
