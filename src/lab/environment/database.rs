//! A database for the demo or the benchmark: created, migrated, and dropped with its slots.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor, PgConnection};
use url::Url;

use super::error::EnvironmentError;
use super::servers::{close, connect, own_options};
use crate::migrations;
use crate::postgres::Connection;

/// How long a removal waits until a slot's users release it; then their sessions are terminated.
const SLOT_PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits in total.
const SLOT_LIMIT: Duration = Duration::from_secs(10);
/// The polling interval.
const POLL: Duration = Duration::from_millis(50);
/// SQLSTATE `insufficient_privilege`.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A database to create. Its name needs no quotes.
#[derive(Clone, Debug)]
pub(crate) struct ScratchDatabase {
    pub(crate) name: String,
    pub(crate) url: Url,
    server_url: Url,
}

impl ScratchDatabase {
    /// A database with this name on a server; creates nothing yet.
    pub(crate) fn name(name: &str, server_url: &Url) -> Self {
        let mut url = server_url.clone();
        url.set_path(name);
        Self { name: name.to_owned(), url, server_url: server_url.clone() }
    }

    /// Creates it and applies the migrations. Returns a session in it.
    pub(crate) async fn create(&self) -> Result<PgConnection, EnvironmentError> {
        let mut connection = connect(&self.server_url).await?;
        // template0, because template1 may contain anything.
        let create = format!("create database {} template template0", self.name);
        if let Err(error) = connection.execute(AssertSqlSafe(create)).await {
            let code = error.as_database_error().and_then(|error| error.code()).map(std::borrow::Cow::into_owned);
            if code.as_deref() != Some(INSUFFICIENT_PRIVILEGE) {
                return Err(EnvironmentError::postgres("create the database")(error));
            }
            let role = sqlx::query_scalar("select current_user::text").fetch_one(&mut connection).await;
            return Err(EnvironmentError::MayNotCreateDatabase {
                role: role.map_err(EnvironmentError::postgres("ask for the role"))?,
            });
        }
        close(connection).await;
        let options = own_options(&self.url)?;
        let migrating = tokio::task::spawn_blocking(move || {
            let mut connection = Connection::open(&options)?;
            migrations::migrate(&mut connection)?;
            Ok::<_, EnvironmentError>(())
        });
        migrating.await.expect("migrating does not panic")?;
        connect(&self.url).await
    }

    /// Drops it and its slots, if it exists.
    pub(crate) async fn remove(&self) -> Result<(), EnvironmentError> {
        let mut connection = connect(&self.server_url).await?;
        self.free_slots(&mut connection).await?;
        // This drops the database's inactive slots too (PostgreSQL: "DROP DATABASE"); `force` terminates remaining sessions.
        let drop = format!("drop database if exists {} with (force)", self.name);
        connection.execute(AssertSqlSafe(drop)).await.map_err(EnvironmentError::postgres("drop the database"))?;
        close(connection).await;
        Ok(())
    }

    /// Waits until no slot of this database is in use. A reader whose connection was lost may have left a walsender.
    async fn free_slots(&self, connection: &mut PgConnection) -> Result<(), EnvironmentError> {
        let since = Instant::now();
        while since.elapsed() < SLOT_LIMIT {
            let holder: Option<i32> = sqlx::query_scalar(
                "select active_pid from pg_catalog.pg_replication_slots where database = $1 and active",
            )
            .bind(&self.name)
            .fetch_optional(&mut *connection)
            .await
            .map_err(EnvironmentError::postgres("look at the slots"))?
            .flatten();
            let Some(holder) = holder else { break };
            if since.elapsed() >= SLOT_PATIENCE {
                sqlx::query("select pg_catalog.pg_terminate_backend($1)")
                    .bind(holder)
                    .execute(&mut *connection)
                    .await
                    .map_err(EnvironmentError::postgres("end the session that holds a slot"))?;
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}
