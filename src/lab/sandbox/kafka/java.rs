//! Finds a Java that is new enough for Kafka's broker.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::lab::sandbox::error::SandboxError;

/// The oldest Java that a broker of Kafka 4 runs on.
const OLDEST: u32 = 17;

/// A Java runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Java {
    pub(super) program: PathBuf,
    /// Its feature release: 17, 21.
    pub(super) release: u32,
}

impl Java {
    /// The first sufficiently new one in `$JAVA_HOME`, the path, and the usual package directories.
    pub(super) fn find() -> Result<Self, SandboxError> {
        let mut too_old = None;
        for program in candidates() {
            match release_of(&program) {
                Some(release) if release >= OLDEST => return Ok(Self { program, release }),
                Some(release) => too_old = too_old.or(Some(release)),
                None => {}
            }
        }
        let reason = too_old.map_or_else(
            || "no Java was found".to_owned(),
            |release| format!("the Java here is {release}, and Kafka needs {OLDEST}"),
        );
        Err(SandboxError::NoKafka { reason })
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut programs = Vec::new();
    if let Some(home) = std::env::var_os("JAVA_HOME").filter(|value| !value.is_empty()) {
        programs.push(PathBuf::from(home).join("bin/java"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    programs.extend(std::env::split_paths(&path).map(|folder| folder.join("java")));
    programs.extend(["/opt/homebrew/opt/openjdk/bin/java", "/usr/local/opt/openjdk/bin/java"].map(PathBuf::from));
    let packaged = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    programs.extend(packaged.map(|entry| entry.path().join("bin/java")));
    programs.retain(|program| program.is_file());
    programs
}

fn release_of(program: &PathBuf) -> Option<u32> {
    let output = Command::new(program).arg("-version").output().ok()?;
    parse_release(&String::from_utf8_lossy(&output.stderr))
}

/// Parses `openjdk version "17.0.15" 2025-04-15`; Java 8 and older report themselves as `1.8.0_392`.
fn parse_release(output: &str) -> Option<u32> {
    let version = output.split('"').nth(1)?;
    let mut parts = version.split(|symbol: char| !symbol.is_ascii_digit());
    match parts.next()?.parse().ok()? {
        1 => parts.next()?.parse().ok(),
        release => Some(release),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_from_what_java_prints() {
        assert_eq!(parse_release("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK"), Some(17));
        assert_eq!(parse_release("java version \"1.8.0_392\""), Some(8));
        assert_eq!(parse_release("openjdk version \"25\" 2025-09-16"), Some(25));
        assert_eq!(parse_release("openjdk version \"26-ea\" 2026-03-17"), Some(26));
        assert_eq!(parse_release("The operation couldn't be completed"), None);
    }
}
