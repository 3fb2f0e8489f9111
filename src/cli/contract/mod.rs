//! `walpost contract`: plans and applies contract files, and shows what is registered.

mod text;
mod json;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::kafka_property::{Property, overridden};
use super::write;
use crate::config::{Config, PostgresConfig, process_environment};
use crate::contracts::apply::{self, ApplyError};
use crate::contracts::broker::Broker;
use crate::contracts::emissions;
use crate::contracts::files::{self, ContractFiles, FilesError};
use crate::contracts::odcs::Remark;
use crate::contracts::plan::Plan;
use crate::contracts::registered;
use crate::exit::{self, CommandError, EndsCommand};
use crate::postgres::Session;
use crate::relay::route::destination::Destinations;
use crate::terminal::Colour;

/// Default log filter. Failures are reported when the command ends.
pub(super) const LOG_FILTER: &str = "error";

/// Plan and apply data contracts, and show what is registered.
#[derive(Args, Clone, Debug)]
pub struct ContractArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub command: ContractCommand,
}

/// Subcommands of `walpost contract`.
#[derive(Clone, Debug, Subcommand)]
pub enum ContractCommand {
    /// Show what apply would change. Exits with 65 if a change is refused, for checks on pull requests.
    Plan(PlanArgs),
    /// Register the schema versions of contract files and create their topics, all or nothing. Safe to repeat.
    Apply(ApplyArgs),
    /// List the registered schemas and their versions.
    List(ListArgs),
    /// Show a schema: description, owner, topic, versions and what was emitted.
    Show(ShowArgs),
}

/// How to reach the database and Kafka.
#[derive(Args, Clone, Debug, Default)]
pub struct Servers {
    /// Connect to this database, as the owner of schema outbox; overrides the configuration.
    // The value may hold a password, so the help does not show it.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Kafka bootstrap servers, host:port,...; overrides the configuration.
    #[arg(long, value_name = "SERVERS")]
    pub kafka: Option<String>,

    /// A librdkafka property needed to connect, such as security.protocol=SSL; repeatable.
    #[arg(long, value_name = "NAME=VALUE", value_parser = Property)]
    pub kafka_property: Vec<(String, String)>,
}

/// Arguments of [`ContractCommand::Plan`].
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    /// Contract files, or directories to search for them recursively (.yaml, .yml).
    #[arg(value_name = "PATH", default_value = "contracts")]
    pub paths: Vec<PathBuf>,

    /// How to reach the database and Kafka.
    #[command(flatten)]
    pub servers: Servers,

    /// Connect to no server: only read the files and compare the versions in them with each other.
    #[arg(long, conflicts_with_all = ["kafka", "kafka_property"])]
    pub offline: bool,

    /// Print the report as one line of JSON, including mistakes and refusals.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of [`ContractCommand::Apply`].
#[derive(Args, Clone, Debug)]
pub struct ApplyArgs {
    /// Contract files, or directories to search for them recursively (.yaml, .yml).
    #[arg(value_name = "PATH", default_value = "contracts")]
    pub paths: Vec<PathBuf>,

    /// How to reach the database and Kafka.
    #[command(flatten)]
    pub servers: Servers,

    /// Print the report as one line of JSON, including mistakes and refusals.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of [`ContractCommand::List`].
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// Connect to this database; overrides the configuration.
    // The value may hold a password, so the help does not show it.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of [`ContractCommand::Show`].
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The schema's name, such as order.placed.
    #[arg(value_name = "NAME")]
    pub name: String,

    /// The version [default: the latest registered].
    #[arg(value_name = "VERSION")]
    pub which: Option<String>,

