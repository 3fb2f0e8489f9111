//! The latency from a commit to a consumer, at a given rate.
//!
//! All times are by this process's clock: an event is committed when its statement, a single-statement transaction, has returned,
//! and it has arrived when a consumer in this process has the record. So the figure includes neither the time to write the commit nor
//! the difference of two clocks. The load is open-loop: it keeps its rate whatever the relay does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::task::JoinSet;

use super::error::BenchError;
use super::relay::Relay;
use super::report::{LatencyReport, millis, quantile};
use super::stage::{Destinations, SCHEMA, Stage};
use super::throughput::{done_with, fresh_slot};
use super::{Options, Payload, Shape};
use crate::config::Delivery;
use crate::lab::environment::{EnvironmentError, Silent, View};

/// Writing connections: enough for the highest rate at a few milliseconds per commit.
const CONNECTIONS: usize = 16;
/// How much of the beginning to exclude, at most, and as a fraction of the whole: connections are opened and caches fill.
const WARM_UP_MOST: Duration = Duration::from_secs(2);
const WARM_UP_PART: u32 = 5;
/// How long to wait for the next record.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// How often to check progress.
const TICK: Duration = Duration::from_millis(50);
/// How long one poll of the consumer waits.
const POLL: Duration = Duration::from_millis(50);

/// When each event was committed and read, by its number, in microseconds since the start; 0: not yet.
#[derive(Debug)]
struct Board {
    beginning: Instant,
    committed: Vec<AtomicU64>,
    read: Vec<AtomicU64>,
    reads: AtomicU64,
    over: AtomicBool,
}

/// The part of a payload that the consumer parses.
#[derive(Deserialize)]
struct Stamp<'a> {
    number: &'a str,
}

/// One load: delivery guarantee, payload, shape and rate.
#[derive(Clone, Copy)]
struct Load {
    delivery: Delivery,
    payload: Payload,
    shape: Shape,
    rate: u32,
    duration: Duration,
}

/// Each returns the time of its last commit.
type Writers = JoinSet<Result<Instant, BenchError>>;

/// Measures every rate with every delivery guarantee, payload type and shape.
pub(super) async fn measure(options: &Options, stage: &Stage, view: &View) -> Result<Vec<LatencyReport>, BenchError> {
    let mut reports = Vec::new();
    for &delivery in &options.deliveries {
        for &payload in &options.payloads {
            for &shape in &options.shapes {
                for &rate in &options.rates {
                    let load = Load { delivery, payload, shape, rate, duration: options.duration };
                    reports.push(load.run(stage, view).await?);
                }
            }
        }
    }
    Ok(reports)
}

impl Load {
    async fn run(&self, stage: &Stage, view: &View) -> Result<LatencyReport, BenchError> {
        let Self { delivery, payload, shape, rate, duration } = *self;
        let events = whole(f64::from(rate) * duration.as_secs_f64());
        let what = format!("{rate} events per second, {}, {}", payload.as_str(), delivery.as_str());
        let doing = view.counting(&what, events);
        let mut connection = stage.connect().await?;
        let destinations = stage.destinations(&mut connection, &shape).await?;
        let slot = fresh_slot(stage).await?;
        let board = Arc::new(Board::new(events));
        let _reader = LatencyConsumer::start(stage, &destinations, &board)?;
        let relay = Relay::start(stage, &slot, payload, delivery)?;
        let relay = relay.wait_for("the relay's start", |status| status.ready).await?;
        // The first event creates the topic.
        write(&mut connection, &statement(payload), &destinations, shape.keys, 0).await?;
        board.wait_for(1, |_| {}).await?;
        let (began, mut writers) = self.writers(stage, &destinations, &board, events).await?;
        let all_written = async {
            let mut ended_at = began;
            while let Some(written) = writers.join_next().await {
                ended_at = ended_at.max(written.expect("a writer does not panic")?);
            }
            Ok(ended_at)
        };
        // A failed writer ends the measurement, because its events would be awaited.
        let all_read = board.wait_for(events + 1, |reads| doing.reached(reads));
        let (ended_at, ()) = tokio::try_join!(all_written, all_read)?;
        let started = relay.started();
        let ended = relay.stop().await?;
        done_with(stage, &slot).await?;
        stage.discard(&destinations).await;
        let skipped = whole(f64::from(rate) * WARM_UP_MOST.min(duration / WARM_UP_PART).as_secs_f64());
        let latencies = board.latencies(usize::try_from(skipped).unwrap_or(usize::MAX));
        let of = |share| quantile(&latencies, share);
        let life = ended.at.saturating_duration_since(started).as_secs_f64();
        let report = LatencyReport {
            delivery,
            payload,
            shape,
            rate,
            achieved_rate: events as f64 / ended_at.saturating_duration_since(began).as_secs_f64().max(1e-6),
            events: latencies.len() as u64,
            p50_millis: of(0.5),
            p99_millis: of(0.99),
            p999_millis: of(0.999),
            max_millis: of(1.0),
            relay_cpu: ended.cpu.as_secs_f64() / life.max(1e-6),
        };
        doing.done(&format!("{what}: p50 {:.1} ms, p99 {:.1} ms", report.p50_millis, report.p99_millis));
        Ok(report)
    }

