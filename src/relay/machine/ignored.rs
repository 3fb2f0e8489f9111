//! Tables of the publication that the configuration does not name. Their rows are ignored: each is counted, and the
//! first of a table is reported.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::relay::decode::pgoutput::Relation;
use crate::relay::limits::IGNORED_TABLES_MAX;

/// What was reported, and what is to be.
#[derive(Debug, Default)]
pub(super) struct IgnoredTables {
    /// The names of those that have had no row yet, by OID.
    silent: HashMap<u32, String>,
    /// The OIDs of those that were reported.
    reported: HashSet<u32>,
    pub(super) notices: VecDeque<String>,
}

impl IgnoredTables {
    /// A table was described, and its rows are to be ignored or not.
    pub(super) fn describe(&mut self, relation: &Relation<'_>, is_ignored: bool) {
        if is_ignored && self.reported.len() < IGNORED_TABLES_MAX && !self.reported.contains(&relation.oid) {
            self.silent.insert(relation.oid, format!("{}.{}", relation.namespace, relation.name));
        }
    }

    /// A row of that table was ignored: there is nothing to publish.
    pub(super) fn note_row<T>(&mut self, oid: u32) -> Option<T> {
        // Nearly always empty.
        if !self.silent.is_empty()
            && let Some(name) = self.silent.remove(&oid)
        {
            self.reported.insert(oid);
            self.notices.push_back(name);
            if self.reported.len() >= IGNORED_TABLES_MAX {
                self.silent.clear();
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "ignored_tests.rs"]
mod tests;
