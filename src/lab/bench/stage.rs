//! Everything that the benchmark creates on the servers, under unique names, and how it is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde_json::json;
use sqlx::{Executor, PgConnection};

use super::error::BenchError;
use super::{Options, Payload};
use crate::config::Delivery;
use crate::fault::chain;
use crate::lab::environment::{self, EnvironmentError, LeftBehind, ScratchDatabase, Servers, Silent};
use crate::lab::sandbox::{Workspace, free_port};
use crate::sink::POSITIONS_TOPIC;

/// The prefix of every slot; see [`super::run_null`].
pub(super) const SLOT_PREFIX: &str = "walpost_bench_";
/// The schema of all events.
pub(super) const SCHEMA: &str = "bench.event";
/// Partitions per topic: one, so that every figure is for one partition.
const PARTITIONS: i32 = 1;

/// Everything that is created, and the servers that it is created on.
pub(super) struct Stage {
    pub(super) servers: Servers,
    pub(super) database: ScratchDatabase,
    /// For the files of measured programs.
    pub(super) workspace: Arc<Workspace>,
    /// The prefix of every topic.
    prefix: String,
    topics: Mutex<BTreeSet<String>>,
    count: AtomicU32,
}

/// A topic, and the version of [`SCHEMA`] whose events go there.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) topic: String,
    pub(super) version: String,
}

impl Stage {
    /// Chooses names; creates nothing yet.
    pub(super) fn name(servers: Servers) -> Result<Self, BenchError> {
        let suffix = environment::suffix();
        Ok(Self {
            database: ScratchDatabase::name(&format!("{SLOT_PREFIX}{suffix}"), &servers.postgres.url),
            workspace: Arc::new(Workspace::for_own_programs("bench")?),
            prefix: format!("walpost-bench-{suffix}"),
            topics: Mutex::default(),
            count: AtomicU32::new(0),
            servers,
        })
    }

    /// Creates the database and its contents. Returns a session in it.
    pub(super) async fn prepare(&self, options: &Options) -> Result<PgConnection, BenchError> {
        let mut connection = self.database.create().await?;
        connection.execute(include_str!("stage.sql")).await.map_err(EnvironmentError::postgres("make the tables"))?;
        if options.needs_kafka() {
            self.topics().insert(self.dead_letters());
        }
        Ok(connection)
    }

    /// A session in the database.
    pub(super) async fn connect(&self) -> Result<PgConnection, BenchError> {
        Ok(environment::connect(&self.database.url).await?)
    }

    /// What is created on the user's servers, to be shown; empty if there is nothing.
    pub(super) fn made(&self) -> Vec<String> {
        let mut made = Vec::new();
        if self.servers.postgres.is_named() {
            made.push(format!("database {} and its slots", self.database.name));
        }
        if self.servers.kafka_if_any().is_some_and(environment::KafkaServer::is_named) {
            made.push(format!("topics {}.*", self.prefix));
        }
        made
    }

    /// What is kept on the user's Kafka: others may use the topic, so nothing in it is deleted.
    pub(super) fn leaves(&self, options: &Options) -> Option<String> {
        let writes = options.needs_kafka() && options.deliveries.contains(&Delivery::ExactlyOnce);
        (writes && self.servers.kafka().is_named())
            .then(|| format!("records of {SLOT_PREFIX}* in {POSITIONS_TOPIC}, a few bytes each"))
    }

