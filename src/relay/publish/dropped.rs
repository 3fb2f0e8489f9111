//! Row headers left out of records because the relay writes headers of these names itself: logged once per schema
//! version, because every one of its events may have them.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::relay::boundary::ContractNumber;
use crate::relay::limits::{DROPPED_NAME_CHARS, DROPPED_NAMES_MAX};

/// Headers that were left out of an event's record: a notice for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedHeaders {
    /// The schema version, as `<name>/<version>`; `None` if the event has none.
    pub schema_version: Option<String>,
    /// The event's table, or "logical message".
    pub table: String,
    /// The header names, with control characters escaped.
    pub names: Vec<String>,
}

/// What was logged, and what is to be.
#[derive(Debug, Default)]
pub(crate) struct ReportedDrops {
    /// By table. There are as many as are configured, and [`ContractNumber::LIMIT`] contracts for each; all further
    /// ones are logged once.
    contracts: HashMap<String, HashSet<ContractNumber>>,
    pub(crate) notices: VecDeque<DroppedHeaders>,
}

impl ReportedDrops {
    /// Headers of these names were left out of an event; adds a notice if it is the first of its contract in this
    /// table.
    pub(crate) fn tell<'a>(
        &mut self,
        table: &str,
        number: ContractNumber,
        schema_version: impl FnOnce() -> Option<String>,
        names: impl Iterator<Item = &'a str>,
    ) {
        let is_news = match self.contracts.get_mut(table) {
            Some(told) => told.insert(number),
            None => self.contracts.insert(table.to_owned(), [number].into()).is_none(),
        };
        if is_news {
            let shown = |name: &str| name.chars().take(DROPPED_NAME_CHARS).flat_map(char::escape_debug).collect();
            self.notices.push_back(DroppedHeaders {
                schema_version: schema_version(),
                table: table.to_owned(),
                names: names.take(DROPPED_NAMES_MAX).map(shown).collect(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_40_dropped_headers_are_logged_once_per_schema_version_within_limits() {
        let mut told = ReportedDrops::default();
        let number = ContractNumber::nth;
        let long = format!("outbox-\u{1b}{}", "x".repeat(1_000));
        for _ in 0..2 {
            for place in [0, 1, 1_000, 1_001] {
                let number = number(place).unwrap_or(ContractNumber::NONE);
                let names = std::iter::repeat_n(long.as_str(), 50);
                told.tell("outbox.event", number, || Some("a/1".to_owned()), names);
            }
        }
        assert_eq!(told.notices.len(), 3, "those beyond the limit are one");
        let first = &told.notices[0];
        assert_eq!((first.schema_version.as_deref(), first.table.as_str()), (Some("a/1"), "outbox.event"));
        assert_eq!(first.names.len(), DROPPED_NAMES_MAX);
        assert!(first.names[0].starts_with("outbox-\\u{1b}xxx") && first.names[0].len() < 120, "{first:?}");
        told.tell("public.other", ContractNumber::NONE, || None, ["ce_id"].into_iter());
        assert_eq!(told.notices.len(), 4, "another table is another thing");
    }
}
