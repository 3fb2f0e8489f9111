//! What the relay does for the database besides streaming: it creates daily partitions ahead and drops old ones, and
//! watches the slot's retained WAL and the publication.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior};

use super::publication::PublicationWatch;
use super::side_events::{SideEvent, SideEvents};
use crate::driver::limits::{MAINTAIN_AGAIN, MAINTAIN_INTERVAL, WATCH_INTERVAL};
use crate::postgres::{ConnectOptions, Connection, Error, sqlstate};
use crate::relay::boundary::Lsn;
use crate::source::{PastBackfill, SourceError, settle_unsigned, waits_for_relay};
use crate::telemetry::{Side, Telemetry};

/// The outcome of `outbox.maintain` in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maintained {
    NotDue,
    Done,
    Failed,
}

/// Maintains the outbox for as long as the relay runs.
pub(super) struct Maintenance {
    pub(super) postgres: ConnectOptions,
    pub(super) slot: String,
    /// Age at which whole partitions are dropped; `None` keeps all.
    pub(super) retention: Option<Duration>,
    /// `relay.max_retained_wal`.
    pub(super) max_retained_wal: Option<u64>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) past_backfill: PastBackfill,
    /// Whether it is settled up to which LSN messages need no signature.
    pub(super) is_settled: AtomicBool,
    /// Whether commits in the cluster waited for the relay in the last round.
    pub(super) is_waited_for: AtomicBool,
    pub(super) publication: Arc<PublicationWatch>,
    pub(super) events: SideEvents,
}

