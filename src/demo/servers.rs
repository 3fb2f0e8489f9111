//! The demo's Postgres and Kafka: the user's own, else those of the sandbox.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use url::Url;

use super::error::DemoError;
use super::view::View;
use crate::sandbox::{Kafka, KafkaOptions, KafkaSource, Postgres, PostgresOptions};

/// How long one answer of a user's broker may take at the start.
const BROKER_LIMIT: Duration = Duration::from_secs(10);

/// The servers that the user named; what is not named is put up on this machine.
#[derive(Clone, Default)]
pub struct Named {
    /// `--postgres`: the URL of a database, for the server and the role in it.
    pub postgres: Option<String>,
    /// `--kafka`: `host:port` of some brokers, parted by commas.
    pub kafka: Option<String>,
    /// `--kafka-property`: what librdkafka needs to reach them, such as `security.protocol`.
    pub kafka_properties: BTreeMap<String, String>,
}

/// Both servers. Dropping this ends those that were put up for the demo.
pub(super) struct Servers {
    /// Where the Postgres is and who uses it, with some database that is there.
    pub(super) postgres_url: Url,
    /// "PostgreSQL 15.18 (this machine's)".
    pub(super) postgres_name: String,
    /// Whether the Postgres is the user's.
    pub(super) postgres_is_named: bool,
    /// The brokers.
    pub(super) kafka_servers: String,
    /// What clients of theirs need beyond that.
    pub(super) kafka_properties: BTreeMap<String, String>,
    /// "Apache Kafka 4.3.1 (jars, Java 17)".
    pub(super) kafka_name: String,
    /// Whether the Kafka is the user's.
    pub(super) kafka_is_named: bool,
    /// Whether it is a real Kafka and not the stand-in.
    pub(super) kafka_is_real: bool,
    _postgres: Option<Postgres>,
    _kafka: Option<Kafka>,
}

impl Servers {
    /// Puts up what is not named, both at once, and sees that the named ones answer.
    ///
    /// # Errors
    /// A server can't be put up or does not answer, or the URL is none.
    pub(super) async fn start(named: &Named, view: &View) -> Result<Self, DemoError> {
        let url = named.postgres.as_deref().map(parse_url).transpose()?;
        let start_postgres = async {
            match url {
                Some(_) => Ok(None),
                None => Postgres::start(PostgresOptions::default(), &view.postgres_progress()).await.map(Some),
            }
        };
        let start_kafka = async {
            match named.kafka {
                Some(_) => Ok(None),
                None => Kafka::start(sandboxed_kafka(), &view.kafka_progress()).await.map(Some),
            }
        };
        // Not try_join: the slower one comes to an end of its own before it is dropped.
        let (postgres, kafka) = tokio::join!(start_postgres, start_kafka);
        let (postgres, kafka): (Option<Postgres>, Option<Kafka>) = (postgres?, kafka?);
        let postgres_url = match (url, &postgres) {
            (Some(url), _) => url,
            (None, Some(sandboxed)) => parse_url(&sandboxed.url())?,
            (None, None) => unreachable!("without a named Postgres one was started"),
        };
        let mut servers = Self {
            postgres_url,
            postgres_name: postgres.as_ref().map(Postgres::describe).unwrap_or_default(),
            postgres_is_named: postgres.is_none(),
            kafka_servers: kafka.as_ref().map(Kafka::bootstrap).or_else(|| named.kafka.clone()).unwrap_or_default(),
            kafka_properties: if kafka.is_none() { named.kafka_properties.clone() } else { BTreeMap::new() },
            kafka_name: kafka.as_ref().map(Kafka::describe).unwrap_or_default(),
            kafka_is_named: kafka.is_none(),
            kafka_is_real: kafka.as_ref().is_none_or(Kafka::is_real),
            _postgres: postgres,
            _kafka: kafka,
        };
        servers.greet(view).await?;
        Ok(servers)
    }

