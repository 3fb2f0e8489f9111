//! Publishes dead letters again, each once; the parent module says how.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::dead_letter::{DeadLetter, DeadLetterId};
use super::error::{PAUSE, RedriveError, TRIES};
use super::marks::{self, Mark, Marks};
use super::outcome::{RedriveOutcome, Redriven, Remaining};
use super::registry::ContractRegistry;
use super::resolve::{NotRedriven, Resolved, resolve};
use super::selection::DeadLetterSelection;
use super::writing::{self, MarkTarget, MarkingCommand, Pass};
use crate::relay::boundary::{OwnedRecord, Refusal, RefusalCode, Topic};
use crate::relay::publish::encode::{names, rfc3339, size_in_batch};
use crate::relay::route::destination::Destinations;
use crate::sink::{BatchOutcome, BatchWriter, Span, TopicsError, TransactionSize};

/// Most dead letters, and about how many bytes, in one transaction. Fewer if the path to Kafka is slow.
const BATCH_DEAD_LETTERS: usize = 250;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Input of [`redrive`].
pub(crate) struct Redriving {
    /// The topic of dead letters.
    pub target: MarkTarget,
    /// The topics that records may go to.
    pub destinations: Destinations,
    pub registry: ContractRegistry,
    /// Whether to include discarded dead letters.
    pub takes_discarded: bool,
}

/// A dead letter ready to be published.
struct Item {
    redriven: Redriven,
    record: OwnedRecord,
    mark: OwnedRecord,
}

impl Item {
    fn size(&self) -> usize {
        self.record.size() + self.mark.size()
    }
}

/// The state of one run.
struct Run {
    setup: Redriving,
    writer: Option<BatchWriter>,
    size: TransactionSize,
    topics: HashMap<String, Result<Topic, Refusal>>,
    batch: Vec<Item>,
    batch_bytes: usize,
    outcome: RedriveOutcome,
}

/// Publishes the selected dead letters, or in a dry run reports which. `progress` receives the offsets read and their total.
///
/// # Errors
/// [`RedriveError`].
pub(crate) async fn redrive(
    setup: Redriving,
    selection: DeadLetterSelection,
    progress: impl Fn(u64, u64) + Send + 'static,
) -> Result<RedriveOutcome, RedriveError> {
    let mut run = Run {
        setup,
        writer: None,
        size: TransactionSize::new(BATCH_DEAD_LETTERS, BATCH_BYTES, Duration::MAX),
        topics: HashMap::new(),
        batch: Vec::new(),
        batch_bytes: 0,
        outcome: RedriveOutcome::default(),
    };
    let has_all = selection.ids.is_empty();
    let Pass { missing, others, marks, spans } = writing::pass(&mut run, selection, progress).await?;
    if has_all {
        run.forget(&marks, &spans).await?;
    }
    Ok(RedriveOutcome { missing, others, ..run.outcome })
}

impl MarkingCommand for Run {
    fn target(&self) -> &MarkTarget {
        &self.setup.target
    }

    fn set_writer(&mut self, writer: BatchWriter) {
        self.size = TransactionSize::new(BATCH_DEAD_LETTERS, BATCH_BYTES, writer.transaction_timeout());
        self.writer = Some(writer);
    }

