//! What may be missing from Kafka, in words.

use std::fmt;

use crate::relay::boundary::Lsn;

/// What is certainly in Kafka, according to the columns `published_*` of `outbox.relay`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Transactions that ended before this.
    pub lsn: Option<Lsn>,
    /// Those that ended before this time, in Postgres's format.
    pub at: Option<String>,
    /// Those with a lower id.
    pub xid: Option<String>,
}

/// What may be missing from Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpublished {
    /// What is in Kafka.
    pub published: Published,
    /// What the tables have of the rest; `None` if it could not be counted.
    pub rows: Option<AffectedRows>,
}

/// Rows of the outbox tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AffectedRows {
    /// How many.
    pub count: u64,
    /// When the first and the last of them was created, if the table has a time column, in Postgres's format.
    pub created: Option<(String, String)>,
}

impl fmt::Display for Unpublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.published.at, self.published.lsn) {
            (Some(at), Some(lsn)) => write!(f, "events committed after {at} (LSN {lsn}) may be missing from Kafka")?,
            _ => f.write_str("events committed since its last position may be missing from Kafka")?,
        }
        match &self.rows {
            None => Ok(()),
            Some(AffectedRows { count: 0, .. }) => f.write_str("; none of them are in the outbox tables"),
            Some(AffectedRows { count, created: None }) => {
                write!(f, "; {count} rows in the outbox tables may be affected")
            }
            Some(AffectedRows { count, created: Some((from, to)) }) => {
                write!(f, "; {count} rows in the outbox tables may be affected, created from {from} to {to}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_gap_report_includes_what_is_known() {
        let published = Published { lsn: Some(Lsn(16)), at: Some("T".to_owned()), xid: Some("7".to_owned()) };
        let text = |rows| Unpublished { published: published.clone(), rows }.to_string();
        let created = Some(("A".to_owned(), "B".to_owned()));
        let told = [
            text(None),
            text(Some(AffectedRows::default())),
            text(Some(AffectedRows { count: 2, created: None })),
            text(Some(AffectedRows { count: 2, created })),
            Unpublished::default().to_string(),
        ];
        expect![[r"
            events committed after T (LSN 0/10) may be missing from Kafka
            events committed after T (LSN 0/10) may be missing from Kafka; none of them are in the outbox tables
            events committed after T (LSN 0/10) may be missing from Kafka; 2 rows in the outbox tables may be affected
            events committed after T (LSN 0/10) may be missing from Kafka; 2 rows in the outbox tables may be affected, created from A to B
            events committed since its last position may be missing from Kafka"]]
        .assert_eq(&("\n".to_owned() + &told.join("\n")).replacen('\n', "", 1));
    }
}