    /// Asks the user's own servers who they are.
    async fn greet(&mut self, view: &View) -> Result<(), DemoError> {
        if self.postgres_is_named {
            let mut connection = connect(&self.postgres_url).await?;
            let version: String = sqlx::query_scalar("select split_part(current_setting('server_version'), ' ', 1)")
                .fetch_one(&mut connection)
                .await
                .map_err(DemoError::postgres("ask for the version"))?;
            self.postgres_name = format!("PostgreSQL {version} at {}", address(&self.postgres_url));
            view.postgres_ready(&self.postgres_name);
        }
        if self.kafka_is_named {
            let client: AdminClient<Silent> = self.client(&self.client_config())?;
            let ask = move || client.inner().fetch_metadata(None, BROKER_LIMIT).map(|found| found.brokers().len());
            let asked = tokio::task::spawn_blocking(ask).await.expect("asking for metadata does not panic");
            let brokers = asked.map_err(|source| {
                let servers = self.kafka_servers.clone();
                DemoError::NoBroker { servers, source }
            })?;
            let noun = if brokers == 1 { "broker" } else { "brokers" };
            self.kafka_name = format!("Kafka at {} ({brokers} {noun})", self.kafka_servers);
            view.kafka_ready(&self.kafka_name);
        }
        Ok(())
    }

    /// What every Kafka client of the demo's is told.
    pub(super) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.kafka_servers).set("client.id", "walpost-demo");
        for (name, value) in &self.kafka_properties {
            config.set(name, value);
        }
        config
    }

    /// Makes a client that does not write to the log: the demo says itself what it waits for.
    pub(super) fn client<C: FromClientConfigAndContext<Silent>>(&self, config: &ClientConfig) -> Result<C, DemoError> {
        C::from_config_and_context(config, Silent).map_err(self.kafka_error("make a client"))
    }

    /// For `map_err`: what was tried in Kafka.
    pub(super) fn kafka_error(&self, action: &'static str) -> impl FnOnce(KafkaError) -> DemoError {
        let servers = self.kafka_servers.clone();
        move |source| DemoError::Kafka { action, servers, source }
    }
}

/// A context without a voice.
pub(super) struct Silent;

impl ClientContext for Silent {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ConsumerContext for Silent {}

/// Opens a session at the database that the URL names.
pub(super) async fn connect(url: &Url) -> Result<PgConnection, DemoError> {
    options(url)?.connect().await.map_err(|source| DemoError::NoPostgres { address: address(url), source })
}

/// sqlx's form of the URL.
pub(super) fn options(url: &Url) -> Result<PgConnectOptions, DemoError> {
    let options: PgConnectOptions = url.as_str().parse().map_err(|_| DemoError::PostgresUrl)?;
    Ok(options.disable_statement_logging().application_name("walpost demo"))
}

/// Ends a session in good order; one that is broken already is no loss.
pub(super) async fn close(connection: PgConnection) {
    let _ = connection.close().await;
}

fn sandboxed_kafka() -> KafkaOptions {
    KafkaOptions { source: KafkaSource::RealOrInProcess, ..KafkaOptions::default() }
}

fn parse_url(text: &str) -> Result<Url, DemoError> {
    let url = Url::parse(text).map_err(|_| DemoError::PostgresUrl)?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(DemoError::PostgresUrl);
    }
    options(&url)?;
    Ok(url)
}

/// Host and port, without user and password.
fn address(url: &Url) -> String {
    let host = url.host_str().unwrap_or("localhost");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

impl std::fmt::Debug for Named {
    /// Without the URL and the properties' values, which may hold passwords.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Named")
            .field("postgres", &self.postgres.is_some())
            .field("kafka", &self.kafka)
            .field("kafka_properties", &self.kafka_properties.keys())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_password() {
        let url = parse_url("postgres://me:hunter2@db.example:5433/shop").expect("a URL");
        assert_eq!(address(&url), "db.example:5433");
        let named = Named { postgres: Some(url.to_string()), ..Named::default() };
        assert!(!format!("{named:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_url_of_a_database_is_refused_without_showing_it() {
        for bad in ["", "localhost", "mysql://me:hunter2@db/shop", "postgres://db:99999/shop"] {
            let error = parse_url(bad).expect_err(bad);
            assert_eq!(error.exit_code(), 64);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
