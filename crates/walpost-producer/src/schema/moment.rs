//! Limits of dates and times. JSON Schema has none for strings; these are the keywords of the ajv validator, to which ODCS's `minimum`,
//! `maximum` and their exclusive forms are translated: `formatMinimum`, `formatMaximum`, `formatExclusiveMinimum`,
//! `formatExclusiveMaximum`.

use std::cmp::Ordering;

use chrono::DateTime;
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
    /// which requires an offset). Accepts a leap second in any minute.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, whole) = match text.as_bytes() {
            [_, _, b':', ..] => (Kind::Time, format!("1970-01-01T{text}")),
            bytes if bytes.len() == DATE_BYTES => (Kind::Date, format!("{text}T00:00:00Z")),
            _ => (Kind::Both, text.to_owned()),
        };
        // chrono also takes U+2212 for the minus sign of an offset, which RFC 3339 does not.
        let read = |text: &str| DateTime::parse_from_rfc3339(text).ok().filter(|_| text.is_ascii());
        // Without an offset, UTC is meant.
        let moment = read(&whole).or_else(|| read(&(whole + "Z")))?;
        let nanoseconds = i128::from(moment.timestamp()) * SECOND + i128::from(moment.timestamp_subsec_nanos());
        Some(Self { kind, nanoseconds })
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

/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;
/// Length of `yyyy-mm-dd`.
const DATE_BYTES: usize = 10;

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
