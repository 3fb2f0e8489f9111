//! What every end-to-end test starts from: a database of its own, topics of its own, and a consumer that waits.
//!
//! The servers come from the first of these that is there:
//! 1. the environment: `WALPOST_TEST_POSTGRES_URL` (a superuser's) and `WALPOST_TEST_KAFKA` (bootstrap servers);
//! 2. Docker, through testcontainers;
//! 3. `walpost::sandbox`: a PostgreSQL of this machine's or a fetched one, and Kafka's jars with Java 17.
//!
//! With none of them a test fails and says so. `WALPOST_TEST_POSTGRES_VERSION` (`machine`, `newest`, or a major version) chooses
//! the PostgreSQL of the second and third. One pair of servers serves all tests of a process; a test that kills servers asks for
//! its own with [`Harness::with_own_servers`], and gets them from the sandbox always.

mod broker;
mod consumer;
mod docker;
mod load;
mod proxy;
mod relay;
mod seeded;
mod servers;
mod verdict;

use std::time::{Duration, Instant};

use tokio_postgres::config::Host;
use tokio_postgres::{Client, NoTls, Row};
use walpost::sandbox::{Kafka, KafkaOptions, Postgres, PostgresOptions, Progress, Sandbox};

pub(crate) use consumer::Received;
pub(crate) use load::Load;
pub(crate) use proxy::Proxy;
pub(crate) use relay::{Relay, config, walpost};
pub(crate) use seeded::Seeded;
use servers::{Origin, Servers};
pub(crate) use verdict::Verdict;

/// How long a test waits for what it expects: far longer than it takes, so that a slow machine is no failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition without a notification is looked at.
const POLL: Duration = Duration::from_millis(20);

/// One test's database and topics, removed when it is dropped.
pub(crate) struct Harness {
    /// Unique to this test run; letters, digits and underscores.
    name: String,
    admin_url: String,
    url: String,
    kafka: String,
    origin: Origin,
    own: Option<Sandbox>,
}

impl Harness {
    /// A fresh database, without walpost's migrations, on the shared servers. `name` is the test's, for those who read server logs.
    pub(crate) async fn new(name: &str) -> Self {
        let servers = Servers::shared().await;
        Self::on(name, &servers.postgres_url, &servers.kafka, servers.origin, None).await
    }

    /// The same on servers that belong to this test alone, which it may stop, kill and start again.
    pub(crate) async fn with_own_servers(name: &str, postgres: PostgresOptions, kafka: KafkaOptions) -> Self {
        let postgres = PostgresOptions { version: servers::postgres_version(postgres.version), ..postgres };
        let own = Sandbox::start(Some(postgres), Some(kafka), &Progress::silent()).await;
        let own = own.unwrap_or_else(|error| panic!("{}: {error}", servers::THREE_WAYS));
        let url = own.postgres.as_ref().expect("a PostgreSQL was asked for").url();
        let kafka = own.kafka.as_ref().expect("a Kafka was asked for").bootstrap();
        Self::on(name, &url, &kafka, Origin::Own, Some(own)).await
    }

    /// A fresh database on a PostgreSQL that belongs to this test alone, with the shared Kafka.
    pub(crate) async fn with_own_postgres(name: &str, postgres: PostgresOptions) -> Self {
        let servers = Servers::shared().await;
        let postgres = PostgresOptions { version: servers::postgres_version(postgres.version), ..postgres };
        let own = Sandbox::start(Some(postgres), None, &Progress::silent()).await;
        let own = own.unwrap_or_else(|error| panic!("{}: {error}", servers::THREE_WAYS));
        let url = own.postgres.as_ref().expect("a PostgreSQL was asked for").url();
        Self::on(name, &url, &servers.kafka, servers.origin, Some(own)).await
    }

    /// A fresh database on the shared PostgreSQL, with a Kafka that belongs to this test alone.
    pub(crate) async fn with_own_kafka(name: &str, kafka: KafkaOptions) -> Self {
        let servers = Servers::shared().await;
        let own = Sandbox::start(None, Some(kafka), &Progress::silent()).await;
        let own = own.unwrap_or_else(|error| panic!("{}: {error}", servers::THREE_WAYS));
        let kafka = own.kafka.as_ref().expect("a Kafka was asked for").bootstrap();
        Self::on(name, &servers.postgres_url, &kafka, servers.origin, Some(own)).await
    }

