//! The current schema versions from Postgres, cached by name.

use std::collections::HashMap;

use super::resolve::RedriveVersion;
use crate::contracts::registered::{self, RegistryError};
use crate::postgres::Session;

/// Most names cached: dead letters are untrusted and can name anything. At the limit the cache is cleared.
const NAMES_LIMIT: usize = 1_000;
/// Longest name looked up, in bytes; same as in the relay.
const NAME_BYTES: usize = 1_024;

/// Schema versions by name.
#[derive(Debug)]
pub(crate) struct ContractRegistry {
    connection: Session,
    schema_base: String,
    versions: HashMap<String, Vec<RedriveVersion>>,
}

impl ContractRegistry {
    /// A registry that queries this session. `schema_base` is the prefix of schema version URIs.
    #[must_use]
    pub(crate) fn new(connection: Session, schema_base: String) -> Self {
        Self { connection, schema_base, versions: HashMap::new() }
    }

    /// The versions registered under a name, in order of registration.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub(crate) async fn versions(&mut self, name: &str) -> Result<&[RedriveVersion], RegistryError> {
        // Postgres text can't contain a zero byte.
        if name.len() > NAME_BYTES || name.contains('\0') {
            return Ok(&[]);
        }
        if !self.versions.contains_key(name) {
            let names = [name.to_owned()];
            let found = registered::read(&mut self.connection, Some(&names)).await?;
            if self.versions.len() >= NAMES_LIMIT {
                self.versions.clear();
            }
            let versions = found.iter().filter_map(|found| RedriveVersion::new(found, &self.schema_base)).collect();
            self.versions.insert(name.to_owned(), versions);
        }
        Ok(self.versions.get(name).map(Vec::as_slice).unwrap_or_default())
    }
}
