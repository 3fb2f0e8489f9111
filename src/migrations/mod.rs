//! The objects of schema `outbox`, and the rights of those who use them.
//!
//! The SQL is in `migrations/`, in files that never change once they are released. This module applies them, with bookkeeping in
//! our own schema (`outbox._migrations`), so that a service may use whatever it likes for its own migrations in the same database.
//! Table, checksums and lock are those of sqlx's migrator, which walpost used before: either continues after the other.

mod applied;
mod grants;
mod error;

use std::time::{Duration, Instant};

use sha2::{Digest, Sha384};

use crate::postgres::{Connection, Error, sqlstate};

pub(crate) use self::applied::read_applied;
pub(crate) use self::applied::{AppliedSteps, MigrationGap, MigrationStep, UpToDate, compare, known};
pub(crate) use self::error::MigrateError;
pub use self::grants::{Advice, GrantError, Roles, grant, grants_sql};

/// Every migration in order: number, what it brings, SQL.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "schema versions", include_str!("../../migrations/0001_schema_version.sql")),
    (2, "the outbox table and its publication", include_str!("../../migrations/0002_event.sql")),
    (3, "emit and emit_message", include_str!("../../migrations/0003_emit.sql")),
    (4, "the relay's state", include_str!("../../migrations/0004_relay.sql")),
    (5, "maintenance of partitions", include_str!("../../migrations/0005_maintain.sql")),
    (6, "onViolation", include_str!("../../migrations/0006_on_violation.sql")),
    (7, "bookmarks", include_str!("../../migrations/0007_positions.sql")),
    (8, "slot progress", include_str!("../../migrations/0008_slot.sql")),
    (10, "rows that Postgres can't send", include_str!("../../migrations/0010_unsendable.sql")),
    (12, "reserved topics", include_str!("../../migrations/0012_reserved_topics.sql")),
    (13, "keys of messages and positions", include_str!("../../migrations/0013_secret.sql")),
    (14, "locks and partitions", include_str!("../../migrations/0014_locks.sql")),
    (15, "headers of up to 1 MiB", include_str!("../../migrations/0015_headers.sql")),
    (16, "epochs and keys of positions", include_str!("../../migrations/0016_position_epoch.sql")),
    (17, "payloads that are not JSON", include_str!("../../migrations/0017_payload_bytes.sql")),
    (18, "bounds of partitions", include_str!("../../migrations/0018_partition_bounds.sql")),
];

/// Functions whose parameters a later migration changes. An earlier one that is applied by hand once more would make the old one
/// beside it, and a call would be ambiguous; so the new one goes first, and is made again further down.
const REMADE: &str = "drop function if exists outbox.register_schema_version(
    text, text, text, text, json, text, text, text, jsonb, jsonb, jsonb, text);\n";

/// Where everything lives, and which migrations were applied. `create` asks for rights on database and schema also where there is
/// nothing to create, which the owner of schema outbox need not have.
const BOOKKEEPING: &str = "
do $do$ begin
    if to_regnamespace('outbox') is null then
        create schema outbox;
    end if;
    if to_regclass('outbox._migrations') is null then
        create table outbox._migrations (
            version bigint primary key,
            description text not null,
            installed_on timestamptz not null default now(),
            success boolean not null,
            checksum bytea not null,
            execution_time bigint not null
        );
    end if;
end $do$";

/// How long another process may hold the migrations' lock. Who holds it after that is named.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// How long a migration waits for any one lock, in SQL: whoever writes events waits behind it.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '2s'";

/// For how long all is tried again where a lock was not to be had.
const BUSY_PATIENCE: Duration = Duration::from_secs(60);

/// How long those who write events have between two tries.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it brings.
    pub description: &'static str,
    /// How.
    pub sql: &'static str,
}

impl Migration {
    /// What the database keeps of the SQL, to tell whether it is the same later: SHA-384.
    #[must_use]
    pub fn checksum(&self) -> Vec<u8> {
        Sha384::digest(self.sql).to_vec()
    }