    /// Connect to this database; overrides the configuration.
    // The value may hold a password, so the help does not show it.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// There is no such schema or version.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not registered; `walpost contract list` shows what is")]
pub(super) struct Unregistered(String);

impl EndsCommand for Unregistered {
    fn exit_code(&self) -> u8 {
        exit::FAILED
    }
}

/// Runs a command on contracts and reports to `out`. `path` is the configuration file given with `--config`.
///
/// # Errors
/// The configuration, the files, a server or a change was refused; or writing the report failed.
pub(super) async fn run(
    args: &ContractArgs,
    path: Option<&Path>,
    out: &mut (impl Write + IsTerminal + Send),
) -> Result<(), CommandError> {
    match &args.command {
        ContractCommand::Plan(args) => plan(args, path, out).await,
        ContractCommand::Apply(args) => apply(args, path, out).await,
        ContractCommand::List(args) => list(args, path, out).await,
        ContractCommand::Show(args) => show(args, path, out).await,
    }
}

async fn plan(
    args: &PlanArgs,
    path: Option<&Path>,
    out: &mut (impl Write + IsTerminal + Send),
) -> Result<(), CommandError> {
    let contracts = read(&args.paths, args.json, out)?;
    let plan = if args.offline {
        let destinations = Destinations::load(path, process_environment())?;
        let mut plan = Plan::new(&contracts.definitions, &[], None);
        plan.restrict(&destinations);
        plan
    } else {
        let Connected { mut connection, broker, destinations } = connect(&args.servers, path).await?;
        apply::plan(&contracts.definitions, &mut connection, &broker, &destinations).await?
    };
    report(&plan, &contracts.remarks, false, args.json, out)?;
    match plan.may_apply() {
        true => Ok(()),
        false => Err(ApplyError::Refused(Box::new(plan)).into()),
    }
}

async fn apply(
    args: &ApplyArgs,
    path: Option<&Path>,
    out: &mut (impl Write + IsTerminal + Send),
) -> Result<(), CommandError> {
    let contracts = read(&args.paths, args.json, out)?;
    let Connected { mut connection, broker, destinations } = connect(&args.servers, path).await?;
    let outcome = apply::apply(&contracts.definitions, &mut connection, &broker, &destinations).await;
    match &outcome {
        Ok(plan) => report(plan, &contracts.remarks, true, args.json, out)?,
        Err(ApplyError::Refused(plan)) => report(plan, &contracts.remarks, false, args.json, out)?,
        Err(_) => {}
    }
    outcome?;
    Ok(())
}

async fn list(args: &ListArgs, path: Option<&Path>, out: &mut (impl Write + IsTerminal)) -> Result<(), CommandError> {
    let mut connection = database(args.database_url.as_deref(), path).await?;
    let registered = registered::read(&mut connection, None).await?;
    write(out, &if args.json { json::list(&registered) } else { text::list(&registered) })
}

async fn show(args: &ShowArgs, path: Option<&Path>, out: &mut (impl Write + IsTerminal)) -> Result<(), CommandError> {
    let mut connection = database(args.database_url.as_deref(), path).await?;
    let names = [args.name.clone()];
    let versions = registered::read(&mut connection, Some(&names)).await?;
    let wanted = args.which.as_deref();
    let Some(version) = versions.iter().rev().find(|version| wanted.is_none_or(|wanted| version.version == wanted))
    else {
        let which = wanted.map(|version| format!("/{version}")).unwrap_or_default();
        return Err(Unregistered(format!("{}{which}", args.name)).into());
    };
    let emissions = emissions::count(&mut connection, &args.name).await?;
    let shown =
        if args.json { json::show(version, &versions, &emissions) } else { text::show(version, &versions, &emissions) };
    write(out, &shown)
}

/// Reads the contract files. Diagnostics are the error, and with `--json` also go to `out`.
fn read(paths: &[PathBuf], as_json: bool, out: &mut impl Write) -> Result<ContractFiles, CommandError> {
    let loaded = files::load(paths);
    if let Err(FilesError::Diagnostics(diagnostics)) = &loaded
        && as_json
    {
        write(out, &json::diagnostics(diagnostics))?;
    }
    Ok(loaded?)
}

fn report(
    plan: &Plan,
    remarks: &[Remark],
    is_done: bool,
    as_json: bool,
    out: &mut (impl Write + IsTerminal),
) -> Result<(), CommandError> {
    let colour = Colour::of(out);
    write(out, &if as_json { json::plan(plan, remarks, is_done) } else { text::plan(plan, remarks, is_done, colour) })
}

/// Connections to both servers, and the topics that events may go to.
struct Connected {
    connection: Session,
    broker: Broker,
    destinations: Destinations,
}

async fn connect(servers: &Servers, path: Option<&Path>) -> Result<Connected, CommandError> {
    let Servers { database_url, kafka, kafka_property } = servers;
    let environment = overridden(database_url.as_deref(), kafka.as_deref(), kafka_property);
    let config = Config::load(path, environment)?;
    let broker = Broker::new(&config.kafka)?;
    let connection = Session::open(&config.postgres.connect).await?;
    Ok(Connected { connection, broker, destinations: config.relay.destinations() })
}

async fn database(url: Option<&str>, path: Option<&Path>) -> Result<Session, CommandError> {
    let config = PostgresConfig::load(path, overridden(url, None, &[]))?;
    Ok(Session::open(&config.connect).await?)
}
