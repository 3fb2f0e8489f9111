//! A database of our own on a server: created, migrated, and dropped with its slots.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor, PgConnection};
use url::Url;

use super::error::EnvironmentError;
use super::servers::{close, connect, own_options};
use crate::migrations;
use crate::postgres::Connection;

/// How long a removal waits for the users of a slot to let go of it; then their sessions are ended.
const SLOT_PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits in all.
const SLOT_LIMIT: Duration = Duration::from_secs(10);
/// How often it looks.
const POLL: Duration = Duration::from_millis(50);
/// SQLSTATE `insufficient_privilege`.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A database that is made for the occasion. Its name is one that needs no quotes.
#[derive(Clone, Debug)]
pub(crate) struct ScratchDatabase {
    /// Its name.
    pub(crate) name: String,
    /// Its URL.
    pub(crate) url: Url,
    server_url: Url,
}

impl ScratchDatabase {
    /// One of this name on a server; nothing is made yet.
    pub(crate) fn name(name: &str, server_url: &Url) -> Self {
        let mut url = server_url.clone();
        url.set_path(name);
        Self { name: name.to_owned(), url, server_url: server_url.clone() }
    }

    /// Creates it and applies the migrations. Gives a session in it.
    pub(crate) async fn create(&self) -> Result<PgConnection, EnvironmentError> {
        let mut connection = connect(&self.server_url).await?;
        // template0: template1 may hold whatever somebody put there.
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

    /// Drops it and its slots, if it is there.
    pub(crate) async fn remove(&self) -> Result<(), EnvironmentError> {
        let mut connection = connect(&self.server_url).await?;
        self.free_slots(&mut connection).await?;
        // Takes the database's inactive slots along (PostgreSQL: "DROP DATABASE"); `force` is for a session that lingers.
        let drop = format!("drop database if exists {} with (force)", self.name);
        connection.execute(AssertSqlSafe(drop)).await.map_err(EnvironmentError::postgres("drop the database"))?;
        close(connection).await;
        Ok(())
    }

    /// Waits until nobody uses a slot of this database. A reader that was cut off may leave a walsender that is still there.
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
