//! Ensures that one command at a time writes marks of a dead-letter topic: a new one takes the transactional id, which fences the
//! previous one and aborts its open transaction.

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

/// Dead letters read ahead.
const AHEAD: usize = 16;

/// Takes the transactional id after ensuring that the topic of marks exists.
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
            "topic of marks is not compacted (cleanup.policy): marks may expire, and dead letters be redriven twice"
        );
    }
    let writer = BatchWriter::open(options.clone(), format!("walpost-redrive.{dead_letter_topic}")).await;
    writer.map_err(|source| RedriveError::BatchOutcome { source, redriven: 0 })
}

/// A stream of dead letters, and at its end the count of those of other relays.
pub(super) struct Reading {
    pub(super) dead_letters: mpsc::Receiver<DeadLetter>,
    end: JoinHandle<Result<Others, DeadLetterReadError>>,
}

impl Reading {
    /// Starts reading the selected dead letters. `progress` receives the offsets read and their total.
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

    /// To be called after the last dead letter.
    pub(super) async fn end(self) -> Result<Others, DeadLetterReadError> {
        self.end.await.expect("reading dead letters does not panic")
    }
}

/// Reads from Kafka on a blocking thread.
pub(super) async fn on_reader<T: Send + 'static>(
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
