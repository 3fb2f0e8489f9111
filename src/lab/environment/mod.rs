//! Where the demo and the benchmark run: the user's servers or those of the [sandbox](crate::lab::sandbox), and what is created on
//! them under unique names and removed again.
//!
//! Nothing that exists on a user's server is touched: a slot, a publication and schema `outbox` belong to one database, so a database
//! is created for the work, and topics whose names have the same random suffix.
//!
//! # Layout
//!
//! - `servers`: the user's, otherwise the sandbox's
//! - `database`, `topics`: created and removed
//! - `view`: progress

mod servers;
mod database;
mod topics;
mod view;
mod error;

pub(crate) use error::EnvironmentError;
pub(crate) use servers::Named;
pub(crate) use view::View;

pub(crate) use database::ScratchDatabase;
pub(crate) use servers::{KafkaServer, Servers, Silent, Wanted, close, connect, options, own_options, relay_settings};
pub(crate) use topics::delete_topics;
pub(crate) use view::Doing;

use uuid::Uuid;

/// Something that was created on a user's server and could not be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftBehind {
    /// What: "database walpost_demo_1a2b3c4d".
    pub what: String,
    pub why: String,
}

impl std::fmt::Display for LeftBehind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.what, self.why)
    }
}

/// Eight random characters that are valid in any name.
pub(crate) fn suffix() -> String {
    // The second half of a version 7 UUID is random except for two bits.
    format!("{:08x}", Uuid::now_v7().as_u64_pair().1 & 0xFFFF_FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_is_a_part_of_a_name() {
        assert_ne!(suffix(), suffix());
        assert!(suffix().len() == 8 && suffix().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
