//! Recognizes a Postgres error that recurs at the same place: the connection was not lost, and no attempt gets past
//! it.

use std::time::Duration;

use crate::driver::limits::REPEAT_BACK_OFF;
use crate::relay::back_off::BackOff;
use crate::source::{SourceError, StreamPlace};

/// The last error that ended a stream from within.
#[derive(Debug)]
pub(super) struct Repeats {
    last: Option<(String, StreamPlace)>,
    back_off: BackOff,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { last: None, back_off: REPEAT_BACK_OFF }
    }
}

impl Repeats {
    /// Records an error; returns how long to wait if it is the same as the last one, at the same place.
    pub(super) fn note(&mut self, error: &SourceError) -> Option<Duration> {
        // A connection lost for another reason says nothing about the place.
        let SourceError::Unsendable { place, error } = error else { return None };
        let found = (error.sqlstate().unwrap_or_default().to_owned(), *place);
        if self.last.as_ref() == Some(&found) {
            return Some(self.back_off.wait());
        }
        self.last = Some(found);
        self.back_off.reset();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{Error, ServerError};
    use crate::relay::boundary::Lsn;

    fn unsendable(code: &str, transaction: u64) -> SourceError {
        let server = ServerError { severity: "ERROR".to_owned(), code: code.to_owned(), ..ServerError::default() };
        let place = StreamPlace { transaction: Some(Lsn(transaction)), after: Lsn(1) };
        SourceError::Unsendable { place, error: Box::new(Error::Server(Box::new(server))) }
    }

    #[test]
    fn case_33_the_same_error_at_the_same_place_is_a_repetition() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.note(&unsendable("22021", 7)), None);
        assert_eq!(repeats.note(&unsendable("22021", 8)), None, "it went on");
        assert_eq!(repeats.note(&unsendable("53200", 8)), None, "another error");
        assert_eq!(repeats.note(&Error::Closed { source: None }.into()), None);
        let waits: Vec<_> =
            (0..4).map(|_| repeats.note(&unsendable("53200", 8)).expect("a repetition").as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 60]);
        assert_eq!(repeats.note(&unsendable("53200", 9)), None);
        assert_eq!(repeats.note(&unsendable("53200", 9)), Some(Duration::from_secs(10)));
    }
}
