//! Which slot holds a position.

use crate::relay::boundary::Lsn;

/// A slot that events can be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub slot: String,
    /// The earliest position that it holds.
    pub from: Lsn,
}

/// No slot holds a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotHeld {
    /// The position.
    pub wanted: Lsn,
    /// The slot that holds the earliest position there is.
    pub oldest: Option<Held>,
}

impl std::error::Error for NotHeld {}

impl std::fmt::Display for NotHeld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no slot holds position {} any more: ", self.wanted)?;
        match &self.oldest {
            Some(Held { slot, from }) => {
                write!(f, "the oldest available is {from}, held by slot {slot}; start there, or")?
            }
            None => write!(f, "this database has no slot that does;")?,
        }
        write!(
            f,
            " replay from the tables with `walpost replay --from-table`, as far back as [relay] retention goes; \
             [relay] rewind and `walpost bookmark create` hold positions from then on"
        )
    }
}

/// The slot that has the least to read before a position.
///
/// # Errors
/// [`NotHeld`].
pub(crate) fn holder(held: &[Held], wanted: Lsn) -> Result<&Held, NotHeld> {
    let holders = held.iter().rev().find(|held| held.from <= wanted);
    holders.ok_or_else(|| NotHeld { wanted, oldest: held.first().cloned() })
}
