//! The thread that owns the replication socket: it reads, cuts off complete messages, passes them on, and reports the
//! confirmed LSN on its own schedule, whatever the driver and Kafka do meanwhile.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::framing::{Framed, FramingState, Next, frame};
use super::skim::Skimmer;
use super::wire::{ReadMode, Received, Wire};
use crate::postgres::{Body, Error, HEADER_BYTES, Head, ServerError, TransportParts, sqlstate};
use crate::relay::boundary::{Batch, Lsn};
use crate::source::batch_channel::{BatchChannel, Handed, StreamStop};
use crate::source::error::SourceError;
use crate::source::limits::{BUFFER_BYTES, COPIED_BYTES, DEFAULT_SILENCE, SPARE_BYTES, STOP_TIMEOUT};

/// When to report, and when to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    status_interval: Duration,
    silence: Duration,
}

impl Timing {
    /// At least every third of `wal_sender_timeout` (0: none), so that two lost reports do no harm.
    pub(crate) fn new(status_interval: Duration, wal_sender_timeout: Duration) -> Self {
        if wal_sender_timeout.is_zero() {
            return Self { status_interval, silence: DEFAULT_SILENCE };
        }
        Self { status_interval: status_interval.min(wal_sender_timeout / 3), silence: wal_sender_timeout }
    }
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct StreamReader<'a> {
    wire: Wire,
    channel: &'a mut BatchChannel,
    timing: Timing,
    /// The most bytes that a message may have, and the reader of a larger one.
    limit: usize,
    skimmer: Option<Skimmer>,
    buffer: Vec<u8>,
    /// The buffer's offset in the connection's bytes.
    offset: u64,
    seen: FramingState,
    next_status: Instant,
    heard: Instant,
    reported: Lsn,
}

impl<'a> StreamReader<'a> {
    /// Takes over a streaming connection. A message is held as a whole up to `limit` bytes.
    pub(crate) fn new(
        parts: TransportParts,
        channel: &'a mut BatchChannel,
        timing: Timing,
        limit: usize,
    ) -> Result<Self, SourceError> {
        let (now, start) = (Instant::now(), channel.shared.confirmed());
        let wire = Wire::new(parts.transport).map_err(Error::closed_by)?;
        Ok(Self {
            wire,
            channel,
            timing,
            limit,
            skimmer: None,
            buffer: parts.rest,
            offset: parts.offset,
            seen: FramingState::after(start),
            next_status: now,
            heard: now,
            reported: Lsn::default(),
        })
    }

    /// Runs until the stream is stopped or lost.
    pub(crate) fn run(mut self) -> Result<(), SourceError> {
        self.wire.read_decrypted(&mut self.buffer)?;
        self.deliver()?;
        loop {
            match self.channel.shared.stop() {
                StreamStop::No => {}
                StreamStop::Orderly => return self.finish(),
                StreamStop::Abandon => return Ok(()),
            }
            self.report_if_due(true)?;
            self.make_room();
            match self.wire.read(&mut self.buffer, self.channel, self.next_status)? {
                Received::Bytes(_) => {
                    self.heard = Instant::now();
                    self.deliver()?;
                }
                Received::Nothing => {
                    self.wire.set_mode(ReadMode::Prompt).map_err(Error::closed_by)?;
                    self.check_silence()?;
                }
                Received::End => return Err(Error::Closed { source: None }.into()),
            }
        }
    }

    /// A message that does not fit the buffer makes it grow, but never to more than twice what has arrived, nor past
    /// the message's end.
    fn make_room(&mut self) {
        if self.buffer.capacity() - self.buffer.len() < SPARE_BYTES {
            let arrived = self.buffer.len();
            let head = Head::read(&self.buffer, self.offset).ok().flatten();
            let missing = head.map_or(0, |head| head.total.saturating_sub(arrived));
            self.buffer.reserve_exact(arrived.min(missing).max(BUFFER_BYTES));
        }
    }

    fn check_silence(&self) -> Result<(), SourceError> {
        if self.heard.elapsed() > self.timing.silence {
            return Err(Error::Timeout { doing: "streaming", after: self.timing.silence }.into());
        }
        Ok(())
    }

