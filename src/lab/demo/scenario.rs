//! The sequence of steps, once the servers are running.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::Options;
use super::audit::Figures;
use super::clock;
use super::consumer::Consumer;
use super::error::DemoError;
use super::relay::{Gauges, Relay};
use super::report::{Report, ServersReport, Spent};
use super::service::{Service, SharedAudit};
use super::stage::{SCHEMAS, Stage, relay_settings};
use super::view::{Live, TICK, View};
use crate::config::AdminApi;
use crate::lab::environment::{Servers, close, connect};
use crate::signals::Interrupts;

/// How long to wait for the next record before missing ones count as lost.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// How much of the load's beginning to exclude from the latencies, at most, and as a fraction of the whole: connections are opened,
/// and a JVM that has just started warms up.
const WARM_UP_MOST: Duration = Duration::from_secs(1);
const WARM_UP_PART: u32 = 5;

/// Everything that the demo needs while it runs.
pub(super) struct Scenario<'a> {
    pub(super) options: &'a Options,
    pub(super) view: &'a View,
    pub(super) interrupts: &'a Interrupts,
    pub(super) servers: &'a Servers,
    pub(super) stage: &'a Stage,
}

/// The components that run while orders are written.
struct Cast {
    audit: SharedAudit,
    service: Service,
    consumer: Consumer,
    gauges: Gauges,
}

impl Scenario<'_> {
    /// From empty servers to the report.
    pub(super) async fn run(&self) -> Result<Report, DemoError> {
        let clock_ahead_millis = self.set_up().await?;
        let audit = SharedAudit::default();
        let admin_api = if self.servers.kafka().is_real() { AdminApi::Present } else { AdminApi::Absent };
        let mut relay = Relay::start(relay_settings(self.stage, self.servers), admin_api)?;
        let cast = Cast {
            service: Service::new(self.stage, &audit)?,
            consumer: Consumer::start(self.servers, self.stage, clock_ahead_millis, &audit)?,
            gauges: relay.gauges(),
            audit,
        };
        // 1. The orders. 2. If the relay stops, nothing more can arrive.
        let spent = tokio::select! {
            spent = self.trade(&cast) => spent?,
            error = relay.stopped() => return Err(error),
        };
        let Cast { audit, service, consumer, gauges } = cast;
        service.close().await;
        let met = gauges.report();
        tracing::debug!("every record was read; the relay stops");
        relay.stop().await?;
        tracing::debug!("the relay has stopped; the consumer reads to the end");
        // Whatever arrives after the last expected record is a duplicate or worse.
        consumer.finish().await.map_err(self.servers.kafka().error("read the topics"))?;
        self.explain(&audit).await?;
        let servers = ServersReport {
            postgres: self.servers.postgres.name.clone(),
            kafka: self.servers.kafka().name.clone(),
            kafka_is_real: self.servers.kafka().is_real(),
        };
        let report = Report::new(&audit.lock(), servers, spent, met);
        Ok(report)
    }

    /// Creates everything on the servers; returns how far Postgres's clock is ahead of ours.
    async fn set_up(&self) -> Result<i64, DemoError> {
        let doing = self.view.doing("migrating");
        self.stage.prepare(self.servers).await?;
        doing.done(&format!("schema outbox migrated, {} schema versions registered", SCHEMAS.len()));
        for made in self.stage.made(self.servers) {
            self.view.note(&format!("created for the demo, removed afterwards: {made}"));
        }
        if !self.servers.postgres.is_named() {
            return Ok(0);
        }
        let mut connection = connect(&self.stage.database.url).await?;
        let ahead = clock::ahead_millis(&mut connection).await?;
        close(connection).await;
        Ok(ahead)
    }

    /// Starts with a single transaction, then writes orders and waits until all are read.
    async fn trade(&self, cast: &Cast) -> Result<Spent, DemoError> {
        let doing = self.view.doing("the relay is starting");
        let began = Instant::now();
        cast.service.open_the_shop().await?;
        self.await_reads(&cast.audit, |_| {}).await;
        if cast.audit.figures().missing > 0 {
            return Err(DemoError::NotOpened { waited: began.elapsed(), last_error: cast.gauges.last_error() });
        }
        doing.done(&format!(
            "the relay is running: its first events were read after {} ms",
            began.elapsed().as_millis()
        ));
        let warm_up = WARM_UP_MOST.min(self.options.duration / WARM_UP_PART);
        cast.consumer.measure_after(warm_up);
        self.view.load(self.options.rate, self.options.duration);
        let began = Instant::now();
        let show = |figures: Figures| {
            let p50_millis = cast.audit.lock().latencies().quantile(0.5);
            let (elapsed, duration, waits_for) = (began.elapsed(), self.options.duration, cast.gauges.waits_for());
            self.view.show(&Live { figures, p50_millis, elapsed, duration, waits_for });
        };
        let mut ticks = tokio::time::interval(TICK);
        let writing = cast.service.run(self.options.rate, self.options.duration, &self.interrupts.stop);
        let mut writing = std::pin::pin!(writing);
        loop {
            // 1. The writers. 2. The view.
            tokio::select! {
                ended = &mut writing => break ended?,
                _ = ticks.tick() => show(cast.audit.figures()),
            }
        }
        let spent = Spent { writing: began.elapsed(), warm_up };
        self.explain(&cast.audit).await?;
        self.await_reads(&cast.audit, show).await;
        Ok(spent)
    }

    /// Returns when everything that was committed has been read, or no record has arrived for too long.
    async fn await_reads(&self, audit: &SharedAudit, show: impl Fn(Figures)) {
        let (mut last_read, mut since) = (0, Instant::now());
        let mut ticks = tokio::time::interval(TICK / 10);
        loop {
            ticks.tick().await;
            let figures = audit.figures();
            let (read, missing) = (figures.read, figures.missing);
            show(figures);
            if read != last_read {
                (last_read, since) = (read, Instant::now());
            }
            if missing == 0 || since.elapsed() >= STALL_LIMIT {
                return;
            }
        }
    }

    /// Asks the database about events of which the audit knows one side only. Nothing is written any more.
    async fn explain(&self, audit: &SharedAudit) -> Result<(), DemoError> {
        let unexplained = audit.lock().unexplained();
        if unexplained.is_empty() {
            return Ok(());
        }
        let since = Instant::now();
        let stored = loop {
            // A transaction was interrupted, so the server may still be restarting.
            match self.stored(&unexplained).await {
                Err(_) if since.elapsed() < STALL_LIMIT => tokio::time::sleep(TICK).await,
                stored => break stored?,
            }
        };
        audit.lock().explain(&stored);
        Ok(())
    }

    /// Which of these events are in the outbox.
    async fn stored(&self, events: &[Uuid]) -> Result<HashSet<Uuid>, DemoError> {
        let mut connection = connect(&self.stage.database.url).await?;
        let stored: Vec<Uuid> = sqlx::query_scalar("select id from outbox.event where id = any($1)")
            .bind(events)
            .fetch_all(&mut connection)
            .await
            .map_err(DemoError::postgres("look for events of transactions that were cut off"))?;
        close(connection).await;
        Ok(HashSet::from_iter(stored))
    }
}
