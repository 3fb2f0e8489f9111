//! Timelines: a server that was promoted or restored writes a new one, on which LSNs after the switch mean something
//! else.

use super::answer::first;
use crate::postgres::{Connection, sqlstate};
use crate::relay::boundary::{Ancestry, Lsn};
use crate::source::error::SourceError;

/// The timelines that the server's descends from, according to its history file (Postgres manual,
/// "TIMELINE_HISTORY"); none if that file is gone, as after some restores.
///
/// # Errors
/// Those of the connection.
pub(crate) fn ancestry(replication: &mut Connection, timeline: u32) -> Result<Ancestry, SourceError> {
    // The first one has no history.
    if timeline <= 1 {
        return Ok(Ancestry::default());
    }
    let question = "TIMELINE_HISTORY";
    let rows = match replication.simple_query(&format!("TIMELINE_HISTORY {timeline}")) {
        Err(error) if error.sqlstate() == Some(sqlstate::UNDEFINED_FILE) => return Ok(Ancestry::default()),
        rows => rows?,
    };
    let history = first(&rows, question)?.text(1).ok_or(SourceError::Answer { question })?;
    Ok(parse(history))
}

/// A line has the timeline, where it ended, and why, separated by tabs.
fn parse(history: &str) -> Ancestry {
    let line = |line: &str| -> Option<(u32, Lsn)> {
        let mut fields = line.split_whitespace();
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Ancestry(history.lines().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_gives_the_end_of_each_timeline() {
        let history = parse("1\t0/3000148\tno recovery target specified\n\n2\t0/5000060\tat restore point \"x\"\n");
        assert_eq!(history.end_of(1), Some(Lsn(0x300_0148)));
        assert_eq!(history.end_of(2), Some(Lsn(0x500_0060)));
        assert_eq!(history.end_of(3), None);
        assert_eq!(parse("# nothing\nx y z\n1\n"), Ancestry::default());
    }
}
