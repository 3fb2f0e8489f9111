//! Everything that the benchmark creates on the servers, under unique names, and how it is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;
use sqlx::{Executor, PgConnection};

use super::error::BenchError;
use super::{Options, Payload, Shape};
use crate::config::Delivery;
use crate::fault::chain;
use crate::lab::environment::{self, EnvironmentError, LeftBehind, ScratchDatabase, Servers, Silent};
use crate::lab::sandbox::{Workspace, free_port};
use crate::sink::POSITIONS_TOPIC;

/// The prefix of every slot; see [`super::run_null`].
pub(super) const SLOT_PREFIX: &str = "walpost_bench_";
/// Topics per request to create or delete them.
const TOPICS_AT_ONCE: usize = 50;
/// The schema of all events.
pub(super) const SCHEMA: &str = "bench.event";

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

/// Topics, each with the version of [`SCHEMA`] whose events go there.
#[derive(Clone, Debug)]
pub(super) struct Destinations {
    /// The prefix of every version; the topic's number follows.
    pub(super) versions: String,
    pub(super) topics: Vec<String>,
    /// Partitions per topic.
    partitions: u32,
}

impl Destinations {
    /// The version for an event with this number.
    pub(super) fn version(&self, number: u64) -> String {
        format!("{}{}", self.versions, number % self.topics.len() as u64)
    }

    /// All partitions, each at this offset.
    pub(super) fn partitions_at(&self, offset: Offset) -> TopicPartitionList {
        let mut partitions = TopicPartitionList::new();
        let last = i32::try_from(self.partitions).unwrap_or(i32::MAX) - 1;
        self.topics.iter().for_each(|topic| partitions.add_partition_range(topic, 0, last));
        partitions.set_all_offsets(offset).expect("a partition list takes any offset");
        partitions
    }
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

    /// Registers new versions of the schema, each with its own topic, which is created if there is a Kafka.
    pub(super) async fn destinations(
        &self,
        connection: &mut PgConnection,
        shape: &Shape,
    ) -> Result<Destinations, BenchError> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let (versions, prefix) = (format!("{number}."), format!("{}.{number}.", self.prefix));
        let statement = "select outbox.register_schema_version($1, $2 || n, $3 || n, topic_config => $4)
                         from generate_series(0, $5 - 1) n";
        sqlx::query(statement)
            .bind(SCHEMA)
            .bind(&versions)
            .bind(&prefix)
            .bind(json!({ "partitions": shape.partitions }))
            .bind(i64::from(shape.topics))
            .execute(connection)
            .await
            .map_err(EnvironmentError::postgres("register schema versions"))?;
        let topics = (0..shape.topics).map(|topic| format!("{prefix}{topic}")).collect();
        let destinations = Destinations { versions, topics, partitions: shape.partitions };
        if self.servers.kafka_if_any().is_some() {
            self.create_topics(&destinations).await?;
        }
        Ok(destinations)
    }

    /// Deletes the topics, to free disk space. A failed deletion is repeated at the end.
    pub(super) async fn discard(&self, destinations: &Destinations) {
        let Some(kafka) = self.servers.kafka_if_any() else { return };
        for names in destinations.topics.chunks(TOPICS_AT_ONCE) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            if environment::delete_topics(kafka, &names).await.is_empty() {
                self.topics().retain(|topic| !names.contains(&topic.as_str()));
            }
        }
    }

    async fn create_topics(&self, destinations: &Destinations) -> Result<(), BenchError> {
        let kafka = self.servers.kafka();
        let client: AdminClient<Silent> = kafka.client(&kafka.client_config())?;
        let partitions = i32::try_from(destinations.partitions).unwrap_or(i32::MAX);
        self.topics().extend(destinations.topics.iter().cloned());
        for names in destinations.topics.chunks(TOPICS_AT_ONCE) {
            // The broker's default.
            let topic = |name| NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
            let topics: Vec<_> = names.iter().map(|name| topic(name)).collect();
            let results = client.create_topics(&topics, &AdminOptions::new()).await;
            let created = results.and_then(|results| {
                let failed = results.into_iter().filter_map(Result::err).map(|(_, code)| code);
                let failed =
                    failed.filter(|code| *code != RDKafkaErrorCode::TopicAlreadyExists).map(KafkaError::AdminOp);
                failed.map(Err).next().unwrap_or(Ok(()))
            });
            created.map_err(kafka.error("create topics"))?;
        }
        Ok(())
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
            for names in names.chunks(TOPICS_AT_ONCE) {
                left.extend(environment::delete_topics(kafka, names).await);
            }
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
