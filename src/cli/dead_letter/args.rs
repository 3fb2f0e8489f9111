//! Arguments of the dead-letter commands.

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::kafka_property::Property;
use crate::cli::since::moment;
use crate::ops::dead_letters::{DeadLetterId, DeadLetterSelection, Mark};
use crate::relay::boundary::RefusalCode;

/// Longest reason, in bytes: it is stored in every mark of the run.
const REASON_BYTES_MAX: usize = 500;

/// Inspect dead letters, redrive them after a fix, or discard them.
#[derive(Args, Clone, Debug)]
pub struct DeadLetterArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub command: DeadLetterCommand,
}

/// Subcommands of `walpost dead-letter`.
#[derive(Clone, Debug, Subcommand)]
pub enum DeadLetterCommand {
    /// List the newest dead letters, without payloads.
    List(ListArgs),
    /// Show one dead letter in full: headers, key and payload.
    Show(ShowArgs),
    /// Publish dead letters again, each exactly once, if they pass the current contracts. Exits with 65 if some do not.
    Redrive(RedriveArgs),
    /// Mark dead letters as discarded, with a reason, so that redrive skips them. They stay in their topic.
    Discard(DiscardArgs),
}

/// How to reach Kafka.
#[derive(Args, Clone, Debug, Default)]
pub struct KafkaArgs {
    /// Kafka bootstrap servers, host:port,...; overrides the configuration.
    #[arg(long, value_name = "SERVERS")]
    pub kafka: Option<String>,

    /// A librdkafka property needed to connect, such as security.protocol=SSL; repeatable.
    #[arg(long, value_name = "NAME=VALUE", value_parser = Property)]
    pub kafka_property: Vec<(String, String)>,
}

/// Which dead letters to select.
#[derive(Args, Clone, Debug, Default)]
pub struct FilterArgs {
    /// Select dead letters of this relay (header outbox-relay) [default: the configured relay].
    #[arg(long, value_name = "NAME")]
    pub relay: Option<String>,

    /// Select by schema: name or name/version.
    #[arg(long, value_name = "NAME")]
    pub contract: Option<String>,

    /// Select by refusal code, such as unknown_schema.
    #[arg(long, value_name = "CODE", value_parser = code)]
    pub code: Option<RefusalCode>,

    /// Select events committed at this time or later: an age such as 2h, or 2026-11-21T20:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<i64>,

    /// Select events committed before this time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<i64>,
}

/// Dead letters given by id or selected, never all by omission.
#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("which").args(["dead_letters", "all", "contract", "code", "since", "until"]).required(true).multiple(true))]
pub struct ChosenArgs {
    /// Ids as shown by list: partition/offset, such as 0/12.
    #[arg(value_name = "ID", conflicts_with_all = ["all", "contract", "code", "since", "until"])]
    pub dead_letters: Vec<DeadLetterId>,

    /// Select all dead letters of the relay.
    #[arg(long, conflicts_with_all = ["contract", "code", "since", "until"])]
    pub all: bool,

    /// Which dead letters to select.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// The state of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeadLetterState {
    /// Neither redriven nor discarded.
    Open,
    /// Redriven.
    Redriven,
    /// Discarded.
    Discarded,
}

impl DeadLetterState {
    /// Whether a dead letter with this mark is in this state.
    #[must_use]
    pub const fn is(self, mark: Option<&Mark>) -> bool {
        matches!(
            (self, mark),
            (Self::Open, None) | (Self::Redriven, Some(Mark::Redriven)) | (Self::Discarded, Some(Mark::Discarded(_)))
        )
    }
}

/// Arguments of [`DeadLetterCommand::List`].
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// Which dead letters to select.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// Select by state.
    #[arg(long, value_name = "STATE")]
    pub state: Option<DeadLetterState>,

    /// List at most this many, keeping the newest; counts include all.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,

    /// How to reach Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of [`DeadLetterCommand::Show`].
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The dead letter's id as shown by list: partition/offset, such as 0/12.
    #[arg(value_name = "ID")]
    pub dead_letter: DeadLetterId,

    /// The relay that wrote it [default: the configured relay].
    #[arg(long, value_name = "NAME")]
    pub relay: Option<String>,

    /// Show key, payload and headers in hexadecimal, even if they are text.
    #[arg(long)]
    pub hex: bool,

    /// How to reach Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of [`DeadLetterCommand::Redrive`].
#[derive(Args, Clone, Debug)]
pub struct RedriveArgs {
    /// Which dead letters to take.
    #[command(flatten)]
    pub chosen: ChosenArgs,

    /// Include discarded dead letters.
    #[arg(long)]
    pub discarded: bool,

    /// Publish nothing; show what would be published.
    #[arg(long)]
    pub dry_run: bool,

    /// Connect to this database; overrides the configuration.
    // The value may hold a password, so the help does not show it.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// How to reach Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of [`DeadLetterCommand::Discard`].
#[derive(Args, Clone, Debug)]
pub struct DiscardArgs {
    /// Which dead letters to take.
    #[command(flatten)]
    pub chosen: ChosenArgs,

    /// Why they are discarded; stored with each mark, and shown by list --json and show.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: String,

    /// Mark nothing; show what would be marked.
    #[arg(long)]
    pub dry_run: bool,

    /// How to reach Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

impl FilterArgs {
    /// The selection; `relay` applies unless `--relay` names another.
    pub(super) fn selection(&self, relay: &str) -> DeadLetterSelection {
        let Self { relay: named, contract, code, since, until } = self.clone();
        let relay = Some(named.unwrap_or_else(|| relay.to_owned()));
        DeadLetterSelection { relay, contract, code, since, until, ..DeadLetterSelection::default() }
    }
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("give a reason".to_owned()),
        text if text.len() > REASON_BYTES_MAX => Err(format!("the reason may have at most {REASON_BYTES_MAX} bytes")),
        text => Ok(text.to_owned()),
    }
}

fn code(text: &str) -> Result<RefusalCode, String> {
    let codes = RefusalCode::ALL;
    codes
        .into_iter()
        .find(|code| code.as_str() == text)
        .ok_or_else(|| format!("expected one of {}", codes.map(RefusalCode::as_str).join(", ")))
}
