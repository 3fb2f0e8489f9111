//! Compares the clocks of the database server and this machine.

use super::report::{Finding, ok, warning};
use crate::postgres::{Connection, Error};

/// Largest difference between two synchronized clocks, in milliseconds.
const TOLERANCE_MILLIS: i64 = 30_000;

pub(super) fn compare(control: &mut Connection) -> Result<Option<Finding>, Error> {
    let before = now_millis();
    let rows = control.simple_query("select (extract(epoch from clock_timestamp()) * 1000)::bigint")?;
    let after = now_millis();
    let theirs: Option<i64> = rows.first().and_then(|row| row.text(0)?.parse().ok());
    Ok(theirs.map(|theirs| judge(theirs - before.midpoint(after))))
}

/// Judges by how far the server's clock is ahead of this machine's.
fn judge(ahead_millis: i64) -> Finding {
    let seconds = ahead_millis.unsigned_abs() / 1_000;
    let side = if ahead_millis < 0 { "behind" } else { "ahead of" };
    if ahead_millis.abs() <= TOLERANCE_MILLIS {
        return ok("clock", format!("the clocks of the server and this machine differ by less than {} s", seconds + 1));
    }
    warning(
        "clock",
        format!(
            "the server's clock is {seconds} s {side} this machine's; it sets record timestamps, and Kafka 4 refuses those more than an hour \
             ahead of its own clock (message.timestamp.after.max.ms): synchronize all these machines by NTP"
        ),
    )
}

fn now_millis() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    i64::try_from(since_epoch.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::report::Severity;
    use super::*;

    #[test]
    fn case_34_differing_clocks_are_a_warning() {
        assert_eq!(judge(-30_000).verdict, Severity::Ok);
        let ahead = judge(5_400_000);
        assert_eq!(ahead.verdict, Severity::Warning);
        assert!(ahead.what.contains("5400 s ahead of this machine's"), "{}", ahead.what);
        assert!(judge(-60_000).what.contains("60 s behind this machine's"));
    }
}