    /// The same in hexadecimal digits.
    fn checksum_digits(&self) -> String {
        self.checksum().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A migration that was just applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub version: i64,
    /// What it brought.
    pub description: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// All migrations in order.
pub fn all() -> impl ExactSizeIterator<Item = Migration> {
    MIGRATIONS.iter().map(|(version, description, sql)| Migration { version: *version, description, sql })
}

/// Applies what is missing, all or nothing, and says what that was. Of processes that do this at once, one works and the others
/// wait for it. It is one transaction, lock included, so it may go through a transaction pooler.
///
/// # Errors
/// A migration fails, was changed after it was applied, or is of a newer walpost. Nothing was applied.
pub fn migrate(connection: &mut Connection) -> Result<Vec<Applied>, MigrateError> {
    let since = Instant::now();
    loop {
        let outcome = attempt(connection);
        let is_busy = outcome.as_ref().is_err_and(MigrateError::is_busy);
        if !is_busy {
            return outcome;
        }
        if since.elapsed() >= BUSY_PATIENCE {
            let user = table_user(connection).ok().flatten();
            return outcome.map_err(|error| error.busy(user));
        }
        std::thread::sleep(BUSY_PAUSE);
    }
}

fn attempt(connection: &mut Connection) -> Result<Vec<Applied>, MigrateError> {
    // What others have committed while the lock was waited for must be seen; the session's default may be another level.
    connection.simple_query("begin isolation level read committed")?;
    let applied = lock(connection).and_then(|()| apply(connection));
    // Whether the rollback arrives makes no difference: the transaction ends with its connection.
    let ended = connection.simple_query(if applied.is_ok() { "commit" } else { "rollback" });
    let applied = applied.map_err(|error| named(error, connection))?;
    ended?;
    Ok(applied)
}

fn apply(connection: &mut Connection) -> Result<Vec<Applied>, MigrateError> {
    connection.simple_query(BOOKKEEPING)?;
    let done = connection.simple_query("select version, encode(checksum, 'hex'), success from outbox._migrations")?;
    let mut missing: Vec<Migration> = all().collect();
    for row in &done {
        let version = row.text(0).and_then(|version| version.parse().ok()).unwrap_or_default();
        let at = missing.iter().position(|migration| migration.version == version);
        let migration = missing.remove(at.ok_or(MigrateError::Unknown { version })?);
        if !row.is_true(2) {
            return Err(MigrateError::Unfinished { version });
        }
        if row.text(1) != Some(&migration.checksum_digits()) {
            return Err(MigrateError::Changed { version });
        }
    }
    if done.is_empty() {
        // The SQL may have been applied by hand.
        connection.simple_query(REMADE)?;
    }
    missing.into_iter().map(|migration| run(connection, migration)).collect()
}

fn run(connection: &mut Connection, migration: Migration) -> Result<Applied, MigrateError> {
    let Migration { version, description, sql } = migration;
    let since = Instant::now();
    connection.simple_query(sql).map_err(|source| MigrateError::Failed { version, source })?;
    let took = since.elapsed();
    let note = "insert into outbox._migrations (version, description, success, checksum, execution_time) \
                values ($1::bigint, $2, true, decode($3, 'hex'), $4::bigint)";
    let (number, checksum, nanos) = (version.to_string(), migration.checksum_digits(), took.as_nanos().to_string());
    connection.query(note, &[Some(&number), Some(description), Some(&checksum), Some(&nanos)])?;
    Ok(Applied { version, description, took })
}

/// Takes the lock that sqlx's migrator takes, for this transaction.
fn lock(connection: &mut Connection) -> Result<(), MigrateError> {
    let key = lock_key(connection)?;
    let limit = LOCK_PATIENCE.as_millis();
    let take =
        format!("set local lock_timeout = {limit}; select pg_catalog.pg_advisory_xact_lock({key}); {LOCK_TIMEOUT}");
    match connection.simple_query(&take) {
        Err(error) if error.sqlstate() == Some(sqlstate::LOCK_NOT_AVAILABLE) => {
            Err(MigrateError::Locked { holder: None, source: error })
        }
        outcome => {
            outcome?;
            Ok(())
        }
    }
}

/// The same with who holds the lock or owns the schema, now that the connection can be asked again.
fn named(error: MigrateError, connection: &mut Connection) -> MigrateError {
    if error.is_denial() {
        return denied(error, connection);
    }
    let MigrateError::Locked { source, .. } = error else { return error };
    let holder = lock_key(connection).and_then(|key| holder(connection, key)).ok().flatten();
    MigrateError::Locked { holder, source }
}

/// An error of missing privileges that says who owns the schema, or that this role may not create it.
fn denied(error: MigrateError, connection: &mut Connection) -> MigrateError {
    let sql = "select current_user, pg_catalog.current_database(), \
               (select pg_catalog.pg_get_userbyid(nspowner) from pg_catalog.pg_namespace where nspname = 'outbox')";
    let rows = connection.simple_query(sql).unwrap_or_default();
    let Some([role, database]) = rows.first().and_then(|row| Some([row.text(0)?, row.text(1)?])) else { return error };
    let (role, source) = (role.into(), Box::new(error));
    match rows[0].text(2) {
        None => MigrateError::NotOwner { role, database: database.into(), source },
        Some(owner) if *owner != *role => MigrateError::OtherOwner { role, owner: owner.into(), source },
        Some(_) => *source,
    }
}

fn holder(connection: &mut Connection, key: i64) -> Result<Option<String>, Error> {
    let sql = format!(
        "select format('process %s, role %s, application %s', l.pid, a.usename, a.application_name) \
         from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid \
         where l.locktype = 'advisory' and l.granted and l.objsubid = 1 \
         and (l.classid::bigint << 32 | l.objid::bigint) = {key} \
         and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())"
    );
    let rows = connection.simple_query(&sql)?;
    Ok(rows.first().and_then(|row| row.text(0)).map(str::to_owned))
}

/// Of the sessions that use a table of schema outbox, the one whose transaction is the oldest.
fn table_user(connection: &mut Connection) -> Result<Option<Box<str>>, Error> {
    let sql = "select format('process %s, role %s, application %s, in a transaction since %s', a.pid, a.usename, \
         a.application_name, a.xact_start) \
         from pg_catalog.pg_stat_activity a where a.pid <> pg_catalog.pg_backend_pid() and exists ( \
             select from pg_catalog.pg_locks l join pg_catalog.pg_class c on c.oid = l.relation \
             where l.pid = a.pid and l.granted and l.database = a.datid and a.datname = pg_catalog.current_database() \
               and c.relnamespace = pg_catalog.to_regnamespace('outbox')) \
         order by a.xact_start limit 1";
    let rows = connection.simple_query(sql)?;
    Ok(rows.first().and_then(|row| row.text(0)).map(Into::into))
}

/// The key of sqlx's lock: a number of its own times the CRC-32 of the database's name.
fn lock_key(connection: &mut Connection) -> Result<i64, Error> {
    let rows = connection.simple_query("select pg_catalog.current_database()")?;
    let name = rows.first().and_then(|row| row.text(0)).unwrap_or_default();
    Ok(0x3d32_ad9e * i64::from(crc32(name.as_bytes())))
}

/// CRC-32 as in gzip and Ethernet (CRC-32/ISO-HDLC).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// All SQL in order and the grants, for those who apply it with a tool of their own. One transaction: applied a second time it makes
/// functions of earlier migrations again, which nobody may see before the later ones have replaced them.
#[must_use]
pub fn sql(roles: &Roles) -> String {
    let mut sql = format!(
        "-- One transaction, all or nothing; keep it one. With psql: psql -X -v ON_ERROR_STOP=1 -f FILE\n\
         -- If it ends with a lock timeout, a long transaction is using a table of schema outbox: apply it again later.\n\
         begin isolation level read committed;\n{LOCK_TIMEOUT};\n\n\
         -- Allows this script to be applied again.\n{REMADE}\n"
    );
    for Migration { version, description, sql: text } in all() {
        sql.push_str(&format!("-- walpost migration {version}: {description}\n\n{text}\n"));
    }
    let grants = grants_sql(roles);
    if !grants.is_empty() {
        sql.push_str(&format!("-- grants\n\n{grants}\n"));
    }
    sql + "commit;\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_the_one_that_sqlx_takes() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn migrations_are_numbered_in_order() {
        let versions: Vec<i64> = all().map(|migration| migration.version).collect();
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    }
}
