//! The cache of downloaded programs: `$WALPOST_CACHE_DIR`, otherwise `$XDG_CACHE_HOME/walpost`, `~/.cache/walpost` or
//! `/var/cache/walpost`.
//!
//! Two processes may need the same entry at once, and one may be killed halfway. So an entry is built in a temporary directory next to
//! its final path and renamed, under a lock: an entry at its final path is complete.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::error::SandboxError;
use super::random;

/// A directory that exists, is writable, and is readable by the servers' account.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The first of the usual directories that this process can write to and that `reader`, if given, can enter.
    pub(super) fn open(reader: Option<&Account>) -> Result<Self, SandboxError> {
        let places = places(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from));
        for root in &places {
            let usable = fs::create_dir_all(root).is_ok()
                && rustix::fs::access(root, rustix::fs::Access::WRITE_OK).is_ok()
                && reader.is_none_or(|account| account.can_enter(root));
            if usable {
                return Ok(Self { root: root.clone() });
            }
        }
        let reader = reader.map_or_else(|| "this user".to_owned(), |account| format!("the account {}", account.name));
        let tried: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
        Err(SandboxError::NoCache { reader, tried: tried.join(", ") })
    }

    /// The names of the entries.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// The final path of the entry called `name`.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Returns the entry called `name`. If it does not exist, `make` builds it in the given empty directory, while no other process does
    /// the same.
    pub(super) async fn get_or_make<E: From<SandboxError>>(
        &self,
        name: &str,
        make: impl AsyncFnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let place = self.path(name);
        if place.exists() {
            return Ok(place);
        }
        let _lock = self.lock(name).await?;
        if place.exists() {
            return Ok(place);
        }
        self.remove_unfinished(name);
        let part = Part(self.root.join(format!(".{name}.{}.part", random::token(8))));
        fs::create_dir(&part.0).map_err(SandboxError::file("create", &part.0))?;
        make(&part.0).await?;
        open_to_all(&part.0).map_err(SandboxError::file("set the permissions of", &part.0))?;
        fs::rename(&part.0, &place).map_err(SandboxError::file("move into place", &place))?;
        Ok(place)
    }

    /// Removes unfinished entries that killed processes have left. The caller holds the lock, so nobody is still building one.
    fn remove_unfinished(&self, name: &str) {
        let of_name = |entry: &String| entry.starts_with(&format!(".{name}.")) && entry.ends_with(".part");
        self.names().into_iter().filter(of_name).for_each(|entry| drop(Part(self.root.join(entry))));
    }

    /// Waits for the lock on `name`, which is released when the file is dropped or the process ends.
    async fn lock(&self, name: &str) -> Result<File, SandboxError> {
        let path = self.root.join(format!(".{name}.lock"));
        let file = File::create(&path).map_err(SandboxError::file("create", &path))?;
        tokio::task::spawn_blocking(move || file.lock().map(|()| file))
            .await
            .expect("locking does not panic")
            .map_err(SandboxError::file("lock", &path))
    }
}

/// A directory that is not at its final path yet; removed unless it is moved there.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        if self.0.exists()
            && let Err(error) = fs::remove_dir_all(&self.0)
        {
            tracing::warn!(path = %self.0.display(), error = %error, "can't remove an unfinished download");
        }
    }
}

fn places(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    if let Some(named) = variable("WALPOST_CACHE_DIR") {
        return vec![named];
    }
    let mut places = Vec::new();
    places.extend(variable("XDG_CACHE_HOME").map(|folder| folder.join("walpost")));
    places.extend(variable("HOME").map(|folder| folder.join(".cache/walpost")));
    places.push(PathBuf::from("/var/cache/walpost"));
    places
}

/// Makes everything under `folder` readable by all, whatever the umask: a server may run under another account.
fn open_to_all(folder: &Path) -> std::io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            open_to_all(&entry.path())?;
        } else if kind.is_file() {
            let mode = entry.metadata()?.permissions().mode();
            let executable = if mode & 0o100 == 0 { 0 } else { 0o111 };
            fs::set_permissions(entry.path(), Permissions::from_mode(0o644 | executable))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(folder: &tempfile::TempDir) -> Cache {
        Cache { root: folder.path().to_path_buf() }
    }

    #[test]
    fn a_named_folder_is_the_only_place() {
        let only = places(|name| Some(PathBuf::from(format!("/{name}"))));
        assert_eq!(only, [PathBuf::from("/WALPOST_CACHE_DIR")]);
        let home = places(|name| (name == "HOME").then(|| PathBuf::from("/home/me")));
        assert_eq!(home, ["/home/me/.cache/walpost", "/var/cache/walpost"].map(PathBuf::from));
    }

    #[tokio::test]
    async fn an_entry_is_built_once_and_readable_by_all() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = cache(&folder);
        let made = cache
            .get_or_make::<SandboxError>("thing", async |part| {
                fs::write(part.join("tool"), "x").expect("own folder");
                fs::set_permissions(part.join("tool"), Permissions::from_mode(0o700)).expect("own file");
                Ok(())
            })
            .await
            .expect("made");
        assert_eq!(fs::metadata(made.join("tool")).expect("made").permissions().mode() & 0o777, 0o755);
        let again = cache.get_or_make::<SandboxError>("thing", async |_| panic!("it is there")).await;
        assert_eq!(again.expect("there"), made);
    }

    #[tokio::test]
    async fn an_unfinished_entry_is_never_at_its_final_path() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = cache(&folder);
        let failed = cache
            .get_or_make("thing", async |part: &Path| {
                fs::write(part.join("half"), "x").expect("own folder");
                Err(SandboxError::NoKafka { reason: "a test".to_owned() })
            })
            .await;
        assert!(failed.is_err());
        assert!(!cache.path("thing").exists());
        assert_eq!(cache.names(), [".thing.lock"]);
    }

    #[tokio::test]
    async fn two_concurrent_callers_build_an_entry_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = cache(&folder);
        let count = std::sync::atomic::AtomicU32::new(0);
        let make = || {
            cache.get_or_make::<SandboxError>("thing", async |_| {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(())
            })
        };
        let (first, second) = tokio::join!(make(), make());
        assert_eq!(first.expect("made"), second.expect("made"));
        assert_eq!(count.into_inner(), 1);
    }
}
