//! Forgets a position, because an operator decided that the relay starts at the slot's confirmed_flush_lsn.

use super::super::refusals::now_millis;
use super::TransactionalSink;
use super::batch_writer::{BatchError, BatchOutcome, BatchWriter};
use super::positions::ReadScope;
use crate::relay::boundary::OwnedRecord;
use crate::relay::route::destination::POSITIONS_TOPIC;
use crate::sink::error::{SinkError, TransactionsError};
use crate::sink::limits::POSITION_TIMEOUT;

impl TransactionalSink {
    /// Writes a null value under the relay's key, through the relay's transactional id: a relay that still writes is
    /// fenced.
    ///
    /// # Errors
    /// [`SinkError`]; nothing was written. [`TransactionsError::ForeignPosition`] if the stored position belongs to
    /// another cluster, whose relay may be running.
    pub async fn forget_position(self, system_identifier: &str) -> Result<(), SinkError> {
        let forgotten = tokio::time::timeout(POSITION_TIMEOUT, self.write_null(system_identifier)).await;
        let late = || format!("Kafka did not answer within {} s", POSITION_TIMEOUT.as_secs());
        forgotten.unwrap_or_else(|_| Err(TransactionsError::NotForgotten { reason: late() }.into()))
    }

    async fn write_null(&self, system_identifier: &str) -> Result<(), SinkError> {
        let (factory, stopped, key) = (&self.factory, self.stop.flag(), self.factory.identity.position_key());
        factory.ensure_topic().await?;
        match factory.read(&mut factory.reader()?, ReadScope::Visible, None, &stopped).await {
            Ok(kept) => {
                let foreign = kept.position().map(|stored| stored.cluster.system_identifier.clone());
                if let Some(stored) = foreign.filter(|stored| stored != system_identifier) {
                    let found = system_identifier.to_owned();
                    return Err(TransactionsError::ForeignPosition { key, stored, found }.into());
                }
            }
            // It belongs to no cluster.
            Err(SinkError::Transactions(TransactionsError::Malformed { .. })) => {}
            Err(error) => return Err(error),
        }
        let id = factory.identity.transactional_id();
        let null = OwnedRecord {
            topic: POSITIONS_TOPIC.to_owned(),
            key: Some(key.into_bytes()),
            value: None,
            headers: Vec::new(),
            timestamp_millis: now_millis(),
        };
        let not_forgotten = |reason: String| SinkError::from(TransactionsError::NotForgotten { reason });
        let mut writer = match BatchWriter::open(factory.producers.options.clone(), id).await {
            Err(BatchError::Sink(error)) => return Err(error),
            opened => opened.map_err(|error| not_forgotten(error.to_string()))?,
        };
        match writer.write(vec![null]).await.map_err(|error| not_forgotten(error.to_string()))? {
            BatchOutcome::Committed => {
                // A commit is answered before its markers are written, and the next start reads what is visible.
                factory.read(&mut factory.reader()?, ReadScope::Everything, None, &stopped).await?;
                Ok(())
            }
            BatchOutcome::Aborted { reason, .. } => Err(not_forgotten(reason)),
        }
    }
}
