//! Whether every commit in the cluster waits for the relay, because its walsender counts as a synchronous standby.

use crate::postgres::{Connection, Error};

/// The setting `synchronous_standby_names`, if it makes commits wait for the process that streams from the slot under
/// this application name.
///
/// # Errors
/// Those of the connection.
pub(crate) fn waits_for_relay(
    control: &mut Connection,
    slot: &str,
    application: &str,
) -> Result<Option<String>, Error> {
    let rows = control.query(
        "select current_setting('synchronous_standby_names'), r.sync_state from pg_replication_slots s \
         left join pg_stat_replication r on r.pid = s.active_pid \
         where s.slot_name = $1 and s.active_pid is not null and current_setting('synchronous_standby_names') <> ''",
        &[Some(slot)],
    )?;
    let Some(row) = rows.first() else { return Ok(None) };
    let names = row.text(0).unwrap_or_default();
    let waits = match row.text(1) {
        Some(state) => matches!(state, "sync" | "quorum"),
        // A role without pg_read_all_stats does not see the state.
        None => names_match(names, application),
    };
    Ok(waits.then(|| names.to_owned()))
}

/// Whether a list of standbys contains this name, or the wildcard (Postgres manual, `synchronous_standby_names`).
fn names_match(list: &str, application: &str) -> bool {
    let names = match list.split_once('(') {
        Some((_, names)) => names.trim_end().strip_suffix(')').unwrap_or(names),
        None => list,
    };
    let (mut name, mut quoted, mut found) = (String::new(), false, false);
    for character in names.chars().chain([',']) {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                found |= name.trim() == "*" || name.trim().eq_ignore_ascii_case(application);
                name.clear();
            }
            other => name.push(other),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_36_a_list_of_standbys_has_a_name_or_all() {
        for list in [
            "*",
            "a, *",
            "FIRST 1 (*)",
            "ANY 2 (a, b, *)",
            "1 (*)",
            "\"walpost shop\"",
            "FIRST 1 (a, \"Walpost Shop\")",
        ] {
            assert!(names_match(list, "walpost shop"), "{list}");
        }
        for list in ["", "a", "FIRST 1 (a, b)", "walpost", "\"walpost shop, a\""] {
            assert!(!names_match(list, "walpost shop"), "{list}");
        }
    }
}
