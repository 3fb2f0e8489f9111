//! What the demo makes on the servers, all under names of its own, and how it takes that away again.
//!
//! On a server of the user's nothing that is there already is touched: the demo works in a database that it creates, because a
//! slot, a publication and schema `outbox` belong to one database, and in topics whose names bear the same random suffix.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::error::RDKafkaErrorCode;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use url::Url;

use super::audit::Topic;
use super::error::DemoError;
use super::random;
use super::servers::{Servers, Silent, close, connect};
use crate::fault::chain;
use crate::migrations;

/// How many partitions each topic has.
const PARTITIONS: i32 = 6;
/// How long a removal waits for the relay to let go of the slot; then its session is ended.
const SLOT_PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits in all.
const SLOT_LIMIT: Duration = Duration::from_secs(10);
/// How often it looks.
const POLL: Duration = Duration::from_millis(50);
/// How long Kafka may take to delete the topics.
const TOPICS_LIMIT: Duration = Duration::from_secs(10);
/// SQLSTATE `insufficient_privilege`.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// The order service's own tables. Each customer counts their events by topic: within a transaction, so that a number is
/// given back by a rollback, and under the row's lock, so that the numbers are in commit order.
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

/// How many customers there are; see [`SHOP`].
pub(super) const CUSTOMERS: u32 = 200;

/// The schemas of the events, each with its topic.
pub(super) const SCHEMAS: [(&str, Topic); 3] =
    [("order.placed", Topic::Orders), ("order.cancelled", Topic::Orders), ("payment.taken", Topic::Payments)];

/// The names of everything that the demo makes.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    /// The database.
    pub(super) database: String,
    /// The slot.
    pub(super) slot: String,
    /// The topic of orders.
    pub(super) orders: String,
    /// The topic of payments.
    pub(super) payments: String,
    /// The relay's topic of dead letters.
    pub(super) dead_letters: String,
    server_url: Url,
    /// The URL of the database.
    pub(super) url: Url,
}

/// Something that the demo made and could not remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// What: "database walpost_demo_1a2b3c4d".
    pub what: String,
    /// Why.
    pub why: String,
}

impl Stage {
    /// Chooses names: plain ones on the demo's own servers, random ones beside what others have.
    pub(super) fn name(servers: &Servers) -> Self {
        let suffix = random::suffix();
        let (database, slot) = match servers.postgres.is_named() {
            true => (format!("walpost_demo_{suffix}"), format!("walpost_demo_{suffix}")),
            false => ("shop".to_owned(), "walpost".to_owned()),
        };
        let prefix = if servers.kafka.is_named() { format!("walpost-demo-{suffix}") } else { "shop".to_owned() };
        let mut url = servers.postgres.url.clone();
        url.set_path(&database);
        Self {
            database,
            slot,
            orders: format!("{prefix}.orders"),
            payments: format!("{prefix}.payments"),
            dead_letters: format!("{prefix}.dead-letter"),
            server_url: servers.postgres.url.clone(),
            url,
        }
    }

    /// The name of a topic.
    pub(super) fn topic(&self, topic: Topic) -> &str {
        match topic {
            Topic::Orders => &self.orders,
            Topic::Payments => &self.payments,
        }
    }

    /// Creates the database, migrates it, registers the schema versions and makes the shop's tables. The slot is the relay's
    /// to make, and the topics too, by the settings of their schema versions.
    pub(super) async fn prepare(&self, servers: &Servers) -> Result<(), DemoError> {
        let topics = [self.orders.as_str(), &self.payments, &self.dead_letters];
        servers.kafka.create_topics_in_process(&topics, PARTITIONS)?;
        let mut connection = connect(&self.server_url).await?;
        self.create_database(&mut connection).await?;
        close(connection).await;
        let mut connection = connect(&self.url).await?;
        migrations::migrate(&mut connection).await?;
        let topic_config = json!({ "partitions": PARTITIONS });
        for (schema, topic) in SCHEMAS {
            sqlx::query(
                "select outbox.register_schema_version($1, '1', $2, owner => 'walpost demo', topic_config => $3)",
            )
            .bind(schema)
            .bind(self.topic(topic))
            .bind(&topic_config)
            .execute(&mut connection)
            .await
            .map_err(DemoError::postgres("register the schema versions"))?;
        }
        connection.execute(SHOP).await.map_err(DemoError::postgres("make the shop's tables"))?;
        close(connection).await;
        Ok(())
    }

    async fn create_database(&self, connection: &mut PgConnection) -> Result<(), DemoError> {
        // template0: template1 may hold whatever somebody put there.
        let create = format!("create database {} template template0", self.database);
        let Err(error) = connection.execute(AssertSqlSafe(create)).await else { return Ok(()) };
        let code = error.as_database_error().and_then(|error| error.code()).map(std::borrow::Cow::into_owned);
        if code.as_deref() != Some(INSUFFICIENT_PRIVILEGE) {
            return Err(DemoError::postgres("create the demo's database")(error));
        }
        let role = sqlx::query_scalar("select current_user::text")
            .fetch_one(connection)
            .await
            .map_err(DemoError::postgres("ask for the role"))?;
        Err(DemoError::MayNotCreateDatabase { role })
    }

