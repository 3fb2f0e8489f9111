//! The base of every end-to-end test: a separate database, separate topics, and a consumer that waits.
//!
//! The servers come from the first of these that is available:
//! 1. the environment: `WALPOST_TEST_POSTGRES_URL` (a superuser's) and `WALPOST_TEST_KAFKA` (bootstrap servers);
//! 2. Docker, through testcontainers;
//! 3. `walpost::lab::sandbox`: a local or downloaded PostgreSQL, and Kafka's jars with Java 17.
//!
//! Without any of them a test fails with that message. `WALPOST_TEST_POSTGRES_VERSION` (`machine`, `newest`, or a major
//! version) selects the PostgreSQL of the second and third. One server of each kind serves all tests of a process and
//! is started on first use; a test that kills servers requests its own with [`Harness::with_own_servers`], which
//! always come from the sandbox.

mod broker;
mod consumer;
mod database;
mod docker;
mod load;
mod pooler;
pub(crate) mod program;
mod proxy;
mod relay;
mod seeded;
mod servers;
mod stopwatch;
mod verdict;

use std::ops::Deref;
use std::time::Duration;

use walpost::lab::sandbox::{Kafka, KafkaOptions, Postgres, PostgresOptions, Sandbox};

pub(crate) use consumer::Received;
pub(crate) use database::Database;
use database::try_connect;
pub(crate) use load::Load;
pub(crate) use pooler::Pooler;
pub(crate) use proxy::{NetworkFault, Proxy};
pub(crate) use relay::{Relay, config, walpost};
pub(crate) use seeded::seeded;
use stopwatch::Stopwatch;
pub(crate) use verdict::Verdict;

/// How long a test waits for what it expects: far longer than it takes, so that a slow machine does not cause
/// failures.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Polling interval for conditions without a notification.
const POLL: Duration = Duration::from_millis(20);

/// A test's database, which it derefs to, and topics; removed when dropped.
pub(crate) struct Harness {
    database: Database,
    kafka: String,
    kafka_stays: bool,
    own: Option<Sandbox>,
    _stopwatch: Stopwatch,
}

impl Harness {
    /// A fresh database, without walpost's migrations, on the shared servers. `name` is the test's, for server logs.
    pub(crate) async fn new(name: &str) -> Self {
        let stopwatch = Stopwatch::start();
        // Both at once, in case this is the first test.
        let (database, kafka) = tokio::join!(Database::shared(name), servers::kafka());
        Self { database, kafka: kafka.address.clone(), kafka_stays: kafka.stays, own: None, _stopwatch: stopwatch }
    }

    /// A fresh database whose text is in this encoding, with walpost's migrations.
    pub(crate) async fn encoded(name: &str, encoding: &str) -> Self {
        let stopwatch = Stopwatch::start();
        let (database, kafka) = tokio::join!(Database::encoded(name, encoding), servers::kafka());
        let harness =
            Self { database, kafka: kafka.address.clone(), kafka_stays: kafka.stays, own: None, _stopwatch: stopwatch };
        harness.migrate().await;
        harness
    }

    /// The same on servers that belong to this test alone, which it may stop, kill and restart.
    pub(crate) async fn with_own_servers(name: &str, postgres: PostgresOptions, kafka: KafkaOptions) -> Self {
        let stopwatch = Stopwatch::start();
        let own = servers::start(Some(postgres), Some(kafka)).await.unwrap_or_else(|reason| panic!("{reason}"));
        let database = Database::of_own(name, own.postgres.as_ref()).await;
        let kafka = own.kafka.as_ref().expect("a Kafka was asked for").bootstrap();
        Self { database, kafka, kafka_stays: false, own: Some(own), _stopwatch: stopwatch }
    }

    /// A fresh database on a PostgreSQL that belongs to this test alone, with the shared Kafka.
    pub(crate) async fn with_own_postgres(name: &str, postgres: PostgresOptions) -> Self {
        let stopwatch = Stopwatch::start();
        let kafka = servers::kafka().await;
        let own = servers::start(Some(postgres), None).await.unwrap_or_else(|reason| panic!("{reason}"));
        let database = Database::of_own(name, own.postgres.as_ref()).await;
        Self { database, kafka: kafka.address.clone(), kafka_stays: kafka.stays, own: Some(own), _stopwatch: stopwatch }
    }

    /// A fresh database on the shared PostgreSQL, with a Kafka that belongs to this test alone.
    pub(crate) async fn with_own_kafka(name: &str, kafka: KafkaOptions) -> Self {
        let stopwatch = Stopwatch::start();
        let database = Database::shared(name).await;
        let own = servers::start(None, Some(kafka)).await.unwrap_or_else(|reason| panic!("{reason}"));
        let kafka = own.kafka.as_ref().expect("a Kafka was asked for").bootstrap();
        Self { database, kafka, kafka_stays: false, own: Some(own), _stopwatch: stopwatch }
    }

