//! Marks of one dead-letter topic are written by one command at a time: whoever takes its transactional id fences the one before, and
//! ends the transaction that it left open.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::dead_letter::Letter;
use super::dead_letter_reader::{Shelf, ShelfError};
use super::marks::{self, REDRIVEN_TOPIC};
use super::redrive::RedriveError;
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
    writer.map_err(|source| RedriveError::Batch { source, redriven: 0 })
}

/// Letters as they are read, and how many of other relays were passed over in the end.
pub(super) struct Reading {
    pub(super) letters: mpsc::Receiver<Letter>,
    end: JoinHandle<Result<Others, ShelfError>>,
}

impl Reading {
    /// Begins to read the letters that are meant. `progress` is told how many offsets of how many are behind.
    pub(super) fn begin(
        shelf: &Arc<Shelf>,
        spans: Vec<Span>,
        selection: Selection,
        total: u64,
        progress: impl Fn(u64, u64) + Send + 'static,
    ) -> Self {
        let (sender, letters) = mpsc::channel(AHEAD);
        let shelf = Arc::clone(shelf);
        let end = tokio::task::spawn_blocking(move || {
            shelf.letters(&spans, &selection, &mut |passed| progress(passed, total), &mut |letter| match sender
                .blocking_send(letter)
            {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })
        });
        Self { letters, end }
    }

    /// When there is no further letter.
    pub(super) async fn end(self) -> Result<Others, ShelfError> {
        self.end.await.expect("reading letters does not panic")
    }
}

/// Reads from Kafka on a thread that may block.
pub(super) async fn on_shelf<T: Send + 'static>(
    shelf: &Arc<Shelf>,
    read: impl FnOnce(&Shelf) -> Result<T, ShelfError> + Send + 'static,
) -> Result<T, ShelfError> {
    let shelf = Arc::clone(shelf);
    tokio::task::spawn_blocking(move || read(&shelf)).await.expect("reading a topic does not panic")
}

/// The present.
pub(super) fn now() -> Timestamp {
    let micros = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))
}
