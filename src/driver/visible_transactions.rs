//! Which transactions a query saw: its snapshot.

use std::collections::HashSet;

/// Half of all transaction IDs: these are newer than an ID, the others older.
const AHEAD: u32 = 1 << 31;

/// Which transactions' outcome a query saw.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct VisibleTransactions {
    /// All IDs from this one on were in progress.
    next: u32,
    /// The others that were in progress, among them commits that wait for a synchronous standby.
    open: HashSet<u32>,
}

impl VisibleTransactions {
    /// Parses a `pg_snapshot`: `xmin:xmax:xip,xip`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once(':')?;
        let (next, open) = rest.split_once(':')?;
        let open = open.split_terminator(',').map(low).collect::<Option<_>>()?;
        Some(Self { next: low(next)?, open })
    }

    /// Whether the query saw the transaction's effects. The stream has only the lower half of an ID; a slot keeps
    /// Postgres from assigning two billion IDs more than the oldest transaction still to be streamed.
    pub(super) fn shows(&self, xid: u32) -> bool {
        xid.wrapping_sub(self.next) >= AHEAD && !self.open.contains(&xid)
    }
}

/// The lower half of a 64-bit transaction ID.
fn low(id: &str) -> Option<u32> {
    u32::try_from(id.parse::<u64>().ok()? & u64::from(u32::MAX)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> VisibleTransactions {
        VisibleTransactions::parse(text).expect("a snapshot")
    }

    #[test]
    fn case_40_a_list_of_names_counts_only_for_transactions_that_its_snapshot_shows() {
        let idle = snapshot("700:700:");
        assert!(idle.shows(699));
        assert!(!idle.shows(700), "a commit that is streamed before it is visible is ahead of the snapshot");
        let busy = snapshot("700:704:700,702");
        let seen: Vec<u32> = (698..706).filter(|&xid| busy.shows(xid)).collect();
        assert_eq!(seen, [698, 699, 701, 703]);
    }

    #[test]
    fn transaction_ids_wrap_around() {
        let before = snapshot("4294967290:4294967295:4294967290");
        let seen = [4_294_967_289, 4_294_967_290, 4_294_967_294, 4_294_967_295, 3, 700].map(|xid| before.shows(xid));
        assert_eq!(seen, [true, false, true, false, false, false]);
        // The second epoch: 2^32 + 5.
        let after = snapshot("4294967299:4294967301:4294967299");
        assert_eq!([4_294_967_295, 3, 4, 5].map(|xid| after.shows(xid)), [true, false, true, false]);
    }

    #[test]
    fn invalid_snapshots_are_rejected() {
        for text in ["", "700", "700:701", "700:x:", "700:701:x"] {
            assert_eq!(VisibleTransactions::parse(text), None, "{text}");
        }
    }
}
