//! The rewind window: a slot that trails behind the relay's, so that any position since can be replayed.
//!
//! The relay makes it, moves it on and drops it again, beside its own work and on connections of its own. It must never cost the relay its
//! own slot: the window is bounded by its own size, by half of `max_slot_wal_keep_size`, and by the relay's slot, which it never
//! passes; and it is given up where it keeps more than that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::moment;
use super::{identify, open};
use crate::config::{REWIND_SLOT_END, Rewind};
use crate::fault::chain;
use crate::postgres::{ConnectOptions, Connection, Patience};
use crate::relay::boundary::Lsn;
use crate::source::{self, Server, SourceError};
use crate::telemetry::{RewindStatus, Telemetry};

/// How often a moment is noted at most, and into how many parts they divide a shorter window.
const MOMENT_INTERVAL: Duration = Duration::from_secs(60);
const MOMENTS: u32 = 1_440;
/// How often the window is looked at: at most and at least.
const ROUND: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// Log that one step moves the slot over, in bytes: each lets the slot's `restart_lsn` follow to one place more.
const STEP_BYTES: u64 = 16 << 20;
/// How many rounds in a row the slot may keep more log than it should before the window is given up. Postgres notes every 15 s a
/// place to which a `restart_lsn` can follow.
const ROUNDS_OVER: u32 = 4;
/// How long Postgres may read for a step.
const STEP_LIMIT: Duration = Duration::from_secs(600);

/// Keeps the window for as long as the relay runs.
#[derive(Debug)]
pub struct Window {
    postgres: ConnectOptions,
    relay_slot: String,
    slot: String,
    rewind: Option<Rewind>,
    telemetry: Arc<Telemetry>,
    /// The relay has its slot, and streams.
    streams: Arc<AtomicBool>,
    noted_at: Option<Instant>,
    /// Rounds in a row in which the slot kept too much.
    over: u32,
    /// What was warned of last, so that it is said once.
    warned: Option<String>,
}

/// The two slots as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slots {
    /// Where the log ends.
    end: Lsn,
    /// What the relay's slot has confirmed, and what it keeps log from.
    relay: (Lsn, Lsn),
    trailing: Option<Trailing>,
    /// `max_slot_wal_keep_size` in bytes.
    keep: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Trailing {
    /// The earliest position that it holds.
    from: Lsn,
    /// What it keeps log from.
    restart: Lsn,
    /// Postgres keeps its log still.
    is_safe: bool,
}

/// Whether there is more to do later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    Again,
    /// The window is off, and nothing is left of it.
    Over,
}

impl Window {
    /// The window of a relay; without `rewind` one that is dropped, if there is one.
    #[must_use]
    pub fn new(
        postgres: ConnectOptions,
        relay_slot: &str,
        rewind: Option<Rewind>,
        telemetry: Arc<Telemetry>,
        streams: Arc<AtomicBool>,
    ) -> Self {
        let (relay_slot, slot) = (relay_slot.to_owned(), format!("{relay_slot}{REWIND_SLOT_END}"));
        Self { postgres, relay_slot, slot, rewind, telemetry, streams, noted_at: None, over: 0, warned: None }
    }

