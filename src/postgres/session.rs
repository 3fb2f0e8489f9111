//! A connection for async code.

use tokio::task::spawn_blocking;

use super::connection::{Connection, Interrupt, WaitLimit};
use super::error::Error;
use super::options::ConnectOptions;
use super::row::Row;

/// A connection whose statements run on a thread for blocking work, and take as long as they need: whoever waits decides how long.
/// Dropping it ends what is still running.
#[derive(Debug)]
pub struct Session {
    /// None while a statement runs, and after one that was not waited for.
    connection: Option<Connection>,
    dropped: Interrupt,
}

impl Session {
    /// Connects for SQL.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open(options: &ConnectOptions) -> Result<Self, Error> {
        let options = options.clone();
        let opening = spawn_blocking(move || Connection::open(&options));
        let mut connection = opening.await.expect("connecting does not panic")?;
        let dropped = Interrupt::default();
        connection.set_wait_limit(WaitLimit::Until(dropped.clone()));
        Ok(Self { connection: Some(connection), dropped })
    }

    /// Runs one statement with parameters, as [`Connection::query`] does.
    ///
    /// # Errors
    /// As [`Connection::query`]; [`Error::Interrupted`] after a statement that was not waited for.
    pub async fn query(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Vec<Row>, Error> {
        let sql = sql.to_owned();
        let parameters: Vec<Option<String>> = parameters.iter().map(|value| value.map(str::to_owned)).collect();
        self.run(move |connection| {
            let parameters: Vec<Option<&str>> = parameters.iter().map(Option::as_deref).collect();
            connection.query(&sql, &parameters)
        })
        .await
    }

    /// Runs SQL without parameters, as [`Connection::simple_query`] does.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn simple_query(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        let sql = sql.to_owned();
        self.run(move |connection| connection.simple_query(&sql)).await
    }

    /// Sets what lasts as long as the session, as [`Connection::configure`] does.
    ///
    /// # Errors
    /// As [`Connection::configure`] and [`Session::query`].
    pub async fn configure(&mut self, sql: &str) -> Result<(), Error> {
        let sql = sql.to_owned();
        self.run(move |connection| connection.configure(&sql)).await
    }

    /// A setting that the server reported, such as `server_version`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.connection.as_ref()?.parameter(name)
    }

    async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mut connection = self.connection.take().ok_or(Error::Interrupted)?;
        let working = spawn_blocking(move || {
            let outcome = work(&mut connection);
            (connection, outcome)
        });
        let (connection, outcome) = working.await.expect("a statement does not panic");
        self.connection = Some(connection);
        outcome
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.dropped.set();
        if let Some(connection) = self.connection.take() {
            connection.close();
        }
    }
}
