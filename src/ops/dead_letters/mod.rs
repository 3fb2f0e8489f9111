//! Dead letters as a tool: what was refused and why, publishing it again after the fix, and discarding it for good.
//!
//! ```text
//! dead-letter topic --reader--> letter --selection--> mend: by the contracts as they are now --> record + mark
//!                                 ^ marks                ^ registered: Postgres                      |
//!                         walpost.redriven <------------------- one Kafka transaction --------------+--> topic
//! ```
//!
//! - [`dead_letter`]: what is found in the topic, and what its headers say; pure, and ready for what anybody wrote there
//! - [`selection`]: which letters are meant; pure
//! - [`resolve`](mod@resolve): what a letter becomes, or why it stays; pure
//! - [`marks`]: which letters were redriven or discarded; pure
//! - [`listing`]: the newest in a line each; pure
//! - [`dead_letter_reader`]: reading letters and marks from Kafka
//! - [`registry`]: schema versions, as Postgres has them now
//! - `writing`: one command at a time writes marks
//! - [`redrive`](mod@redrive): publishes; [`outcome`] says what became of each
//! - [`discard`](mod@discard): marks those that are never to be published
//!
//! # Whose letters
//!
//! Several relays may share a dead-letter topic. A letter is its relay's, by the header `outbox-relay`: the commands pass over those of
//! others, which are to be checked by another database's contracts.
//!
//! # Once for each letter
//!
//! A letter stays in its topic, which nobody can take it out of; that it was redriven is a record in the compacted topic
//! `walpost.redriven`, under the key `<dead-letter topic>/<partition>/<offset>`, in the same Kafka transaction as the redriven record. All
//! redrives and discards of one dead-letter topic have one transactional id, `walpost-redrive.<dead-letter topic>`: who takes it fences the one who
//! has it and ends what he left open, and reads the marks after that, so a reader of committed records sees each letter once whatever
//! dies and however many run. A mark holds a hash over its letter, so those of a topic that was deleted and made again mean
//! nothing. This is so whether the relay delivers at least once or exactly once, and while it runs: it knows nothing of it.
//!
//! # Order
//!
//! Letters go out by partition and offset. A redriven record comes after later ones of its key that were not refused; its
//! `outbox-position` still says where it belongs.

pub mod dead_letter;
pub mod selection;
pub mod resolve;
pub mod marks;
pub mod listing;
pub mod dead_letter_reader;
pub mod registry;
pub mod outcome;
mod error;
mod writing;
pub mod redrive;
pub mod discard;

pub use dead_letter::{DeadLetter, DeadLetterId};
pub use dead_letter_reader::{DeadLetterReadError, DeadLetterReader};
pub use discard::{DiscardOutcome, Discarding};
pub use error::RedriveError;
pub use listing::{Listing, Summary};
pub use marks::Mark;
pub use outcome::RedriveOutcome;
pub use redrive::Redriving;
pub use selection::{Others, Selection};