    async fn on(name: &str, admin_url: &str, kafka: &str, origin: Origin, own: Option<Sandbox>) -> Self {
        let unique = uuid::Uuid::now_v7().simple().to_string();
        let name = format!("{}_{}", name.replace(|symbol: char| !symbol.is_ascii_alphanumeric(), "_"), &unique[24..]);
        let name = name.to_lowercase();
        let mut url = url::Url::parse(admin_url).expect("the server's address is a URL");
        url.set_path(&name);
        let admin = connect(admin_url).await;
        admin.batch_execute(&format!("create database {name}")).await.expect("a superuser can create a database");
        Self { name, admin_url: admin_url.to_owned(), url: url.into(), kafka: kafka.to_owned(), origin, own }
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

    /// The superuser's URL of this test's database.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The name of this test's database; unique, so that it serves for a slot or a role too.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The bootstrap servers.
    pub(crate) fn kafka(&self) -> &str {
        &self.kafka
    }

    /// A topic's name that no other test has.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    /// A new session in this test's database, for transactions.
    pub(crate) async fn session(&self) -> Client {
        connect(&self.url).await
    }

    /// A new session of another role's, or in another database.
    pub(crate) async fn session_at(&self, url: &str) -> Client {
        connect(url).await
    }

    /// Runs statements, separated by semicolons, in a session of their own.
    pub(crate) async fn execute(&self, sql: &str) {
        self.session().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The rows of a query without parameters, in a session of its own.
    pub(crate) async fn query(&self, sql: &str) -> Vec<Row> {
        self.session().await.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// The single value of a query that returns text.
    pub(crate) async fn query_text(&self, sql: &str) -> Option<String> {
        self.query(sql).await.first().and_then(|row| row.get(0))
    }

    /// Waits until a query's single boolean is true; fails with the query after [`PATIENCE`]. No session, as after a kill, counts as false.
    pub(crate) async fn wait_for(&self, sql: &str) {
        let since = Instant::now();
        loop {
            if let Ok(client) = try_connect(&self.url).await
                && let Ok(row) = client.query_one(sql, &[]).await
                && row.get::<_, Option<bool>>(0) == Some(true)
            {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "after {PATIENCE:?} this is not true: {sql}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the relay has sent so many further status updates to its walsender.
    pub(crate) async fn status_updates(&self, count: usize) {
        let reply_time = format!(
            "(select r.reply_time from pg_stat_replication r join pg_replication_slots s on s.active_pid = r.pid \
             where s.slot_name = '{}')",
            self.name
        );
        for _ in 0..count {
            let before = self.query_text(&format!("select {reply_time}::text")).await.expect("a relay streams");
            self.wait_for(&format!("select {reply_time} > '{before}'")).await;
        }
    }

    /// Reads a topic from its beginning until it has at least `count` records, then to its end, so that too many are seen too.
    pub(crate) async fn consume(&self, topic: &str, count: usize) -> Vec<Received> {
        let wanted = format!("{count} records");
        self.consume_until(&[topic], &wanted, move |records| records.len() >= count).await
    }

    /// [`Self::consume`] on a Kafka that is not this harness's.
    pub(crate) async fn consume_from(&self, bootstrap: &str, topic: &str, count: usize) -> Vec<Received> {
        let wanted = format!("{count} records");
        consumer::read(bootstrap, &[], &[topic], &wanted, move |records| records.len() >= count).await
    }

    /// Reads topics from their beginning until `enough` is content with what came, then to their end. `wanted` says what was waited for,
    /// should it not come within [`PATIENCE`].
    pub(crate) async fn consume_until(
        &self,
        topics: &[&str],
        wanted: &str,
        enough: impl FnMut(&[Received]) -> bool + Send + 'static,
    ) -> Vec<Received> {
        consumer::read(self.kafka(), &self.kafka_login("admin"), topics, wanted, enough).await
    }

    /// The librdkafka properties to log in as this user; none where the Kafka asks for no login.
    pub(crate) fn kafka_login(&self, user: &str) -> Vec<(String, String)> {
        let own = self.own.as_ref().and_then(|own| own.kafka.as_ref());
        own.map(|kafka| kafka.client_properties(user)).unwrap_or_default()
    }

    /// This test's own PostgreSQL.
    pub(crate) fn own_postgres(&mut self) -> &mut Postgres {
        let own = self.own.as_mut().and_then(|own| own.postgres.as_mut());
        own.expect("only a test made by with_own_servers may kill them")
    }

    /// This test's own Kafka.
    pub(crate) fn own_kafka(&mut self) -> &mut Kafka {
        let own = self.own.as_mut().and_then(|own| own.kafka.as_mut());
        own.expect("only a test made by with_own_servers may kill them")
    }
}

impl Drop for Harness {
    /// Leaves shared servers as they were. Own ones go away whole.
    fn drop(&mut self) {
        let own = self.own.as_ref();
        let shares_postgres = own.is_none_or(|own| own.postgres.is_none());
        let shares_kafka = own.is_none_or(|own| own.kafka.is_none()) && self.origin == Origin::Environment;
        if !shares_postgres && !shares_kafka {
            return;
        }
        let (name, admin_url, kafka) = (self.name.clone(), self.admin_url.clone(), self.kafka.clone());
        // A thread with a runtime of its own: the test's may be on its way out, and this one must be waited for.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                if shares_postgres {
                    drop_database(&admin_url, &name).await;
                }
                if shares_kafka {
                    servers::delete_topics(&kafka, &format!("{name}.")).await;
                }
            });
        });
        if cleaning.join().is_err() {
            eprintln!("the test's database and topics stay behind: {}", self.name);
        }
    }
}

/// Ends what still uses the database, drops its slots, then itself.
async fn drop_database(admin_url: &str, name: &str) {
    let admin = connect(admin_url).await;
    let end = "select pg_terminate_backend(active_pid) from pg_replication_slots where database = $1 and active";
    let free =
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1 and not active";
    let left = "select count(*) from pg_replication_slots where database = $1";
    let since = Instant::now();
    loop {
        // A slot that is taken again in between is dropped in the next round.
        let _ = admin.execute(end, &[&name]).await;
        let _ = admin.execute(free, &[&name]).await;
        let count: i64 = admin.query_one(left, &[&name]).await.expect("slots can be counted").get(0);
        if count == 0 {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "the slots of {name} can't be dropped");
        tokio::time::sleep(POLL).await;
    }
    admin.batch_execute(&format!("drop database {name} with (force)")).await.expect("a database to drop");
}

async fn connect(url: &str) -> Client {
    try_connect(url).await.unwrap_or_else(|error| panic!("the test's PostgreSQL refuses a session: {error:?}"))
}

async fn try_connect(url: &str) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let config: tokio_postgres::Config = url.parse()?;
    let (Some(Host::Tcp(host)), Some(port)) = (config.get_hosts().first(), config.get_ports().first()) else {
        panic!("the test's PostgreSQL is reached over TCP, with a host and a port")
    };
    let socket = tokio::net::TcpStream::connect((host.as_str(), *port)).await?;
    let (client, connection) = config.connect_raw(socket, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