    /// Starts the writers, and returns when they began.
    async fn writers(
        &self,
        stage: &Stage,
        destinations: &Destinations,
        board: &Arc<Board>,
        events: u64,
    ) -> Result<(Instant, Writers), BenchError> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = stage.connect().await?;
            // Each session's one-time work is done before.
            sqlx::query("select 1")
                .execute(&mut connection)
                .await
                .map_err(EnvironmentError::postgres("use a session"))?;
            connections.push(connection);
        }
        let (next, start) = (Arc::new(AtomicU64::new(1)), Instant::now());
        let mut writers = JoinSet::new();
        for mut connection in connections {
            let (next, board) = (Arc::clone(&next), Arc::clone(board));
            let (destinations, statement) = (destinations.clone(), statement(self.payload));
            let (rate, keys) = (self.rate, self.shape.keys);
            writers.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number > events {
                        return Ok(Instant::now());
                    }
                    let due = start + Duration::from_secs_f64((number - 1) as f64 / f64::from(rate));
                    tokio::time::sleep_until(due.into()).await;
                    write(&mut connection, &statement, &destinations, keys, number).await?;
                    board.stamp(&board.committed, number);
                }
            });
        }
        Ok((start, writers))
    }
}

impl Board {
    fn new(events: u64) -> Self {
        let zeros = || (0..=events).map(|_| AtomicU64::new(0)).collect();
        let (reads, over) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { beginning: Instant::now(), committed: zeros(), read: zeros(), reads, over }
    }