    /// A unique slot name.
    pub(super) fn slot_name(&self) -> String {
        format!("{}_{}", self.database.name, self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Registers a new version of the schema, with a new topic if there is a Kafka.
    pub(super) async fn destination(&self, connection: &mut PgConnection) -> Result<Destination, BenchError> {
        let version = self.count.fetch_add(1, Ordering::Relaxed).to_string();
        let topic = format!("{}.{version}", self.prefix);
        sqlx::query("select outbox.register_schema_version($1, $2, $3, topic_config => $4)")
            .bind(SCHEMA)
            .bind(&version)
            .bind(&topic)
            .bind(json!({ "partitions": PARTITIONS }))
            .execute(connection)
            .await
            .map_err(EnvironmentError::postgres("register a schema version"))?;
        if self.servers.kafka_if_any().is_some() {
            self.create_topic(&topic).await?;
        }
        Ok(Destination { topic, version })
    }

    /// Deletes the topic, to free disk space. A failed deletion is repeated at the end.
    pub(super) async fn discard(&self, destination: &Destination) {
        if let Some(kafka) = self.servers.kafka_if_any()
            && environment::delete_topics(kafka, &[&destination.topic]).await.is_empty()
        {
            self.topics().remove(&destination.topic);
        }
    }

    async fn create_topic(&self, name: &str) -> Result<(), BenchError> {
        let kafka = self.servers.kafka();
        let client: AdminClient<Silent> = kafka.client(&kafka.client_config())?;
        // The broker's default.
        let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(-1));
        self.topics().insert(name.to_owned());
        let results = client.create_topics([&topic], &AdminOptions::new()).await;
        let created = results.and_then(|results| match results.into_iter().next() {
            Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => Err(KafkaError::AdminOp(code)),
            _ => Ok(()),
        });
        Ok(created.map_err(kafka.error("create a topic"))?)
    }

    /// Removes what the benchmark created from the user's servers. The sandbox's servers are removed as a whole.
    pub(super) async fn remove(&self) -> Vec<LeftBehind> {
        let mut left = Vec::new();
        if self.servers.postgres.is_named()
            && let Err(error) = self.database.remove().await
        {
            left.push(LeftBehind {
                what: format!("database {} and its slots", self.database.name),
                why: chain(&error),
            });
        }
        let topics = self.topics().clone();
        if let Some(kafka) = self.servers.kafka_if_any().filter(|kafka| kafka.is_named() && !topics.is_empty()) {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            left.extend(environment::delete_topics(kafka, &names).await);
        }
        left
    }

    /// The settings of a relay that reads this slot, by the names of their variables, and its HTTP address, unless it runs without
    /// Kafka.
    pub(super) fn relay_settings(&self, slot: &str, payload: Payload, delivery: Option<Delivery>) -> RelaySettings {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let listen = address.to_string();
        let dead_letters = self.dead_letters();
        let publication = payload.publication();
        let mut own = vec![
            ("WALPOST_POSTGRES__URL", self.database.url.as_str()),
            ("WALPOST_POSTGRES__SLOT", slot),
            ("WALPOST_POSTGRES__PUBLICATION", &publication),
            ("WALPOST_OUTBOX__0__TABLE", payload.table()),
            ("WALPOST_RELAY__NAME", slot),
            ("WALPOST_RELAY__DEAD_LETTER_TOPIC", &dead_letters),
            ("WALPOST_HTTP__LISTEN", if delivery.is_some() { &listen } else { "off" }),
        ];
        if let Some(delivery) = delivery {
            own.push(("WALPOST_KAFKA__DELIVERY", delivery.as_str()));
        }
        let variables = match self.servers.kafka_if_any().filter(|_| delivery.is_some()) {
            Some(kafka) => environment::relay_settings(kafka, &own),
            // The configuration requires a Kafka, although it is never contacted here.
            None => own
                .into_iter()
                .chain([("WALPOST_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:9")])
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        RelaySettings { variables, address }
    }

    /// pg_recvlogical: the server's if it is the sandbox's, otherwise this machine's.
    pub(super) fn recvlogical(&self) -> Option<PathBuf> {
        const NAME: &str = "pg_recvlogical";
        self.servers.postgres.program(NAME).or_else(|| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).map(|folder| folder.join(NAME)).find(|program| program.is_file())
        })
    }

    fn dead_letters(&self) -> String {
        format!("{}.dead-letter", self.prefix)
    }

    fn topics(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // No panic can happen between two changes.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A relay's settings.
pub(super) struct RelaySettings {
    pub(super) variables: BTreeMap<String, String>,
    /// Where it serves its status.
    pub(super) address: SocketAddr,
}

impl Payload {
    /// The outbox table with a payload of this type.
    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Json => "outbox.event",
            Self::Jsonb => "bench.event_jsonb",
            Self::Bytea => "bench.event_bytea",
        }
    }

    /// Its publication.
    pub(super) fn publication(self) -> String {
        match self {
            Self::Json => "outbox".to_owned(),
            Self::Jsonb | Self::Bytea => format!("bench_{}", self.as_str()),
        }
    }

    /// A SQL expression of this type for a text.
    pub(super) fn cast(self, text: &str) -> String {
        match self {
            Self::Json | Self::Jsonb => format!("({text})::{}", self.as_str()),
            Self::Bytea => format!("convert_to({text}, 'UTF8')"),
        }
    }
}
