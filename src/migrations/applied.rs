//! Compares the migrations that a database has with those of this walpost.

use crate::postgres::{Connection, Error, Row};

/// A migration of this walpost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MigrationStep {
    pub version: i64,
    /// Its description, from the file name.
    pub description: String,
    /// The digest of its SQL.
    pub checksum: Vec<u8>,
}

/// The migrations applied to a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AppliedSteps {
    /// Schema outbox does not exist.
    Nothing,
    /// Schema outbox exists, but there is no readable record of migrations.
    Unknown,
    /// Version number and SQL digest of each.
    Steps(Vec<(i64, Vec<u8>)>),
}

/// Schema outbox is what this walpost needs, as far as the record of migrations tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpToDate {
    /// There is no readable record of migrations.
    Unknown,
    /// With this many migrations.
    Same(usize),
    /// With this migration of a newer walpost besides.
    Newer(i64),
}

/// Schema outbox is not what this walpost needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MigrationGap {
    /// There is none.
    #[error("this database has no schema outbox: run `walpost migrate`")]
    NoSchema,
    /// A migration was not applied.
    #[error("migration {version} ({description}) is missing: run `walpost migrate`")]
    Missing {
        version: i64,
        /// What it brings.
        description: String,
    },
    /// A migration was applied with other SQL.
    #[error("migration {version} was applied with different SQL: compare `walpost migrate --print` with the database")]
    Changed { version: i64 },
}

/// The migrations of this walpost.
#[must_use]
pub(crate) fn known() -> Vec<MigrationStep> {
    let step = |migration: super::Migration| MigrationStep {
        version: migration.version,
        description: migration.description.to_owned(),
        checksum: migration.checksum(),
    };
    super::all().map(step).collect()
}

/// Compares the applied migrations with those of this walpost.
///
/// # Errors
/// [`MigrationGap`].
pub(crate) fn compare(applied: &AppliedSteps, known: &[MigrationStep]) -> Result<UpToDate, MigrationGap> {
    let steps = match applied {
        AppliedSteps::Nothing => return Err(MigrationGap::NoSchema),
        AppliedSteps::Unknown => return Ok(UpToDate::Unknown),
        AppliedSteps::Steps(steps) => steps,
    };
    for MigrationStep { version, description, checksum } in known {
        match steps.iter().find(|(applied, _)| applied == version) {
            None => return Err(MigrationGap::Missing { version: *version, description: description.clone() }),
            Some((_, found)) if found != checksum => return Err(MigrationGap::Changed { version: *version }),
            Some(_) => {}
        }
    }
    let newer = steps.iter().find(|(version, _)| known.iter().all(|step| step.version != *version));
    Ok(newer.map_or(UpToDate::Same(steps.len()), |(version, _)| UpToDate::Newer(*version)))
}

/// Reads which migrations were applied.
///
/// # Errors
/// Those of the connection.
pub(crate) fn read_applied(control: &mut Connection) -> Result<AppliedSteps, Error> {
    // Asked of the catalog: to_regclass needs privileges on the schema.
    let rows = control.simple_query(
        "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                where n.nspname = 'outbox' and c.relname = 'schema_version'), \
         (select has_schema_privilege(n.oid, 'usage') and has_column_privilege(c.oid, 'version', 'select') \
                and has_column_privilege(c.oid, 'success', 'select') and has_column_privilege(c.oid, 'checksum', 'select') from pg_class c \
                join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'outbox' and c.relname = '_migrations')",
    )?;
    let is_true = |column| rows.first().is_some_and(|row| row.is_true(column));
    if !is_true(0) {
        return Ok(AppliedSteps::Nothing);
    }
    if !is_true(1) {
        return Ok(AppliedSteps::Unknown);
    }
    let sql = "select version, encode(checksum, 'hex') from outbox._migrations where success order by version";
    let rows = control.simple_query(sql)?;
    let step = |row: &Row| Some((row.text(0)?.parse().ok()?, row.hex(1)?));
    Ok(AppliedSteps::Steps(rows.iter().filter_map(step).collect()))
}
