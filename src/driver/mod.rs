//! Drives the relay: carries values between the edges and the core, and does for the database and the operator what goes
//! with that.
//!
//! ```text
//! start, replay --> assemble --> event loop <-- link: source
//!                                    |  <-- lookup: schema versions, topics, types
//!                                    |  <-- side events: maintenance, rewind window
//!                                    v
//!                        slot note, checkpoints, telemetry
//! ```

mod limits;
mod start;
mod replay;
mod skip;
mod assemble;
mod event_loop;
mod waiting;
mod link;
mod repeats;
mod publication;
mod lookup;
mod registry;
mod visible_transactions;
mod slot_note;
mod storing;
mod checkpoint_timer;
mod side_events;
mod maintenance;
mod reporting;
mod freshness;
mod notices;

pub(crate) use assemble::{forget_position, producer_options, source_options, transactions};
pub(crate) use limits::IDLE_CONFIRMING;
pub(crate) use replay::{Job, rehearse, replay};
pub(crate) use skip::{SkippedInKafka, write_skipped};
pub(crate) use start::run;
#[cfg(feature = "lab")]
pub(crate) use start::run_into;
