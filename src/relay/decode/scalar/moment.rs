//! Dates, times and intervals as text.

use std::fmt::Write;

use crate::relay::calendar::civil_date;

const MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400 * MICROS;
/// Days from 1970-01-01 to Postgres's epoch, 2000-01-01.
const DAYS_BEFORE_2000: i64 = 10_957;

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
    let (year, month, day) = civil_date(days + DAYS_BEFORE_2000);
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
