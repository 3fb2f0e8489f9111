//! Marks of one dead-letter topic are written by one command at a time: whoever takes its transactional id fences the one before, and
//! ends the transaction that it left open.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::dead_letter::DeadLetter;
use super::dead_letter_reader::{DeadLetterReadError, DeadLetterReader};
use super::error::RedriveError;
use super::marks::{self, REDRIVEN_TOPIC};
use super::selection::{Others, Selection};
use crate::relay::boundary::Timestamp;
use crate::sink::{BatchWriter, ProducerOptions, Span, Topics};

/// Letters that are read ahead.
const AHEAD: usize = 16;

/// Takes the transactional id, having made sure of the topic of marks.
pub(super) async fn open(
    topics: &Topics,
    create_topics: bool,
    options: &ProducerOptions,
    dead_letter_topic: &str,
) -> Result<BatchWriter, RedriveError> {
    let marks = topics.ensure(REDRIVEN_TOPIC, &marks::topic_settings(), create_topics).await?;
    marks.map_err(RedriveError::NoMarks)?;
    if topics.facts(REDRIVEN_TOPIC).is_some_and(|facts| facts.is_compacted == Some(false)) {
        tracing::warn!(
            topic = REDRIVEN_TOPIC,
            "the topic's cleanup.policy is not compact: marks may expire in it, and their letters be redriven twice"
        );
    }
    let writer = BatchWriter::open(options.clone(), format!("walpost-redrive.{dead_letter_topic}")).await;
    writer.map_err(|source| RedriveError::BatchOutcome { source, redriven: 0 })
}

/// Letters as they are read, and how many of other relays were passed over in the end.
pub(super) struct Reading {
    pub(super) dead_letters: mpsc::Receiver<DeadLetter>,
    end: JoinHandle<Result<Others, DeadLetterReadError>>,
}

impl Reading {
    /// Begins to read the letters that are meant. `progress` is told how many offsets of how many are behind.
    pub(super) fn begin(
        reader: &Arc<DeadLetterReader>,
        spans: Vec<Span>,
        selection: Selection,
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

    /// When there is no further letter.
    pub(super) async fn end(self) -> Result<Others, DeadLetterReadError> {
        self.end.await.expect("reading letters does not panic")
    }
}

/// Reads from Kafka on a thread that may block.
pub(super) async fn on_reader<T: Send + 'static>(
    reader: &Arc<DeadLetterReader>,
    read: impl FnOnce(&DeadLetterReader) -> Result<T, DeadLetterReadError> + Send + 'static,
) -> Result<T, DeadLetterReadError> {
    let reader = Arc::clone(reader);
    tokio::task::spawn_blocking(move || read(&reader)).await.expect("reading a topic does not panic")
}

/// The present.
pub(super) fn now() -> Timestamp {
    let micros = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))
}
