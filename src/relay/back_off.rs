//! How long to wait before retrying.

use std::time::Duration;

/// Delays that double, from a first to a longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    first: Duration,
    most: Duration,
    last: Duration,
}

impl BackOff {
    /// Nothing has failed yet.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, last: Duration::ZERO }
    }

    /// An attempt failed: how long to wait now.
    pub fn wait(&mut self) -> Duration {
        self.last = (self.last * 2).clamp(self.first, self.most);
        self.last
    }

    /// An attempt succeeded.
    pub const fn reset(&mut self) {
        self.last = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again_after_a_success() {
        let millis = Duration::from_millis;
        let mut back_off = BackOff::new(millis(100), millis(350));
        let waits: Vec<Duration> = (0..4).map(|_| back_off.wait()).collect();
        assert_eq!(waits, [millis(100), millis(200), millis(350), millis(350)]);
        back_off.reset();
        assert_eq!(back_off.wait(), millis(100));
    }
}
