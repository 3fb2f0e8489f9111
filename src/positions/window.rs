//! The rewind window: a slot that trails the relay's, so that any position in between can be replayed.
//!
//! The relay creates, advances and drops it in the background, on separate connections. It must never cause the loss of the relay's
//! slot: the window is limited by its own size, by half of `max_slot_wal_keep_size`, and by the relay's slot, which it never passes. If it
//! retains more than that, it is dropped and started again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::moment;
use crate::config::{REWIND_SLOT_END, Rewind};
use crate::fault::chain;
use crate::postgres::{ConnectOptions, Connection, WaitLimit};
use crate::relay::boundary::Lsn;
use crate::source::{self, PastBackfill, Server, SourceError};
use crate::telemetry::{RewindStatus, Telemetry};

/// Shortest interval between recorded moments, and how many divide a shorter window.
const MOMENT_INTERVAL: Duration = Duration::from_secs(60);
const MOMENTS: u32 = 1_440;
/// Interval between checks of the window: shortest and longest.
const ROUND: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// WAL that one step advances the slot over, in bytes: each step lets `restart_lsn` advance once.
const STEP_BYTES: u64 = 16 << 20;
/// Consecutive rounds in which the slot may retain too much WAL before the window is restarted. Every 15 s Postgres logs a point
/// to which `restart_lsn` can advance.
const ROUNDS_OVER: u32 = 4;
/// How long Postgres may decode WAL for one step.
const STEP_LIMIT: Duration = Duration::from_secs(600);

/// Maintains the window while the relay runs.
pub(crate) struct Window {
    postgres: ConnectOptions,
    relay_slot: String,
    slot: String,
    rewind: Option<Rewind>,
    telemetry: Arc<Telemetry>,
    past_backfill: PastBackfill,
    on_failure: OnFailure,
    noted_at: Option<Instant>,
    /// Consecutive rounds in which the slot retained too much WAL.
    over: u32,
    /// The last warning, so that it is logged once.
    warned: Option<String>,
}

/// Hears of each round that fails.
pub(crate) type OnFailure = Box<dyn Fn(&SourceError) + Send>;

/// The state of both slots.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slots {
    /// The end of the WAL.
    end: Lsn,
    /// `confirmed_flush_lsn` and `restart_lsn` of the relay's slot.
    relay: (Lsn, Lsn),
    trailing: Option<Trailing>,
    /// `max_slot_wal_keep_size` in bytes.
    keep: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Trailing {
    /// Its `confirmed_flush_lsn`: the earliest position that it holds.
    from: Lsn,
    /// Its `restart_lsn`: it retains WAL from here.
    restart: Lsn,
    /// Whether its WAL is safe (`wal_status` is reserved or extended).
    is_safe: bool,
}

/// What a round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    Again,
    /// The window is off and its slot is dropped.
    Over,
}

impl Window {
    /// The window of a relay. Without `rewind`, an existing one is dropped.
    #[must_use]
    pub(crate) fn new(
        postgres: ConnectOptions,
        relay_slot: &str,
        rewind: Option<Rewind>,
        telemetry: Arc<Telemetry>,
        past_backfill: PastBackfill,
        on_failure: OnFailure,
    ) -> Self {
        let (relay_slot, slot) = (relay_slot.to_owned(), format!("{relay_slot}{REWIND_SLOT_END}"));
        Self {
            postgres,
            relay_slot,
            slot,
            rewind,
            telemetry,
            past_backfill,
            on_failure,
            noted_at: None,
            over: 0,
            warned: None,
        }
    }

