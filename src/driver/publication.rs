//! Whether the publication is still what it was at the start: Postgres sends nothing of what it leaves out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::postgres::Connection;
use crate::relay::boundary::Lsn;
use crate::source::{OutboxTable, SourceError, SourceOptions, check_publication};

/// How many times as long as a look has taken the next one waits at least: where a publication has a hundred thousand tables, a
/// look is some work.
const REST: u32 = 50;

/// Looks at the publication of the outbox tables, and knows when it was last in order.
pub(super) struct PublicationWatch {
    publication: String,
    tables: Vec<OutboxTable>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The relay has streamed, so that a publication that is not in order has been.
    streamed: bool,
    /// Where the WAL ended when it was last found in order, and when that was.
    in_order: Option<(Lsn, Instant)>,
    /// Which entries of the catalog made it so.
    entries: Vec<String>,
    /// When it is looked at again at the earliest.
    next: Option<Instant>,
}

impl PublicationWatch {
    pub(super) fn new(options: &SourceOptions) -> Self {
        Self { publication: options.publication.clone(), tables: options.tables.clone(), seen: Mutex::default() }
    }

    /// A stream has begun, which looks at the publication itself.
    pub(super) fn note_streaming(&self) {
        self.seen().streamed = true;
    }

    /// An error with what it means if the relay has streamed before.
    pub(super) fn explain(&self, error: SourceError) -> SourceError {
        let seen = self.seen();
        if !(seen.streamed && error.is_publication_mismatch()) {
            return error;
        }
        let last_in_order = seen.in_order.map(|(lsn, at)| (lsn, at.elapsed()));
        SourceError::PublicationChanged { mismatch: Box::new(error), last_in_order }
    }

    /// Looks at it once there has been a stream.
    ///
    /// # Errors
    /// [`SourceError::PublicationChanged`] if it is not in order, and those of the connection.
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
        seen.next = Some(Instant::now() + at.elapsed() * REST);
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
