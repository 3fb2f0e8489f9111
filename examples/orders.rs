//! An order service: each order and its event in one transaction, so that neither exists without the other.
//!
//! ```sh
//! export DATABASE_URL=postgres://postgres@localhost/shop    # wal_level = logical
//! export KAFKA=localhost:9092
//! walpost migrate
//! cargo run --example orders -- 10
//! WALPOST_POSTGRES__URL=$DATABASE_URL WALPOST_KAFKA__BOOTSTRAP_SERVERS=$KAFKA walpost run
//! ```
//!
//! The events are then in the topic `shop.orders`, keyed by customer. The service does not use Kafka; it only depends on the crate
//! `walpost-producer` with the feature `sqlx`.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use serde::Serialize;
use sqlx::PgPool;
use walpost_producer::{Event, sqlx::emit};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The event's payload, which consumers rely on. Separate from the table, which can change independently.
#[derive(Serialize)]
struct OrderPlaced<'a> {
    order_id: i64,
    customer: &'a str,
    /// Text, so that no consumer parses money as a float.
    total: &'a str,
}

#[tokio::main]
async fn main() -> Result<()> {
    let count: u32 = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let url = std::env::var("DATABASE_URL").map_err(|_| "set DATABASE_URL to a database after walpost migrate")?;
    let pool = PgPool::connect(&url).await?;
    set_up(&pool).await?;
    for number in 0..count {
        let customer = ["ada", "grace", "edsger"][number as usize % 3];
        match place(&pool, customer, &format!("{}.50", 20 * number)).await? {
            Some(id) => println!("order {id} of {customer}: placed"),
            None => println!("order of {customer}: declined, no order and no event"),
        }
    }
    Ok(())
}

/// Places an order, or nothing if the order is declined at the last moment.
async fn place(pool: &PgPool, customer: &str, total: &str) -> Result<Option<i64>> {
    let mut tx = pool.begin().await?;
    let order_id: i64 =
        sqlx::query_scalar("insert into example_order (customer, total) values ($1, $2::numeric) returning id")
            .bind(customer)
            .bind(total)
            .fetch_one(&mut *tx)
            .await?;
    // Events with the same key are ordered: those of a customer arrive in commit order.
    let payload = OrderPlaced { order_id, customer, total };
    emit(&mut tx, &Event::new("example.order.placed", &payload).key(customer)).await?;
    if is_declined(total) {
        // The event is rolled back with the order, and is never published.
        tx.rollback().await?;
        return Ok(None);
    }
    tx.commit().await?;
    Ok(Some(order_id))
}

fn is_declined(total: &str) -> bool {
    total.starts_with("60.")
}

/// Creates the service's table, and registers the schema version that determines the topic. Both are safe to repeat.
async fn set_up(pool: &PgPool) -> Result<()> {
    sqlx::query(
        "create table if not exists example_order (
            id bigint generated always as identity primary key, customer text not null, total numeric(10, 2) not null)",
    )
    .execute(pool)
    .await?;
    sqlx::query("select outbox.register_schema_version('example.order.placed', '1', 'shop.orders')")
        .execute(pool)
        .await?;
    Ok(())
}
