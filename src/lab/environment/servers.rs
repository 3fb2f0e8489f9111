//! A Postgres and a Kafka: the user's, otherwise the sandbox's.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use url::Url;

use super::error::EnvironmentError;
use super::view::View;
use crate::lab::sandbox::{Kafka, KafkaOptions, Postgres, PostgresOptions};
use crate::postgres::{self, ChannelBinding, Session};

/// Time limit for one answer of a user's broker at the start.
const BROKER_LIMIT: Duration = Duration::from_secs(10);

/// The servers that the user named; others are started on this machine.
#[derive(Clone, Default)]
pub(crate) struct Named {
    /// `--postgres`: a database URL, for its server and role.
    pub postgres: Option<String>,
    /// `--kafka`: `host:port` of some brokers, separated by commas.
    pub kafka: Option<String>,
    /// `--kafka-property`: librdkafka properties to connect with, such as `security.protocol`.
    pub kafka_properties: BTreeMap<String, String>,
}

/// What to start if the user names no server.
pub(crate) struct Wanted {
    pub(crate) postgres: PostgresOptions,
    /// `None` if no Kafka is needed.
    pub(crate) kafka: Option<KafkaOptions>,
}

/// Both servers. Dropping this stops those that were started.
pub(crate) struct Servers {
    pub(crate) postgres: PostgresServer,
    kafka: Option<KafkaServer>,
}

pub(crate) struct PostgresServer {
    /// Its URL, with a database that exists.
    pub(crate) url: Url,
    /// Such as "PostgreSQL 15.18 (this machine's)".
    pub(crate) name: String,
    /// The sandbox's server; `None` if it is the user's.
    sandboxed: Option<Postgres>,
}

pub(crate) struct KafkaServer {
    /// The brokers.
    pub(crate) bootstrap: String,
    /// The properties that clients need beyond that.
    pub(crate) properties: BTreeMap<String, String>,
    /// Such as "Apache Kafka 4.3.1 (jars, Java 17)".
    pub(crate) name: String,
    /// The sandbox's server; `None` if it is the user's.
    sandboxed: Option<Kafka>,
}

impl Servers {
    /// Checks that the named servers answer, then starts the others, both at once.
    ///
    /// # Errors
    /// A server can't be started or does not answer, or the URL is invalid.
    pub(crate) async fn start(named: &Named, wanted: Wanted, view: &View) -> Result<Self, EnvironmentError> {
        let named_postgres = match &named.postgres {
            Some(url) => Some(greet_postgres(parse_url(url)?, view).await?),
            None => None,
        };
        let named_kafka = match &named.kafka {
            Some(servers) if wanted.kafka.is_some() => Some(greet_kafka(servers, &named.kafka_properties, view).await?),
            _ => None,
        };
        // Not try_join: the slower one must finish before it can be dropped.
        let (postgres, kafka) = tokio::join!(
            async {
                match named_postgres {
                    Some(named) => Ok(named),
                    None => start_postgres(wanted.postgres, view).await,
                }
            },
            async {
                match (named_kafka, wanted.kafka) {
                    (None, Some(options)) => start_kafka(options, view).await.map(Some),
                    (named, _) => Ok(named),
                }
            }
        );
        Ok(Self { postgres: postgres?, kafka: kafka? })
    }

    /// The Kafka.
    ///
    /// # Panics
    /// If none was requested.
    pub(crate) fn kafka(&self) -> &KafkaServer {
        self.kafka.as_ref().expect("a Kafka was asked for")
    }

    /// The Kafka, if one was requested.
    pub(crate) fn kafka_if_any(&self) -> Option<&KafkaServer> {
        self.kafka.as_ref()
    }
}

impl PostgresServer {
    /// Whether it is the user's.
    pub(crate) fn is_named(&self) -> bool {
        self.sandboxed.is_none()
    }

    /// A program of the server's PostgreSQL version; `None` if the server is the user's.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        self.sandboxed.as_ref()?.program(name)
    }
}

impl KafkaServer {
    /// Whether it is the user's.
    pub(crate) fn is_named(&self) -> bool {
        self.sandboxed.is_none()
    }

    /// Whether it is a real Kafka and not a stand-in.
    pub(crate) fn is_real(&self) -> bool {
        self.sandboxed.as_ref().is_none_or(Kafka::is_real)
    }

    /// Creates topics on the stand-in, where the relay can't.
    pub(crate) fn create_topics_in_process(&self, names: &[&str], partitions: i32) -> Result<(), EnvironmentError> {
        let stand_in = self.sandboxed.as_ref().filter(|kafka| !kafka.is_real());
        for (kafka, name) in stand_in.iter().flat_map(|kafka| names.iter().map(move |name| (kafka, name))) {
            kafka.create_topic_in_process(name, partitions)?;
        }
        Ok(())
    }

    /// The properties of every client.
    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("client.id", "walpost");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }

    /// Creates a client that does not write to the log: the commands report what they wait for.
    pub(crate) fn client<C: FromClientConfigAndContext<Silent>>(
        &self,
        config: &ClientConfig,
    ) -> Result<C, EnvironmentError> {
        C::from_config_and_context(config, Silent).map_err(self.error("make a client"))
    }

    /// For `map_err`: the action that failed.
    pub(crate) fn error(&self, action: &'static str) -> impl FnOnce(KafkaError) -> EnvironmentError {
        let servers = self.bootstrap.clone();
        move |source| EnvironmentError::Kafka { action, servers, source }
    }
}

