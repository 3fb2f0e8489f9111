//! The order service's transactions, from SQL to events.

use serde::Serialize;
use sqlx::{Connection, PgConnection};
use walpost_producer::Event as Emitted;
use walpost_producer::sqlx::{emit, emit_batch};

use super::audit::{Event, Topic};
use super::error::WorkloadError;
use super::stage::CUSTOMERS;
use crate::random::Random;

/// Orders in a basket.
const BASKET: u32 = 3;

/// The kinds of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrderTransaction {
    Place,
    /// An order and its payment: two events, two topics.
    PlaceAndPay,
    /// Several orders in one statement.
    Basket,
    /// The customer's oldest open order is cancelled; one is placed if there is none.
    Cancel,
    /// An order whose payment is rolled back to a savepoint and made again.
    PayAgain,
    /// An order and its payment that are rolled back.
    Declined,
}

impl OrderTransaction {
    /// Of 100 transactions 40 place an order, 30 place and pay, 10 are baskets, 8 cancel, 5 pay again, 7 roll back.
    pub(super) fn draw(random: &mut Random) -> Self {
        match random.below(100) {
            0..40 => Self::Place,
            40..70 => Self::PlaceAndPay,
            70..80 => Self::Basket,
            80..88 => Self::Cancel,
            88..93 => Self::PayAgain,
            _ => Self::Declined,
        }
    }
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Commit,
    RollBack,
}

/// The events that a transaction has written so far.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Those that share the transaction's outcome.
    pub(super) events: Vec<Event>,
    /// Those that were rolled back to a savepoint.
    pub(super) taken_back: Vec<Event>,
}

/// The payload of all events. The consumer checks `sequence`, this event's ordinal among its customer's events in its topic.
#[derive(Serialize)]
struct Payload<'a> {
    sequence: u64,
    order_id: i64,
    customer: u32,
    total: &'a str,
}

/// Runs the statements of an [`OrderTransaction`] in a transaction and adds each event to `written` as soon as it is written.
pub(super) async fn make(
    kind: OrderTransaction,
    transaction: &mut PgConnection,
    random: &mut Random,
    written: &mut Written,
) -> Result<Ending, WorkloadError> {
    let customer = u32::try_from(random.below(CUSTOMERS.into())).expect("few customers");
    let mut session = CustomerSession { customer: 1 + customer, written };
    match kind {
        OrderTransaction::Place => {
            session.place(transaction, random).await?;
        }
        OrderTransaction::PlaceAndPay => {
            let order = session.place(transaction, random).await?;
            session.pay(transaction, &order).await?;
        }
        OrderTransaction::Basket => session.basket(transaction, random).await?,
        OrderTransaction::Cancel => session.cancel(transaction, random).await?,
        OrderTransaction::PayAgain => {
            let order = session.place(transaction, random).await?;
            session.pay_in_vain(transaction, &order).await?;
            session.pay(transaction, &order).await?;
        }
        OrderTransaction::Declined => {
            let order = session.place(transaction, random).await?;
            session.pay(transaction, &order).await?;
            return Ok(Ending::RollBack);
        }
    }
    Ok(Ending::Commit)
}

/// An order that was placed in this transaction.
struct Order {
    id: i64,
    total: String,
}

/// One customer's transaction.
struct CustomerSession<'a> {
    customer: u32,
    written: &'a mut Written,
}

