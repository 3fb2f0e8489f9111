//! A test's database.

use std::time::Instant;

use tokio_postgres::config::Host;
use tokio_postgres::{Client, NoTls, Row};
use walpost::lab::sandbox::Postgres;

use super::{PATIENCE, POLL, clean_up, servers};

/// A test's database on a PostgreSQL server; removed when dropped.
pub(crate) struct Database {
    /// Unique per test run; letters, digits and underscores.
    name: String,
    admin_url: String,
    url: String,
    /// Whether the server outlives the test.
    stays: bool,
}

impl Database {
    /// A new database on the shared PostgreSQL. `name` is the test's, for server logs.
    pub(crate) async fn shared(name: &str) -> Self {
        Self::create(name, "", &servers::postgres().await.address, true).await
    }

    /// The same with text in this encoding.
    pub(crate) async fn encoded(name: &str, encoding: &str) -> Self {
        let options = format!("encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0");
        Self::create(name, &options, &servers::postgres().await.address, true).await
    }

    /// A new database on a PostgreSQL that belongs to this test, and is removed with it.
    pub(super) async fn of_own(name: &str, postgres: Option<&Postgres>) -> Self {
        Self::create(name, "", &postgres.expect("a PostgreSQL was asked for").url(), false).await
    }

    async fn create(name: &str, options: &str, admin_url: &str, stays: bool) -> Self {
        let unique = uuid::Uuid::now_v7().simple().to_string();
        let name = format!("{}_{}", name.replace(|symbol: char| !symbol.is_ascii_alphanumeric(), "_"), &unique[24..]);
        let name = name.to_lowercase();
        let mut url = url::Url::parse(admin_url).expect("the server's address is a URL");
        url.set_path(&name);
        let admin = connect(admin_url).await;
        admin
            .batch_execute(&format!("create database {name} {options}"))
            .await
            .expect("a superuser can create a database");
        Self { name, admin_url: admin_url.to_owned(), url: url.into(), stays }
    }

    /// The same database on a copy of this server on the same machine, which is removed with that server.
    pub(super) fn at_port(&self, port: u16) -> Self {
        let at_port = |url: &str| {
            let mut url = url::Url::parse(url).expect("the server's address is a URL");
            url.set_port(Some(port)).expect("the URL has a host");
            url.into()
        };
        Self { name: self.name.clone(), admin_url: at_port(&self.admin_url), url: at_port(&self.url), stays: false }
    }

    /// The superuser's URL of this test's database.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The name of this test's database; unique, so it also serves as the name of a slot or role.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A new session in this test's database, for transactions.
    pub(crate) async fn session(&self) -> Client {
        connect(&self.url).await
    }

    /// A new session of another role, or in another database.
    pub(crate) async fn session_at(&self, url: &str) -> Client {
        connect(url).await
    }

    /// Runs statements, separated by semicolons, in a new session.
    pub(crate) async fn execute(&self, sql: &str) {
        self.session().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The rows of a query without parameters, in a new session.
    pub(crate) async fn query(&self, sql: &str) -> Vec<Row> {
        self.session().await.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// The single value of a query that returns text.
    pub(crate) async fn query_text(&self, sql: &str) -> Option<String> {
        self.query(sql).await.first().and_then(|row| row.get(0))
    }

    /// Waits until a query's single boolean is true; fails with the query after [`PATIENCE`]. A failed connection, as
    /// after a kill, counts as false.
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
}

impl Drop for Database {
    /// Restores the server.
    fn drop(&mut self) {
        if self.stays {
            let (admin_url, name) = (self.admin_url.clone(), self.name.clone());
            let what = format!("the test's database {name} and its slots");
            clean_up(&what, async move { drop_database(&admin_url, &name).await });
        }
    }
}

/// Terminates the database's sessions, drops its slots, then the database.
async fn drop_database(admin_url: &str, name: &str) {
    let admin = connect(admin_url).await;
    let end = "select pg_terminate_backend(active_pid) from pg_replication_slots where database = $1 and active";
    let free =
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1 and not active";
    let left = "select count(*) from pg_replication_slots where database = $1";
    let since = Instant::now();
    loop {
        // A slot that is acquired again in the meantime is dropped in the next round.
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

pub(super) async fn try_connect(url: &str) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let config: tokio_postgres::Config = url.parse()?;
    let (Some(Host::Tcp(host)), Some(port)) = (config.get_hosts().first(), config.get_ports().first()) else {
        panic!("the test's PostgreSQL is reached over TCP, with a host and a port")
    };
    let socket = tokio::net::TcpStream::connect((host.as_str(), *port)).await?;
    let (client, connection) = config.connect_raw(socket, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
