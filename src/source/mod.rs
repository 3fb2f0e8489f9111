//! Edge 1: the replication stream.
//!
//! [`connect`] checks server, publication and slot, creates the slot at the first start, and returns a `Stream`: a
//! separate thread that owns the replication socket, cuts complete messages off it without looking at rows, and
//! reports the confirmed position on its own schedule. At the first start the rows committed before the slot existed
//! come first, as one synthetic transaction in the stream's own format, so the core knows one kind of input.
//!
//! A replay's stream (`connect_replay`) comes from a temporary copy of whichever slot still holds the position
//! (`held`).
//!
//! Nothing here decodes a row, and only the `Stream`'s thread ever touches the socket.

mod boundary;
mod limits;
mod error;
mod detached;
mod server;
mod catalog;
mod origin;
mod opening;
mod state;
mod slot;
pub mod frames;
mod row_budget;
mod snapshot;
mod stream;
mod batch_channel;
#[cfg(all(test, feature = "lab"))]
mod tests;

pub(crate) use boundary::gap_report::Unpublished;
pub(crate) use boundary::holder::{Held, NotHeld, holder};
pub(crate) use boundary::past_backfill::PastBackfill;
pub(crate) use boundary::place::StreamPlace;
pub(crate) use boundary::table::{OutboxTable, TableName};
pub(crate) use catalog::column_type::look_up_type;
pub(crate) use catalog::layout::{check_layout, order_without_time};
pub(crate) use catalog::publication::check_publication;
pub(crate) use catalog::publication::stray_outbox;
pub use error::SourceError;
pub(crate) use limits::{LEASE_SILENCE, STANDBY_GRACE};
pub use limits::{RECORD_BYTES, STATUS_INTERVAL};
pub use opening::SourceOptions;
pub(crate) use origin::Origin;
pub(crate) use server::identity::{Server, System};
pub(crate) use server::refusal::explain_statement;
pub(crate) use slot::advance::confirm_without_stream;
pub(crate) use slot::inspect::prepared_transactions;
pub(crate) use slot::inspect::{SlotState, drop_slot, inspect_slot};
pub use slot::lease::Lease;
#[cfg(test)]
pub(crate) use slot::report::{NotedReport, SlotStanding};
pub(crate) use slot::report::{SlotReport, report};
pub(crate) use slot::slot_admin::{Adoption, Recreated, Scope, recreate};
pub(crate) use slot::slot_copy::{advance, copy_holder, held};
pub(crate) use slot::synchronous::waits_for_relay;
pub use state::note::{Note, NoteLimit, NoteTaken};
pub(crate) use state::read_start;
pub(crate) use state::relay_state::read_noted;
pub(crate) use state::secrets::settle_unsigned;
pub(crate) use state::secrets::{Secrets, read_message_keys};
pub(crate) use stream::handle::StreamEvent;
pub use stream::open::connect;
pub(crate) use stream::open::{Source, reconnect};
pub(crate) use stream::replay::{Feed, connect_replay};
pub(crate) use stream::skip::{ListedTable, SlotBefore, TransactionSkip, UnsendableTransaction};
