//! The dead-letter topic and its marks, read from Kafka. Everything here blocks.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::dead_letter::DeadLetter;
use super::marks::{Marks, REDRIVEN_TOPIC};
use super::selection::{Others, Selection};
use crate::sink::{Isolation, ProducerOptions, ReadingError, SinkError, Span, TopicReader};

/// How long a transaction of another redrive may hide marks: longer than Kafka leaves a dead one's open.
const HIDDEN: Duration = Duration::from_secs(90);
/// How often it is looked whether it has ended.
const TICK: Duration = Duration::from_millis(50);

/// Reads one dead-letter topic.
pub struct DeadLetterReader {
    committed: TopicReader,
    uncommitted: TopicReader,
    topic: String,
}

/// Letters can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterReadError {
    /// The client.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Kafka.
    #[error(transparent)]
    Reading(#[from] ReadingError),
    /// A transaction does not end.
    #[error(
        "a transaction in topic {REDRIVEN_TOPIC} has been open for more than {} s; see kafka-transactions.sh find-hanging",
        HIDDEN.as_secs()
    )]
    Hidden,
}

impl DeadLetterReader {
    /// Does not wait for a broker.
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

    /// What the dead-letter topic holds now; nothing if there is no such topic.
    ///
    /// # Errors
    /// [`DeadLetterReadError`].
    pub fn spans(&self) -> Result<Vec<Span>, DeadLetterReadError> {
        Ok(self.committed.spans(&self.topic)?.unwrap_or_default())
    }

    /// Hands over every letter of these spans that is meant, by partition and offset, until `each` has enough, and counts those of other
    /// relays. `passed` is told how many offsets are behind.
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

    /// The marks that are committed now.
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

    /// All marks that were committed before the call: waits for the end of what another dead-letter topic's redrive has open, behind
    /// which ours may be hidden.
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

/// How many offsets lie between two.
pub(super) fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}
