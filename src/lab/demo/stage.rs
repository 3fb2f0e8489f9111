//! Everything that the demo creates on the servers, under unique names, and how it is removed.
//!
//! The demo touches nothing that exists on a user's server: it creates a database, because a slot, a publication and schema `outbox`
//! belong to one database, and topics whose names have the same random suffix.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sqlx::Executor;

use super::audit::Topic;
use super::error::DemoError;
use crate::contracts::definition::Definition;
use crate::contracts::odcs;
use crate::contracts::registered;
use crate::fault::chain;
use crate::lab::environment::{self, EnvironmentError, LeftBehind, ScratchDatabase, Servers, close, delete_topics};
use crate::postgres::Session;

/// Partitions per topic.
const PARTITIONS: i32 = 6;
/// The order service's tables. Each customer counts their events by topic: within a transaction, so that a rollback returns the
/// number, and under the row's lock, so that the numbers are in commit order.
const SHOP: &str = "
    create table customer (
        id       integer primary key,
        orders   bigint not null default 0,
        payments bigint not null default 0
    );
    create table shop_order (
        id       bigint generated always as identity primary key,
        customer integer not null references customer,
        total    numeric(10, 2) not null,
        status   text not null default 'placed'
    );
    create index on shop_order (customer) where status = 'placed';
    insert into customer (id) select generate_series(1, 200);
";

/// Number of customers; see [`SHOP`].
pub(super) const CUSTOMERS: u32 = 200;

/// The schemas of the events, each with its topic.
pub(super) const SCHEMAS: [(&str, Topic); 3] =
    [("order.placed", Topic::Orders), ("order.cancelled", Topic::Orders), ("payment.taken", Topic::Payments)];

/// The order service's contract: the contract file's schema versions.
fn contract() -> Vec<Definition> {
    let file: Arc<Path> = Arc::from(Path::new("src/lab/demo/contract.odcs.yaml"));
    odcs::read(&file, include_str!("contract.odcs.yaml")).expect("the demo's contract has no mistakes").definitions
}

/// The names of everything that the demo creates.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) database: ScratchDatabase,
    pub(super) slot: String,
    /// The topic of orders.
    pub(super) orders: String,
    /// The topic of payments.
    pub(super) payments: String,
    /// The relay's dead-letter topic.
    pub(super) dead_letters: String,
}

impl Stage {
    /// Chooses names: plain ones on temporary servers, random ones on the user's.
    pub(super) fn name(servers: &Servers) -> Self {
        let suffix = environment::suffix();
        let (database, slot) = match servers.postgres.is_named() {
            true => (format!("walpost_demo_{suffix}"), format!("walpost_demo_{suffix}")),
            false => ("shop".to_owned(), "walpost".to_owned()),
        };
        let prefix = if servers.kafka().is_named() { format!("walpost-demo-{suffix}") } else { "shop".to_owned() };
        Self {
            database: ScratchDatabase::name(&database, &servers.postgres.url),
            slot,
            orders: format!("{prefix}.orders"),
            payments: format!("{prefix}.payments"),
            dead_letters: format!("{prefix}.dead-letter"),
        }
    }

    /// The name of a topic.
    pub(super) fn topic(&self, topic: Topic) -> &str {
        match topic {
            Topic::Orders => &self.orders,
            Topic::Payments => &self.payments,
        }
    }

    fn topics(&self) -> [&str; 3] {
        [&self.orders, &self.payments, &self.dead_letters]
    }

    /// Creates the database, migrates it, registers the schema versions and creates the shop's tables. The relay creates the slot and,
    /// with the settings of the schema versions, the topics.
    pub(super) async fn prepare(&self, servers: &Servers) -> Result<(), DemoError> {
        servers.kafka().create_topics_in_process(&self.topics(), PARTITIONS)?;
        let mut connection = self.database.create().await?;
        let opened = Session::open(&environment::own_options(&self.database.url)?).await;
        let mut session = opened.map_err(EnvironmentError::from)?;
        for mut definition in contract() {
            let topic = SCHEMAS.iter().find(|(schema, _)| *schema == definition.name).map(|(_, topic)| *topic);
            definition.topic = self.topic(topic.expect("the contract has the demo's schemas")).to_owned();
            registered::register(&mut session, &definition).await.map_err(EnvironmentError::from)?;
        }
        connection.execute(SHOP).await.map_err(DemoError::postgres("make the shop's tables"))?;
        close(connection).await;
        Ok(())
    }

    /// What is created on the user's servers, to be shown; empty if there is nothing.
    pub(super) fn made(&self, servers: &Servers) -> Vec<String> {
        let mut made = Vec::new();
        if servers.postgres.is_named() {
            made.push(format!("database {} with slot {}", self.database.name, self.slot));
        }
        if servers.kafka().is_named() {
            made.push(format!("topics {} and {}", self.orders, self.payments));
        }
        made
    }

    /// Removes what the demo created from the user's servers. The sandbox's servers are removed as a whole.
    pub(super) async fn remove(&self, servers: &Servers) -> Vec<LeftBehind> {
        let mut left = Vec::new();
        if servers.postgres.is_named()
            && let Err(error) = self.database.remove().await
        {
            let what = format!("database {} and slot {}", self.database.name, self.slot);
            left.push(LeftBehind { what, why: chain(&error) });
        }
        if servers.kafka().is_named() {
            left.extend(delete_topics(servers.kafka(), &self.topics()).await);
        }
        left
    }
}

/// The settings of the demo's relay, by the names of their variables.
pub(super) fn relay_settings(stage: &Stage, servers: &Servers) -> BTreeMap<String, String> {
    let own = [
        ("WALPOST_POSTGRES__URL", stage.database.url.as_str()),
        ("WALPOST_POSTGRES__SLOT", &stage.slot),
        ("WALPOST_RELAY__NAME", "walpost-demo"),
        ("WALPOST_RELAY__DEAD_LETTER_TOPIC", &stage.dead_letters),
        ("WALPOST_RELAY__SOURCE", "/shop"),
        ("WALPOST_HTTP__LISTEN", "off"),
    ];
    environment::relay_settings(servers.kafka(), &own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use walpost_producer::schema::Schema;

    #[test]
    fn the_contract_has_every_schema_and_accepts_the_services_payloads() {
        let contract = contract();
        let names: Vec<_> = contract.iter().map(|definition| definition.name.as_str()).collect();
        assert_eq!(names, SCHEMAS.map(|(name, _)| name));
        for definition in &contract {
            assert_eq!(definition.topic_settings.partitions, Some(PARTITIONS));
            let schema = Schema::compile(&definition.schema.as_ref().expect("it has one").value).expect("it compiles");
            assert_eq!(schema.check(br#"{"sequence":1,"order_id":7,"customer":12,"total":"44.80"}"#), Ok(()));
            assert!(schema.check(br#"{"sequence":1,"order_id":7,"customer":12,"total":44.8}"#).is_err());
        }
    }
}
