//! Finds and reads contract files, and checks what they must agree on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::definition::{Definition, Status};
use super::diagnostic::{ContractRule, Diagnostic, Diagnostics, Place};
use super::odcs::Remark;
use super::{odcs, text_file};
use crate::exit::{self, EndsCommand};
use crate::relay::route::topic_name;

/// Most files in the given directories.
const FILES_MAX: usize = 10_000;

/// The definitions of all files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContractFiles {
    /// Every schema version, by name and then by version.
    pub definitions: Vec<Definition>,
    /// How many files were read.
    pub files: usize,
    /// Why nothing follows from some of them.
    pub remarks: Vec<Remark>,
}

/// Contract files can't be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A path can't be read.
    #[error("can't read {}: {source}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directories have no YAML files.
    #[error("no contract files: {} no .yaml or .yml files", in_folders(.0))]
    None(Vec<PathBuf>),
    /// There are more files than a contract directory may have.
    #[error("more than {FILES_MAX} .yaml and .yml files: give the directory that contains the contracts")]
    TooMany,
    /// The files have mistakes.
    #[error(transparent)]
    Diagnostics(#[from] Diagnostics),
}

impl EndsCommand for FilesError {
    fn exit_code(&self) -> u8 {
        if let Self::Diagnostics(_) = self { exit::REFUSED } else { exit::CONFIGURATION }
    }

    fn advice(&self) -> Option<&'static str> {
        matches!(self, Self::Unreadable { .. }).then_some("name contract files, or directories that contain them")
    }
}

fn in_folders(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    format!("{} {}", paths.join(", "), if paths.len() == 1 { "has" } else { "have" })
}

/// Reads contract files and, in directories, every `.yaml` and `.yml` file recursively, except in hidden directories.
///
/// # Errors
/// A path can't be read or contains no files; or all mistakes in all files.
pub fn load(paths: &[PathBuf]) -> Result<ContractFiles, FilesError> {
    let found = find(paths)?;
    if found.is_empty() {
        return Err(FilesError::None(paths.to_vec()));
    }
    let mut diagnostics = Vec::new();
    let (mut definitions, mut remarks) = (Vec::new(), Vec::new());
    for Found { path, folder } in &found {
        let file: Arc<Path> = Arc::from(path.as_path());
        match text_file::read(path, folder) {
            Ok(text) => match odcs::read(&file, &text) {
                Ok(contract) => {
                    definitions.extend(contract.definitions);
                    remarks.extend(contract.remark);
                }
                Err(found) => diagnostics.extend(found),
            },
            Err(error) => diagnostics.push(Diagnostic {
                place: Place::start_of(&file),
                rule: ContractRule::File,
                what: error.to_string(),
            }),
        }
    }
    agree(&definitions, &mut diagnostics);
    Diagnostics::none(diagnostics)?;
    definitions.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| super::version::compare(&a.version, &b.version)));
    Ok(ContractFiles { definitions, files: found.len(), remarks })
}

/// A file, and the directory that it must be in.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    path: PathBuf,
    folder: PathBuf,
}

fn find(paths: &[PathBuf]) -> Result<Vec<Found>, FilesError> {
    let mut found = Vec::new();
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| FilesError::Unreadable { path, source }
    };
    for path in paths {
        if !fs::metadata(path).map_err(unreadable(path))?.is_dir() {
            found.push(Found { path: path.clone(), folder: text_file::folder_of(path).to_owned() });
            continue;
        }
        let root = path;
        let mut open = vec![path.clone()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).map_err(unreadable(&folder))? {
                let entry = entry.map_err(unreadable(&folder))?;
                let kind = entry.file_type().map_err(unreadable(&entry.path()))?;
                let is_hidden = entry.file_name().to_str().is_some_and(|name| name.starts_with('.'));
                let path = entry.path();
                // A symbolic link to a directory is not followed: it may form a loop.
                if kind.is_dir() && !is_hidden {
                    open.push(path);
                } else if !kind.is_dir() && path.extension().is_some_and(|ends| ends == "yaml" || ends == "yml") {
                    found.push(Found { path, folder: root.clone() });
                }
                if found.len() > FILES_MAX {
                    return Err(FilesError::TooMany);
                }
            }
        }
    }
    found.sort();
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

/// Checks across files.
fn agree(definitions: &[Definition], diagnostics: &mut Vec<Diagnostic>) {
    let mut versions: BTreeMap<(&str, &str), &Definition> = BTreeMap::new();
    let mut topics: BTreeMap<&str, &Definition> = BTreeMap::new();
    for definition in definitions {
        if let Some(first) = versions.insert((&definition.name, &definition.version), definition) {
            let what = format!("{}/{} is also defined at {}", definition.name, definition.version, first.place);
            diagnostics.push(Diagnostic {
                place: definition.place.clone(),
                rule: ContractRule::DuplicateVersion,
                what,
            });
        }
    }
    for definition in newest(definitions) {
        match topics.get(definition.topic.as_str()) {
            Some(first) if first.topic_settings != definition.topic_settings => {
                let what = format!("topic {} has different settings at {}", definition.topic, first.place);
                diagnostics.push(Diagnostic {
                    place: definition.place.clone(),
                    rule: ContractRule::TopicSettings,
                    what,
                });
            }
            Some(_) => {}
            None => {
                if let Some((name, other)) =
                    topics.iter().find(|(name, _)| topic_name::collide(name, &definition.topic))
                {
                    let what = format!(
                        "Kafka does not allow both topic {} and {name} of {}, whose names collide",
                        definition.topic, other.place
                    );
                    diagnostics.push(Diagnostic {
                        place: definition.place.clone(),
                        rule: ContractRule::TopicName,
                        what,
                    });
                }
                topics.insert(&definition.topic, definition);
            }
        }
    }
}

/// The newest version of each schema, except drafts: its topic settings apply.
#[must_use]
pub fn newest(definitions: &[Definition]) -> Vec<&Definition> {
    let mut newest: BTreeMap<&str, &Definition> = BTreeMap::new();
    for definition in definitions.iter().filter(|definition| definition.status != Status::Draft) {
        let entry = newest.entry(&definition.name).or_insert(definition);
        if super::version::compare(&entry.version, &definition.version).is_lt() {
            *entry = definition;
        }
    }
    newest.into_values().collect()
}