    async fn handle(&mut self, dead_letter: DeadLetter, mark: Option<&Mark>) -> Result<(), RedriveError> {
        match mark {
            Some(Mark::Redriven) => {
                self.outcome.before += 1;
                return Ok(());
            }
            Some(Mark::Discarded(_)) if !self.setup.takes_discarded => {
                self.outcome.discarded_before += 1;
                return Ok(());
            }
            Some(Mark::Discarded(_)) | None => {}
        }
        match self.prepare(&dead_letter).await? {
            Ok(item) if self.setup.target.is_dry_run => self.outcome.redriven(item.redriven),
            Ok(item) => {
                self.batch_bytes += item.size();
                self.batch.push(item);
                if self.size.is_reached(self.batch.len(), self.batch_bytes) {
                    self.flush().await?;
                }
            }
            Err(reason) => self.outcome.stays(Remaining {
                dead_letter: dead_letter.id,
                event: dead_letter.event_id().map(str::to_owned),
                reason,
            }),
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), RedriveError> {
        self.batch_bytes = 0;
        let mut waiting = VecDeque::from(std::mem::take(&mut self.batch));
        while !waiting.is_empty() {
            let part = first_part(&mut waiting, &self.size);
            let late = self.publish(part).await?;
            late.into_iter().rev().for_each(|item| waiting.push_front(item));
        }
        Ok(())
    }
}

impl Run {
    /// The record to publish for a dead letter, or why it can't be redriven.
    async fn prepare(&mut self, dead_letter: &DeadLetter) -> Result<Result<Item, NotRedriven>, RedriveError> {
        let versions = match dead_letter.contract() {
            Some(named) => self.setup.registry.versions(&named.name).await?,
            None => &[],
        };
        let Resolved { mut record, settings, version } = match resolve(dead_letter, &self.setup.destinations, versions)
        {
            Ok(resolved) => resolved,
            Err(stay) => return Ok(Err(stay)),
        };
        let now = writing::now();
        let at = rfc3339(now);
        record.headers.push((names::REDRIVEN.to_owned(), Some(format!("{} {at}", dead_letter.id).into_bytes())));
        if record.timestamp_millis < 0 {
            record.timestamp_millis = now.millis();
        }
        let topic = match self.topics.get(&record.topic) {
            Some(known) => known.clone(),
            None => {
                let found = self.look_up(&record.topic, &settings).await?;
                self.topics.entry(record.topic.clone()).or_insert(found).clone()
            }
        };
        let limit = match topic {
            Ok(topic) => topic.max_message_bytes,
            Err(refusal) => return Ok(Err(NotRedriven::Refused(refusal))),
        };
        let size = size_in_batch(record.size(), record.headers.len());
        if size > limit {
            let detail = format!(
                "the record takes up to {size} bytes in a batch, and topic {} allows {limit} (max.message.bytes)",
                record.topic
            );
            return Ok(Err(NotRedriven::Refused(Refusal { code: RefusalCode::TooLarge, detail })));
        }
        let mark = marks::mark(&self.setup.target.dead_letter_topic, dead_letter, &record.topic, &at, now.millis());
        let event = dead_letter.event_id().map(str::to_owned);
        let redriven = Redriven { dead_letter: dead_letter.id, event, topic: record.topic.clone(), version };
        Ok(Ok(Item { redriven, record, mark }))
    }

    async fn look_up(
        &self,
        topic: &str,
        settings: &crate::relay::boundary::TopicSettings,
    ) -> Result<Result<Topic, Refusal>, TopicsError> {
        let MarkTarget { topics, create_topics, is_dry_run, .. } = &self.setup.target;
        let found = topics.ensure(topic, settings, *create_topics && !is_dry_run).await?;
        Ok(match found {
            // The topic would be created.
            Err(Refusal { code: RefusalCode::UnknownTopic, .. }) if *is_dry_run && *create_topics => {
                Ok(Topic { max_message_bytes: usize::MAX })
            }
            found => found,
        })
    }