impl Maintenance {
    /// Runs until dropped. Failures are logged; the next round tries again.
    pub(super) async fn run(self) {
        let mut ticks = tokio::time::interval(WATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let this = Arc::new(self);
        let mut maintain_at = Instant::now();
        let mut has_dropped = false;
        loop {
            ticks.tick().await;
            // Again as soon as old partitions may be dropped; until then, as on a standby relay, at the normal
            // interval.
            let may_drop = this.past_backfill.get();
            let due = Instant::now() >= maintain_at || (may_drop && !has_dropped);
            let round = Arc::clone(&this);
            let outcome = tokio::task::spawn_blocking(move || round.look(due)).await;
            match outcome {
                Ok(Ok(Maintained::NotDue)) => {}
                Ok(Ok(maintained)) => {
                    let again = if maintained == Maintained::Done { MAINTAIN_INTERVAL } else { MAINTAIN_AGAIN };
                    (maintain_at, has_dropped) = (Instant::now() + again, may_drop);
                }
                Ok(Err(error @ SourceError::PublicationChanged { .. })) => {
                    this.events.tell(SideEvent::PublicationChanged(error));
                }
                Ok(Err(error)) => tracing::debug!(error = %error, "maintenance failed; retrying"),
                Err(panicked) => tracing::error!(error = %panicked, "maintenance panicked"),
            }
        }
    }

    fn look(&self, maintain: bool) -> Result<Maintained, SourceError> {
        let mut connection = Connection::open(&self.postgres).inspect_err(|error| {
            self.telemetry.metrics.forget_retained_wal();
            self.events.note_failure(Some(error));
        })?;
        self.telemetry.metrics.sides.note_contact(Side::Postgres, SystemTime::now());
        self.publication.look(&mut connection)?;
        self.watch(&mut connection)?;
        self.watch_standbys(&mut connection)?;
        self.note_unsendable(&mut connection)?;
        if !self.is_settled.load(Ordering::Relaxed) {
            self.is_settled.store(settle_unsigned(&mut connection, &self.slot)?, Ordering::Relaxed);
        }
        if self.telemetry.is_standby() {
            self.watch_other(&mut connection)?;
        }
        let maintained = if maintain { self.maintain(&mut connection) } else { Maintained::NotDue };
        connection.close();
        Ok(maintained)
    }

    /// Whether the relay that holds the slot streams, or still reads the backfill.
    fn watch_other(&self, connection: &mut Connection) -> Result<(), Error> {
        let sql = "select exists (select from pg_replication_slots where slot_name = $1 and active) \
                   or exists (select from outbox.relay where slot = $1 and backfill = 'pending')";
        let rows = connection.query(sql, &[Some(&self.slot)])?;
        self.telemetry.set_slot_in_use(rows.first().is_some_and(|row| row.is_true(0)), Instant::now().into_std());
        Ok(())
    }

    fn watch(&self, connection: &mut Connection) -> Result<(), Error> {
        let sql = "select pg_current_wal_lsn(), \
                          pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint::text, \
                          (select setting from pg_settings where name = 'max_slot_wal_keep_size') \
                   from pg_replication_slots where slot_name = $1";
        let rows = connection.query(sql, &[Some(&self.slot)])?;
        let Some(row) = rows.first() else { return Ok(()) };
        if let Some(Ok(end)) = row.text(0).map(str::parse::<Lsn>) {
            self.events.tell(SideEvent::ServerEnd(end));
        }
        if let Some(Ok(bytes)) = row.text(1).map(str::parse) {
            // In MB; -1 is no limit.
            let kept_at_most = row.text(2).and_then(|setting| setting.parse::<u64>().ok()).map(|size| size << 20);
            self.note_retained(bytes, kept_at_most);
        }
        Ok(())
    }

    /// Detects that Postgres treats the relay as a synchronous standby.
    fn watch_standbys(&self, connection: &mut Connection) -> Result<(), Error> {
        let application = self.postgres.application_name().unwrap_or_default();
        let names = waits_for_relay(connection, &self.slot, application)?;
        let was_waited_for = self.is_waited_for.swap(names.is_some(), Ordering::Relaxed);
        self.events.tell(SideEvent::CommitsWait(names.is_some()));
        self.telemetry.set_synchronous_standby(names.is_some());
        match names {
            Some(names) if !was_waited_for => tracing::warn!(
                synchronous_standby_names = names,
                "commits wait for this relay, which postgres treats as a synchronous standby: list only the real standbys in synchronous_standby_names"
            ),
            None if was_waited_for => tracing::info!("commits no longer wait for this relay"),
            _ => {}
        }
        Ok(())
    }

    /// Records a transaction that Postgres can't send, for `walpost doctor`.
    fn note_unsendable(&self, connection: &mut Connection) -> Result<(), Error> {
        let unsendable = self.telemetry.unsendable();
        // What a standby relay knows of the slot is out of date.
        if unsendable.is_none() && !self.past_backfill.get() {
            return Ok(());
        }
        let sql = "update outbox.relay set unsendable_lsn = $2::text::pg_lsn, unsendable_error = $3 where slot = $1 \
                   and (unsendable_lsn, unsendable_error) is distinct from ($2::text::pg_lsn, $3::text)";
        let lsn = unsendable.as_ref().map(|unsendable| unsendable.lsn().to_string());
        let error = unsendable.as_ref().map(|unsendable| unsendable.error.as_str());
        connection.write(sql, &[Some(&self.slot), lsn.as_deref(), error])?;
        Ok(())
    }

    /// Reports how much WAL the slot retains, and warns while there is still time if it is too much.
    fn note_retained(&self, bytes: u64, kept_at_most: Option<u64>) {
        let limit = self.max_retained_wal.or_else(|| kept_at_most.map(|most| most / 4 * 3));
        self.telemetry.metrics.set_retained_wal_bytes(bytes, limit);
        let excess = limit.filter(|limit| bytes > *limit).map(|limit| {
            let then = match kept_at_most {
                Some(most) => format!("Postgres invalidates it at {most} (max_slot_wal_keep_size)"),
                None => "only the disk limits it".to_owned(),
            };
            format!("slot {} retains {bytes} bytes of WAL, more than {limit}; {then}", self.slot)
        });
        let is_news = self.telemetry.set_excess_wal(excess.clone());
        match excess {
            Some(excess) if is_news => tracing::warn!(excess, "slot retains too much wal"),
            None if is_news => tracing::info!(bytes, "slot's retained wal is back within its limit"),
            _ => {}
        }
    }

    /// A missing privilege means that somebody else maintains the table: logged once an hour, and not an error.
    fn maintain(&self, connection: &mut Connection) -> Maintained {
        let retention =
            self.retention.filter(|_| self.past_backfill.get()).map(|age| format!("{} seconds", age.as_secs()));
        let rows = match connection.write("select * from outbox.maintain($1::interval)", &[retention.as_deref()]) {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(error = %error, "outbox.maintain failed; retrying");
                let is_not_ours = [sqlstate::INSUFFICIENT_PRIVILEGE, sqlstate::UNDEFINED_FUNCTION];
                if error.sqlstate().is_some_and(|code| is_not_ours.contains(&code)) {
                    return Maintained::Done;
                }
                self.telemetry.set_maintain_failure(Some(error.to_string()));
                return Maintained::Failed;
            }
        };
        for row in rows.iter().filter(|row| row.text(0) == Some("skipped")) {
            let [partition, reason] = [1, 2].map(|column| row.text(column).unwrap_or_default());
            tracing::warn!(partition, reason, "outbox.maintain could not create a partition");
        }
        self.telemetry.set_maintain_failure(None);
        if let Ok(Some(days)) = partitions_ahead(connection) {
            self.telemetry.metrics.set_partitions_ahead(days);
        }
        tracing::debug!(changes = rows.len(), "outbox maintained");
        Maintained::Done
    }
}

/// How many days ahead `outbox.event` has partitions.
fn partitions_ahead(connection: &mut Connection) -> Result<Option<i64>, Error> {
    // Same as outbox.event_partitions, which the relay's role may not call.
    connection.configure("set timezone = 'UTC'; set datestyle = 'ISO, YMD'")?;
    let rows = connection.simple_query(
        "select floor(extract(epoch from max(substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \\(''([^'']+)''\\)')::timestamptz) \
                - now()) / 86400)::bigint \
         from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class r on r.oid = i.inhparent \
         join pg_namespace n on n.oid = r.relnamespace where n.nspname = 'outbox' and r.relname = 'event'",
    )?;
    Ok(rows.first().and_then(|row| row.text(0)?.parse().ok()))
}
