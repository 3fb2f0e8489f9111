//! The cost of a statement in a business transaction: `outbox.emit` compared with a bare insert, in time, CPU and WAL.
//!
//! The prepared statements take turns, round by round, in one session: first many per transaction, which excludes the commit,
//! then one per transaction.

use std::time::Instant;

use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::error::BenchError;
use super::report::{EmitCost, Statement, median};
use super::stage::{SCHEMA, Stage};
use super::{Options, Shape};
use crate::lab::environment::{EnvironmentError, View};

/// Rounds per statement; the first one is not counted.
const ROUNDS: u64 = 11;
/// Maximum executions of a statement per turn: in one transaction, and in single-statement transactions.
const TOGETHER_MOST: u64 = 2_000;
const ALONE_MOST: u64 = 100;
/// The minimum of both, for small numbers of events.
const LEAST: u64 = 10;

/// The measurements of one turn.
#[derive(Clone, Copy)]
struct Account {
    at: Instant,
    cpu_nanos: Option<u64>,
    wal: i64,
}

/// Prepared once.
struct Session<'a> {
    connection: PgConnection,
    /// The server's process, if it runs on this machine.
    pid: Option<i32>,
    version: String,
    payloads: Vec<String>,
    view: &'a View,
}

impl Statement {
    const ALL: [Self; 5] = [Self::InsertOrder, Self::BareInsert, Self::InsertEvent, Self::Emit, Self::EmitMessage];

    /// The SQL. Each takes a key, and all but the first also a payload and a version.
    fn sql(self) -> String {
        let insert = |table| {
            format!(
                "insert into {table} (key, payload, schema_version, schema_name) values ($1, $2::text::json, $3, '{SCHEMA}')"
            )
        };
        match self {
            Self::InsertOrder => "insert into bench.shop_order (customer, total) values ($1, 44.80)".to_owned(),
            Self::BareInsert => insert("bench.bare"),
            Self::InsertEvent => insert("outbox.event"),
            Self::Emit => format!("select outbox.emit('{SCHEMA}', $1, $2::text::json, version => $3)"),
            Self::EmitMessage => format!("select outbox.emit_message('{SCHEMA}', $1, $2::text::json, version => $3)"),
        }
    }
}

/// Measures every statement, many per transaction and one per transaction.
pub(super) async fn measure(options: &Options, stage: &Stage, view: &View) -> Result<Vec<EmitCost>, BenchError> {
    let mut session = Session::open(stage, view).await?;
    let together = (options.events / 100).clamp(LEAST, TOGETHER_MOST);
    let alone = (options.events / 1_000).clamp(LEAST, ALONE_MOST);
    let mut costs = session.rounds(together, together).await?;
    costs.extend(session.rounds(1, alone).await?);
    let failed = || EnvironmentError::postgres("empty the tables");
    session.connection.execute("truncate outbox.event, bench.bare, bench.shop_order").await.map_err(failed())?;
    crate::lab::environment::close(session.connection).await;
    Ok(costs)
}

impl<'a> Session<'a> {
    async fn open(stage: &Stage, view: &'a View) -> Result<Self, BenchError> {
        let mut connection = stage.connect().await?;
        let version = stage.destinations(&mut connection, &Shape::DEFAULT).await?.version(0);
        let failed = || EnvironmentError::postgres("prepare the statements");
        let payloads = sqlx::query_scalar("select bench.payload(n) from generate_series(1, 100) n")
            .fetch_all(&mut connection)
            .await
            .map_err(failed())?;
        let pid: i32 =
            sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.map_err(failed())?;
        // The process title contains the name of our database, which is unique on this machine.
        let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_here = String::from_utf8_lossy(&title).contains(&stage.database.name);
        Ok(Self { connection, pid: is_here.then_some(pid), version, payloads, view })
    }

    /// Runs all rounds with this many statements per transaction and per turn.
    async fn rounds(&mut self, per_transaction: u64, turn: u64) -> Result<Vec<EmitCost>, BenchError> {
        let what =
            if per_transaction == 1 { "emitting, one per transaction" } else { "emitting, many per transaction" };
        let (view, mut figures) = (self.view, vec![[const { Vec::new() }; 3]; Statement::ALL.len()]);
        let doing = view.counting(what, ROUNDS);
        for round in 0..ROUNDS {
            for (statement, figures) in Statement::ALL.into_iter().zip(&mut figures) {
                let (before, after) = self.turn(statement, per_transaction, turn).await?;
                if round == 0 {
                    continue;
                }
                let each = |sum: f64| sum / turn as f64;
                figures[0].push(each((after.at - before.at).as_secs_f64() * 1e6));
                figures[1].push(each((after.wal - before.wal) as f64));
                let cpu = before.cpu_nanos.zip(after.cpu_nanos);
                figures[2].extend(cpu.map(|(before, after)| each((after - before) as f64 / 1e3)));
            }
            doing.reached(round + 1);
        }
        let costs = Statement::ALL.into_iter().zip(figures).map(|(statement, [micros, wal, cpu])| EmitCost {
            statement,
            per_transaction,
            micros: median(micros),
            server_cpu_micros: (!cpu.is_empty()).then(|| median(cpu)),
            wal_bytes: median(wal),
        });
        doing.done(&format!("measured: {what}"));
        Ok(costs.collect())
    }

    async fn turn(
        &mut self,
        statement: Statement,
        per_transaction: u64,
        turn: u64,
    ) -> Result<(Account, Account), BenchError> {
        let failed = || EnvironmentError::postgres("emit");
        if per_transaction > 1 {
            self.connection.execute("begin").await.map_err(failed())?;
        }
        let before = self.account().await.map_err(failed())?;
        let sql = statement.sql();
        for number in 0..turn {
            let payload = &self.payloads[usize::try_from(number).unwrap_or(0) % self.payloads.len()];
            let mut query = sqlx::query(AssertSqlSafe(sql.as_str())).bind("customer-4711");
            if statement != Statement::InsertOrder {
                query = query.bind(payload).bind(&self.version);
            }
            query.execute(&mut self.connection).await.map_err(failed())?;
        }
        let after = self.account().await.map_err(failed())?;
        if per_transaction > 1 {
            self.connection.execute("commit").await.map_err(failed())?;
        }
        Ok((before, after))
    }

    async fn account(&mut self) -> Result<Account, sqlx::Error> {
        let position = "select (pg_current_wal_insert_lsn() - '0/0')::bigint";
        let wal = sqlx::query_scalar(position).fetch_one(&mut self.connection).await?;
        // Nanoseconds on a CPU are the first field: see Documentation/scheduler/sched-stats.rst of the kernel.
        let spent = self.pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok());
        let cpu_nanos = spent.and_then(|text| text.split(' ').next()?.parse().ok());
        Ok(Account { at: Instant::now(), cpu_nanos, wal })
    }
}
