//! Reads a dead-letter topic and its marks from Kafka. Blocking.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::dead_letter::DeadLetter;
use super::marks::{Marks, REDRIVEN_TOPIC};
use super::selection::{Others, Selection};
use crate::sink::{Isolation, ProducerOptions, ReadingError, SinkError, Span, TopicReader};

/// How long to wait for another redrive's open transaction to end: longer than Kafka's transaction timeout.
const HIDDEN: Duration = Duration::from_secs(90);
/// Interval between checks of whether it has ended.
const TICK: Duration = Duration::from_millis(50);

/// Reads one dead-letter topic.
pub struct DeadLetterReader {
    committed: TopicReader,
    uncommitted: TopicReader,
    topic: String,
}

/// Dead letters or marks can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterReadError {
    /// The client can't be created or fails.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Kafka can't be read.
    #[error(transparent)]
    Reading(#[from] ReadingError),
    /// An open transaction does not end.
    #[error(
        "a transaction on topic {REDRIVEN_TOPIC} has been open for more than {} s; find and abort it with kafka-transactions.sh find-hanging",
        HIDDEN.as_secs()
    )]
    Hidden,
}

impl DeadLetterReader {
    /// Creates the client without waiting for a broker.
    ///
    /// # Errors
    /// [`DeadLetterReadError::Sink`].
    pub fn new(options: &ProducerOptions, topic: &str) -> Result<Self, DeadLetterReadError> {
        let group = format!("{}-dead-letter", options.client_id);
        Ok(Self {
            committed: TopicReader::new(options, &group, Isolation::Committed)?,
            uncommitted: TopicReader::new(options, &group, Isolation::Uncommitted)?,
            topic: topic.to_owned(),
        })
    }

    /// The offsets that the dead-letter topic holds now, per partition; empty if the topic does not exist.
    ///
    /// # Errors
    /// [`DeadLetterReadError`].
    pub fn spans(&self) -> Result<Vec<Span>, DeadLetterReadError> {
        Ok(self.committed.spans(&self.topic)?.unwrap_or_default())
    }

    /// Passes each selected dead letter of these spans to `each`, by partition and offset, until it breaks; counts those of other
    /// relays. `passed` receives the number of offsets read.
    ///
    /// # Errors
    /// [`DeadLetterReadError`].
    pub fn dead_letters(
        &self,
        spans: &[Span],
        selection: &Selection,
        passed: &mut dyn FnMut(u64),
        each: &mut dyn FnMut(DeadLetter) -> ControlFlow<()>,
    ) -> Result<Others, DeadLetterReadError> {
        let (mut before, mut others) = (0, Others::default());
        for span in spans {
            let narrowed = selection.narrow(*span);
            let mut has_enough = false;
            self.committed.read(&self.topic, narrowed, &mut |found| {
                passed(before + distance(span.start, found.offset) + 1);
                let dead_letter = DeadLetter::from(found);
                if !selection.takes(&dead_letter) {
                    return ControlFlow::Continue(());
                }
                if let Some(relay) = selection.other_relay(&dead_letter) {
                    others.count(relay, selection.ids.get(&dead_letter.id).copied());
                    return ControlFlow::Continue(());
                }
                let flow = each(dead_letter);
                has_enough = flow.is_break();
                flow
            })?;
            before += distance(span.start, span.end);
            passed(before);
            if has_enough {
                break;
            }
        }
        Ok(others)
    }

    /// The marks committed so far.
    ///
    /// # Errors
    /// [`DeadLetterReadError`].
    pub fn marks(&self) -> Result<Marks, DeadLetterReadError> {
        let mut marks = Marks::of(&self.topic);
        for span in self.committed.spans(REDRIVEN_TOPIC)?.unwrap_or_default() {
            self.committed.read(REDRIVEN_TOPIC, span, &mut |found| {
                marks.take(&found.record);
                ControlFlow::Continue(())
            })?;
        }
        Ok(marks)
    }

    /// All marks committed before the call. Waits for open transactions of other dead-letter topics' redrives, since marks behind
    /// them are not readable yet.
    ///
    /// # Errors
    /// [`DeadLetterReadError`].
    pub fn all_marks(&self) -> Result<Marks, DeadLetterReadError> {
        let since = Instant::now();
        let ends = self.uncommitted.spans(REDRIVEN_TOPIC)?.unwrap_or_default();
        loop {
            let seen = self.committed.spans(REDRIVEN_TOPIC)?.unwrap_or_default();
            let shown = |end: &Span| seen.iter().any(|span| span.partition == end.partition && span.end >= end.end);
            if ends.iter().all(shown) {
                return self.marks();
            }
            if since.elapsed() >= HIDDEN {
                return Err(DeadLetterReadError::Hidden);
            }
            std::thread::sleep(TICK);
        }
    }
}

/// The number of offsets between two.
pub(super) fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}
