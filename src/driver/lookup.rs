//! Answers the core's requests, one at a time. An outage is no answer: the question is put again until there is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::contracts;
use crate::postgres::{self, ConnectOptions, Connection, sqlstate};
use crate::relay::boundary::{Answer, Request, SchemaVersion, SchemaVersionId};
use crate::sink::Topics;
use crate::source::SourceError;
use crate::telemetry::Telemetry;

/// The shortest and the longest wait before a question is put again.
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// Whom to ask.
pub(super) struct Lookup {
    sources: Arc<Sources>,
    pending: Option<JoinHandle<Answer>>,
    turned_away: Arc<AtomicBool>,
}

struct Sources {
    postgres: ConnectOptions,
    topics: Arc<Topics>,
    create_topics: bool,
    telemetry: Arc<Telemetry>,
    turned_away: Arc<AtomicBool>,
}

impl Lookup {
    pub(super) fn new(
        postgres: ConnectOptions,
        topics: Arc<Topics>,
        create_topics: bool,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let turned_away = Arc::<AtomicBool>::default();
        let sources = Sources { postgres, topics, create_topics, telemetry, turned_away: Arc::clone(&turned_away) };
        Self { sources: Arc::new(sources), pending: None, turned_away }
    }

    /// Puts a question. One that was open is given up: the core waits for one answer at a time.
    pub(super) fn ask(&mut self, request: Request) {
        let sources = Arc::clone(&self.sources);
        let asked = tokio::spawn(async move { sources.answer(request).await });
        if let Some(given_up) = self.pending.replace(asked) {
            given_up.abort();
        }
    }

    /// Whether Postgres has turned a question away, as it takes no connections. Once for each time.
    pub(super) fn was_turned_away(&self) -> bool {
        self.turned_away.swap(false, Ordering::Relaxed)
    }

    /// The answer to the open question. Cancel-safe.
    pub(super) async fn answered(&mut self) -> Answer {
        let Some(pending) = &mut self.pending else { return std::future::pending().await };
        let answer = pending.await;
        self.pending = None;
        answer.expect("a look-up neither panics nor is aborted while it is waited for")
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if let Some(pending) = &self.pending {
            pending.abort();
        }
    }
}

impl Sources {
    async fn answer(&self, request: Request) -> Answer {
        let mut back_off = BACK_OFF_MIN;
        loop {
            let error = match self.try_answer(&request).await {
                Ok(answer) => {
                    self.telemetry.set_waiting_for(None);
                    return answer;
                }
                Err(error) => {
                    let of_postgres = error.chain().find_map(|cause| cause.downcast_ref::<postgres::Error>());
                    if of_postgres.and_then(postgres::Error::sqlstate) == Some(sqlstate::CANNOT_CONNECT_NOW) {
                        self.turned_away.store(true, Ordering::Relaxed);
                    }
                    format!("{error:#}")
                }
            };
            tracing::warn!(error, "look-up failed and is tried again");
            self.telemetry.note_error(error.as_str());
            self.telemetry.set_waiting_for(Some(error));
            tokio::time::sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }

    async fn try_answer(&self, request: &Request) -> anyhow::Result<Answer> {
        match request {
            Request::SchemaVersion(id) => {
                let (options, asked) = (self.postgres.clone(), id.clone());
                let found = tokio::task::spawn_blocking(move || schema_version(&options, &asked)).await??;
                Ok(Answer::SchemaVersion(id.clone(), found))
            }
            Request::Topic { name, settings } => {
                let topic = self.topics.ensure(name, settings, self.create_topics).await?;
                Ok(Answer::Topic(Arc::clone(name), topic))
            }
        }
    }
}

fn schema_version(options: &ConnectOptions, id: &SchemaVersionId) -> anyhow::Result<Option<SchemaVersion>> {
    let mut connection = Connection::open(options)?;
    let found = contracts::look_up(id, |sql, parameters| {
        let rows = connection.query(sql, parameters)?;
        let text = |row: &crate::postgres::Row, column| row.text(column).map(str::to_owned);
        Ok::<_, crate::postgres::Error>(rows.iter().map(|row| [text(row, 0), text(row, 1), text(row, 2)]).collect())
    });
    connection.close();
    match found {
        // It was registered with what the relay can't use, and can't be changed: its events are refused, not held up.
        Err(contracts::LookUpError::Malformed { id, source }) => {
            tracing::error!(schema_version = %id, error = %source, "schema version is malformed and counts as unknown");
            Ok(None)
        }
        Err(contracts::LookUpError::Query { source, .. })
            if source.sqlstate() == Some(sqlstate::INSUFFICIENT_PRIVILEGE) =>
        {
            let role = options.user().to_owned();
            Err(SourceError::NoPrivilege { role, doing: "read outbox.schema_version" }.into())
        }
        found => Ok(found?),
    }
}
