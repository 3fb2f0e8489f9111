//! The order service: several connections that place, pay and cancel orders, and write each event in the same transaction. Some
//! transactions roll back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::audit::{Audit, Figures};
use super::error::{DemoError, ServiceError, WorkloadError};
use super::stage::Stage;
use super::workload::{self, Ending, OrderTransaction};
use crate::lab::environment;
use crate::random::Random;

/// Number of writing connections.
pub(super) const CONNECTIONS: u32 = 8;
/// How long the service continues without a single success, as while a server restarts.
const OUTAGE_LIMIT: Duration = Duration::from_secs(60);
/// The pause after a failure.
const OUTAGE_PAUSE: Duration = Duration::from_millis(200);
/// How long a transaction waits for a connection.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(5);

/// The audit, shared by the service and the consumer. Locked only for a few additions.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedAudit(Arc<Mutex<Audit>>);

impl SharedAudit {
    pub(super) fn lock(&self) -> MutexGuard<'_, Audit> {
        // The audit does not panic in the middle of a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current state of the check.
    pub(super) fn figures(&self) -> Figures {
        self.lock().figures()
    }
}

/// The service, ready to write.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pool: PgPool,
    audit: SharedAudit,
}

impl Service {
    /// Creates a service that connects on its first write.
    pub(super) fn new(stage: &Stage, audit: &SharedAudit) -> Result<Self, DemoError> {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE_LIMIT)
            .connect_lazy_with(environment::options(&stage.database.url)?);
        Ok(Self { pool, audit: audit.clone() })
    }

    /// One transaction with an event for each topic.
    pub(super) async fn open_the_shop(&self) -> Result<(), DemoError> {
        let result = self.one(OrderTransaction::PlaceAndPay, &mut generator()).await;
        result.map_err(|error| DemoError::Service(ServiceError::First(error)))
    }

    /// Writes `rate` transactions per second for `duration`, or until `stop`; if the database is slower, as many as it can process.
    pub(super) async fn run(&self, rate: u32, duration: Duration, stop: &CancellationToken) -> Result<(), DemoError> {
        let pace = Arc::new(Pace { start: Instant::now(), rate: f64::from(rate), duration, turn: AtomicU64::new(0) });
        let mut writers = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (service, pace, stop) = (self.clone(), Arc::clone(&pace), stop.clone());
            writers.spawn(async move { service.write(&pace, &stop).await });
        }
        while let Some(ended) = writers.join_next().await {
            ended.expect("a writer does not panic")?;
        }
        Ok(())
    }

    /// Closes the connections.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    async fn write(&self, pace: &Pace, stop: &CancellationToken) -> Result<(), ServiceError> {
        let mut random = generator();
        let mut last_success = Instant::now();
        while let Some(when) = pace.next() {
            // A transaction that has begun is finished; only the waiting is interrupted.
            let waited = stop.run_until_cancelled(tokio::time::sleep_until(when)).await;
            if waited.is_none() || stop.is_cancelled() {
                break;
            }
            match self.one(OrderTransaction::draw(&mut random), &mut random).await {
                Ok(()) => last_success = Instant::now(),
                Err(error) if last_success.elapsed() >= OUTAGE_LIMIT => {
                    return Err(ServiceError::Outage { limit: OUTAGE_LIMIT, source: error });
                }
                Err(error) => {
                    tracing::debug!(error = %error, "a transaction of the order service failed");
                    tokio::time::sleep(OUTAGE_PAUSE).await;
                }
            }
        }
        Ok(())
    }

    /// Runs one transaction and reports it to the audit, whatever its outcome.
    async fn one(&self, kind: OrderTransaction, random: &mut Random) -> Result<(), WorkloadError> {
        let mut transaction = self.pool.begin().await?;
        let mut written = workload::Written::default();
        let ending = match workload::make(kind, &mut transaction, random, &mut written).await {
            Ok(ending) => ending,
            Err(error) => {
                // Without a commit, Postgres rolls back.
                self.audit.lock().undo(&written.taken_back);
                self.audit.lock().rolled_back(&written.events);
                return Err(error);
            }
        };
        self.audit.lock().undo(&written.taken_back);
        match ending {
            // Reported before the rollback, so that the audit knows these events if one is read.
            Ending::RollBack => {
                self.audit.lock().rolled_back(&written.events);
                transaction.rollback().await?;
            }
            Ending::Commit => match transaction.commit().await {
                Ok(()) => self.audit.lock().committed(&written.events),
                Err(error) => {
                    self.audit.lock().uncertain(written.events);
                    return Err(error.into());
                }
            },
        }
        Ok(())
    }
}

/// A random generator for each writer.
fn generator() -> Random {
    // The second half of a version 7 UUID is random except for two bits.
    Random::new(Uuid::now_v7().as_u64_pair().1)
}

/// The schedule of transactions: evenly spaced, each taken once by any writer.
#[derive(Debug)]
struct Pace {
    start: Instant,
    /// Transactions per second.
    rate: f64,
    duration: Duration,
    turn: AtomicU64,
}

impl Pace {
    /// The time of the next transaction; none after the last.
    fn next(&self) -> Option<Instant> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let due = Duration::from_secs_f64(turn as f64 / self.rate);
        let over = due >= self.duration || self.start.elapsed() >= self.duration;
        (!over).then(|| self.start + due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_slot_of_the_schedule_is_taken_once() {
        let duration = Duration::from_secs(2);
        let pace = Pace { start: Instant::now(), rate: 100.0, duration, turn: AtomicU64::new(0) };
        let due: Vec<Instant> = std::iter::from_fn(|| pace.next()).collect();
        assert_eq!(due.len(), 200);
        assert_eq!(due[199] - due[0], Duration::from_millis(1_990));
        assert_eq!(pace.next(), None);
    }
}
