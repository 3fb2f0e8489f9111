//! `walpost dead-letter`: inspects, redrives and discards dead letters.

mod args;
mod text;
mod json;

use std::io::{IsTerminal, Write, stderr};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use indicatif::ProgressBar;

use super::kafka_property::overridden;
use super::write;
use crate::config::Config;
use crate::exit::{self, CommandError, EndsCommand};
use crate::fault::Fault;
use crate::ops::dead_letters::registry::ContractRegistry;
use crate::ops::dead_letters::{
    DeadLetter, DeadLetterId, DeadLetterReadError, DeadLetterReader, DeadLetterSelection, Discarding, Listing,
    MarkTarget, Others, Redriving,
};
use crate::postgres::Session;
use crate::sink::{Connection, FIRST_ANSWER, ProducerOptions, TopicRules, Topics};
use crate::terminal::style;

pub(super) use args::{
    ChosenArgs, DeadLetterArgs, DeadLetterCommand, DiscardArgs, KafkaArgs, ListArgs, RedriveArgs, ShowArgs,
};

/// Default log filter. Failures are reported when the command ends.
pub(super) const LOG_FILTER: &str = "error";

/// A dead-letter command did not do all that was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeadLetterFault {
    /// Some were not redriven: how many, and their topic.
    #[error("{0} dead letters in topic {1} were not redriven; the report says why")]
    NotRedriven(u64, String),
    /// There is no dead letter with these ids in this topic.
    #[error("no dead letter {0} in topic {1}; `walpost dead-letter list` shows the existing ones")]
    Missing(String, String),
    /// Dead letters given by id belong to other relays.
    #[error(
        "dead letter {ids} in topic {topic} belongs to another relay ({relays}); use that relay's configuration, or add --relay NAME"
    )]
    Foreign {
        /// Their ids, comma-separated.
        ids: String,
        /// The dead-letter topic.
        topic: String,
        /// The relays that wrote them, comma-separated.
        relays: String,
    },
}

impl EndsCommand for DeadLetterFault {
    fn exit_code(&self) -> u8 {
        match self {
            Self::NotRedriven(..) => exit::REFUSED,
            Self::Missing(..) | Self::Foreign { .. } => exit::FAILED,
        }
    }
}

/// Runs a command on dead letters and reports to `out`. `path` is the configuration file given with `--config`.
///
/// # Errors
/// The configuration, a server or a dead letter was refused; [`DeadLetterFault`]; or writing the report failed.
pub(super) async fn run(
    args: &DeadLetterArgs,
    path: Option<&Path>,
    out: &mut (impl Write + IsTerminal + Send),
) -> Result<(), CommandError> {
    match &args.command {
        DeadLetterCommand::List(args) => list(args, path, out).await,
        DeadLetterCommand::Show(args) => show(args, path, out).await,
        DeadLetterCommand::Redrive(args) => redrive(args, path, out).await,
        DeadLetterCommand::Discard(args) => discard(args, path, out).await,
    }
}

async fn list(args: &ListArgs, path: Option<&Path>, out: &mut impl Write) -> Result<(), CommandError> {
    let context = CommandContext::open(&args.kafka, None, path).await?;
    let (selection, state) = (args.filter.selection(&context.config.relay.name), args.state);
    let mut listing = Listing::new(usize::try_from(args.limit).unwrap_or(usize::MAX));
    let bar = bar();
    let (listing, others) = context
        .read(move |reader| {
            let marks = reader.marks()?;
            let spans = reader.spans()?;
            let mut take = |dead_letter: DeadLetter| {
                let mark = marks.of_dead_letter(&dead_letter);
                if state.is_none_or(|state| state.is(mark)) {
                    listing.take(&dead_letter, mark);
                }
                ControlFlow::Continue(())
            };
            bar.set_length(spans.iter().map(|span| u64::try_from(span.end - span.start).unwrap_or(0)).sum());
            let others = reader.dead_letters(&spans, &selection, &mut |passed| bar.set_position(passed), &mut take)?;
            bar.finish_and_clear();
            Ok((listing, others))
        })
        .await?;
    let report = if args.json { json::list } else { text::list };
    write(out, &report(&context.topic, &listing, &others))
}

async fn show(args: &ShowArgs, path: Option<&Path>, out: &mut impl Write) -> Result<(), CommandError> {
    let context = CommandContext::open(&args.kafka, None, path).await?;
    let id = args.dead_letter;
    let relay = args.relay.clone().unwrap_or_else(|| context.config.relay.name.clone());
    let (found, others) = context
        .read(move |reader| {
            let marks = reader.marks()?;
            let mut found = None;
            let selection =
                DeadLetterSelection { ids: [id].into(), relay: Some(relay), ..DeadLetterSelection::default() };
            let others = reader.dead_letters(&reader.spans()?, &selection, &mut |_| {}, &mut |dead_letter| {
                let mark = marks.of_dead_letter(&dead_letter).cloned();
                found = Some((dead_letter, mark));
                ControlFlow::Break(())
            })?;
            Ok((found, others))
        })
        .await?;
    let Some((dead_letter, mark)) = found else {
        conclude(context.topic, &[id], &others)?;
        return Ok(());
    };
    let shown = if args.json { json::show } else { text::show };
    write(out, &shown(&dead_letter, mark.as_ref(), args.hex))
}

