//! Looks at a stored position without changing anything or fencing anyone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::position_scan::ReadError;
use super::positions::{PositionReader, ReadScope};
use super::producer_factory::blocking;
use crate::sink::client::options::ProducerOptions;
use crate::sink::error::{SinkError, TransactionsError};
use crate::sink::limits::RECOVERY_BACK_OFF;
use crate::sink::stored_position::PositionEntry;

/// What the positions topic, which exists, has under `key`; `None` if Kafka does not tell `within` this time, or does
/// not let this client read it. Signatures are not checked.
///
/// # Errors
/// [`SinkError`]: a relay would not start with it either.
pub(crate) async fn look_at_position(
    options: &ProducerOptions,
    key: &str,
    within: Duration,
) -> Result<Option<PositionEntry>, SinkError> {
    let until = Instant::now() + within;
    let stopped = move || Instant::now() >= until;
    let reader = Arc::new(PositionReader::new(options)?);
    let mut back_off = RECOVERY_BACK_OFF;
    while !stopped() {
        let (reader, key) = (Arc::clone(&reader), key.to_owned());
        let read = blocking(&stopped, move |stopped| {
            let read = reader.read(&key, ReadScope::Everything, None, &stopped);
            (read, key)
        });
        match read.await {
            (Ok(entry), _) => return Ok(Some(entry)),
            (Err(ReadError::Malformed), key) => return Err(TransactionsError::Malformed { key }.into()),
            (Err(ReadError::Passing(_)), _) => tokio::time::sleep(back_off.wait()).await,
            // Several partitions and missing rights show without it.
            (Err(_), _) => return Ok(None),
        }
    }
    Ok(None)
}
