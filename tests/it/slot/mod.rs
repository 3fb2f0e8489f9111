//! Accidents of the slot, and two relays that compete for it.

mod accidents;
mod promotion;
mod standby;
mod unsendable;
mod watch;

use crate::harness::Harness;

/// A column of `outbox.relay` or `pg_replication_slots` for the test's slot.
async fn of_slot(harness: &Harness, column: &str) -> Option<String> {
    let sql = format!(
        "select {column}::text from outbox.relay join pg_replication_slots on slot = slot_name where slot = '{}'",
        harness.name()
    );
    harness.query_text(&sql).await
}