    /// Passes on every complete message in the buffer.
    fn deliver(&mut self) -> Result<(), SourceError> {
        loop {
            if let Some(frame) = self.skim()? {
                self.seen.look(&frame);
                self.hand_over(Batch { bytes: Bytes::from(frame) })?;
            }
            if self.skimmer.is_some() {
                break;
            }
            let Framed { whole, next } = frame(&self.buffer, self.offset, self.limit, &mut self.seen);
            if std::mem::take(&mut self.seen.reply_requested) {
                self.report(false)?;
            }
            if whole > 0 {
                let batch = self.split(whole);
                self.hand_over(batch)?;
            }
            match next {
                Next::More => break,
                Next::Large(head) => self.skimmer = Some(Skimmer::new(head, self.offset, self.limit)),
                Next::Broken(error) => return Err(error.into()),
                Next::Other(head) => {
                    self.take_other(head)?;
                    if head.tag != b'N' && head.tag != b'S' {
                        return Err(Error::Closed { source: None }.into());
                    }
                }
            }
        }
        let mode = if self.seen.is_behind() { ReadMode::Bulk } else { ReadMode::Prompt };
        Ok(self.wire.set_mode(mode).map_err(Error::closed_by)?)
    }

    /// Passes what has arrived to the skimmer, if there is one; returns the rest of its message once that is complete.
    fn skim(&mut self) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(skimmer) = &mut self.skimmer else { return Ok(None) };
        let taken = skimmer.feed(&self.buffer)?;
        self.buffer.drain(..taken);
        self.offset += taken as u64;
        let done = self.skimmer.take_if(|skimmer| skimmer.is_done());
        Ok(done.map(Skimmer::into_frame).transpose()?)
    }

    /// Removes this many bytes from the buffer's front.
    fn split(&mut self, whole: usize) -> Batch {
        self.offset += whole as u64;
        if whole <= COPIED_BYTES {
            let bytes = Bytes::copy_from_slice(&self.buffer[..whole]);
            self.buffer.drain(..whole);
            return Batch { bytes };
        }
        let tail = &self.buffer[whole..];
        let mut fresh = Vec::with_capacity(BUFFER_BYTES.max(tail.len() + SPARE_BYTES));
        fresh.extend_from_slice(tail);
        let mut full = std::mem::replace(&mut self.buffer, fresh);
        full.truncate(whole);
        Batch { bytes: Bytes::from(full) }
    }

    /// Passes on a batch, reporting while there is no room for it. If the stream must stop, the batch is dropped.
    fn hand_over(&mut self, mut batch: Batch) -> Result<(), SourceError> {
        let mut waited = false;
        loop {
            match self.channel.try_hand_over(batch) {
                Handed::Over => break,
                Handed::Unwanted => {
                    self.channel.shared.request_stop(StreamStop::Abandon);
                    break;
                }
                Handed::Full(again) => batch = again,
            }
            if self.channel.shared.stop() != StreamStop::No {
                break;
            }
            waited = true;
            // No reply is requested: nobody would read it.
            self.report_if_due(false)?;
            self.channel.wait_for_room(&batch, Some(self.next_status))?;
        }
        if waited {
            // Nobody listened to the server, so its silence means nothing.
            self.heard = Instant::now();
        }
        Ok(())
    }

    /// A message that is not CopyData.
    fn take_other(&mut self, head: Head) -> Result<(), SourceError> {
        let message: Vec<u8> = self.buffer.drain(..head.total).collect();
        let mut body = Body::new(&message[HEADER_BYTES..], self.offset + HEADER_BYTES as u64);
        self.offset += head.total as u64;
        match head.tag {
            b'E' => {
                let error = ServerError::parse(&mut body)?;
                // If the session ends, the severity is FATAL.
                let is_of_transaction = error.severity == "ERROR";
                let error = Error::Server(Box::new(error));
                Err(if is_of_transaction {
                    SourceError::Unsendable { place: self.seen.place, error: Box::new(error) }
                } else {
                    error.into()
                })
            }
            b'N' => {
                let notice = ServerError::parse(&mut body)?;
                tracing::info!(severity = %notice.severity, code = %notice.code, message = %notice.message, "notice from postgres");
                // From 18 on, pgoutput warns of a publication that it does not find, and leaves out its rows; before,
                // that is an error. Here it always is one: no row is left out silently.
                if notice.severity == "WARNING" && notice.code == sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE {
                    return Err(Error::Server(Box::new(notice)).into());
                }
                Ok(())
            }
            // ParameterStatus, CopyDone, CommandComplete, ReadyForQuery.
            b'S' | b'c' | b'C' | b'Z' => Ok(()),
            _ => Err(body.fail("an unknown message in a stream").into()),
        }
    }

    fn report_if_due(&mut self, reply: bool) -> Result<(), SourceError> {
        if self.channel.shared.take_push() || Instant::now() >= self.next_status {
            self.report(reply)?;
        }
        Ok(())
    }

    /// Sends a Standby Status Update. All three positions are the confirmed one: with a write position ahead of it,
    /// the walsender would consider the relay busy and withhold its keepalives.
    fn report(&mut self, reply: bool) -> Result<(), SourceError> {
        let lsn = self.channel.shared.confirmed();
        assert!(self.reported <= lsn, "a reported LSN never moves backwards: {lsn} after {}", self.reported);
        self.wire.write(&status_update(lsn, reply))?;
        self.reported = lsn;
        self.next_status = Instant::now() + self.timing.status_interval;
        Ok(())
    }

    /// Confirms for the last time, ends the copy and reads until the server has ended it too, so that the slot is
    /// free and at its confirmed position.
    fn finish(mut self) -> Result<(), SourceError> {
        self.report(false)?;
        self.wire.write(&[b'c', 0, 0, 0, 4])?;
        self.wire.set_mode(ReadMode::Prompt).map_err(Error::closed_by)?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            self.skim()?;
            let Framed { whole, next } = match self.skimmer {
                None => frame(&self.buffer, self.offset, self.limit, &mut self.seen),
                Some(_) => Framed { whole: 0, next: Next::More },
            };
            self.buffer.drain(..whole);
            self.offset += whole as u64;
            match next {
                Next::More => {}
                Next::Large(head) => {
                    self.skimmer = Some(Skimmer::new(head, self.offset, self.limit));
                    continue;
                }
                Next::Broken(error) => return Err(error.into()),
                Next::Other(head) => {
                    self.take_other(head)?;
                    if head.tag == b'Z' {
                        return Ok(self.wire.write(&[b'X', 0, 0, 0, 4])?);
                    }
                    continue;
                }
            }
            if Instant::now() >= deadline || self.channel.shared.stop() == StreamStop::Abandon {
                return Err(Error::Timeout { doing: "ending the stream", after: STOP_TIMEOUT }.into());
            }
            self.make_room();
            if self.wire.read(&mut self.buffer, self.channel, deadline)? == Received::End {
                return Err(Error::Closed { source: None }.into());
            }
        }
    }
}