async fn redrive(args: &RedriveArgs, path: Option<&Path>, out: &mut impl Write) -> Result<(), CommandError> {
    let context = CommandContext::open(&args.kafka, args.database_url.as_deref(), path).await?;
    let selection = context.selection(&args.chosen);
    let topic = context.topic.clone();
    let session = Session::open(&context.config.postgres.connect).await?;
    let setup = Redriving {
        destinations: context.config.relay.destinations(),
        registry: ContractRegistry::new(session, context.config.relay.schema_base.clone()),
        takes_discarded: args.discarded,
        target: context.target(args.dry_run),
    };
    let bar = bar();
    let outcome = crate::ops::dead_letters::redrive::redrive(setup, selection, follow(&bar)).await;
    bar.finish_and_clear();
    let outcome = outcome?;
    let report = if args.json { json::outcome } else { text::outcome };
    write(out, &report(&topic, &outcome, args.dry_run))?;
    if outcome.stays > 0 {
        return Err(DeadLetterFault::NotRedriven(outcome.stays, topic).into());
    }
    conclude(topic, outcome.missing.iter(), &outcome.others)
}

async fn discard(args: &DiscardArgs, path: Option<&Path>, out: &mut impl Write) -> Result<(), CommandError> {
    let context = CommandContext::open(&args.kafka, None, path).await?;
    let selection = context.selection(&args.chosen);
    let topic = context.topic.clone();
    let setup = Discarding { target: context.target(args.dry_run), reason: args.reason.clone() };
    let bar = bar();
    let outcome = crate::ops::dead_letters::discard::discard(setup, selection, follow(&bar)).await;
    bar.finish_and_clear();
    let outcome = outcome?;
    let report = if args.json { json::discarded } else { text::discarded };
    write(out, &report(&topic, &outcome, args.dry_run))?;
    conclude(topic, outcome.missing.iter(), &outcome.others)
}

/// Fails if dead letters given by id are missing or belong to other relays.
fn conclude<'a>(
    topic: String,
    missing: impl IntoIterator<Item = &'a DeadLetterId>,
    others: &Others,
) -> Result<(), CommandError> {
    if !others.named.is_empty() {
        let named: Vec<String> = others.named.iter().map(ToString::to_string).collect();
        let relays: Vec<String> = others.relays.keys().map(|relay| relay.escape_debug().to_string()).collect();
        return Err(DeadLetterFault::Foreign { ids: named.join(", "), topic, relays: relays.join(", ") }.into());
    }
    let missing: Vec<String> = missing.into_iter().map(ToString::to_string).collect();
    if missing.is_empty() { Ok(()) } else { Err(DeadLetterFault::Missing(missing.join(", "), topic).into()) }
}

/// What all subcommands share.
struct CommandContext {
    config: Config,
    options: ProducerOptions,
    topics: Topics,
    topic: String,
}

impl CommandContext {
    /// Reads the configuration and waits for Kafka to answer.
    async fn open(kafka: &KafkaArgs, database_url: Option<&str>, path: Option<&Path>) -> Result<Self, CommandError> {
        let KafkaArgs { kafka, kafka_property } = kafka;
        let environment = overridden(database_url, kafka.as_deref(), kafka_property);
        let config = Config::load(path, environment)?;
        let options = ProducerOptions {
            bootstrap_servers: config.kafka.bootstrap_servers.clone(),
            client_id: format!("walpost-{}", config.relay.name),
            compression: config.kafka.compression,
            properties: config.kafka.properties.to_map(),
            window: config.relay.window(),
        };
        let connection = Arc::<Connection>::default();
        let topics = Topics::new(&options, TopicRules::default(), Arc::clone(&connection))?;
        if !topics.reach(FIRST_ANSWER).await {
            let (servers, reason) = (options.bootstrap_servers, connection.last_failure());
            return Err(Fault::KafkaUnreachable { servers, within: FIRST_ANSWER, reason }.into());
        }
        let topic = config.relay.dead_letter_topic.as_str().to_owned();
        Ok(Self { config, options, topics, topic })
    }

    /// Which dead letters are meant: those of this relay that the filter takes, or those that are named.
    fn selection(&self, chosen: &ChosenArgs) -> DeadLetterSelection {
        let selection = chosen.filter.selection(&self.config.relay.name);
        DeadLetterSelection { ids: chosen.dead_letters.iter().copied().collect(), ..selection }
    }

    /// The configured dead-letter topic.
    fn target(self, is_dry_run: bool) -> MarkTarget {
        let Self { config, options, topics, topic: dead_letter_topic } = self;
        MarkTarget { options, topics, dead_letter_topic, create_topics: config.relay.create_topics, is_dry_run }
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DeadLetterReader) -> Result<T, DeadLetterReadError> + Send + 'static,
    ) -> Result<T, DeadLetterReadError> {
        let (options, topic) = (self.options.clone(), self.topic.clone());
        let reading = tokio::task::spawn_blocking(move || work(&DeadLetterReader::new(&options, &topic)?));
        reading.await.expect("reading dead letters does not panic")
    }
}

/// A progress bar of the offsets read; hidden if stderr is not a terminal.
fn bar() -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    ProgressBar::new(0).with_style(style("  {bar:30.cyan} {pos} of {len} dead letters, {per_sec}, {eta} left"))
}

/// Shows on a bar how far a command has read.
fn follow(bar: &ProgressBar) -> impl Fn(u64, u64) + Send + 'static {
    let bar = bar.clone();
    move |passed, total| {
        bar.set_length(total);
        bar.set_position(passed);
    }
}
