//! A database per test.

use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection};
use walpost::migrations::{self, Applied};
use walpost::postgres::{self, Connection};

use crate::harness;

/// A test's database, removed when dropped.
pub(crate) struct Database(harness::Database);

impl Database {
    /// An empty database.
    pub(crate) async fn empty() -> anyhow::Result<Self> {
        Ok(Self(harness::Database::shared("sql").await))
    }

    /// A database with every migration and two versions of `order.placed`.
    pub(crate) async fn migrated() -> anyhow::Result<Self> {
        let database = Self::empty().await?;
        database.migrate().await?;
        let mut connection = database.connect().await?;
        for version in ["1", "2"] {
            sqlx::query("select outbox.register_schema_version('order.placed', $1, 'orders')")
                .bind(version)
                .execute(&mut connection)
                .await?;
        }
        Ok(database)
    }

    /// Applies the migrations, and returns their names.
    pub(crate) async fn migrate(&self) -> anyhow::Result<Vec<Applied>> {
        self.with_own_client(migrations::migrate).await
    }

    /// Runs a closure with walpost's client, which blocks.
    pub(crate) async fn with_own_client<T, E>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> anyhow::Result<T>
    where
        T: Send + 'static,
        E: Into<anyhow::Error>,
    {
        let options = self.own_options();
        tokio::task::spawn_blocking(move || work(&mut Connection::open(&options)?).map_err(Into::into)).await?
    }

    pub(crate) fn own_options(&self) -> postgres::ConnectOptions {
        postgres::ConnectOptions::parse(self.0.url(), &|_| None).expect("the server's address is a URL")
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        PgConnectOptions::from_str(self.0.url()).expect("the server's address is a URL")
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<PgConnection> {
        Ok(self.options().connect().await?)
    }

    /// As the superuser with `set role`: grants are the role's, and no password is needed.
    pub(crate) async fn connect_as(&self, role: &str) -> anyhow::Result<PgConnection> {
        let mut connection = self.connect().await?;
        connection.execute(AssertSqlSafe(format!("set session authorization \"{role}\""))).await?;
        Ok(connection)
    }

    pub(crate) async fn connect_tokio(&self) -> tokio_postgres::Client {
        self.0.session().await
    }
}

/// A name that is unique on the server.
pub(crate) fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Runs statements without results.
pub(crate) async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.map(drop)
}

/// The only value of a query, as text.
pub(crate) async fn text(connection: &mut PgConnection, sql: &str) -> anyhow::Result<Option<String>> {
    let sql = format!("select (q.v)::text from ({sql}) q (v)");
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await?)
}

/// The SQLSTATE and message with which statements fail.
pub(crate) async fn refusal(connection: &mut PgConnection, sql: &str) -> anyhow::Result<(String, String)> {
    let error = match run(connection, sql).await {
        Ok(()) => anyhow::bail!("not refused: {sql}"),
        Err(error) => error,
    };
    let error = error.as_database_error().with_context(|| format!("{sql}: {error}"))?;
    Ok((error.code().unwrap_or_default().into_owned(), error.message().to_owned()))
}

/// Changes of a slot for publication `outbox` with `pgoutput`, including messages: each as its raw bytes.
pub(crate) async fn changes(connection: &mut PgConnection, slot: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let sql = "select data from pg_logical_slot_get_binary_changes($1, null, null, 'proto_version', '1', \
               'publication_names', 'outbox', 'messages', 'true')";
    Ok(sqlx::query_scalar(sql).bind(slot).fetch_all(connection).await?)
}

/// A new slot for [`changes`].
pub(crate) async fn slot(connection: &mut PgConnection) -> anyhow::Result<String> {
    let slot = unique("walpost_sql");
    sqlx::query("select pg_create_logical_replication_slot($1, 'pgoutput')").bind(&slot).execute(connection).await?;
    Ok(slot)
}
