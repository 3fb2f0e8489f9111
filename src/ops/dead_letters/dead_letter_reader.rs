//! Reads a dead-letter topic and its marks from Kafka. Blocking.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::dead_letter::DeadLetter;
use super::marks::{Marks, REDRIVEN_TOPIC};
use super::selection::{DeadLetterSelection, Others};
use crate::sink::{BATCH_TIMEOUT, Found, Isolation, ProducerOptions, ReadingError, SinkError, Span, TopicReader};

/// How long one request to a broker may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Reads one dead-letter topic.
pub(crate) struct DeadLetterReader {
    reader: TopicReader,
    topic: String,
}

/// Dead letters or marks can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeadLetterReadError {
    /// The client can't be created or fails.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Kafka can't be read.
    #[error(transparent)]
    Reading(#[from] ReadingError),
    /// An open transaction does not end.
    #[error(
        "a transaction on topic {REDRIVEN_TOPIC} has been open for more than {} s; find and abort it with kafka-transactions.sh find-hanging",
        BATCH_TIMEOUT.as_secs()
    )]
    Hidden,
}

impl DeadLetterReader {
    /// Creates the client without waiting for a broker.
    ///
    /// # Errors
    /// [`DeadLetterReadError::Sink`].
    pub(crate) fn new(options: &ProducerOptions, topic: &str) -> Result<Self, DeadLetterReadError> {
        let group = format!("{}-dead-letter", options.client_id);
        Ok(Self { reader: TopicReader::new(options, &group, ANSWER)?, topic: topic.to_owned() })
    }

    /// The offsets that the dead-letter topic holds now, per partition; empty if the topic does not exist.
    ///
    /// # Errors
    /// [`DeadLetterReadError`].
    pub(crate) fn spans(&self) -> Result<Vec<Span>, DeadLetterReadError> {
        Ok(self.reader.spans(&self.topic, Isolation::Committed)?)
    }

    /// Passes each selected dead letter of these spans to `each`, by partition and offset, until it breaks; counts those of other
    /// relays. `passed` receives the number of offsets read.
    ///
    /// # Errors
    /// [`DeadLetterReadError`].
    pub(crate) fn dead_letters(
        &self,
        spans: &[Span],
        selection: &DeadLetterSelection,
        passed: &mut dyn FnMut(u64),
        each: &mut dyn FnMut(DeadLetter) -> ControlFlow<()>,
    ) -> Result<Others, DeadLetterReadError> {
        let (mut before, mut others) = (0, Others::default());
        for span in spans {
            let narrowed = selection.narrow(*span);
            let mut has_enough = false;
            self.read(&self.topic, narrowed, &mut |found| {
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
    pub(crate) fn marks(&self) -> Result<Marks, DeadLetterReadError> {
        self.marks_in(self.reader.spans(REDRIVEN_TOPIC, Isolation::Committed)?)
    }

    /// All marks committed before the call. Waits for open transactions of other dead-letter topics' redrives, since marks behind
    /// them are not readable yet.
    ///
    /// # Errors
    /// [`DeadLetterReadError`].
    pub(crate) fn all_marks(&self) -> Result<Marks, DeadLetterReadError> {
        let since = Instant::now();
        let mut spans = Vec::new();
        for all in self.reader.spans(REDRIVEN_TOPIC, Isolation::Uncommitted)? {
            let committed = self.reader.committed_to(REDRIVEN_TOPIC, all, &mut || since.elapsed() < BATCH_TIMEOUT)?;
            spans.push(committed.ok_or(DeadLetterReadError::Hidden)?);
        }
        self.marks_in(spans)
    }

    fn marks_in(&self, spans: Vec<Span>) -> Result<Marks, DeadLetterReadError> {
        let mut marks = Marks::of(&self.topic);
        for span in spans {
            self.read(REDRIVEN_TOPIC, span, &mut |found| {
                marks.take(&found.record);
                ControlFlow::Continue(())
            })?;
        }
        Ok(marks)
    }

    fn read(
        &self,
        topic: &str,
        span: Span,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<(), DeadLetterReadError> {
        Ok(self.reader.read(topic, span, Isolation::Committed, &|| false, each)?)
    }
}

/// The number of offsets between two.
pub(super) fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}
