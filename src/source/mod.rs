//! Edge 1: the replication stream.
//!
//! [`connect`] checks server, publication and slot, creates the slot at the first start, and returns a [`Stream`]: a
//! separate thread that owns the replication socket, cuts complete messages off it without looking at rows, and
//! reports the confirmed position on its own schedule. At the first start the rows committed before the slot existed
//! come first, as one synthetic transaction in the stream's own format, so the core knows one kind of input.
//!
//! A replay's stream ([`connect_replay`]) comes from a temporary copy of whichever slot still holds the position
//! ([`held`]).
//!
//! Nothing here decodes a row, and only the [`Stream`]'s thread ever touches the socket.

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

pub use crate::relay::confirm::Resume;
pub use boundary::gap_report::{AffectedRows, Published, Unpublished};
pub use boundary::holder::{Held, NotHeld, holder};
pub use boundary::not_skipped::NotSkipped;
pub use boundary::not_streamed::NotStreamed;
pub use boundary::past_backfill::PastBackfill;
pub use boundary::place::StreamPlace;
pub use boundary::service::ManagedService;
pub use boundary::table::{OutboxTable, TableName};
pub use catalog::column_type::look_up_type;
pub use catalog::layout::{check_layout, order_without_time};
pub(crate) use catalog::publication::stray_outbox;
pub use catalog::publication::{StreamedTable, check_publication};
pub use error::SourceError;
pub(crate) use limits::{LEASE_SILENCE, STANDBY_GRACE};
pub use limits::{RECORD_BYTES, STATUS_INTERVAL};
pub use opening::SourceOptions;
pub use origin::Origin;
pub use server::identity::{Server, System};
pub(crate) use server::refusal::explain_statement;
pub use slot::advance::confirm_without_stream;
pub(crate) use slot::inspect::prepared_transactions;
pub use slot::inspect::{CreatedSlot, SlotState, check_slot_name, create_slot, drop_slot, inspect_slot};
pub use slot::lease::Lease;
pub use slot::report::{NotedReport, SlotReport, SlotStanding, report};
pub use slot::slot_admin::{Adoption, Recreated, Scope, recreate};
pub use slot::slot_copy::{advance, copy_holder, held};
pub use slot::synchronous::waits_for_relay;
pub use state::note::{Note, NoteLimit, NoteTaken};
pub(crate) use state::read_start;
pub use state::relay_state::Recovery;
pub(crate) use state::relay_state::read_noted;
pub(crate) use state::secrets::settle_unsigned;
pub use state::secrets::{Secrets, read_message_keys};
pub use stream::handle::{Stream, StreamEvent};
pub use stream::open::{Source, connect, reconnect};
pub use stream::replay::{Feed, TABLES_END, connect_replay};
pub use stream::skip::{ListedTable, SlotBefore, TransactionSkip, UnsendableTransaction};
