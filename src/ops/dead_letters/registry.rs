//! Schema versions as Postgres has them now, each name asked for once.

use std::collections::HashMap;

use super::resolve::Version;
use crate::contracts::registered::{self, RegistryError};
use crate::postgres::Session;

/// How many names are remembered: letters of anybody can name anything. At the limit all are forgotten and asked for again.
const NAMES_LIMIT: usize = 1_000;
/// Longest name that is looked up, in bytes, as in the relay.
const NAME_BYTES: usize = 1_024;

/// Answers by name.
#[derive(Debug)]
pub struct Registry {
    connection: Session,
    schema_base: String,
    versions: HashMap<String, Vec<Version>>,
}

impl Registry {
    /// Asks through this connection. `schema_base` is what the URIs of schema versions begin with.
    #[must_use]
    pub fn new(connection: Session, schema_base: String) -> Self {
        Self { connection, schema_base, versions: HashMap::new() }
    }

    /// The versions that are registered under a name, in the order of their registration.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn versions(&mut self, name: &str) -> Result<&[Version], RegistryError> {
        // Postgres has no text with a zero byte.
        if name.len() > NAME_BYTES || name.contains('\0') {
            return Ok(&[]);
        }
        if !self.versions.contains_key(name) {
            let names = [name.to_owned()];
            let found = registered::read(&mut self.connection, Some(&names)).await?;
            if self.versions.len() >= NAMES_LIMIT {
                self.versions.clear();
            }
            let versions = found.iter().filter_map(|found| Version::new(found, &self.schema_base)).collect();
            self.versions.insert(name.to_owned(), versions);
        }
        Ok(self.versions.get(name).map(Vec::as_slice).unwrap_or_default())
    }
}