    /// [`Self::new`] with walpost's migrations applied.
    pub(crate) async fn migrated(name: &str) -> Self {
        let harness = Self::new(name).await;
        harness.migrate().await;
        harness
    }

    /// Applies walpost's migrations with the command.
    pub(crate) async fn migrate(&self) {
        let output = walpost().args(["migrate", "--database-url", self.url()]).output().expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Registers version 1 of a schema, with [`Self::topic`] of the same name as its topic.
    pub(crate) async fn register(&self, schema: &str) {
        let topic = self.topic(schema);
        self.execute(&format!(
            "select outbox.register_schema_version(name => '{schema}', version => '1', topic => '{topic}')"
        ))
        .await;
    }

    /// The bootstrap servers.
    pub(crate) fn kafka(&self) -> &str {
        &self.kafka
    }

    /// A topic name that no other test uses.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.name())
    }

    /// Waits until the relay has sent this many further status updates to its walsender.
    pub(crate) async fn status_updates(&self, count: usize) {
        let reply_time = format!(
            "(select r.reply_time from pg_stat_replication r join pg_replication_slots s on s.active_pid = r.pid \
             where s.slot_name = '{}')",
            self.name()
        );
        for _ in 0..count {
            let before = self.query_text(&format!("select {reply_time}::text")).await.expect("a relay streams");
            self.wait_for(&format!("select {reply_time} > '{before}'")).await;
        }
    }

    /// Reads a topic from its beginning until it has at least `count` records, then to its end, so that surplus
    /// records are seen too.
    pub(crate) async fn consume(&self, topic: &str, count: usize) -> Vec<Received> {
        let wanted = format!("{count} records");
        self.consume_until(&[topic], &wanted, move |records| records.len() >= count).await
    }

    /// [`Self::consume`] on a Kafka that is not this harness's.
    pub(crate) async fn consume_from(&self, bootstrap: &str, topic: &str, count: usize) -> Vec<Received> {
        let wanted = format!("{count} records");
        consumer::read(bootstrap, &[], &[topic], &wanted, move |records| records.len() >= count).await
    }

    /// Reads topics from their beginning until `enough` accepts what has arrived, then to their end. `wanted`
    /// describes what is awaited, in case it does not arrive within [`PATIENCE`].
    pub(crate) async fn consume_until(
        &self,
        topics: &[&str],
        wanted: &str,
        enough: impl FnMut(&[Received]) -> bool + Send + 'static,
    ) -> Vec<Received> {
        consumer::read(self.kafka(), &self.kafka_login("admin"), topics, wanted, enough).await
    }

    /// The librdkafka properties to log in as this user; none if the Kafka requires no login.
    pub(crate) fn kafka_login(&self, user: &str) -> Vec<(String, String)> {
        let own = self.own.as_ref().and_then(|own| own.kafka.as_ref());
        own.map(|kafka| kafka.client_properties(user)).unwrap_or_default()
    }

    /// This test's own PostgreSQL.
    pub(crate) fn own_postgres(&mut self) -> &mut Postgres {
        let own = self.own.as_mut().and_then(|own| own.postgres.as_mut());
        own.expect("only a test made by with_own_servers may kill them")
    }

    /// This test's database on a standby of its PostgreSQL.
    pub(crate) fn at_port(&self, port: u16) -> Database {
        self.database.at_port(port)
    }

    /// From here on this test's database is on the promoted standby.
    pub(crate) fn move_to_port(&mut self, port: u16) {
        self.database = self.database.at_port(port);
    }

    /// This test's own Kafka.
    pub(crate) fn own_kafka(&mut self) -> &mut Kafka {
        let own = self.own.as_mut().and_then(|own| own.kafka.as_mut());
        own.expect("only a test made by with_own_servers may kill them")
    }
}

/// A PostgreSQL that belongs to the test, in addition to its harness's.
pub(crate) async fn further_postgres(options: PostgresOptions) -> Postgres {
    let own = servers::start(Some(options), None).await.unwrap_or_else(|reason| panic!("{reason}"));
    own.postgres.expect("a PostgreSQL was asked for")
}

impl Deref for Harness {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

impl Drop for Harness {
    /// Restores the Kafka.
    fn drop(&mut self) {
        if self.kafka_stays {
            let (kafka, prefix) = (self.kafka.clone(), format!("{}.", self.name()));
            let what = format!("the test's topics {prefix}*");
            clean_up(&what, async move { servers::delete_topics(&kafka, &prefix).await });
        }
    }
}

/// Runs cleanup work of a drop, and reports its failure. On a thread with its own runtime, because the test's may be
/// shutting down and this work must be awaited.
fn clean_up(what: &str, cleaning: impl Future<Output = ()> + Send + 'static) {
    let cleaning = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(cleaning);
    });
    if cleaning.join().is_err() {
        eprintln!("{what} stay behind");
    }
}
