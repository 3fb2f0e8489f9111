//! A consumer that applies each event once, even if records are duplicated by a crash of the relay or of the consumer.
//!
//! ```sh
//! export DATABASE_URL=postgres://postgres@localhost/statistics    # the consumer's database; any PostgreSQL
//! export KAFKA=localhost:9092
//! cargo run --example dedupe -- shop.orders                       # the topic of examples/orders.rs
//! ```
//!
//! Each record adds 1 to the count of its key, which would be wrong if applied twice. Stop the consumer at any moment, kill it, restart
//! it, reset its group's offsets: the counts remain correct.
//!
//! This works for two reasons.
//!
//! 1. **The effect and the deduplication state are written in one transaction.** Kafka's offsets are committed a moment later, and a
//!    crash in between repeats the record. They only determine where to continue reading.
//! 2. **The state is the last position of each partition**, header `outbox-position`:
//!    `<LSN of the commit>/<ordinal in the transaction>`. A relay publishes in the order of positions, and after a crash resumes
//!    a little earlier. So a record above the last position is new, and one at or below it was seen before. That is one row per
//!    partition, however many events there are.
//!
//! Two kinds of events arrive late with an old position: dead letters that are redriven after a fix, and events of a restored database,
//! whose WAL starts over. Therefore a record at or below the last position is looked up by its id, header `ce_id`, before it is
//! dropped. Ids are kept for as long as such events may be delayed.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::time::Duration;

use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{BorrowedMessage, Headers};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long one poll waits for a record.
const POLL: Duration = Duration::from_secs(1);
const SET_UP: &str = "
    create table if not exists example_position (
        topic text, partition integer, commit_lsn pg_lsn not null, ordinal bigint not null, primary key (topic, partition));
    create table if not exists example_applied (id uuid primary key, at timestamptz not null default now());
    create table if not exists example_count (key text primary key, events bigint not null);
    delete from example_applied where at < now() - interval '30 days';
";

/// Updates the row only if the position moves forward; its lock serializes two owners of a partition.
const ADVANCE: &str = "
    insert into example_position as p (topic, partition, commit_lsn, ordinal) values ($1, $2, $3::pg_lsn, $4)
    on conflict (topic, partition) do update set commit_lsn = excluded.commit_lsn, ordinal = excluded.ordinal
    where (p.commit_lsn, p.ordinal) < (excluded.commit_lsn, excluded.ordinal)";

#[tokio::main]
async fn main() -> Result<()> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("set {name}; see the top of this file"));
    let topic = std::env::args().nth(1).unwrap_or_else(|| "shop.orders".to_owned());
    let pool = PgPool::connect(&variable("DATABASE_URL")?).await?;
    sqlx::raw_sql(SET_UP).execute(&pool).await?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", variable("KAFKA")?)
        .set("group.id", "example-dedupe")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("topic.metadata.refresh.interval.ms", "1000")
        .create()?;
    consumer.subscribe(&[&topic])?;
    loop {
        let Some(polled) = tokio::task::block_in_place(|| consumer.poll(POLL)) else { continue };
        let record = match polled {
            Ok(record) => record,
            Err(error) => {
                eprintln!("waiting for Kafka: {error}");
                continue;
            }
        };
        let mut tx = pool.begin().await?;
        let is_new = remember(&mut tx, &record).await?;
        if is_new {
            apply(&mut tx, &record).await?;
        }
        tx.commit().await?;
        consumer.commit_message(&record, CommitMode::Async)?;
        println!("{} {}", header(&record, "outbox-position")?, if is_new { "applied" } else { "seen before" });
    }
}

/// Records that a record was seen; returns whether it is new.
async fn remember(tx: &mut PgConnection, record: &BorrowedMessage<'_>) -> Result<bool> {
    let position = header(record, "outbox-position")?;
    let (commit_lsn, ordinal) = position.rsplit_once('/').ok_or("a position is <LSN>/<ordinal>")?;
    let advanced = sqlx::query(ADVANCE)
        .bind(record.topic())
        .bind(record.partition())
        .bind(commit_lsn)
        .bind(ordinal.parse::<i64>()?)
        .execute(&mut *tx)
        .await?;
    let noted = sqlx::query("insert into example_applied (id) values ($1) on conflict do nothing")
        .bind(header(record, "ce_id")?.parse::<Uuid>()?)
        .execute(tx)
        .await?;
    // A record above the last position is new; any other is new if its id is.
    Ok(advanced.rows_affected() == 1 || noted.rows_affected() == 1)
}

/// The effect, in the same transaction.
async fn apply(tx: &mut PgConnection, record: &BorrowedMessage<'_>) -> Result<()> {
    let key = std::str::from_utf8(record.key().unwrap_or_default())?;
    sqlx::query("insert into example_count as c values ($1, 1) on conflict (key) do update set events = c.events + 1")
        .bind(key)
        .execute(tx)
        .await?;
    Ok(())
}

fn header<'a>(record: &'a BorrowedMessage<'_>, name: &str) -> Result<&'a str> {
    let headers = record.headers().ok_or("the record has no headers: it is not from walpost")?;
    let header = headers.iter().find(|header| header.key == name).ok_or_else(|| format!("no header {name}"))?;
    Ok(std::str::from_utf8(header.value.unwrap_or_default())?)
}