    /// Stamps an event in one of the two columns; returns whether it is the first time.
    fn stamp(&self, column: &[AtomicU64], number: u64) -> bool {
        let micros = u64::try_from(self.beginning.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
        let place = usize::try_from(number).ok().and_then(|number| column.get(number));
        place.is_some_and(|place| place.compare_exchange(0, micros, Ordering::Relaxed, Ordering::Relaxed).is_ok())
    }

    /// Waits until this many events have been read.
    async fn wait_for(&self, events: u64, show: impl Fn(u64)) -> Result<(), BenchError> {
        let (mut before, mut since) = (0, Instant::now());
        loop {
            let reads = self.reads.load(Ordering::Relaxed);
            show(reads);
            if reads >= events {
                return Ok(());
            }
            if reads != before {
                (before, since) = (reads, Instant::now());
            }
            if since.elapsed() > STALL_LIMIT {
                let what = format!("the consumer, at {reads} of {events} events,");
                return Err(BenchError::Stalled { what, waited: STALL_LIMIT, last_error: None });
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Latencies in milliseconds, ascending, without the first few events and the one that created the topic.
    fn latencies(&self, skipped: usize) -> Vec<f64> {
        let pairs = self.committed.iter().zip(&self.read).skip(1 + skipped);
        let stamps = pairs.map(|(committed, read)| [committed, read].map(|at| at.load(Ordering::Relaxed)));
        // A record may arrive before its writer has received the answer to its commit.
        let whole = stamps.filter(|stamps| stamps.iter().all(|at| *at > 0));
        let latencies = whole.map(|[committed, read]| Duration::from_micros(read.saturating_sub(committed)));
        let mut millis: Vec<f64> = latencies.map(millis).collect();
        millis.sort_unstable_by(f64::total_cmp);
        millis
    }
}

/// The consumer's thread, which ends when this is dropped.
struct LatencyConsumer(Arc<Board>);

impl LatencyConsumer {
    fn start(stage: &Stage, destinations: &Destinations, board: &Arc<Board>) -> Result<Self, BenchError> {
        let kafka = stage.servers.kafka();
        let mut config = kafka.client_config();
        config.set("isolation.level", "read_committed").set("enable.auto.commit", "false");
        // A group id is required, but nobody joins the group: the partitions are assigned here.
        config.set("group.id", "walpost-bench");
        let consumer: BaseConsumer<Silent> = kafka.client(&config)?;
        let partitions = destinations.partitions_at(Offset::Beginning);
        consumer.assign(&partitions).map_err(kafka.error("read the topics"))?;
        let reader = Self(Arc::clone(board));
        let board = Arc::clone(board);
        tokio::task::spawn_blocking(move || {
            while !board.over.load(Ordering::Relaxed) {
                // The client reconnects to a broker that is down; whoever waits for records has a time limit.
                let Some(Ok(record)) = consumer.poll(POLL) else { continue };
                let stamp = record.payload().and_then(|payload| serde_json::from_slice::<Stamp<'_>>(payload).ok());
                if let Some(number) = stamp.and_then(|stamp| stamp.number.parse().ok())
                    && board.stamp(&board.read, number)
                {
                    board.reads.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(reader)
    }
}

impl Drop for LatencyConsumer {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// The statement that writes an event: `outbox.emit` if it accepts the payload type.
fn statement(payload: Payload) -> String {
    let value = payload.cast("$2::text");
    match payload {
        Payload::Json => format!("select outbox.emit('{SCHEMA}', $1, {value}, version => $3)"),
        Payload::Jsonb | Payload::Bytea => format!(
            "insert into {} (key, payload, schema_name, schema_version) values ($1, {value}, '{SCHEMA}', $3)",
            payload.table()
        ),
    }
}

async fn write(
    connection: &mut PgConnection,
    statement: &str,
    destinations: &Destinations,
    keys: u64,
    number: u64,
) -> Result<(), BenchError> {
    const FILLER: &str = "what a consumer would read here is as long as in the backlogs of the other parts, and as dull; \
                          nobody looks at it, but every server on the way carries it from one end to the other of this line";
    let payload = format!(r#"{{"note": "{FILLER}", "number": "{number:0>12}"}}"#);
    let query = sqlx::query(AssertSqlSafe(statement)).bind(format!("customer-{}", number % keys)).bind(payload);
    let written = query.bind(destinations.version(number)).execute(connection).await;
    written.map_err(EnvironmentError::postgres("write an event"))?;
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of events")]
fn whole(events: f64) -> u64 {
    events.round().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_from_the_commit_to_the_first_read() {
        let board = Board::new(3);
        let set = |column: &[AtomicU64], place: usize, micros| column[place].store(micros, Ordering::Relaxed);
        for (place, committed, read) in [(0, 1, 9_000_000), (1, 1_000, 3_000), (2, 5_000, 4_000), (3, 1_000, 0)] {
            set(&board.committed, place, committed);
            set(&board.read, place, read);
        }
        // The first event is excluded, a record that overtook the answer took no time, and an unread one does not count.
        assert_eq!(board.latencies(0), [0.0, 2.0]);
        assert!(!board.stamp(&board.read, 1), "it was read before");
        assert!(board.stamp(&board.read, 3));
    }
}
