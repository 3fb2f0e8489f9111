//! What can be wrong with a configuration: every mistake with its key, its place and its mend.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value stands, or should stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the configuration file, from 1.
    Line(Arc<Path>, usize),
    /// A line and column of the configuration file, both from 1: where the text stops being TOML.
    Column(Arc<Path>, usize, usize),
    /// The configuration file as a whole.
    File(Arc<Path>),
    /// An environment variable, by its name.
    Variable(String),
    /// Neither a file nor a variable says anything.
    Nowhere,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Column(path, line, column) => write!(f, "{}:{line}:{column}", path.display()),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Nowhere => f.write_str("configuration"),
        }
    }
}

/// One mistake. No part of it ever holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key with its section (`kafka.bootstrap_servers`, `outbox.0.table`); empty where the mistake is the file's.
    pub key: String,
    /// Where the mistake was made.
    pub origin: Origin,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.mend)
    }
}

impl std::error::Error for ConfigError {}

/// All mistakes of a configuration: at least one, those of the file in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "the configuration has a mistake:\n  {only}"),
            all => {
                write!(f, "the configuration has {} mistakes:", all.len())?;
                all.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// What is wrong with a value, before it is known where the value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) what: String,
    pub(super) mend: String,
}

impl Complaint {
    pub(super) fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into() }
    }
}