/// A context that logs nothing.
pub(crate) struct Silent;

impl ClientContext for Silent {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ConsumerContext for Silent {}

/// Opens a session in the URL's database, with the client that has a pool and typed rows.
pub(crate) async fn connect(url: &Url) -> Result<PgConnection, EnvironmentError> {
    let limit = own_options(url)?.connect_timeout().unwrap_or(Duration::MAX);
    let options = options(url)?;
    let connected = tokio::time::timeout(limit, options.connect()).await;
    let too_late = |_| sqlx::Error::Io(io::ErrorKind::TimedOut.into());
    connected.map_err(too_late).flatten().map_err(EnvironmentError::postgres("open a session"))
}

/// The URL in sqlx's form.
pub(crate) fn options(url: &Url) -> Result<PgConnectOptions, EnvironmentError> {
    let options = own_options(url)?;
    if options.channel_binding() == ChannelBinding::Require {
        return Err(EnvironmentError::UnsupportedOption("channel_binding=require"));
    }
    if options.required_methods().is_some() {
        return Err(EnvironmentError::UnsupportedOption("require_auth"));
    }
    Ok(options.to_sqlx().disable_statement_logging())
}

/// The URL in the form of the relay's client.
pub(crate) fn own_options(url: &Url) -> Result<postgres::ConnectOptions, EnvironmentError> {
    Ok(postgres::ConnectOptions::parse(url.as_str(), &|name| std::env::var(name).ok())?)
}

/// Closes a session gracefully; it may be broken already.
pub(crate) async fn close(connection: PgConnection) {
    let _ = connection.close().await;
}

async fn start_postgres(options: PostgresOptions, view: &View) -> Result<PostgresServer, EnvironmentError> {
    let sandboxed = Postgres::start(options, &view.postgres_progress()).await?;
    Ok(PostgresServer { url: parse_url(&sandboxed.url())?, name: sandboxed.describe(), sandboxed: Some(sandboxed) })
}

async fn start_kafka(options: KafkaOptions, view: &View) -> Result<KafkaServer, EnvironmentError> {
    let sandboxed = Kafka::start(options, &view.kafka_progress()).await?;
    let (bootstrap, name) = (sandboxed.bootstrap(), sandboxed.describe());
    Ok(KafkaServer { bootstrap, properties: BTreeMap::new(), name, sandboxed: Some(sandboxed) })
}

/// Asks a user's Postgres for its version.
async fn greet_postgres(url: Url, view: &View) -> Result<PostgresServer, EnvironmentError> {
    let session = Session::open(&own_options(&url)?).await;
    let session = session.map_err(|source| EnvironmentError::NoPostgres { address: address(&url), source })?;
    let version = session.parameter("server_version").and_then(|text| text.split(' ').next()).unwrap_or("?");
    let name = format!("PostgreSQL {version} at {}", address(&url));
    view.postgres_ready(&name);
    Ok(PostgresServer { url, name, sandboxed: None })
}

/// Checks whether a user's Kafka answers.
async fn greet_kafka(
    bootstrap: &str,
    properties: &BTreeMap<String, String>,
    view: &View,
) -> Result<KafkaServer, EnvironmentError> {
    let (bootstrap, properties) = (bootstrap.to_owned(), properties.clone());
    let mut server = KafkaServer { bootstrap, properties, name: String::new(), sandboxed: None };
    let client: AdminClient<Silent> = server.client(&server.client_config())?;
    let ask = move || client.inner().fetch_metadata(None, BROKER_LIMIT).map(|found| found.brokers().len());
    let asked = tokio::task::spawn_blocking(ask).await.expect("asking for metadata does not panic");
    let servers = server.bootstrap.clone();
    let brokers = asked.map_err(|source| EnvironmentError::NoBroker { servers, source })?;
    let noun = if brokers == 1 { "broker" } else { "brokers" };
    server.name = format!("Kafka at {} ({brokers} {noun})", server.bootstrap);
    view.kafka_ready(&server.name);
    Ok(server)
}

/// The settings of a relay on these servers, by the names of their variables.
pub(crate) fn relay_settings(kafka: &KafkaServer, own: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut settings = BTreeMap::from_iter(own);
    settings.insert("WALPOST_KAFKA__BOOTSTRAP_SERVERS".to_owned(), kafka.bootstrap.clone());
    for (name, value) in &kafka.properties {
        let variable = format!("WALPOST_KAFKA__PROPERTIES__{}", name.replace('.', "_").to_uppercase());
        settings.insert(variable, value.clone());
    }
    settings
}

fn parse_url(text: &str) -> Result<Url, EnvironmentError> {
    let url = Url::parse(text).map_err(|_| EnvironmentError::PostgresUrl)?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(EnvironmentError::PostgresUrl);
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
    /// Without the URL and the properties' values, which may contain passwords.
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
    use crate::exit::EndsCommand;

    #[test]
    fn an_address_shows_no_password() {
        let url = parse_url("postgres://me:hunter2@db.example:5433/shop").expect("a URL");
        assert_eq!(address(&url), "db.example:5433");
        let named = Named { postgres: Some(url.to_string()), ..Named::default() };
        assert!(!format!("{named:?}").contains("hunter2"));
    }

    #[test]
    fn an_invalid_database_url_is_refused_without_showing_it() {
        for bad in ["", "localhost", "mysql://me:hunter2@db/shop", "postgres://db:99999/shop"] {
            let error = parse_url(bad).expect_err(bad);
            assert_eq!(error.exit_code(), 64);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
