//! `walpost.toml` and the environment to a typed [`Config`]; nothing behind this module sees a raw string.
//!
//! Every key may stand in the file or in an environment variable, `WALPOST_<SECTION>__<KEY>`, which goes before the file.
//! All mistakes are reported at once, each with its place and its mend; unknown keys are mistakes. Secrets (the URL of the
//! database, the values of librdkafka's properties) show in no output. `examples/walpost.toml` has every key with its
//! default.
//!
//! The log is set up before the configuration is read, so that its keys are variables and options alone: see
//! [`telemetry::logs`](crate::telemetry::logs).
//!
//! # Layout
//!
//! - `file`, `environment`: text to a `tree` of values, each with the place where it was written
//! - `reader`: from the tree to types, gathering mistakes
//! - a file for each section: `postgres`, `kafka`, `relay`, `outbox`, `http`
//! - `destinations`: where records may go
//! - `limits`: what must agree between sections

mod destinations;
mod environment;
mod error;
mod file;
mod http;
mod kafka;
mod limits;
mod names;
pub(crate) mod nearest;
pub mod outbox;
mod postgres;
mod quantity;
mod reader;
mod relay;
mod secret;
mod template;
mod tree;
mod uri;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

pub use environment::process_environment;
pub use error::{ConfigError, ConfigErrors, Origin};
pub use http::HttpConfig;
pub use kafka::{AdminApi, Delivery, KafkaConfig, KafkaProperties};
pub use limits::REWIND_SLOT_END;
pub use names::{SlotName, TableName, TopicName};
pub use postgres::PostgresConfig;
pub use relay::{RelayConfig, Rewind};

use error::Complaint;
use postgres::Environment;
use reader::{Findings, Section};
use tree::{Node, Table};

use crate::relay::decode::outbox::Outbox;
use crate::relay::route::destination::Destinations;

/// The file that is read where no other is named, if it is there.
pub const DEFAULT_FILE: &str = "walpost.toml";

/// Everything that `walpost run` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[postgres]`.
    pub postgres: PostgresConfig,
    /// `[kafka]`.
    pub kafka: KafkaConfig,
    /// `[relay]`.
    pub relay: RelayConfig,
    /// `[[outbox]]`: at least one. The keys are described in [`outbox`].
    pub outboxes: Vec<Outbox>,
    /// `[http]`.
    pub http: HttpConfig,
}

impl Config {
    /// Reads the file at `path` (without one, [`DEFAULT_FILE`] if it is there) and the variables of `environment`, for which
    /// see [`process_environment`].
    ///
    /// # Errors
    ///
    /// All mistakes that were made.
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
        let rules = destinations::Rules { destinations: &relay.destinations(), style: relay.headers };
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
    /// Reads `[postgres]` alone, for the commands that need no Kafka. The other sections are not looked at, beyond the
    /// file being TOML and their names being right.
    ///
    /// # Errors
    ///
    /// All mistakes that were made in it.
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

/// Every key there is, with its section, in the order of `examples/walpost.toml`; the keys of an outbox table are those of
/// the first one (`outbox.0.table`).
#[must_use]
pub fn keys() -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for preset in ["walpost", "debezium"] {
        let here: Arc<Path> = Arc::from(Path::new(DEFAULT_FILE));
        let text = format!("outbox = [{{ preset = \"{preset}\" }}]");
        let table = file::parse(&here, &text).expect("this text is TOML");
        let mut findings = Findings::new(Origin::Nowhere);
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

/// The configuration before it is typed.
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
        let home = path.map_or(Origin::Nowhere, |path| Origin::File(Arc::from(path)));
        let mut table = path.map(file::read).transpose().map_err(ConfigErrors)?.unwrap_or_default();
        let environment: Vec<_> = environment.into_iter().collect();
        let mut findings = Findings::new(home);
        environment::overlay(&mut table, &environment, &keys(), &mut findings);
        // The log's keys are variables alone, and somebody will look for them here.
        if let Some(Node { origin, .. }) = table.remove("log") {
            let mend = "set WALPOST_LOG and WALPOST_LOG_FORMAT, or the options --log and --log-format";
            findings.refuse("log", origin, Complaint::new("the log is not configured in the file", mend));
        }
        Ok(Self { table, findings, environment: environment.into_iter().collect() })
    }
}

fn look_up(environment: &HashMap<String, String>) -> impl Fn(&str) -> Option<String> + '_ {
    |name| environment.get(name).cloned()
}

impl Destinations {
    /// Reads what `[relay]` says of topics, for commands that need neither of the servers. The other sections are not looked at.
    ///
    /// # Errors
    ///
    /// All mistakes that were made in it.
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