    /// Runs until it is dropped, or nothing is left to do. A failure is logged; the next round is another attempt.
    pub async fn run(self) {
        let mut ticks = tokio::time::interval(self.moment_interval().clamp(ROUND.0, ROUND.1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut this = self;
        loop {
            ticks.tick().await;
            // A relay that waits for its slot leaves the window to the one that has it.
            if !this.streams.load(Ordering::Relaxed) {
                continue;
            }
            let round = tokio::task::spawn_blocking(move || {
                let outcome = this.round();
                (this, outcome)
            });
            match round.await {
                Ok((_, Ok(Round::Over))) => return,
                Ok((back, Ok(Round::Again))) => this = back,
                Ok((mut back, Err(error))) => {
                    back.warn(chain(&error));
                    this = back;
                }
                Err(panicked) => {
                    tracing::error!(error = %panicked, "the upkeep of the rewind window panicked");
                    return;
                }
            }
        }
    }

    fn moment_interval(&self) -> Duration {
        let age = self.rewind.and_then(|rewind| rewind.age);
        age.map_or(MOMENT_INTERVAL, |age| (age / MOMENTS).min(MOMENT_INTERVAL))
    }

    fn warn(&mut self, what: String) {
        if self.warned.as_deref() == Some(&what) {
            return;
        }
        // A relay without a window may not even be allowed to look.
        if self.rewind.is_some() {
            tracing::warn!(slot = self.slot, error = what, "the rewind window is not in order, and is tried again");
        }
        self.warned = Some(what);
    }

    fn round(&mut self) -> Result<Round, SourceError> {
        let (mut control, server) = open(&self.postgres)?;
        control.set_patience(Patience::Limit(STEP_LIMIT));
        let Some(slots) = self.look(&mut control)? else { return Ok(Round::Again) };
        let Some(rewind) = self.rewind else {
            if slots.trailing.is_some() {
                self.end(&mut control)?;
            }
            return Ok(Round::Over);
        };
        if let Some(trailing) = &slots.trailing
            && !self.is_ours(&mut control)?
        {
            let from = trailing.from;
            self.warn(format!("slot {} at {from} is not of this relay's making: drop it", self.slot));
            return Ok(Round::Again);
        }
        let is_due = self.noted_at.is_none_or(|at| at.elapsed() >= self.moment_interval());
        if is_due || slots.trailing.is_none() {
            self.note(&mut control, &server)?;
        }
        match &slots.trailing {
            None => {
                self.create(&mut control)?;
                // The moment before may be one that the new slot does not hold.
                self.note(&mut control, &server)?;
            }
            Some(trailing) if !trailing.is_safe => {
                self.give_up(&mut control, "postgres is about to take its log, or has taken it")?;
            }
            Some(trailing) => self.follow(&mut control, rewind, &slots, trailing)?,
        }
        self.tell(&mut control)?;
        control.close();
        Ok(Round::Again)
    }

    /// The slots; `None` while the relay's own has no position.
    fn look(&self, control: &mut Connection) -> Result<Option<Slots>, SourceError> {
        let sql = "select pg_current_wal_insert_lsn(), r.confirmed_flush_lsn, r.restart_lsn, t.confirmed_flush_lsn, \
                          t.restart_lsn, t.wal_status in ('reserved', 'extended'), t.slot_name is not null, \
                          (select setting from pg_settings where name = 'max_slot_wal_keep_size') \
                   from pg_replication_slots r left join pg_replication_slots t on t.slot_name = $2 where r.slot_name = $1";
        let rows = control.query(sql, &[Some(&self.relay_slot), Some(&self.slot)])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let lsn = |column| row.text(column).and_then(|text| text.parse::<Lsn>().ok());
        let (Some(end), Some(confirmed), Some(restart)) = (lsn(0), lsn(1), lsn(2)) else { return Ok(None) };
        let trailing = row.is_true(6).then(|| Trailing {
            from: lsn(3).unwrap_or_default(),
            restart: lsn(4).unwrap_or_default(),
            is_safe: row.is_true(5) && lsn(3).is_some() && lsn(4).is_some(),
        });
        let keep = row.text(7).and_then(|megabytes| megabytes.parse::<u64>().ok()).map(|megabytes| megabytes << 20);
        Ok(Some(Slots { end, relay: (confirmed, restart), trailing, keep }))
    }

    /// Whether there are moments of this relay's: a slot of its name without any was made by another hand.
    fn is_ours(&self, control: &mut Connection) -> Result<bool, SourceError> {
        let sql = "select exists (select from outbox.moment where slot = $1)";
        let rows = control.query(sql, &[Some(&self.relay_slot)])?;
        Ok(rows.first().is_some_and(|row| row.is_true(0)))
    }

    fn note(&mut self, control: &mut Connection, server: &Server) -> Result<(), SourceError> {
        let system = identify(&self.postgres, control, server)?.identifier;
        moment::note(control, server, &system, &self.relay_slot)?;
        self.noted_at = Some(Instant::now());
        Ok(())
    }

    fn create(&mut self, control: &mut Connection) -> Result<(), SourceError> {
        let made = source::copy_holder(control, None, Lsn(u64::MAX), &self.slot)?;
        tracing::info!(slot = self.slot, from = %made.from, "the rewind window begins here");
        self.warned = None;
        Ok(())
    }

    /// The window is off.
    fn end(&self, control: &mut Connection) -> Result<(), SourceError> {
        if self.is_ours(control)? {
            source::drop_slot(control, &self.slot)?;
            control.write("delete from outbox.moment where slot = $1", &[Some(&self.relay_slot)])?;
            tracing::info!(slot = self.slot, "the rewind window is off: its slot is dropped");
        }
        Ok(())
    }

    fn give_up(&mut self, control: &mut Connection, why: &str) -> Result<(), SourceError> {
        source::drop_slot(control, &self.slot)?;
        self.over = 0;
        tracing::warn!(slot = self.slot, reason = why, "the rewind window is given up, and begins anew");
        Ok(())
    }

    fn follow(
        &mut self,
        control: &mut Connection,
        rewind: Rewind,
        slots: &Slots,
        trailing: &Trailing,
    ) -> Result<(), SourceError> {
        let by_age = rewind.age.map(|age| self.before(control, age)).transpose()?.flatten();
        let limit = limit(rewind, slots.keep);
        let mut from = trailing.from;
        if let Some(target) = target(by_age, limit.map(|limit| share(limit, self.over)), slots, from) {
            while from < target {
                let step = Lsn(from.0.saturating_add(STEP_BYTES)).min(target);
                let stands = source::advance(control, &self.slot, step)?;
                if stands <= from {
                    break;
                }
                from = stands;
            }
            self.prune(control, from)?;
        }
        let Some(now) = self.look(control)? else { return Ok(()) };
        let Some(trailing) = &now.trailing else { return Ok(()) };
        let is_over = |limit: Option<u64>| limit.is_some_and(|limit| is_too_large(limit, &now, trailing));
        self.over = if is_over(limit) { self.over + 1 } else { 0 };
        if self.over > ROUNDS_OVER || is_over(slots.keep.map(|keep| keep / 4 * 3)) {
            // Moving it on does not let its log go: only a new one does.
            self.give_up(control, "it keeps more log than it may")?;
        }
        Ok(())
    }

    /// The last moment before a window of this age.
    fn before(&self, control: &mut Connection, age: Duration) -> Result<Option<Lsn>, SourceError> {
        let sql = "select max(lsn) from outbox.moment where slot = $1 and at <= clock_timestamp() - $2::text::interval";
        let age = format!("{} milliseconds", age.as_millis());
        let rows = control.query(sql, &[Some(&self.relay_slot), Some(&age)])?;
        Ok(rows.first().and_then(|row| row.text(0)).and_then(|lsn| lsn.parse().ok()))
    }

    /// Moments before the window are of no more use, but for the last of them, which times at its beginning are found by.
    fn prune(&self, control: &mut Connection, from: Lsn) -> Result<(), SourceError> {
        let sql = "delete from outbox.moment where slot = $1 \
                   and lsn < (select max(lsn) from outbox.moment where slot = $1 and lsn <= $2::text::pg_lsn)";
        control.write(sql, &[Some(&self.relay_slot), Some(&from.to_string())])?;
        Ok(())
    }

    /// Tells the telemetry how large the window is.
    fn tell(&self, control: &mut Connection) -> Result<(), SourceError> {
        let Some(Slots { end, trailing: Some(trailing), .. }) = self.look(control)? else {
            self.telemetry.set_rewind(None);
            return Ok(());
        };
        let rows = control.query(
            "select floor(extract(epoch from clock_timestamp() - max(at) filter (where lsn <= $2::text::pg_lsn)))::bigint::text, \
                    floor(extract(epoch from clock_timestamp() - min(at)))::bigint::text \
             from outbox.moment where slot = $1",
            &[Some(&self.relay_slot), Some(&trailing.from.to_string())],
        )?;
        let row = rows.first();
        let seconds = |column| row.and_then(|row| row.text(column)).and_then(|text| text.parse().ok());
        self.telemetry.set_rewind(Some(RewindStatus {
            slot: self.slot.clone(),
            from_lsn: trailing.from.to_string(),
            seconds: seconds(0).or_else(|| seconds(1)).unwrap_or(0),
            retained_wal_bytes: end.0.saturating_sub(trailing.restart.0),
        }));
        Ok(())
    }
}

/// How much log the window may keep, in bytes.
fn limit(rewind: Rewind, keep: Option<u64>) -> Option<u64> {
    [rewind.bytes, keep.map(|keep| keep / 2)].into_iter().flatten().min()
}

/// How much of its limit the window uses, in bytes: a slot keeps log from before its position, too, and less where that was too much.
const fn share(limit: u64, over: u32) -> u64 {
    if over == 0 { limit - limit / 4 } else { limit / 4 }
}

/// Where the trailing slot is moved to so that the window has this size; `None`: it stays.
fn target(by_age: Option<Lsn>, size: Option<u64>, slots: &Slots, from: Lsn) -> Option<Lsn> {
    let by_size = size.map(|size| Lsn(slots.end.0.saturating_sub(size)));
    by_age.max(by_size).map(|target| target.min(slots.relay.0)).filter(|target| *target > from)
}

/// Whether the trailing slot keeps too much, and more than the relay's own does.
fn is_too_large(limit: u64, slots: &Slots, trailing: &Trailing) -> bool {
    slots.end.0.saturating_sub(trailing.restart.0) > limit && trailing.restart < slots.relay.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(end: u64, relay: u64, trailing: u64) -> Slots {
        let trailing = Trailing { from: Lsn(trailing), restart: Lsn(trailing), is_safe: true };
        Slots { end: Lsn(end), relay: (Lsn(relay), Lsn(relay)), trailing: Some(trailing), keep: None }
    }

    #[test]
    fn the_window_is_as_large_as_its_age_and_size_and_the_server_let_it_be() {
        let rewind = |bytes| Rewind { age: None, bytes };
        assert_eq!(limit(rewind(Some(100)), None), Some(100));
        assert_eq!(limit(rewind(Some(100)), Some(300)), Some(100));
        assert_eq!(limit(rewind(Some(100)), Some(150)), Some(75), "half of max_slot_wal_keep_size");
        assert_eq!(limit(rewind(None), None), None);
        let now = slots(10_000, 9_900, 5_000);
        let target = |by_age: Option<u64>, limit| target(by_age.map(Lsn), limit, &now, Lsn(5_000)).map(|lsn| lsn.0);
        assert_eq!(target(None, None), None);
        assert_eq!(target(Some(4_000), None), None, "it never goes back");
        assert_eq!(target(Some(6_000), None), Some(6_000));
        assert_eq!(target(Some(6_000), Some(3_000)), Some(7_000), "whichever is less");
        assert_eq!((share(4_000, 0), share(4_000, 1)), (3_000, 1_000));
        assert_eq!(target(Some(9_999), Some(4_000)), Some(9_900), "never past the relay's slot");
        assert_eq!(target(None, Some(1 << 40)), None);
    }

    #[test]
    fn a_window_that_keeps_too_much_is_given_up_unless_the_relays_slot_keeps_as_much() {
        let large = |slots: &Slots| is_too_large(1_000, slots, slots.trailing.as_ref().expect("there is one"));
        assert!(!large(&slots(10_000, 9_900, 9_000)));
        assert!(large(&slots(10_000, 9_900, 8_999)));
        assert!(!large(&slots(10_000, 5_000, 5_000)), "a transaction that is open for long keeps the relay's, too");
    }
}
