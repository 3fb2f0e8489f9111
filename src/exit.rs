//! How a command ends: the exit codes, and the trait by which each error states its own.

use std::error::Error;
use std::fmt;

// After sysexits.h where it has a word for it.

/// It failed.
pub(crate) const FAILED: u8 = 1;
/// The configuration is wrong.
pub(crate) const CONFIGURATION: u8 = 64;
/// Data or a contract was refused (EX_DATAERR).
pub(crate) const REFUSED: u8 = 65;
/// Postgres or Kafka can't be reached, or the slot can't be used (EX_UNAVAILABLE).
pub(crate) const UNAVAILABLE: u8 = 69;
/// A bug (EX_SOFTWARE).
pub(crate) const BUG: u8 = 70;

/// An error that can end a command.
pub trait EndsCommand: Error + Send + Sync + 'static {
    /// The exit code of the process.
    fn exit_code(&self) -> u8;

    /// For [`UNAVAILABLE`]: whether the same command may succeed later without anybody's decision, so that a supervisor
    /// should start it again.
    fn may_pass(&self) -> bool {
        false
    }

    /// What to do, where the message does not say.
    fn advice(&self) -> Option<&'static str> {
        None
    }
}

/// Why a command ended before its work was done.
#[derive(Debug)]
pub struct CommandError {
    error: Box<dyn EndsCommand>,
    /// What the command was doing.
    action: Option<&'static str>,
}

impl CommandError {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.error.exit_code()
    }

    /// Whether to retry, if the exit code leaves that open.
    #[must_use]
    pub fn retry(&self) -> Option<bool> {
        (self.exit_code() == UNAVAILABLE).then(|| self.error.may_pass())
    }

    /// The error and its causes in one line, and what to do.
    #[must_use]
    pub fn report(&self) -> String {
        let advice = self.error.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
        chain(self) + &advice
    }
}

impl<E: EndsCommand> From<E> for CommandError {
    fn from(error: E) -> Self {
        Self { error: Box::new(error), action: None }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            Some(action) => f.write_str(action),
            None => self.error.fmt(f),
        }
    }
}

impl Error for CommandError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if self.action.is_some() { Some(&*self.error) } else { self.error.source() }
    }
}

/// Whether to retry, for people: the line below the report. Scripts may rely on its first two words.
#[must_use]
pub(crate) const fn retry_hint(retry: bool) -> &'static str {
    match retry {
        true => "retry: yes, this may pass by itself",
        false => "retry: no, this needs a fix or a decision first",
    }
}

/// Says what a command was doing when it failed.
pub(crate) trait Context<T> {
    /// The error, preceded by `action`, a verb and its object.
    ///
    /// # Errors
    /// The same.
    fn context(self, action: &'static str) -> Result<T, CommandError>;
}

impl<T, E: EndsCommand> Context<T> for Result<T, E> {
    fn context(self, action: &'static str) -> Result<T, CommandError> {
        self.map_err(|error| CommandError { error: Box::new(error), action: Some(action) })
    }
}

// A report that can't be written, signals that can't be listened for.
impl EndsCommand for std::io::Error {
    fn exit_code(&self) -> u8 {
        FAILED
    }
}

impl EndsCommand for serde_json::Error {
    fn exit_code(&self) -> u8 {
        FAILED
    }
}

// A panic of blocking work: its message is already on stderr.
impl EndsCommand for tokio::task::JoinError {
    fn exit_code(&self) -> u8 {
        FAILED
    }
}

/// An error and its causes in one line. A cause that its effect already repeats word for word is left out.
#[must_use]
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    impl EndsCommand for Link {
        fn exit_code(&self) -> u8 {
            REFUSED
        }

        fn advice(&self) -> Option<&'static str> {
            Some("plug it in")
        }
    }

    #[test]
    fn a_repeated_cause_is_printed_once() {
        let link = |text, source| Link { text, source };
        let cause = link("no route", None);
        let repeating = link("can't connect: no route", Some(Box::new(cause)));
        let outer = link("start", Some(Box::new(repeating)));
        assert_eq!(chain(&outer), "start: can't connect: no route");
    }

    #[test]
    fn an_errors_code_and_advice_survive_its_context() {
        let link = || Err::<(), _>(Link { text: "no route", source: None });
        let plain = CommandError::from(link().expect_err("it is one"));
        assert_eq!((plain.exit_code(), plain.report().as_str()), (REFUSED, "no route; plug it in"));
        assert_eq!(plain.retry(), None, "the exit code says it");
        let within = link().context("call home").expect_err("it is one");
        assert_eq!((within.exit_code(), within.report().as_str()), (REFUSED, "call home: no route; plug it in"));
    }
}
