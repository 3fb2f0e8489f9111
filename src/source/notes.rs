//! What is noted of the first backfill.

use super::error::SourceError;
use super::open::detached;
use super::opening::SourceOptions;
use super::slot::Server;
use super::state;
use crate::postgres::Connection;

/// Notes that every row from before the slot has been published, so that no later start publishes them again.
///
/// # Errors
/// [`SourceError`], as [`super::connect`].
pub async fn backfill_done(options: &SourceOptions) -> Result<(), SourceError> {
    let options = options.clone();
    detached(move |_| {
        let mut control = Connection::open(&options.connect)?;
        let server = Server::read(&mut control)?;
        state::finish_backfill(&mut control, &server, &options.slot)?;
        control.close();
        Ok(())
    })
    .await
}
