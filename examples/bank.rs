//! A bank: a service makes transfers, and a consumer raises an alert for each large one.
//!
//! ```sh
//! export DATABASE_URL=postgres://postgres@localhost/bank    # wal_level = logical
//! export KAFKA=localhost:9092
//! walpost migrate
//! WALPOST_POSTGRES__URL=$DATABASE_URL WALPOST_KAFKA__BOOTSTRAP_SERVERS=$KAFKA walpost run &
//! cargo run --example bank -- alerts &
//! cargo run --example bank -- transfers 20
//! ```
//!
//! A transfer moves money and writes its event in one transaction. An overdraft rolls both back, so there is never an alert about
//! money that was not moved.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::time::Duration;

use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use walpost_producer::{Event, sqlx::emit};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long one poll waits for a record.
const POLL: Duration = Duration::from_secs(1);
const TOPIC: &str = "bank.transfers";
/// The smallest large transfer: 10,000.00, in cents.
const LARGE_CENTS: i64 = 1_000_000;

/// The event's payload.
#[derive(Debug, Serialize, Deserialize)]
struct TransferMade {
    from: i64,
    to: i64,
    cents: i64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("set {name}; see the top of this file"));
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["transfers"] => transfers(&variable("DATABASE_URL")?, 10).await,
        ["transfers", count] => transfers(&variable("DATABASE_URL")?, count.parse()?).await,
        ["alerts"] => alerts(&variable("KAFKA")?),
        _ => Err("usage: bank transfers [COUNT] | bank alerts".into()),
    }
}

async fn transfers(url: &str, count: i64) -> Result<()> {
    let pool = PgPool::connect(url).await?;
    set_up(&pool).await?;
    for number in 1..=count {
        // Every fifth is large.
        let cents = if number % 5 == 0 { LARGE_CENTS + number } else { 100 * number };
        let transfer = TransferMade { from: number % 10 + 1, to: (number + 3) % 10 + 1, cents };
        match make(&pool, &transfer).await {
            Ok(()) => println!("{transfer:?}"),
            Err(error) => println!("{transfer:?} refused: {error}"),
        }
    }
    Ok(())
}

/// Moves the money and emits the event, or does neither.
async fn make(pool: &PgPool, transfer: &TransferMade) -> Result<()> {
    let mut tx = pool.begin().await?;
    // The lower account first, so that two transfers between the same accounts can't deadlock.
    let mut steps = [(transfer.from, -transfer.cents), (transfer.to, transfer.cents)];
    steps.sort_unstable();
    for (account, cents) in steps {
        // The table's check constraint rejects a negative balance, which rolls back the event too.
        sqlx::query("update example_account set cents = cents + $2 where id = $1")
            .bind(account)
            .bind(cents)
            .execute(&mut *tx)
            .await?;
    }
    let key = transfer.from.to_string();
    emit(&mut tx, &Event::new("example.transfer.made", transfer).key(&key)).await?;
    Ok(tx.commit().await?)
}

/// Reads transfers endlessly and prints an alert for each large one.
fn alerts(kafka: &str) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", "example-bank-alerts")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        // The first transfer creates the topic; look for it more often than every five minutes.
        .set("topic.metadata.refresh.interval.ms", "1000")
        .create()?;
    consumer.subscribe(&[TOPIC])?;
    loop {
        let Some(polled) = consumer.poll(POLL) else { continue };
        let record = match polled {
            Ok(record) => record,
            Err(error) => {
                eprintln!("waiting for Kafka: {error}");
                continue;
            }
        };
        let transfer: TransferMade = serde_json::from_slice(record.payload().unwrap_or_default())?;
        if transfer.cents >= LARGE_CENTS {
            println!(
                "ALERT: {}.{:02} from account {} to account {}",
                transfer.cents / 100,
                transfer.cents % 100,
                transfer.from,
                transfer.to
            );
        }
        // Committed after the alert: one may be raised twice, none is missed. dedupe.rs shows how to process each once.
        consumer.commit_message(&record, CommitMode::Async)?;
    }
}

async fn set_up(pool: &PgPool) -> Result<()> {
    sqlx::raw_sql(
        "create table if not exists example_account (id bigint primary key, cents bigint not null check (cents >= 0));
         insert into example_account select id, 1500000 from generate_series(1, 10) id on conflict do nothing;",
    )
    .execute(pool)
    .await?;
    sqlx::query("select outbox.register_schema_version('example.transfer.made', '1', $1)")
        .bind(TOPIC)
        .execute(pool)
        .await?;
    Ok(())
}
