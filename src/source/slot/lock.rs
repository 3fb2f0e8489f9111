//! The advisory lock behind the lease.
//!
//! Any role can take any advisory lock. So the key is random and kept in `outbox.lease`, which only a relay's role
//! may read. It is visible in `pg_locks` while it is held, and a session that waits for it gets it next; a relay that
//! finds it held by a session whose role may not write `outbox.relay` therefore switches to a new key. Keys are
//! changed and tried under the row's lock, so that two relays never hold one each.

use crate::postgres::{Connection, sqlstate};
use crate::source::error::SourceError;
use crate::source::limits::{LEASE_ROW_LOCK, LEASE_SILENCE};
use crate::source::server::answer::first;

/// The key of versions before 0.2, whose relays hold or request it during a rolling update.
const OLD_KEY: &str = "hashtext('walpost'), hashtext($1)";

/// A random key, in SQL.
const NEW_KEY: &str = "('x' || left(replace(gen_random_uuid()::text, '-', ''), 16))::bit(64)::bigint";

/// A session that holds one of the lease's keys.
struct KeyHolder {
    pid: Option<i32>,
    role: String,
    /// Its role may write `outbox.relay`. A session that has just ended counts, too: it may have been a relay's.
    may_relay: bool,
    /// It holds the current key, not the one of earlier versions.
    is_present_key: bool,
}

/// Tries to lock; returns the process that holds the lock if that is another relay's.
pub(crate) fn lock(session: &mut Connection, slot: &str) -> Result<Option<Option<i32>>, SourceError> {
    // A note must be on the server's disk before the slot moves, and must not wait for a standby that is gone.
    session.configure("set synchronous_commit = local; set default_transaction_read_only = off")?;
    // Checked first: a row lock is a transaction of its own, and standby relays ask four times a second.
    if let Some(pid) = relay_among(&holders(session, slot)?) {
        return Ok(Some(pid));
    }
    session.query(
        &format!("insert into outbox.lease (slot, lock_key) values ($1, {NEW_KEY}) on conflict do nothing"),
        &[Some(slot)],
    )?;
    let (row_lock, silence) = (LEASE_ROW_LOCK.as_millis(), LEASE_SILENCE.as_millis());
    // Limits, so that a relay that hangs in the transaction blocks no other.
    session.simple_query(&format!(
        "begin isolation level read committed read write; set local lock_timeout = {row_lock}; \
         set local idle_in_transaction_session_timeout = {silence}"
    ))?;
    match lock_row(session, slot) {
        Ok(taken) => {
            session.simple_query("commit")?;
            Ok(taken)
        }
        // Another relay holds the row's lock, and tries.
        Err(SourceError::Postgres(error)) if error.sqlstate() == Some(sqlstate::LOCK_NOT_AVAILABLE) => {
            session.simple_query("rollback")?;
            Ok(Some(None))
        }
        // The first error is the one that counts, and the session is of no further use.
        Err(error) => Err(error),
    }
}

fn lock_row(session: &mut Connection, slot: &str) -> Result<Option<Option<i32>>, SourceError> {
    let question = "whether the lease is free";
    session.query("select from outbox.lease where slot = $1 for update", &[Some(slot)])?;
    let mut found = holders(session, slot)?;
    if let Some(pid) = relay_among(&found) {
        return Ok(Some(pid));
    }
    found.retain(|holder| holder.is_present_key);
    for KeyHolder { pid, role, .. } in &found {
        tracing::warn!(
            slot,
            pid,
            role,
            "a session that is not a relay holds the lease's lock; switching to another key (to end the session: select pg_terminate_backend(pid))"
        );
    }
    if !found.is_empty() {
        session.query(&format!("update outbox.lease set lock_key = {NEW_KEY} where slot = $1"), &[Some(slot)])?;
    }
    let sql = "select pg_try_advisory_lock(lock_key) from outbox.lease where slot = $1";
    let rows = session.query(sql, &[Some(slot)])?;
    // Somebody was quicker, and is checked at the next attempt.
    if !first(&rows, question)?.is_true(0) {
        return Ok(Some(None));
    }
    if let Some(pid) = take_old_key(session, slot)? {
        session.query("select pg_advisory_unlock(lock_key) from outbox.lease where slot = $1", &[Some(slot)])?;
        return Ok(Some(pid));
    }
    Ok(None)
}

/// A heartbeat, and another attempt at the old key if something else holds it.
///
/// # Errors
/// [`SourceError::SlotHeld`]: a relay of an earlier version holds it, and streams.
pub(crate) fn beat(session: &mut Connection, slot: &str) -> Result<(), SourceError> {
    match take_old_key(session, slot)? {
        Some(pid) => Err(SourceError::SlotHeld { slot: slot.to_owned(), pid }),
        None => Ok(()),
    }
}

/// Takes the key of earlier versions if it is free, so that their relays stand by; returns the process of such a
/// relay if it holds the key.
fn take_old_key(session: &mut Connection, slot: &str) -> Result<Option<Option<i32>>, SourceError> {
    let sql = format!(
        "select case when exists (select from pg_locks where locktype = 'advisory' and objsubid = 2 and pid = pg_backend_pid()) \
         then true else pg_try_advisory_lock({OLD_KEY}) end"
    );
    if first(&session.query(&sql, &[Some(slot)])?, "whether the lease is free")?.is_true(0) {
        return Ok(None);
    }
    let mut found = holders(session, slot)?;
    found.retain(|holder| !holder.is_present_key);
    Ok(relay_among(&found))
}

/// The process of a relay, if any.
fn relay_among(holders: &[KeyHolder]) -> Option<Option<i32>> {
    holders.iter().find(|holder| holder.may_relay).map(|holder| holder.pid)
}

/// The sessions other than this one that hold the current key, or the one of earlier versions.
fn holders(session: &mut Connection, slot: &str) -> Result<Vec<KeyHolder>, SourceError> {
    // Postgres shows the two halves of a 64-bit key as unsigned numbers in classid and objid, with objsubid 1; a key
    // of two numbers with objsubid 2. A prepared transaction has no process, and no relay prepares one.
    let rows = session.query(
        "select l.pid, coalesce(a.usename, '(prepared transaction)'), case when l.pid is null then false when a.pid is null then true \
         else exists (select from pg_roles r where pg_has_role(a.usesysid, r.oid, 'member') \
                      and has_table_privilege(r.oid, 'outbox.relay', 'update')) end, \
         l.objsubid = 1 \
         from pg_locks l left join pg_stat_activity a on a.pid = l.pid left join outbox.lease e on e.slot = $1 \
         where l.locktype = 'advisory' and l.granted and l.pid is distinct from pg_backend_pid() \
           and l.database = (select oid from pg_database where datname = current_database()) \
           and (l.objsubid = 1 and (l.classid::bigint << 32) | l.objid::bigint = e.lock_key \
             or l.objsubid = 2 and l.classid::bigint::bit(32) = hashtext('walpost')::bit(32) \
                and l.objid::bigint::bit(32) = hashtext($1)::bit(32)) \
         order by l.objsubid",
        &[Some(slot)],
    )?;
    Ok(rows
        .iter()
        .map(|row| KeyHolder {
            pid: row.text(0).and_then(|pid| pid.parse().ok()),
            role: row.text(1).unwrap_or_default().to_owned(),
            may_relay: row.is_true(2),
            is_present_key: row.is_true(3),
        })
        .collect())
}