/// A Standby Status Update inside CopyData (Postgres manual, "Streaming Replication Protocol").
pub(crate) fn status_update(lsn: Lsn, reply: bool) -> Vec<u8> {
    const SECONDS_TO_POSTGRES_EPOCH: u64 = 946_684_800;
    let since = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(SECONDS_TO_POSTGRES_EPOCH));
    let now = i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX);
    let mut message = vec![b'd', 0, 0, 0, 38, b'r'];
    for position in [lsn; 3] {
        message.extend(position.0.to_be_bytes());
    }
    message.extend(now.to_be_bytes());
    message.push(u8::from(reply));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_updates_are_sent_three_times_per_wal_sender_timeout() {
        let second = Duration::from_secs(1);
        assert_eq!(Timing::new(second, second * 60).status_interval, second);
        assert_eq!(Timing::new(second, Duration::from_millis(1_500)).status_interval, second / 2);
        assert_eq!(Timing::new(second, Duration::ZERO), Timing { status_interval: second, silence: DEFAULT_SILENCE });
    }

    #[test]
    fn a_status_update_has_the_length_it_declares() {
        let message = status_update(Lsn(0x0102_0304_0506_0708), true);
        assert_eq!(message.len(), 39);
        assert_eq!(message[6..14], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((&message[6..14], message[38]), (&message[14..22], 1));
    }
}