    /// What is made on servers of the user's, for them to know; empty where there are none.
    pub(super) fn made(&self, servers: &Servers) -> Vec<String> {
        let mut made = Vec::new();
        if servers.postgres.is_named() {
            made.push(format!("database {} with slot {}", self.database, self.slot));
        }
        if servers.kafka.is_named() {
            made.push(format!("topics {} and {}", self.orders, self.payments));
        }
        made
    }

    /// Removes from the user's servers what is there of the demo's. The sandbox's servers go as a whole.
    pub(super) async fn remove(&self, servers: &Servers) -> Vec<LeftBehind> {
        let mut left = Vec::new();
        if servers.postgres.is_named()
            && let Err(error) = self.remove_database().await
        {
            let what = format!("database {} and slot {}", self.database, self.slot);
            left.push(LeftBehind { what, why: chain(&error) });
        }
        if servers.kafka.is_named() {
            left.extend(self.remove_topics(servers).await);
        }
        left
    }

    async fn remove_database(&self) -> Result<(), DemoError> {
        let mut connection = connect(&self.server_url).await?;
        self.free_slot(&mut connection).await?;
        // Takes the database's inactive slots along (PostgreSQL: "DROP DATABASE"); `force` is for a session that lingers.
        let drop = format!("drop database if exists {} with (force)", self.database);
        connection.execute(AssertSqlSafe(drop)).await.map_err(DemoError::postgres("drop the demo's database"))?;
        close(connection).await;
        Ok(())
    }

    /// Waits until nobody uses the slot. A relay that was cut off may leave a walsender that is still there.
    async fn free_slot(&self, connection: &mut PgConnection) -> Result<(), DemoError> {
        let since = Instant::now();
        while since.elapsed() < SLOT_LIMIT {
            let holder: Option<i32> = sqlx::query_scalar(
                "select active_pid from pg_catalog.pg_replication_slots where slot_name = $1 and database = $2 and active",
            )
            .bind(&self.slot)
            .bind(&self.database)
            .fetch_optional(&mut *connection)
            .await
            .map_err(DemoError::postgres("look at the demo's slot"))?
            .flatten();
            let Some(holder) = holder else { break };
            if since.elapsed() >= SLOT_PATIENCE {
                sqlx::query("select pg_catalog.pg_terminate_backend($1)")
                    .bind(holder)
                    .execute(&mut *connection)
                    .await
                    .map_err(DemoError::postgres("end the session that holds the demo's slot"))?;
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn remove_topics(&self, servers: &Servers) -> Vec<LeftBehind> {
        let names = [self.orders.as_str(), &self.payments, &self.dead_letters];
        let left = |name: &str, why: String| LeftBehind { what: format!("topic {name}"), why };
        let options = AdminOptions::new().request_timeout(Some(TOPICS_LIMIT)).operation_timeout(Some(TOPICS_LIMIT));
        let client: AdminClient<Silent> = match servers.kafka.client(&servers.kafka.client_config()) {
            Ok(client) => client,
            Err(error) => return names.map(|name| left(name, chain(&error))).into(),
        };
        match client.delete_topics(&names, &options).await {
            Err(error) => names.map(|name| left(name, error.to_string())).into(),
            Ok(results) => {
                let failed = results.into_iter().filter_map(Result::err);
                let failed = failed.filter(|(_, code)| *code != RDKafkaErrorCode::UnknownTopicOrPartition);
                failed.map(|(name, code)| left(&name, code.to_string())).collect()
            }
        }
    }
}

/// The settings of the relay that make it this demo's, by the names of their variables.
pub(super) fn relay_settings(stage: &Stage, servers: &Servers) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::from(
        [
            ("WALPOST_POSTGRES__URL", stage.url.as_str()),
            ("WALPOST_POSTGRES__SLOT", &stage.slot),
            ("WALPOST_KAFKA__BOOTSTRAP_SERVERS", &servers.kafka.bootstrap),
            ("WALPOST_RELAY__NAME", "walpost-demo"),
            ("WALPOST_RELAY__DEAD_LETTER_TOPIC", &stage.dead_letters),
            ("WALPOST_RELAY__SOURCE", "/shop"),
            ("WALPOST_HTTP__LISTEN", "off"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    for (name, value) in &servers.kafka.properties {
        let variable = format!("WALPOST_KAFKA__PROPERTIES__{}", name.replace('.', "_").to_uppercase());
        settings.insert(variable, value.clone());
    }
    settings
}
