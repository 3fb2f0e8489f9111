//! Whether the publication is still what it was at the start: Postgres sends nothing for rows outside of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::driver::limits::PUBLICATION_REST;
use crate::postgres::Connection;
use crate::relay::boundary::Lsn;
use crate::source::{OutboxTable, SourceError, SourceOptions, check_publication};

/// Checks the publication of the outbox tables, and remembers when it was last valid.
pub(super) struct PublicationWatch {
    publication: String,
    tables: Vec<OutboxTable>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The relay has streamed, so an invalid publication was valid before.
    streamed: bool,
    /// Where the WAL ended when the publication was last found valid, and when that was.
    in_order: Option<(Lsn, Instant)>,
    /// The catalog entries that made it valid.
    entries: Vec<String>,
    /// Earliest time of the next check.
    next: Option<Instant>,
}

impl PublicationWatch {
    pub(super) fn new(options: &SourceOptions) -> Self {
        Self { publication: options.publication.clone(), tables: options.tables.clone(), seen: Mutex::default() }
    }

    /// A stream has started, which checks the publication itself.
    pub(super) fn note_streaming(&self) {
        self.seen().streamed = true;
    }

    /// Adds to the error what it means if the relay has streamed before.
    pub(super) fn explain(&self, error: SourceError) -> SourceError {
        let seen = self.seen();
        if !(seen.streamed && error.is_publication_mismatch()) {
            return error;
        }
        let last_in_order = seen.in_order.map(|(lsn, at)| (lsn, at.elapsed()));
        SourceError::PublicationChanged { mismatch: Box::new(error), last_in_order }
    }

    /// Checks the publication once there has been a stream.
    ///
    /// # Errors
    /// [`SourceError::PublicationChanged`] if it is invalid, and those of the connection.
    pub(super) fn look(&self, control: &mut Connection) -> Result<(), SourceError> {
        let at = Instant::now();
        if !self.is_due(at) {
            return Ok(());
        }
        let end = control.simple_query("select pg_current_wal_lsn()")?;
        let end = end.first().and_then(|row| row.text(0)).and_then(|lsn| lsn.parse().ok());
        let mut entries = Vec::with_capacity(self.tables.len());
        for table in &self.tables {
            let found = check_publication(control, &self.publication, table, &self.tables);
            entries.push(found.map_err(|error| self.explain(error))?.entries);
        }
        let mut seen = self.seen();
        if !seen.entries.is_empty() && seen.entries != entries {
            tracing::warn!(
                publication = %self.publication,
                last_in_order = %seen.in_order.map(|(lsn, _)| lsn.to_string()).unwrap_or_default(),
                "publication was changed and is valid again: rows inserted while an outbox table was missing from it are not in kafka"
            );
        }
        seen.entries = entries;
        seen.in_order = end.map(|end| (end, at));
        seen.next = Some(Instant::now() + at.elapsed() * PUBLICATION_REST);
        Ok(())
    }

    fn is_due(&self, now: Instant) -> bool {
        let seen = self.seen();
        seen.streamed && seen.next.is_none_or(|next| next <= now)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing panics while it holds the lock, and each write is whole.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
