//! Reads `walpost.toml` and the environment into a typed [`Config`]; no code outside this module sees raw strings.
//!
//! Every key can be set in the file or in an environment variable, `WALPOST_<SECTION>__<KEY>`, which overrides the file. All
//! mistakes are reported at once, each with place and fix; unknown keys are mistakes. Secrets (the database URL, values of
//! librdkafka properties) appear in no output. `examples/walpost.toml` has every key with its default.
//!
//! Logging is set up before the configuration is read, so it is configured by variables and options only: see
//! `telemetry::logs`.
//!
//! # Layout
//!
//! - `file`, `environment`: text to a `tree` of values with their places
//! - `reader`: the tree to types, collecting mistakes
//! - one file per section: `postgres`, `kafka`, `relay`, `outbox`, `http`
//! - `rendering`: how an outbox table's events are written
//! - `destinations`: topics that records may go to
//! - `limits`: checks across sections

mod file;
mod environment;
mod tree;
mod reader;
pub(crate) mod nearest;
mod error;
mod postgres;
mod secret;
mod kafka;
mod names;
mod relay;
mod uri;
mod destinations;
pub(crate) mod outbox;
mod template;
mod rendering;
mod http;
pub(crate) mod quantity;
mod limits;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

pub(crate) use environment::process_environment;
pub(crate) use error::{ConfigErrors, ValueOrigin};
pub(crate) use http::HttpConfig;
pub(crate) use kafka::{AdminApi, Delivery, KafkaConfig};
pub(crate) use limits::REWIND_SLOT_END;
pub(crate) use postgres::PostgresConfig;
pub(crate) use relay::{RelayConfig, Rewind};

use error::Complaint;
use postgres::Environment;
use reader::{Findings, Section};
use tree::{Table, TreeNode};

use crate::relay::decode::outbox::Outbox;
use crate::relay::route::destination::Destinations;

/// The file that is read by default, if it exists.
pub const DEFAULT_FILE: &str = "walpost.toml";

/// The configuration of `walpost run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[postgres]`.
    pub postgres: PostgresConfig,
    /// `[kafka]`.
    pub kafka: KafkaConfig,
    /// `[relay]`.
    pub relay: RelayConfig,
    /// `[[outbox]]`: at least one. See `outbox` for the keys.
    pub outboxes: Vec<Outbox>,
    /// `[http]`.
    pub http: HttpConfig,
}

impl Config {
    /// Reads the file at `path` (by default [`DEFAULT_FILE`], if it exists) and the variables of `environment`, for which
    /// see `process_environment`.
    ///
    /// # Errors
    ///
    /// All mistakes.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let Raw { table, mut findings, environment } = Raw::gather(path, environment)?;
        let config = Self::read(table, &look_up(&environment), &mut findings);
        findings.or_errors(config)
    }

    fn read(table: Table, environment: Environment<'_>, findings: &mut Findings) -> Option<Self> {
        let mut root = Section::new("", table, findings);
        let postgres = PostgresConfig::read(root.section("postgres"), environment);
        let kafka = KafkaConfig::read(root.section("kafka"));
        let database = postgres.as_ref().map_or("", |postgres| postgres.connect.database());
        let relay = RelayConfig::read(root.section("relay"), database);
        let (node, findings) = root.take("outbox");
        let rules = destinations::OutboxRules { destinations: &relay.destinations(), style: relay.headers };
        let outboxes = outbox::read_all(node, &rules, findings);
        if let Some(kafka) = &kafka {
            limits::check(&relay, kafka, findings);
        }
        if let Some(postgres) = &postgres {
            limits::check_rewind(&relay, &postgres.slot, findings);
        }
        let http = HttpConfig::read(root.section("http"));
        root.finish();
        Some(Self { postgres: postgres?, kafka: kafka?, relay, outboxes, http })
    }
}

impl PostgresConfig {
    /// Reads only `[postgres]`, for commands that need no Kafka. Of the rest, only TOML syntax and section names are checked.
    ///
    /// # Errors
    ///
    /// All mistakes in it.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let Raw { table, mut findings, environment } = Raw::gather(path, environment)?;
        let mut root = Section::new("", table, &mut findings);
        let postgres = Self::read(root.section("postgres"), &look_up(&environment));
        for other in ["kafka", "relay", "outbox", "http"] {
            root.take(other);
        }
        root.finish();
        findings.or_errors(postgres)
    }
}

/// All keys with their sections, in the order of `examples/walpost.toml`; keys of outbox tables are listed for the first one
/// (`outbox.0.table`).
#[must_use]
pub fn keys() -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for preset in ["walpost", "debezium"] {
        let here: Arc<Path> = Arc::from(Path::new(DEFAULT_FILE));
        let text = format!("outbox = [{{ preset = \"{preset}\" }}]");
        let table = file::parse(&here, &text).expect("this text is TOML");
        let mut findings = Findings::new(ValueOrigin::Nowhere);
        Config::read(table, &|_| None, &mut findings);
        let asked = findings.keys.into_iter().filter(|key| key.contains('.'));
        for key in asked {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}

/// The raw configuration.
struct Raw {
    table: Table,
    findings: Findings,
    environment: HashMap<String, String>,
}

impl Raw {
    fn gather(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let default = Path::new(DEFAULT_FILE);
        let path = path.or_else(|| default.exists().then_some(default));
        let home = path.map_or(ValueOrigin::Nowhere, |path| ValueOrigin::File(Arc::from(path)));
        let mut table = path.map(file::read).transpose().map_err(ConfigErrors)?.unwrap_or_default();
        let environment: Vec<_> = environment.into_iter().collect();
        let mut findings = Findings::new(home);
        environment::overlay(&mut table, &environment, &keys(), &mut findings);
        // Logging has no keys in the file, but users will look for them here.
        if let Some(TreeNode { origin, .. }) = table.remove("log") {
            let fix = "set WALPOST_LOG and WALPOST_LOG_FORMAT, or use --log and --log-format";
            findings.refuse("log", origin, Complaint::new("logging is not configured in the file", fix));
        }
        Ok(Self { table, findings, environment: environment.into_iter().collect() })
    }
}

fn look_up(environment: &HashMap<String, String>) -> impl Fn(&str) -> Option<String> + '_ {
    |name| environment.get(name).cloned()
}

impl Destinations {
    /// Reads only the topics of `[relay]`, for commands that connect to no server.
    ///
    /// # Errors
    ///
    /// All mistakes in it.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let Raw { table, mut findings, .. } = Raw::gather(path, environment)?;
        let mut root = Section::new("", table, &mut findings);
        let relay = RelayConfig::read(root.section("relay"), "");
        for other in ["postgres", "kafka", "outbox", "http"] {
            root.take(other);
        }
        root.finish();
        findings.or_errors(Some(relay.destinations()))
    }
}
