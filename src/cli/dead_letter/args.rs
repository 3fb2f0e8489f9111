//! What the commands take.

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::kafka_property::Property;
use crate::cli::since::moment;
use crate::ops::dead_letters::{DeadLetterId, Mark, Selection};
use crate::relay::boundary::RefusalCode;

/// Longest reason, in bytes: every mark of the run has it.
const REASON_BYTES_MAX: usize = 500;

/// Dead letters: what was refused and why, publishing it again after the fix, and discarding what is hopeless.
#[derive(Args, Clone, Debug)]
pub struct DeadLetterArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DeadLetterCommand,
}

/// What to do with dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum DeadLetterCommand {
    /// List dead letters: the newest, without their payloads.
    List(ListArgs),
    /// Show one dead letter whole: headers, key and payload.
    Show(ShowArgs),
    /// Publish dead letters again, each once, after checking them against the contracts as they are now; exits with 65 if some stay.
    Redrive(RedriveArgs),
    /// Mark dead letters as discarded, with a reason: they are not redriven any more. They stay in their topic.
    Discard(DiscardArgs),
}

/// Where Kafka is.
#[derive(Args, Clone, Debug, Default)]
pub struct KafkaArgs {
    /// The brokers. Stands in place of the configuration's.
    #[arg(long, value_name = "SERVERS")]
    pub kafka: Option<String>,

    /// A property of librdkafka that it takes to reach them, such as security.protocol=SSL; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = Property)]
    pub kafka_property: Vec<(String, String)>,
}

/// Which letters.
#[derive(Args, Clone, Debug, Default)]
pub struct FilterArgs {
    /// Letters of the relay of this name (header outbox-relay), in place of the configuration's.
    #[arg(long, value_name = "NAME")]
    pub relay: Option<String>,

    /// Letters of this schema: its name, or name/version.
    #[arg(long, value_name = "NAME")]
    pub contract: Option<String>,

    /// Letters that were refused for this reason, such as unknown_schema.
    #[arg(long, value_name = "CODE", value_parser = code)]
    pub code: Option<RefusalCode>,

    /// Letters whose record's time is not before this: the time at which the event was committed. How long ago (2h), or a moment.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<i64>,

    /// Letters whose record's time is before this.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<i64>,
}

/// What became of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Neither redriven nor discarded.
    Open,
    /// Redriven.
    Redriven,
    /// Discarded.
    Discarded,
}

impl State {
    /// Whether this mark makes it so.
    #[must_use]
    pub const fn is(self, mark: Option<&Mark>) -> bool {
        matches!(
            (self, mark),
            (Self::Open, None) | (Self::Redriven, Some(Mark::Redriven)) | (Self::Discarded, Some(Mark::Discarded(_)))
        )
    }
}

/// What [`DeadLetterCommand::List`] takes.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// Which letters.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// Only letters that are open, only those that were redriven, or only those that were discarded.
    #[arg(long, value_name = "STATE")]
    pub state: Option<State>,

    /// How many to list at most, the newest of all; the counts are of all.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,

    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Report in one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// What [`DeadLetterCommand::Show`] takes.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The letter, as list shows it: partition and offset, such as 0/12.
    #[arg(value_name = "LETTER")]
    pub dead_letter: DeadLetterId,

    /// The relay whose letter it is, in place of the configuration's.
    #[arg(long, value_name = "NAME")]
    pub relay: Option<String>,

    /// Show key, payload and headers in hexadecimal digits, also where they are text.
    #[arg(long)]
    pub hex: bool,

    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Report in one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// What [`DeadLetterCommand::Redrive`] takes.
#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("which").args(["letters", "all", "contract", "code", "since", "until"]).required(true).multiple(true))]
pub struct RedriveArgs {
    /// These letters, as list shows them: partition and offset, such as 0/12.
    #[arg(value_name = "LETTER", conflicts_with_all = ["all", "contract", "code", "since", "until"])]
    pub dead_letters: Vec<DeadLetterId>,

    /// All letters.
    #[arg(long, conflicts_with_all = ["contract", "code", "since", "until"])]
    pub all: bool,

    /// Which letters.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// Also letters that were discarded.
    #[arg(long)]
    pub discarded: bool,

    /// Publish nothing, and say what would be.
    #[arg(long)]
    pub dry_run: bool,

    /// The database. Stands in place of the configuration's.
    // The value is not shown in the help: it may hold a password.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Report in one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// What [`DeadLetterCommand::Discard`] takes.
#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("whose").args(["letters", "all", "contract", "code", "since", "until"]).required(true).multiple(true))]
pub struct DiscardArgs {
    /// These letters, as list shows them: partition and offset, such as 0/12.
    #[arg(value_name = "LETTER", conflicts_with_all = ["all", "contract", "code", "since", "until"])]
    pub dead_letters: Vec<DeadLetterId>,

    /// All letters.
    #[arg(long, conflicts_with_all = ["contract", "code", "since", "until"])]
    pub all: bool,

    /// Which letters.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// Why: it is kept with each letter's mark, and shown by list and show.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: String,

    /// Mark nothing, and say what would be.
    #[arg(long)]
    pub dry_run: bool,

    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Report in one line of JSON.
    #[arg(long)]
    pub json: bool,
}

impl FilterArgs {
    /// The letters of `relay`, unless another is named.
    pub(super) fn selection(&self, relay: &str) -> Selection {
        let Self { relay: named, contract, code, since, until } = self.clone();
        let relay = Some(named.unwrap_or_else(|| relay.to_owned()));
        Selection { relay, contract, code, since, until, ..Selection::default() }
    }
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say why".to_owned()),
        text if text.len() > REASON_BYTES_MAX => Err(format!("say it in at most {REASON_BYTES_MAX} bytes")),
        text => Ok(text.to_owned()),
    }
}

fn code(text: &str) -> Result<RefusalCode, String> {
    let codes = RefusalCode::ALL;
    codes
        .into_iter()
        .find(|code| code.as_str() == text)
        .ok_or_else(|| format!("there are {}", codes.map(RefusalCode::as_str).join(", ")))
}
