//! How long ago the server certainly considered the lease's session alive.
//!
//! A process that was stopped, or a machine that slept, does not know it: it continues with what it was doing, and
//! what it had read. So the age is checked before each record is offered, on a clock that keeps running meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// No lease has been requested: nothing can be late.
const NONE: u64 = 0;
/// The lease is lost.
const LOST: u64 = 1;

/// The last answered heartbeat.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat(AtomicU64);

/// When the server was asked something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat(u64);

impl Beat {
    /// Taken before the server is asked: the server measures the session's silence from no earlier than this.
    pub(crate) fn begin() -> Self {
        Self(boot_nanos())
    }
}

impl Heartbeat {
    /// The lease was taken.
    pub(crate) fn start(&self, beat: Beat) {
        self.0.store(beat.0, Ordering::Relaxed);
    }

    /// The server has answered. Changes nothing if the lease is already lost.
    pub(crate) fn confirm(&self, beat: Beat) {
        let held = |last| (last != LOST).then_some(beat.0);
        // An error means that the lease is lost.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, held);
    }

    /// The lease is lost.
    pub(crate) fn stop(&self) {
        self.0.store(LOST, Ordering::Relaxed);
    }

    /// Whether the last heartbeat is younger than `limit`; true if there never was a lease.
    pub(crate) fn is_younger(&self, limit: Duration) -> bool {
        match self.0.load(Ordering::Relaxed) {
            NONE => true,
            LOST => false,
            at => u128::from(boot_nanos().saturating_sub(at)) < limit.as_nanos(),
        }
    }
}

/// Nanoseconds since boot, including those in which the machine slept.
#[expect(unsafe_code, reason = "the standard library's clock stands still while the machine sleeps")]
fn boot_nanos() -> u64 {
    #[cfg(target_os = "linux")]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    // Elsewhere the monotonic clock keeps running.
    #[cfg(not(target_os = "linux"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local timespec, which the call fills. It fails only for a clock that does not exist.
    unsafe { libc::clock_gettime(CLOCK, &raw mut time) };
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    // Above the two sentinels.
    (seconds * 1_000_000_000 + nanos).max(LOST + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_as_old_as_the_last_answered_query() {
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
