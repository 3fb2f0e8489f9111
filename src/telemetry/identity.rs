//! Which relay reports.

use crate::config::Config;

/// The relay's name, and what it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `relay.name`.
    pub relay: String,
    pub slot: String,
    pub publication: String,
    pub database: String,
    /// `kafka.delivery`.
    pub delivery: String,
}

impl Identity {
    /// For a relay with this configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            relay: config.relay.name.clone(),
            slot: config.postgres.slot.as_str().to_owned(),
            publication: config.postgres.publication.clone(),
            database: config.postgres.connect.database().to_owned(),
            delivery: config.kafka.delivery.as_str().to_owned(),
        }
    }
}
