//! What is noted in `outbox.relay` while the slot streams.

use super::error::SourceError;
use super::open::{SourceOptions, detached};
use super::slot::Server;
use super::state;
use crate::postgres::Connection;
use crate::relay::boundary::Lsn;

/// Notes that every row from before the slot has been published, so that no later start publishes them again.
///
/// # Errors
/// [`SourceError`], as [`super::connect`].
pub async fn backfill_done(options: &SourceOptions) -> Result<(), SourceError> {
    note(options, state::finish_backfill).await
}

/// Notes a position of the slot that was stored in Kafka, so that a start that finds none there knows that it was lost; or
/// that none is kept.
///
/// # Errors
/// [`SourceError`], as [`super::connect`].
pub async fn note_positions(options: &SourceOptions, position: Option<Lsn>) -> Result<(), SourceError> {
    note(options, move |control, server, slot| state::write_position(control, server, slot, position)).await
}

async fn note(
    options: &SourceOptions,
    write: impl FnOnce(&mut Connection, &Server, &str) -> Result<(), SourceError> + Send + 'static,
) -> Result<(), SourceError> {
    let options = options.clone();
    detached(move |_| {
        let mut control = Connection::open(&options.connect)?;
        let server = Server::read(&mut control)?;
        write(&mut control, &server, &options.slot)?;
        control.close();
        Ok(())
    })
    .await
}
