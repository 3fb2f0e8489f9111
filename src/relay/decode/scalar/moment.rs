//! Dates, times and intervals as text.

use std::fmt::Write;

const MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400 * MICROS;
/// Days from 0000-03-01 to 2000-01-01 of the proleptic Gregorian calendar.
const DAYS_TO_EPOCH: i64 = 730_425;

/// `date` as text.
pub(super) fn date(days: i32) -> String {
    match days {
        i32::MIN => "-infinity".to_owned(),
        i32::MAX => "infinity".to_owned(),
        days => {
            let (day, era) = calendar(days.into());
            format!("{day}{era}")
        }
    }
}

/// `timestamp` as text; `zone` follows the time.
pub(super) fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        i64::MIN => "-infinity".to_owned(),
        i64::MAX => "infinity".to_owned(),
        micros => {
            let (day, era) = calendar(micros.div_euclid(DAY));
            format!("{day} {}{zone}{era}", clock(micros.rem_euclid(DAY)))
        }
    }
}

/// `time` as text.
pub(super) fn time(micros: i64) -> Option<String> {
    (0..=DAY).contains(&micros).then(|| clock(micros))
}

/// `timetz` as text: the time, and the zone in seconds west of Greenwich.
pub(super) fn time_with_zone(bytes: &[u8]) -> Option<String> {
    let (micros, zone) = bytes.split_first_chunk()?;
    let west = i32::from_be_bytes(zone.try_into().ok()?);
    let mut text = time(i64::from_be_bytes(*micros))?;
    let (sign, seconds) = (if west <= 0 { '+' } else { '-' }, west.unsigned_abs());
    write!(text, "{sign}{:02}", seconds / 3_600).ok()?;
    if seconds % 3_600 != 0 {
        write!(text, ":{:02}", seconds / 60 % 60).ok()?;
    }
    if seconds % 60 != 0 {
        write!(text, ":{:02}", seconds % 60).ok()?;
    }
    Some(text)
}

/// `interval` as text: microseconds, days and months, each with its sign (`EncodeInterval`, `INTSTYLE_POSTGRES`).
pub(super) fn interval(bytes: &[u8]) -> Option<String> {
    let (micros, rest) = bytes.split_first_chunk()?;
    let (days, months) = rest.split_first_chunk()?;
    let (micros, days) = (i64::from_be_bytes(*micros), i32::from_be_bytes(*days));
    let months = i32::from_be_bytes(months.try_into().ok()?);
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => return Some("infinity".to_owned()),
        (i64::MIN, i32::MIN, i32::MIN) => return Some("-infinity".to_owned()),
        _ => {}
    }
    let mut text = String::new();
    let mut after_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if text.is_empty() { "" } else { " " };
        let plus = if after_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        write!(text, "{space}{plus}{value} {unit}{plural}").ok()?;
        after_negative = value < 0;
    }
    if text.is_empty() || micros != 0 {
        let space = if text.is_empty() { "" } else { " " };
        let sign = match (micros < 0, after_negative) {
            (true, _) => "-",
            (false, true) => "+",
            (false, false) => "",
        };
        let (seconds, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        write!(text, "{space}{sign}{hours:02}:{minutes:02}:{:02}{}", seconds % 60, decimals(fraction)).ok()?;
    }
    Some(text)
}

/// A calendar day, counted from 2000-01-01, followed by ` BC` before year 1.
fn calendar(days: i64) -> (String, &'static str) {
    // By eras of 400 years that start on 1 March (Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
    let shifted = days + DAYS_TO_EPOCH;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // There is no year 0.
    let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{shown:04}-{month:02}-{day:02}"), era)
}

fn clock(micros: i64) -> String {
    let seconds = micros / MICROS;
    let fraction = decimals((micros % MICROS).unsigned_abs());
    format!("{:02}:{:02}:{:02}{fraction}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Microseconds as decimals, without trailing zeros.
fn decimals(micros: u64) -> String {
    match micros {
        0 => String::new(),
        _ => format!(".{micros:06}").trim_end_matches('0').to_owned(),
    }
}