impl CustomerSession<'_> {
    async fn place(&mut self, connection: &mut PgConnection, random: &mut Random) -> Result<Order, WorkloadError> {
        let sequence = self.count(connection, Topic::Orders, 1).await?;
        let order = self.insert(connection, random).await?;
        self.emit(connection, ("order.placed", Topic::Orders), sequence, &order).await?;
        Ok(order)
    }

    async fn pay(&mut self, connection: &mut PgConnection, order: &Order) -> Result<(), WorkloadError> {
        let sequence = self.count(connection, Topic::Payments, 1).await?;
        self.emit(connection, ("payment.taken", Topic::Payments), sequence, order).await
    }

    async fn pay_in_vain(&mut self, connection: &mut PgConnection, order: &Order) -> Result<(), WorkloadError> {
        let before = self.written.events.len();
        let mut savepoint = connection.begin().await?;
        self.pay(&mut savepoint, order).await?;
        savepoint.rollback().await?;
        self.written.taken_back.extend(self.written.events.drain(before..));
        Ok(())
    }

    async fn basket(&mut self, connection: &mut PgConnection, random: &mut Random) -> Result<(), WorkloadError> {
        let last = self.count(connection, Topic::Orders, BASKET).await?;
        let mut orders = Vec::new();
        for sequence in last + 1 - u64::from(BASKET)..=last {
            orders.push((sequence, self.insert(connection, random).await?));
        }
        let key = self.customer.to_string();
        let payloads: Vec<_> = orders.iter().map(|(sequence, order)| self.payload(*sequence, order)).collect();
        let events: Vec<_> = payloads.iter().map(|payload| Emitted::new("order.placed", payload).key(&key)).collect();
        let ids = emit_batch(connection, &events).await?;
        for ((sequence, _), id) in orders.iter().zip(ids) {
            self.note(Topic::Orders, *sequence, id);
        }
        Ok(())
    }

    async fn cancel(&mut self, connection: &mut PgConnection, random: &mut Random) -> Result<(), WorkloadError> {
        // The customer's row first, as everywhere: its lock serializes the transactions of a customer.
        let sequence = self.count(connection, Topic::Orders, 1).await?;
        let cancelled: Option<(i64, String)> = sqlx::query_as(
            "update shop_order set status = 'cancelled'
             where id = (select min(id) from shop_order where customer = $1 and status = 'placed')
             returning id, total::text",
        )
        .bind(i64::from(self.customer))
        .fetch_optional(&mut *connection)
        .await?;
        match cancelled {
            Some((id, total)) => {
                let order = Order { id, total };
                self.emit(connection, ("order.cancelled", Topic::Orders), sequence, &order).await
            }
            None => {
                let order = self.insert(connection, random).await?;
                self.emit(connection, ("order.placed", Topic::Orders), sequence, &order).await
            }
        }
    }

    async fn insert(&self, connection: &mut PgConnection, random: &mut Random) -> Result<Order, WorkloadError> {
        let total = format!("{}.{:02}", 1 + random.below(500), random.below(100));
        let id = sqlx::query_scalar("insert into shop_order (customer, total) values ($1, $2::numeric) returning id")
            .bind(i64::from(self.customer))
            .bind(&total)
            .fetch_one(connection)
            .await?;
        Ok(Order { id, total })
    }

    /// Takes the customer's next numbers in a topic and returns the last of them.
    async fn count(&self, connection: &mut PgConnection, topic: Topic, events: u32) -> Result<u64, WorkloadError> {
        let statement = match topic {
            Topic::Orders => "update customer set orders = orders + $2 where id = $1 returning orders",
            Topic::Payments => "update customer set payments = payments + $2 where id = $1 returning payments",
        };
        let last: i64 = sqlx::query_scalar(statement)
            .bind(i64::from(self.customer))
            .bind(i64::from(events))
            .fetch_one(connection)
            .await?;
        Ok(last.unsigned_abs())
    }

    async fn emit(
        &mut self,
        connection: &mut PgConnection,
        (schema, topic): (&str, Topic),
        sequence: u64,
        order: &Order,
    ) -> Result<(), WorkloadError> {
        let (key, payload) = (self.customer.to_string(), self.payload(sequence, order));
        let id = emit(connection, &Emitted::new(schema, &payload).key(&key)).await?;
        self.note(topic, sequence, id);
        Ok(())
    }

    fn payload<'a>(&self, sequence: u64, order: &'a Order) -> Payload<'a> {
        Payload { sequence, order_id: order.id, customer: self.customer, total: &order.total }
    }

    fn note(&mut self, topic: Topic, sequence: u64, id: uuid::Uuid) {
        self.written.events.push(Event { topic, customer: self.customer, sequence, id });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_transaction_is_drawn() {
        let mut random = Random::new(1);
        let drawn: Vec<OrderTransaction> = (0..2_000).map(|_| OrderTransaction::draw(&mut random)).collect();
        for kind in [
            OrderTransaction::Place,
            OrderTransaction::PlaceAndPay,
            OrderTransaction::Basket,
            OrderTransaction::Cancel,
            OrderTransaction::PayAgain,
            OrderTransaction::Declined,
        ] {
            assert!(drawn.contains(&kind), "{kind:?}");
        }
    }
}
