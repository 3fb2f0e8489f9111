//! Lists, redrives and discards dead letters.
//!
//! ```text
//! dead-letter topic --reader--> dead letter --selection--> resolve: by the current contracts --> record + mark
//!                                    ^ marks                  ^ registry: Postgres                  |
//!                            walpost.redriven <---------------- one Kafka transaction -------------+--> topic
//! ```
//!
//! - [`dead_letter`]: a record of the topic and its headers, which are untrusted; pure
//! - [`selection`]: which dead letters are selected; pure
//! - [`resolve`](mod@resolve): the record to publish for a dead letter, or why it can't be redriven; pure
//! - [`marks`]: which dead letters were redriven or discarded; pure
//! - [`listing`]: the newest; pure
//! - [`dead_letter_reader`]: reads dead letters and marks from Kafka
//! - [`registry`]: the current schema versions, from Postgres
//! - `writing`: what redrive and discard have in common; ensures that one command at a time writes marks
//! - [`redrive`](mod@redrive): publishes; [`outcome`] is its result
//! - [`discard`](mod@discard): marks dead letters as discarded
//!
//! # Ownership
//!
//! Several relays may share a dead-letter topic. The header `outbox-relay` names the relay that wrote a dead letter. Commands skip those of
//! other relays, whose contracts are in other databases.
//!
//! # Each dead letter is redriven once
//!
//! A record can't be removed from its topic, so a redrive is recorded in the compacted topic `walpost.redriven`, under the key
//! `<dead-letter topic>/<partition>/<offset>`, in the same Kafka transaction as the redriven record. All redrives and discards of one
//! dead-letter topic share one transactional id, `walpost-redrive.<dead-letter topic>`. A new run fences the previous one, aborts its open
//! transaction, and only then reads the marks. So a `read_committed` consumer sees each dead letter once, whatever crashes and however
//! many runs overlap. A mark contains a hash of its dead letter, so marks of a deleted and recreated topic do not apply. All this is
//! independent of the running relay and of its delivery guarantee.
//!
//! # Order
//!
//! Dead letters are redriven by partition and offset. A redriven record follows later records of its key that were not refused; its
//! `outbox-position` still gives its original position.

pub(crate) mod dead_letter_reader;
pub(crate) mod dead_letter;
pub(crate) mod registry;
pub(crate) mod marks;
pub(crate) mod selection;
pub(crate) mod resolve;
pub(crate) mod listing;
mod writing;
pub(crate) mod outcome;
pub(crate) mod redrive;
pub(crate) mod discard;
mod error;

pub(crate) use dead_letter::{DeadLetter, DeadLetterId};
pub(crate) use dead_letter_reader::{DeadLetterReadError, DeadLetterReader};
pub(crate) use discard::{DiscardOutcome, Discarding};
pub(crate) use listing::{Listing, Summary};
pub(crate) use marks::Mark;
pub(crate) use outcome::RedriveOutcome;
pub(crate) use redrive::Redriving;
pub(crate) use selection::{DeadLetterSelection, Others};
pub(crate) use writing::MarkTarget;
