//! Limits of dates and times. JSON Schema has none for strings; these are the keywords of the ajv validator, to which ODCS's `minimum`,
//! `maximum` and their exclusive forms are translated: `formatMinimum`, `formatMaximum`, `formatExclusiveMinimum`,
//! `formatExclusiveMaximum`.

use std::cmp::Ordering;

use jsonschema::{Keyword, ValidationError};
use serde_json::Value;

/// How a moment must compare with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Not before.
    AtLeast,
    /// Not after.
    AtMost,
    /// After.
    After,
    /// Before.
    Before,
}

/// The keywords.
pub const KEYWORDS: [(&str, Relation); 4] = [
    ("formatMinimum", Relation::AtLeast),
    ("formatMaximum", Relation::AtMost),
    ("formatExclusiveMinimum", Relation::After),
    ("formatExclusiveMaximum", Relation::Before),
];

/// A date, a time or both, on the timeline of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    kind: Kind,
    /// Since 1970, or since midnight, in nanoseconds; UTC if it has an offset.
    nanoseconds: i128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Date,
    Time,
    Both,
}

impl Moment {
    /// Parses `yyyy-mm-dd`, `hh:mm:ss` with optional fraction and offset, or both separated by a `T` or a space (RFC 3339, section 5.6,
    /// which requires an offset).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(days) = days(text) {
            return Some(Self { kind: Kind::Date, nanoseconds: days * DAY });
        }
        if let Some(nanoseconds) = time(text) {
            return Some(Self { kind: Kind::Time, nanoseconds });
        }
        let (date, rest) = (text.get(..10)?, text.get(10..)?);
        let nanoseconds = time(rest.strip_prefix(['T', 't', ' '])?)?;
        Some(Self { kind: Kind::Both, nanoseconds: days(date)? * DAY + nanoseconds })
    }

    /// Milliseconds since 1970-01-01 00:00:00 UTC; without an offset in UTC, without a time at midnight. `None` if it is a time alone.
    #[must_use]
    pub fn unix_millis(&self) -> Option<i64> {
        (self.kind != Kind::Time).then(|| i64::try_from(self.nanoseconds.div_euclid(1_000_000)).ok())?
    }

    /// Which is earlier; `None` if one is a date and the other a time.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        let is_alike = (self.kind == Kind::Time) == (other.kind == Kind::Time);
        is_alike.then(|| self.nanoseconds.cmp(&other.nanoseconds))
    }
}

const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;

/// Parses this many leading digits; returns them and the rest.
fn digits(text: &str, count: usize) -> Option<(i128, &str)> {
    let (head, rest) = text.split_at_checked(count)?;
    let is_number = head.bytes().all(|byte| byte.is_ascii_digit());
    Some((head.parse().ok().filter(|_| is_number)?, rest))
}

/// Days since 1970-01-01 in the Gregorian calendar.
fn days(text: &str) -> Option<i128> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    if !rest.is_empty() || !(1..=12).contains(&month) {
        return None;
    }
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i128::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // In years that begin in March the leap day is the last day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    Some(
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 1
            - 719_468,
    )
}

/// Nanoseconds since midnight; UTC if it has an offset.
fn time(text: &str) -> Option<i128> {
    let (hour, rest) = digits(text, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(':')?, 2)?;
    // Leap seconds are valid.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, rest) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let length = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, rest) = rest.split_at(length);
            let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
            (nine.parse::<i128>().ok().filter(|_| length > 0)?, rest)
        }
    };
    let offset = match rest {
        "" | "Z" | "z" => 0,
        _ => {
            let (hours, after) = digits(rest.strip_prefix(['+', '-'])?, 2)?;
            let (minutes, after) = digits(after.strip_prefix(':')?, 2)?;
            if hours > 23 || minutes > 59 || !after.is_empty() {
                return None;
            }
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            sign * (hours * 60 + minutes) * 60
        }
    };
    Some((hour * 3600 + minute * 60 + second - offset) * SECOND + fraction)
}

/// A keyword of a schema, with its limit.
struct Limit {
    relation: Relation,
    limit: Moment,
    text: String,
}

/// Compiles a keyword.
///
/// # Errors
/// The limit is not a date or time.
pub(super) fn keyword<'a>(
    name: &str,
    relation: Relation,
    limit: &'a Value,
) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>> {
    let text = limit.as_str().unwrap_or_default();
    let Some(moment) = Moment::parse(text) else {
        return Err(ValidationError::custom(format!("{name}: {limit} is not a date or time")));
    };
    Ok(Box::new(Limit { relation, limit: moment, text: text.to_owned() }))
}

impl<'i> Keyword<'i> for Limit {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) {
            return Ok(());
        }
        let relation = match self.relation {
            Relation::AtLeast => "before",
            Relation::AtMost => "after",
            Relation::After => "not after",
            Relation::Before => "not before",
        };
        Err(ValidationError::custom(format!("value is {relation} {}", self.text)))
    }

    /// A value that is no date or time is left to `format`.
    fn is_valid(&self, instance: &'i Value) -> bool {
        let Some(order) = instance.as_str().and_then(Moment::parse).and_then(|moment| moment.compare(&self.limit))
        else {
            return true;
        };
        match self.relation {
            Relation::AtLeast => order.is_ge(),
            Relation::AtMost => order.is_le(),
            Relation::After => order.is_gt(),
            Relation::Before => order.is_lt(),
        }
    }
}
