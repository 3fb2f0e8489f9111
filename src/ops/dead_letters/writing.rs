//! What redrive and discard have in common: each reads the selected dead letters and writes marks.
//!
//! One command at a time writes marks of a dead-letter topic: a new one takes the transactional id, which fences the
//! previous one and aborts its open transaction.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::dead_letter::{DeadLetter, DeadLetterId};
use super::dead_letter_reader::{DeadLetterReadError, DeadLetterReader, distance};
use super::error::RedriveError;
use super::marks::{self, Mark, Marks, REDRIVEN_TOPIC};
use super::selection::{DeadLetterSelection, Others};
use crate::relay::boundary::{OwnedRecord, Timestamp};
use crate::sink::{BatchError, BatchOutcome, BatchWriter, ProducerOptions, Span, Topics};

/// Dead letters read ahead.
const AHEAD: usize = 16;

/// A dead-letter topic whose dead letters are marked.
pub(crate) struct MarkTarget {
    /// How to reach Kafka.
    pub options: ProducerOptions,
    /// Describes and creates topics.
    pub topics: Topics,
    pub dead_letter_topic: String,
    /// Whether a missing topic may be created.
    pub create_topics: bool,
    /// Report only; write nothing.
    pub is_dry_run: bool,
}

/// A command that marks dead letters.
pub(super) trait MarkingCommand {
    fn target(&self) -> &MarkTarget;

    /// Receives what writes the marks; not called in a dry run.
    fn set_writer(&mut self, writer: BatchWriter);

    async fn handle(&mut self, dead_letter: DeadLetter, mark: Option<&Mark>) -> Result<(), RedriveError>;

    /// Writes what is pending.
    async fn flush(&mut self) -> Result<(), RedriveError>;
}

/// What was found while the dead letters were read.
pub(super) struct Pass {
    /// Ids that were given and do not exist.
    pub(super) missing: BTreeSet<DeadLetterId>,
    pub(super) others: Others,
    pub(super) marks: Marks,
    pub(super) spans: Vec<Span>,
}

/// Hands each selected dead letter to the command. `progress` receives the offsets read and their total.
pub(super) async fn pass(
    command: &mut impl MarkingCommand,
    selection: DeadLetterSelection,
    progress: impl Fn(u64, u64) + Send + 'static,
) -> Result<Pass, RedriveError> {
    let MarkTarget { options, dead_letter_topic, is_dry_run, .. } = command.target();
    let is_dry_run = *is_dry_run;
    let reader = Arc::new(DeadLetterReader::new(options, dead_letter_topic)?);
    let spans = on_reader(&reader, DeadLetterReader::spans).await?;
    let total: u64 = spans.iter().map(|span| distance(span.start, span.end)).sum();
    let mut missing = selection.ids.clone();
    if total == 0 {
        let (others, marks) = (Others::default(), Marks::of(dead_letter_topic));
        return Ok(Pass { missing, others, marks, spans });
    }
    let marks = if is_dry_run {
        on_reader(&reader, DeadLetterReader::marks).await?
    } else {
        let writer = open(command.target()).await?;
        command.set_writer(writer);
        // Read only now: from here on, no other command adds marks.
        on_reader(&reader, DeadLetterReader::all_marks).await?
    };
    let mut reading = Reading::begin(&reader, spans.clone(), selection, total, progress);
    while let Some(dead_letter) = reading.dead_letters.recv().await {
        missing.remove(&dead_letter.id);
        let mark = marks.of_dead_letter(&dead_letter);
        command.handle(dead_letter, mark).await?;
    }
    let others = reading.end().await?;
    command.flush().await?;
    missing.retain(|id| !others.named.contains(id));
    Ok(Pass { missing, others, marks, spans })
}

/// Takes the transactional id after ensuring that the topic of marks exists.
async fn open(target: &MarkTarget) -> Result<BatchWriter, RedriveError> {
    let MarkTarget { options, topics, dead_letter_topic, create_topics, .. } = target;
    let marks = topics.ensure(REDRIVEN_TOPIC, &marks::topic_settings(), *create_topics).await?;
    marks.map_err(RedriveError::NoMarks)?;
    if topics.facts(REDRIVEN_TOPIC).is_some_and(|facts| facts.is_compacted == Some(false)) {
        tracing::warn!(
            topic = REDRIVEN_TOPIC,
            "topic of marks is not compacted (cleanup.policy): marks may expire, and dead letters be redriven twice"
        );
    }
    let writer = BatchWriter::open(options.clone(), format!("walpost-redrive.{dead_letter_topic}")).await;
    writer.map_err(|source| RedriveError::BatchOutcome { source, redriven: 0 })
}

/// Writes records, marks among them, in one transaction. `done` is how many dead letters were done before.
pub(super) async fn write(
    writer: &mut BatchWriter,
    records: Vec<OwnedRecord>,
    done: u64,
) -> Result<BatchOutcome, RedriveError> {
    writer.write(records).await.map_err(|source| match source {
        BatchError::Refused(refusal) => RedriveError::NoMarks(refusal),
        source => RedriveError::BatchOutcome { source, redriven: done },
    })
}

/// A stream of dead letters, and at its end the count of those of other relays.
struct Reading {
    dead_letters: mpsc::Receiver<DeadLetter>,
    end: JoinHandle<Result<Others, DeadLetterReadError>>,
}

impl Reading {
    /// Starts reading the selected dead letters. `progress` receives the offsets read and their total.
    fn begin(
        reader: &Arc<DeadLetterReader>,
        spans: Vec<Span>,
        selection: DeadLetterSelection,
        total: u64,
        progress: impl Fn(u64, u64) + Send + 'static,
    ) -> Self {
        let (sender, dead_letters) = mpsc::channel(AHEAD);
        let reader = Arc::clone(reader);
        let end = tokio::task::spawn_blocking(move || {
            reader.dead_letters(&spans, &selection, &mut |passed| progress(passed, total), &mut |dead_letter| {
                match sender.blocking_send(dead_letter) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            })
        });
        Self { dead_letters, end }
    }

    /// To be called after the last dead letter.
    async fn end(self) -> Result<Others, DeadLetterReadError> {
        self.end.await.expect("reading dead letters does not panic")
    }
}

/// Reads from Kafka on a blocking thread.
async fn on_reader<T: Send + 'static>(
    reader: &Arc<DeadLetterReader>,
    read: impl FnOnce(&DeadLetterReader) -> Result<T, DeadLetterReadError> + Send + 'static,
) -> Result<T, DeadLetterReadError> {
    let reader = Arc::clone(reader);
    tokio::task::spawn_blocking(move || read(&reader)).await.expect("reading a topic does not panic")
}

/// The current time.
pub(super) fn now() -> Timestamp {
    let micros = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))
}
