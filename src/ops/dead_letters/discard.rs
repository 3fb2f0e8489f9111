//! Marks dead letters as discarded, so that redrive skips them. The records stay in their topic.

use std::collections::BTreeSet;

use super::dead_letter::{DeadLetter, DeadLetterId};
use super::error::{PAUSE, RedriveError, TRIES};
use super::marks::{self, Discarded, Mark};
use super::selection::{DeadLetterSelection, Others};
use super::writing::{self, MarkTarget, MarkingCommand, Pass};
use crate::relay::boundary::{OwnedRecord, RefusalCode};
use crate::relay::publish::encode::rfc3339;
use crate::sink::{BatchOutcome, BatchWriter};

/// Most dead letters marked in one transaction.
const BATCH_DEAD_LETTERS: usize = 500;
/// Most dead letters listed in a report; counts include all.
const LISTED: usize = 1_000;

/// Input of [`discard`].
pub(crate) struct Discarding {
    /// The topic of dead letters.
    pub target: MarkTarget,
    /// Why the dead letters are discarded; stored with each mark.
    pub reason: String,
}

/// The result of a discard.
#[derive(Debug, Default)]
pub(crate) struct DiscardOutcome {
    /// How many were discarded, or would be in a dry run.
    pub discarded: u64,
    /// The first of them; bounded.
    pub records: Vec<DiscardedRecord>,
    /// How many were already redriven.
    pub redriven_before: u64,
    /// How many were already discarded.
    pub discarded_before: u64,
    /// Ids that were given and do not exist.
    pub missing: BTreeSet<DeadLetterId>,
    /// Dead letters skipped because they belong to other relays.
    pub others: Others,
}

/// A discarded dead letter.
#[derive(Clone, Debug)]
pub(crate) struct DiscardedRecord {
    pub dead_letter: DeadLetterId,
    /// The event's id.
    pub event: Option<String>,
    /// Its refusal code; `None` if no relay wrote it.
    pub code: Option<RefusalCode>,
}

struct Run {
    target: MarkTarget,
    writer: Option<BatchWriter>,
    discarded: Discarded,
    at_millis: i64,
    batch: Vec<(DiscardedRecord, OwnedRecord)>,
    outcome: DiscardOutcome,
}

/// Marks each selected dead letter once, or in a dry run reports which. `progress` receives the offsets read and their total.
///
/// # Errors
/// [`RedriveError`]. Marks committed before the error stay.
pub(crate) async fn discard(
    setup: Discarding,
    selection: DeadLetterSelection,
    progress: impl Fn(u64, u64) + Send + 'static,
) -> Result<DiscardOutcome, RedriveError> {
    let Discarding { target, reason } = setup;
    let now = writing::now();
    let discarded = Discarded { at: rfc3339(now).into(), reason: reason.into() };
    let outcome = DiscardOutcome::default();
    let mut run = Run { target, writer: None, discarded, at_millis: now.millis(), batch: Vec::new(), outcome };
    let Pass { missing, others, .. } = writing::pass(&mut run, selection, progress).await?;
    Ok(DiscardOutcome { missing, others, ..run.outcome })
}

impl MarkingCommand for Run {
    fn target(&self) -> &MarkTarget {
        &self.target
    }

    fn set_writer(&mut self, writer: BatchWriter) {
        self.writer = Some(writer);
    }

    async fn handle(&mut self, dead_letter: DeadLetter, mark: Option<&Mark>) -> Result<(), RedriveError> {
        match mark {
            Some(Mark::Redriven) => self.outcome.redriven_before += 1,
            Some(Mark::Discarded(_)) => self.outcome.discarded_before += 1,
            None => {
                let event = dead_letter.event_id().map(str::to_owned);
                let listed = DiscardedRecord { dead_letter: dead_letter.id, event, code: dead_letter.code() };
                let topic = &self.target.dead_letter_topic;
                let mark = marks::discard(topic, &dead_letter, &self.discarded, self.at_millis);
                self.batch.push((listed, mark));
                if self.batch.len() >= BATCH_DEAD_LETTERS {
                    self.flush().await?;
                }
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), RedriveError> {
        let batch = std::mem::take(&mut self.batch);
        let marked = self.outcome.discarded;
        let mut tries = 0;
        while let (Some(writer), false) = (&mut self.writer, batch.is_empty()) {
            let records = batch.iter().map(|(_, mark)| mark.clone()).collect();
            match writing::write(writer, records, marked).await? {
                BatchOutcome::Committed => break,
                BatchOutcome::Aborted { mut refused, topic_refused, reason } => {
                    if let Some(refusal) = topic_refused.or_else(|| refused.pop().map(|(_, refusal)| refusal)) {
                        return Err(RedriveError::NoMarks(refusal));
                    }
                    tries += 1;
                    if tries >= TRIES {
                        return Err(RedriveError::Aborted { reason, redriven: marked });
                    }
                    tracing::debug!(reason, "discard transaction aborted; retrying");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        self.outcome.discarded += u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let room = LISTED.saturating_sub(self.outcome.records.len());
        self.outcome.records.extend(batch.into_iter().map(|(listed, _)| listed).take(room));
        Ok(())
    }
}
