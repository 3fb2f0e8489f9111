//! Times on the command line: a date, a date and time, or an age.

use std::time::{SystemTime, UNIX_EPOCH};

use walpost_producer::schema::moment::Moment;

use crate::config::quantity::parse_duration;

/// Parses a time as milliseconds since the Unix epoch.
pub(super) fn moment(text: &str) -> Result<i64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    read(text, i64::try_from(now).unwrap_or(i64::MAX))
        .ok_or_else(|| "expected an age such as 90m, 2h or 7d, or a time such as 2026-11-21T20:00:00Z".to_owned())
}

fn read(text: &str, now: i64) -> Option<i64> {
    // A plain number would be seconds in the configuration; here it is neither an age nor a time.
    if text.ends_with(|c: char| c.is_ascii_lowercase())
        && let Some(ago) = parse_duration(text)
    {
        return now.checked_sub(i64::try_from(ago.as_millis()).ok()?);
    }
    Moment::parse(text)?.unix_millis()
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_time_is_an_age_or_a_date_with_or_without_a_time_of_day() {
        let now = 1_000_000_000_000;
        assert_eq!(read("90m", now), Some(now - 5_400_000));
        assert_eq!(read("2w", now), Some(now - 1_209_600_000));
        assert_eq!(read("1970-01-02", now), Some(86_400_000));
        assert_eq!(read("1970-01-01T01:00:00+01:00", now), Some(0));
        assert_eq!(read("1970-01-01T00:00:00.5Z", now), Some(500));
        assert_eq!(read("1970-01-01t00:00:01z", now), Some(1_000));
        for bad in ["", "h", "90", "-1h", "1.5h", "1y", "20:00:00", "yesterday", "99999999999999999999d", "2026-13-01"]
        {
            assert_eq!(read(bad, now), None, "{bad}");
        }
    }
}
