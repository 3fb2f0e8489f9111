//! An order service: each order and its event in one transaction, so that there is never the one without the other.
//!
//! ```sh
//! export DATABASE_URL=postgres://postgres@localhost/shop    # wal_level = logical
//! export KAFKA=localhost:9092
//! walpost migrate
//! cargo run --example orders -- 10
//! WALPOST_POSTGRES__URL=$DATABASE_URL WALPOST_KAFKA__BOOTSTRAP_SERVERS=$KAFKA walpost run
//! ```
//!
//! The events are then in the topic `shop.orders`, keyed by their customer. The service itself knows no Kafka: of walpost it
//! needs `default-features = false, features = ["sqlx"]`.

#![expect(clippy::print_stdout, reason = "an example speaks to whoever started it")]

use serde::Serialize;
use sqlx::PgPool;
use walpost_producer::{Event, sqlx::emit};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What consumers are promised about an order. Not the table: that may change without them.
#[derive(Serialize)]
struct OrderPlaced<'a> {
    order_id: i64,
    customer: &'a str,
    /// Text, so that no consumer makes a float of money.
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
            Some(id) => println!("order {id} of {customer} is placed"),
            None => println!("an order of {customer} is declined: no order, no event"),
        }
    }
    Ok(())
}

/// Places an order, or places nothing if it is declined at the last moment.
async fn place(pool: &PgPool, customer: &str, total: &str) -> Result<Option<i64>> {
    let mut tx = pool.begin().await?;
    let order_id: i64 =
        sqlx::query_scalar("insert into example_order (customer, total) values ($1, $2::numeric) returning id")
            .bind(customer)
            .bind(total)
            .fetch_one(&mut *tx)
            .await?;
    // One key, one order of events: all of a customer's come in the order of their commits.
    let payload = OrderPlaced { order_id, customer, total };
    emit(&mut tx, &Event::new("example.order.placed", &payload).key(customer)).await?;
    if is_declined(total) {
        // The event is rolled back with the order: Kafka never hears of it.
        tx.rollback().await?;
        return Ok(None);
    }
    tx.commit().await?;
    Ok(Some(order_id))
}

fn is_declined(total: &str) -> bool {
    total.starts_with("60.")
}

/// The service's own table, and the schema version that says where its events go. Both are safe to repeat.
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
