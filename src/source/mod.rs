//! Edge 1: the replication stream.
//!
//! [`connect`] looks at server, publication and slot, makes the slot at the first start, and hands back a [`Stream`]:
//! a thread of its own that owns the replication socket, cuts whole messages off it without looking at rows, and
//! reports the confirmed position on its own clock. On the first start the rows that were committed before the slot
//! existed come first, as one made-up transaction in the stream's own shape, so that the core knows one kind of input.
//!
//! A replay's stream ([`connect_replay`]) comes from a temporary copy of whichever slot still holds the position ([`held`]).
//!
//! Nothing here decodes a row, and nothing but the [`Stream`]'s thread ever touches the socket.

mod backfill;
mod column_type;
mod describe;
mod copy;
mod rows;
mod cut;
mod encoding;
mod error;
mod place;
pub mod frames;
mod heartbeat;
mod lease;
mod lock;
mod held;
mod holding;
mod notebook;
mod opening;
mod open;
mod begin;
mod timeline;
mod unpublished;
mod counting;
mod confirm;
mod recreate;
mod report;
mod secrets;
mod outlet;
mod reader;
mod skim;
mod replay;
mod skip;
mod slot;
mod streamed;
mod publication;
mod state;
mod table;
mod stream;
mod synchronous;
mod watermark;
mod wire;

#[cfg(test)]
mod tests;

pub use crate::relay::confirm::Resume;
pub use column_type::look_up_type;
pub use confirm::confirm_without_stream;
pub use describe::{check_layout, order_without_time};
pub use error::{SourceError, TableName};
pub use held::{advance, copy_holder, held};
pub use holding::{Held, NotHeld, holder};
pub use lease::Lease;
pub use notebook::{Extent, Note};
pub use open::{Origin, Source, connect, reconnect};
pub use opening::{RECORD_BYTES, STATUS_INTERVAL, SourceOptions};
pub use place::Place;
pub use publication::check_publication;
pub(crate) use publication::stray_outbox;
pub use recreate::{Adoption, Recreated, Scope, recreate};
pub use replay::{Feed, TABLES_END, connect_replay};
pub use report::{Noted, SlotReport, Standing, report};
pub(crate) use secrets::settle_unsigned;
pub use secrets::{Secrets, read_message_keys};
pub use skip::{Listed, NotSkipped, Skipping, Unsent};
pub(crate) use slot::explain_refusal;
pub use slot::{
    CreatedSlot, Server, SlotState, System, check_slot_name, create_slot, drop_slot, identify_system, inspect_slot,
};
pub use state::Recovery;
pub use stream::{Event, Stream};
pub use streamed::NotStreamed;
pub use synchronous::waits_for_relay;
pub use table::OutboxTable;
pub use unpublished::{Published, Rows, Unpublished};
