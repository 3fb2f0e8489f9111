//! Logs refused events: the first few of each kind, and for a flood the number of events.

use std::collections::HashMap;
use std::time::Instant;

use crate::driver::limits::{NOTICE_LINES_MAX, NOTICE_WINDOW};
use crate::relay::boundary::RefusalCode;
use crate::relay::{Disposition, Notice};

/// What was logged in the window.
#[derive(Debug, Default)]
pub(super) struct Notices {
    began: Option<Instant>,
    met: HashMap<(RefusalCode, Disposition), u64>,
}

impl Notices {
    /// Logs a notice, or counts it.
    pub(super) fn tell(&mut self, notice: &Notice, now: Instant) {
        if self.counts(notice.refusal.code, notice.outcome, now) {
            return;
        }
        tracing::warn!(
            position = %notice.position.map(|position| position.to_string()).unwrap_or_default(),
            table = notice.table.as_deref().unwrap_or_default(),
            code = notice.refusal.code.as_str(),
            reason = %notice.refusal.detail,
            "{}",
            match notice.outcome {
                Disposition::DeadLetter => "event refused: sending it to the dead-letter topic",
                Disposition::Published => "event violates its contract: publishing it anyway",
            }
        );
    }

    /// Whether an event is only counted, because there were many of its kind.
    fn counts(&mut self, code: RefusalCode, outcome: Disposition, now: Instant) -> bool {
        self.began.get_or_insert(now);
        let met = self.met.entry((code, outcome)).or_default();
        *met += 1;
        *met > NOTICE_LINES_MAX
    }

    /// At the end of a window, logs how many events had no line.
    pub(super) fn sum_up(&mut self, now: Instant) {
        for (code, outcome, events) in self.left_out(now) {
            tracing::warn!(
                events_at_least = events,
                code = code.as_str(),
                window_seconds = NOTICE_WINDOW.as_secs(),
                "{}",
                match outcome {
                    Disposition::DeadLetter => "more events refused: sending them to the dead-letter topic",
                    Disposition::Published => "more events violate their contract: publishing them anyway",
                }
            );
        }
    }

    /// What was only counted in a window that is over.
    fn left_out(&mut self, now: Instant) -> Vec<(RefusalCode, Disposition, u64)> {
        if self.began.is_none_or(|began| now < began + NOTICE_WINDOW) {
            return Vec::new();
        }
        self.began = None;
        let more = |((code, outcome), met): (_, u64)| {
            let left_out = met.saturating_sub(NOTICE_LINES_MAX);
            (left_out > 0).then_some((code, outcome, left_out))
        };
        self.met.drain().filter_map(more).collect()
    }
}

/// Logs the first ignored row of a table.
pub(super) fn tell_of_ignored_table(table: &str) {
    tracing::warn!(
        table,
        "row not published: its table is in the publication, but no [[outbox]] names it; add an [[outbox]] for it, or drop it from the publication (logged once per table; walpost_ignored_rows_total counts the rows)"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_40_a_flood_of_refused_events_is_logged_as_a_few_lines_and_a_count() {
        let (mut notices, began) = (Notices::default(), Instant::now());
        let (flood, rare) = (RefusalCode::UnknownSchema, RefusalCode::TooLarge);
        let told = (0..5_000).filter(|_| !notices.counts(flood, Disposition::DeadLetter, began)).count();
        assert_eq!(told as u64, NOTICE_LINES_MAX);
        assert!(!notices.counts(rare, Disposition::DeadLetter, began), "another kind has its own lines");
        assert_eq!(notices.left_out(began + NOTICE_WINDOW / 2), []);
        assert_eq!(
            notices.left_out(began + NOTICE_WINDOW),
            [(flood, Disposition::DeadLetter, 5_000 - NOTICE_LINES_MAX)]
        );
        assert!(!notices.counts(flood, Disposition::DeadLetter, began + NOTICE_WINDOW), "a new window");
        assert_eq!(notices.left_out(began + NOTICE_WINDOW * 3), []);
    }
}