    /// Publishes these in one transaction. Returns them if it took too long and they must go in smaller ones.
    async fn publish(&mut self, mut open: Vec<Item>) -> Result<Vec<Item>, RedriveError> {
        let mut tries = 0;
        while !open.is_empty() {
            let (dead_letters, bytes, begun) = (open.len(), open.iter().map(Item::size).sum(), Instant::now());
            let (refused, topic_refused, reason) = match self.write(marked(&open)).await? {
                BatchOutcome::Committed => {
                    tracing::debug!(dead_letters, "dead letters redriven");
                    self.size.committed(dead_letters, bytes, begun.elapsed());
                    open.drain(..).for_each(|item| self.outcome.redriven(item.redriven));
                    return Ok(open);
                }
                BatchOutcome::Aborted { refused, topic_refused, reason } => (refused, topic_refused, reason),
            };
            if let Some((_, refusal)) = refused.iter().find(|(place, _)| *place < open.len()) {
                return Err(RedriveError::NoMarks(refusal.clone()));
            }
            if !refused.is_empty() {
                // These are the refused ones; the rest failed only because they shared the transaction.
                let mut refused: HashMap<usize, Refusal> = refused.into_iter().collect();
                let (mut rest, marks) = (Vec::new(), open.len());
                for (index, item) in open.into_iter().enumerate() {
                    match refused.remove(&(marks + index)) {
                        Some(refusal) => self.keep(item, refusal),
                        None => rest.push(item),
                    }
                }
                open = rest;
            } else if let Some(refusal) = topic_refused {
                self.flush_each(open, refusal).await?;
                return Ok(Vec::new());
            } else if self.size.aborted(dead_letters, bytes, begun.elapsed()) && dead_letters > 1 {
                tracing::warn!(reason, dead_letters, "redrive transaction took too long; using smaller ones");
                return Ok(open);
            } else {
                tries += 1;
                if tries >= TRIES {
                    return Err(RedriveError::Aborted { reason, redriven: self.outcome.redriven });
                }
                tracing::debug!(reason, "redrive transaction aborted; retrying");
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(open)
    }

    /// Publishes each in its own transaction, since one of their topics refuses all writes from this client.
    async fn flush_each(&mut self, items: Vec<Item>, refusal: Refusal) -> Result<(), RedriveError> {
        for item in items {
            if let Some(Err(known)) = self.topics.get(&item.record.topic) {
                let known = known.clone();
                self.keep(item, known);
                continue;
            }
            match self.write(marked(std::slice::from_ref(&item))).await? {
                BatchOutcome::Committed => self.outcome.redriven(item.redriven),
                BatchOutcome::Aborted { topic_refused: Some(refusal), .. } => {
                    self.topics.insert(item.record.topic.clone(), Err(refusal.clone()));
                    self.keep(item, refusal);
                }
                BatchOutcome::Aborted { mut refused, reason, .. } => match refused.pop() {
                    Some((1, refusal)) => self.keep(item, refusal),
                    Some((_, refusal)) => return Err(RedriveError::NoMarks(refusal)),
                    None => return Err(RedriveError::Aborted { reason, redriven: self.outcome.redriven }),
                },
            }
        }
        tracing::debug!(detail = refusal.detail, "topic is not writable");
        Ok(())
    }

    fn keep(&mut self, item: Item, refusal: Refusal) {
        let Redriven { dead_letter, event, .. } = item.redriven;
        self.outcome.stays(Remaining { dead_letter, event, reason: NotRedriven::Refused(refusal) });
    }

    async fn write(&mut self, records: Vec<OwnedRecord>) -> Result<BatchOutcome, RedriveError> {
        let writer = self.writer.as_mut().expect("it was opened before the first dead letter");
        writing::write(writer, records, self.outcome.redriven).await
    }

    /// Deletes the marks of expired dead letters.
    async fn forget(&mut self, marks: &Marks, spans: &[Span]) -> Result<(), RedriveError> {
        if self.setup.target.is_dry_run {
            return Ok(());
        }
        let is_gone =
            |id: DeadLetterId| spans.iter().any(|span| span.partition == id.partition && id.offset < span.start);
        let now = writing::now().millis();
        let topic = self.setup.target.dead_letter_topic.clone();
        for stale in marks.stale(is_gone).chunks(BATCH_DEAD_LETTERS) {
            // The next run deletes what this one can't.
            self.write(stale.iter().map(|id| marks::unmark(&topic, *id, now)).collect()).await?;
        }
        Ok(())
    }
}

/// Takes as many as fit in one transaction, at least one.
fn first_part(waiting: &mut VecDeque<Item>, size: &TransactionSize) -> Vec<Item> {
    let (mut part, mut bytes) = (Vec::new(), 0);
    while !size.is_reached(part.len(), bytes)
        && let Some(item) = waiting.pop_front()
    {
        bytes += item.size();
        part.push(item);
    }
    part
}

/// Marks first, then records: if a mark can't be written, neither is its record.
fn marked(items: &[Item]) -> Vec<OwnedRecord> {
    items.iter().map(|item| item.mark.clone()).chain(items.iter().map(|item| item.record.clone())).collect()
}

#[cfg(test)]
#[path = "redrive_tests.rs"]
mod tests;
