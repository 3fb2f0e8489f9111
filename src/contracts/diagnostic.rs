//! Mistakes in contract files: each has a place, a rule and a message; all are reported at once.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use walpost_producer::schema;

use crate::terminal::visible;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file's path, as given or found.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// The start of a file.
    #[must_use]
    pub fn start_of(file: &Arc<Path>) -> Self {
        Self { file: Arc::clone(file), line: 1, column: 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// The rule that a file violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContractRule {
    /// The file can't be read, or is too large to be a contract.
    File,
    /// It is not YAML, or uses a YAML feature that is not supported.
    Yaml,
    /// A JSON Schema file is not JSON.
    Json,
    /// A mapping has a key twice.
    DuplicateKey,
    /// Nested too deep.
    Nesting,
    /// It does not conform to the Open Data Contract Standard.
    Odcs,
    /// The standard has no such key there.
    UnknownKey,
    /// A key that the standard requires is missing.
    MissingKey,
    /// A custom property of walpost has an invalid value or a misspelled name.
    CustomProperty,
    /// A schema name or version is invalid.
    Name,
    /// A topic name is invalid, or two collide.
    TopicName,
    /// Two schemas give one topic different settings.
    TopicSettings,
    /// An option of a logical type does not apply to a payload.
    TypeOption,
    /// A service level can't be parsed.
    ServiceLevel,
    /// The JSON Schema file is missing, or outside the contract's directory.
    SchemaFile,
    /// The schema is not a valid JSON Schema, draft 2020-12.
    Schema,
    /// Draft 2020-12 has no such keyword.
    UnknownKeyword,
    /// The validator does not check this format.
    UnknownFormat,
    /// A reference leads out of the schema.
    RemoteRef,
    /// References are circular.
    CyclicRef,
    /// A reference has no target.
    DanglingRef,
    /// A regular expression is invalid, or can't be matched in linear time.
    Pattern,
    /// A schema version is defined twice.
    DuplicateVersion,
}

impl ContractRule {
    /// Every rule.
    pub const ALL: [Self; 23] = [
        Self::File,
        Self::Yaml,
        Self::Json,
        Self::DuplicateKey,
        Self::Nesting,
        Self::Odcs,
        Self::UnknownKey,
        Self::MissingKey,
        Self::CustomProperty,
        Self::Name,
        Self::TopicName,
        Self::TopicSettings,
        Self::TypeOption,
        Self::ServiceLevel,
        Self::SchemaFile,
        Self::Schema,
        Self::UnknownKeyword,
        Self::UnknownFormat,
        Self::RemoteRef,
        Self::CyclicRef,
        Self::DanglingRef,
        Self::Pattern,
        Self::DuplicateVersion,
    ];

    /// The rule's name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::DuplicateKey => "duplicate_key",
            Self::Nesting => "nesting",
            Self::Odcs => "odcs",
            Self::UnknownKey => "unknown_key",
            Self::MissingKey => "missing_key",
            Self::CustomProperty => "custom_property",
            Self::Name => "name",
            Self::TopicName => "topic_name",
            Self::TopicSettings => "topic_settings",
            Self::TypeOption => "type_option",
            Self::ServiceLevel => "service_level",
            Self::SchemaFile => "schema_file",
            Self::Schema => "schema",
            Self::UnknownKeyword => "unknown_keyword",
            Self::UnknownFormat => "unknown_format",
            Self::RemoteRef => "remote_ref",
            Self::CyclicRef => "cyclic_ref",
            Self::DanglingRef => "dangling_ref",
            Self::Pattern => "pattern",
            Self::DuplicateVersion => "duplicate_version",
        }
    }
}

impl From<schema::SchemaRule> for ContractRule {
    fn from(rule: schema::SchemaRule) -> Self {
        match rule {
            schema::SchemaRule::Json => Self::Json,
            schema::SchemaRule::Schema => Self::Schema,
            schema::SchemaRule::Nesting => Self::Nesting,
            schema::SchemaRule::UnknownKeyword => Self::UnknownKeyword,
            schema::SchemaRule::UnknownFormat => Self::UnknownFormat,
            schema::SchemaRule::RemoteRef => Self::RemoteRef,
            schema::SchemaRule::CyclicRef => Self::CyclicRef,
            schema::SchemaRule::DanglingRef => Self::DanglingRef,
            schema::SchemaRule::Pattern => Self::Pattern,
        }
    }
}

impl fmt::Display for ContractRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// Where.
    pub place: Place,
    /// The rule that it violates.
    pub rule: ContractRule,
    /// What is wrong and how to fix it, without the place.
    pub what: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Both may have names of the file, and what is untrusted must not look like a line of its own.
        write!(f, "{}: {}: {}", visible(&self.place.to_string()), self.rule, visible(&self.what))
    }
}

/// All mistakes in all files, in the order of files and lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// The mistakes, sorted; at least one.
    ///
    /// # Errors
    /// There is at least one mistake.
    pub fn none(mut diagnostics: Vec<Diagnostic>) -> Result<(), Self> {
        if diagnostics.is_empty() {
            return Ok(());
        }
        diagnostics.sort();
        diagnostics.dedup();
        Err(Self(diagnostics))
    }

    /// The mistakes, by file and line.
    #[must_use]
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.0
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(
            f,
            "{count} {} in the contract files; nothing was applied",
            if count == 1 { "mistake" } else { "mistakes" }
        )?;
        self.0.iter().try_for_each(|diagnostic| write!(f, "\n  {diagnostic}"))
    }
}

impl std::error::Error for Diagnostics {}