    /// Runs until it is dropped or the window is off. A failure is logged and retried in the next round.
    pub(crate) async fn run(self) {
        let mut ticks = tokio::time::interval(self.moment_interval().clamp(ROUND.0, ROUND.1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut this = self;
        loop {
            ticks.tick().await;
            // While a relay stands by, the active one maintains the window.
            if !this.past_backfill.get() {
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
                    (back.on_failure)(&error);
                    back.warn(chain(&error));
                    this = back;
                }
                Err(panicked) => {
                    tracing::error!(error = %panicked, "maintenance of the rewind window panicked");
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
        // A relay without a window may lack the privileges to check.
        if self.rewind.is_some() {
            tracing::warn!(slot = self.slot, error = what, "maintenance of the rewind window failed; retrying");
        }
        self.warned = Some(what);
    }

    fn round(&mut self) -> Result<Round, SourceError> {
        let (mut control, server) = Server::open(&self.postgres)?;
        control.set_wait_limit(WaitLimit::Timeout(STEP_LIMIT));
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
            self.warn(format!("slot {} at {from} was not created by this relay; drop it", self.slot));
            return Ok(Round::Again);
        }
        let is_due = self.noted_at.is_none_or(|at| at.elapsed() >= self.moment_interval());
        if is_due || slots.trailing.is_none() {
            self.note(&mut control, &server)?;
        }
        match &slots.trailing {
            None => {
                self.create(&mut control)?;
                // The new slot may not hold the last recorded moment.
                self.note(&mut control, &server)?;
            }
            Some(trailing) if !trailing.is_safe => {
                self.give_up(&mut control, "postgres is about to remove its WAL, or has removed it")?;
            }
            Some(trailing) => self.follow(&mut control, rewind, &slots, trailing)?,
        }
        self.tell(&mut control)?;
        control.close();
        Ok(Round::Again)
    }

    /// Reads both slots; `None` while the relay's has no position.
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

    /// Whether this relay has recorded moments: a slot with its name but no moments was created by something else.
    fn is_ours(&self, control: &mut Connection) -> Result<bool, SourceError> {
        let sql = "select exists (select from outbox.moment where slot = $1)";
        let rows = control.query(sql, &[Some(&self.relay_slot)])?;
        Ok(rows.first().is_some_and(|row| row.is_true(0)))
    }

    fn note(&mut self, control: &mut Connection, server: &Server) -> Result<(), SourceError> {
        let system = server.identify(&self.postgres, control)?.identifier;
        moment::note(control, server, &system, &self.relay_slot)?;
        self.noted_at = Some(Instant::now());
        Ok(())
    }

    fn create(&mut self, control: &mut Connection) -> Result<(), SourceError> {
        let made = source::copy_holder(control, None, Lsn(u64::MAX), &self.slot)?;
        tracing::info!(slot = self.slot, from = %made.from, "rewind window started");
        self.warned = None;
        Ok(())
    }

    /// Removes the window.
    fn end(&self, control: &mut Connection) -> Result<(), SourceError> {
        if self.is_ours(control)? {
            source::drop_slot(control, &self.slot)?;
            control.write("delete from outbox.moment where slot = $1", &[Some(&self.relay_slot)])?;
            tracing::info!(slot = self.slot, "rewind window is off; dropped its slot");
        }
        Ok(())
    }

    fn give_up(&mut self, control: &mut Connection, why: &str) -> Result<(), SourceError> {
        source::drop_slot(control, &self.slot)?;
        self.over = 0;
        tracing::warn!(slot = self.slot, reason = why, "rewind window restarted");
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
            // Advancing the slot does not release its WAL; only a new slot does.
            self.give_up(control, "it retains too much WAL")?;
        }
        Ok(())
    }

    /// The last moment older than a window of this age.
    fn before(&self, control: &mut Connection, age: Duration) -> Result<Option<Lsn>, SourceError> {
        let sql = "select max(lsn) from outbox.moment where slot = $1 and at <= clock_timestamp() - $2::text::interval";
        let age = format!("{} milliseconds", age.as_millis());
        let rows = control.query(sql, &[Some(&self.relay_slot), Some(&age)])?;
        Ok(rows.first().and_then(|row| row.text(0)).and_then(|lsn| lsn.parse().ok()))
    }

    /// Deletes moments before the window, except the last, which resolves times at its start.
    fn prune(&self, control: &mut Connection, from: Lsn) -> Result<(), SourceError> {
        let sql = "delete from outbox.moment where slot = $1 \
                   and lsn < (select max(lsn) from outbox.moment where slot = $1 and lsn <= $2::text::pg_lsn)";
        control.write(sql, &[Some(&self.relay_slot), Some(&from.to_string())])?;
        Ok(())
    }

    /// Reports the size of the window to telemetry.
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

/// How much WAL the window may retain, in bytes.
fn limit(rewind: Rewind, keep: Option<u64>) -> Option<u64> {
    [rewind.bytes, keep.map(|keep| keep / 2)].into_iter().flatten().min()
}

/// How far the window may reach back, in bytes: less than its limit if it retained too much, since a slot also retains WAL before its
/// position.
const fn share(limit: u64, over: u32) -> u64 {
    if over == 0 { limit - limit / 4 } else { limit / 4 }
}

/// Where to advance the trailing slot to for a window of this size; `None`: not at all.
fn target(by_age: Option<Lsn>, size: Option<u64>, slots: &Slots, from: Lsn) -> Option<Lsn> {
    let by_size = size.map(|size| Lsn(slots.end.0.saturating_sub(size)));
    by_age.max(by_size).map(|target| target.min(slots.relay.0)).filter(|target| *target > from)
}

/// Whether the trailing slot retains too much WAL, and more than the relay's own does.
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
    fn the_window_is_limited_by_its_age_its_size_and_the_server() {
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
    fn a_window_that_retains_too_much_is_restarted_unless_the_relays_slot_retains_as_much() {
        let large = |slots: &Slots| is_too_large(1_000, slots, slots.trailing.as_ref().expect("there is one"));
        assert!(!large(&slots(10_000, 9_900, 9_000)));
        assert!(large(&slots(10_000, 9_900, 8_999)));
        assert!(!large(&slots(10_000, 5_000, 5_000)), "a long-running transaction holds back the relay's slot, too");
    }
}
