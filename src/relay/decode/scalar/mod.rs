//! Scalar values: from Postgres's binary format to the text that psql shows, except that `true` and `false` are
//! written in full.
//!
//! The session settings that the text depends on are fixed: `datestyle = ISO`, `timezone = UTC`, `intervalstyle =
//! postgres`, `extra_float_digits = 1`.

mod number;
mod moment;
mod inet;

/// A scalar type that is formatted as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// `true` or `false`.
    Bool,
    /// An unsigned number of four bytes.
    Oid,
    /// `real`.
    Float4,
    /// `double precision`.
    Float8,
    /// With the trailing zeros of its scale.
    Numeric,
    /// Days since 2000-01-01.
    Date,
    /// Microseconds since midnight.
    Time,
    /// The same, with the zone.
    TimeTz,
    /// Microseconds since 2000-01-01.
    Timestamp,
    /// The same, in UTC.
    TimestampTz,
    /// Months, days and microseconds.
    Interval,
    /// `inet` and `cidr`.
    Inet,
}

impl Scalar {
    /// The scalar type with this OID (pg_type.dat).
    pub(crate) const fn of(type_oid: u32) -> Option<Self> {
        Some(match type_oid {
            16 => Self::Bool,
            26 => Self::Oid,
            700 => Self::Float4,
            701 => Self::Float8,
            1700 => Self::Numeric,
            1082 => Self::Date,
            1083 => Self::Time,
            1266 => Self::TimeTz,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1186 => Self::Interval,
            869 | 650 => Self::Inet,
            _ => return None,
        })
    }

    /// The value as text; `None` if these bytes are not a value of the type.
    pub(crate) fn text(self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Bool => match bytes {
                [0] => Some("false".to_owned()),
                [1] => Some("true".to_owned()),
                _ => None,
            },
            Self::Oid => Some(u32::from_be_bytes(bytes.try_into().ok()?).to_string()),
            Self::Float4 => Some(number::float4(f32::from_be_bytes(bytes.try_into().ok()?))),
            Self::Float8 => Some(number::float8(f64::from_be_bytes(bytes.try_into().ok()?))),
            Self::Numeric => number::numeric(bytes),
            Self::Date => Some(moment::date(i32::from_be_bytes(bytes.try_into().ok()?))),
            Self::Time => moment::time(i64::from_be_bytes(bytes.try_into().ok()?)),
            Self::TimeTz => moment::time_with_zone(bytes),
            Self::Timestamp => Some(moment::timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "")),
            Self::TimestampTz => Some(moment::timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "+00")),
            Self::Interval => moment::interval(bytes),
            Self::Inet => inet::text(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
