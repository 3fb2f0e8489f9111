//! Timelines: a server that was promoted or restored writes a new one, and LSNs after the switch mean something else on it.

use super::error::SourceError;
use super::slot::{System, first};
use crate::postgres::Connection;
use crate::relay::boundary::Lsn;

/// Where a timeline ended that the server's own has come from, by the server's history file (Postgres manual, "TIMELINE_HISTORY");
/// `None` if the server has not come from it.
///
/// # Errors
/// Those of the connection.
pub(super) fn switch_from(
    replication: &mut Connection,
    system: &System,
    timeline: u32,
) -> Result<Option<Lsn>, SourceError> {
    // The first one has no history.
    if system.timeline <= 1 {
        return Ok(None);
    }
    let question = "TIMELINE_HISTORY";
    let rows = replication.simple_query(&format!("TIMELINE_HISTORY {}", system.timeline))?;
    let history = first(&rows, question)?.text(1).ok_or(SourceError::Answer { question })?;
    Ok(find(history, timeline))
}

/// A line is the timeline, where it ended, and why; tabs are between them.
fn find(history: &str, timeline: u32) -> Option<Lsn> {
    history.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.next()?.parse() == Ok(timeline)).then(|| fields.next()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_tells_where_each_timeline_ended() {
        let history = "1\t0/3000148\tno recovery target specified\n\n2\t0/5000060\tat restore point \"x\"\n";
        assert_eq!(find(history, 1), Some(Lsn(0x300_0148)));
        assert_eq!(find(history, 2), Some(Lsn(0x500_0060)));
        assert_eq!(find(history, 3), None);
        assert_eq!(find("# nothing\nx y z\n1\n", 1), None);
    }
}
