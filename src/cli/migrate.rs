//! `walpost migrate`: creates or updates schema `outbox` and grants privileges to roles.

use std::io::Write;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::kafka_property::overridden;
use crate::config::{DEFAULT_FILE, PostgresConfig};
use crate::exit::{CommandError, Context};
use crate::migrations::{self, Advice, Applied, Roles};
use crate::postgres::{ConnectOptions, Connection, Interrupt, WaitLimit};
use crate::terminal::visible;

/// Create or update schema outbox in the database.
#[derive(Args, Clone, Debug, Default)]
pub struct MigrateArgs {
    /// Connect to this database, as the role that will own schema outbox; overrides the configuration.
    // The value may hold a password, so the help does not show it.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Print the SQL, including grants, instead of applying it; needs no database.
    #[arg(long)]
    pub print: bool,

    /// Grant this role only what it needs to emit events.
    #[arg(long, value_name = "ROLE")]
    pub writer_role: Option<String>,

    /// Grant this role only what the relay needs.
    #[arg(long, value_name = "ROLE")]
    pub relay_role: Option<String>,

    /// Print the report as one line of JSON.
    #[arg(long, conflicts_with = "print")]
    pub json: bool,
}

/// Applies or prints, and reports to `out`. `path` is the configuration file given with `--config`.
///
/// # Errors
/// No database was given, it can't be reached or migrated, or a role does not exist.
pub async fn run(args: &MigrateArgs, path: Option<&Path>, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
    if args.print {
        write!(out, "{}", migrations::sql(&roles(args)))?;
        return Ok(out.flush()?);
    }
    apply(args, database(args, path)?, out).await
}

/// Migrates this database and reports to `out`.
///
/// # Errors
/// As [`run`].
pub async fn apply(
    args: &MigrateArgs,
    options: ConnectOptions,
    out: &mut (impl Write + Send),
) -> Result<(), CommandError> {
    let roles = roles(args);
    let wanted = roles.clone();
    let (applied, advice) = tokio::task::spawn_blocking(move || {
        let mut connection = Connection::open(&options)?;
        // A migration may take any time.
        connection.set_wait_limit(WaitLimit::Until(Interrupt::default()));
        let applied = migrations::migrate(&mut connection).context("migrate schema outbox")?;
        let advice = migrations::grant(&mut connection, &wanted).context("grant privileges to roles")?;
        connection.close();
        Ok::<_, CommandError>((applied, advice))
    })
    .await??;
    report(args.json, &applied, &roles, &advice, out).context("write the report")
}

fn roles(args: &MigrateArgs) -> Roles {
    Roles { writer: args.writer_role.clone(), relay: args.relay_role.clone() }
}

fn database(args: &MigrateArgs, path: Option<&Path>) -> Result<ConnectOptions, CommandError> {
    let loaded = PostgresConfig::load(path, overridden(args.database_url.as_deref(), None, &[]));
    if args.database_url.is_none() && path.is_none() && !Path::new(DEFAULT_FILE).exists() {
        let loaded = loaded.context("no database given: use --database-url, set DATABASE_URL, or create walpost.toml");
        return Ok(loaded?.connect);
    }
    Ok(loaded?.connect)
}

/// The report for `--json`.
#[derive(Serialize)]
struct Report<'a> {
    applied: Vec<AppliedReport<'a>>,
    writer_role: Option<&'a str>,
    relay_role: Option<&'a str>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct AppliedReport<'a> {
    version: i64,
    description: &'a str,
    milliseconds: u128,
}

fn report(
    json: bool,
    applied: &[Applied],
    roles: &Roles,
    advice: &[Advice],
    out: &mut impl Write,
) -> std::io::Result<()> {
    if json {
        let report = Report {
            applied: applied
                .iter()
                .map(|a| AppliedReport {
                    version: a.version,
                    description: a.description,
                    milliseconds: a.took.as_millis(),
                })
                .collect(),
            writer_role: roles.writer.as_deref(),
            relay_role: roles.relay.as_deref(),
            warnings: advice.iter().map(ToString::to_string).collect(),
        };
        serde_json::to_writer(&mut *out, &report)?;
        writeln!(out)?;
        return out.flush();
    }
    for migration in applied {
        writeln!(
            out,
            "applied {:04} {} ({} ms)",
            migration.version,
            migration.description,
            migration.took.as_millis()
        )?;
    }
    if applied.is_empty() {
        writeln!(out, "schema outbox is up to date")?;
    }
    if let Some(role) = &roles.writer {
        writeln!(out, "role {} can emit events", visible(role))?;
    }
    if let Some(role) = &roles.relay {
        writeln!(out, "role {} can run the relay", visible(role))?;
    }
    for warning in advice {
        writeln!(out, "warning: {}", visible(&warning.to_string()))?;
    }
    out.flush()
}
