//! The account that servers run under. Postgres refuses to run as root, so root uses another one.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::error::SandboxError;

/// The overflow ids on Linux, and the account `nobody` on most systems.
const NOBODY: u32 = 65_534;

/// An unprivileged account that this process, running as root, uses for servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account for servers: none if this process is not root; otherwise `postgres` if the system has it, or `nobody`.
    pub(super) fn for_servers() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        // The file rather than the name service: both are local system accounts.
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = ["postgres", "nobody"].into_iter().find_map(|name| find(&passwd, name));
        Some(found.unwrap_or_else(|| Self { name: "nobody".to_owned(), uid: NOBODY, gid: NOBODY }))
    }

    /// Makes `command` run under this account. The standard library also drops root's supplementary groups when it sets a user.
    pub(super) fn apply(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives a file or directory to this account.
    pub(super) fn own(&self, path: &Path) -> Result<(), SandboxError> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(SandboxError::file("change the owner of", path))
    }

    /// Whether this account may traverse every directory down to and including `path`.
    pub(super) fn can_enter(&self, path: &Path) -> bool {
        let Ok(path) = path.canonicalize() else { return false };
        path.ancestors().all(|folder| {
            fs::metadata(folder).is_ok_and(|metadata| {
                let bit = match metadata {
                    ref owned if owned.uid() == self.uid => 0o100,
                    ref grouped if grouped.gid() == self.gid => 0o010,
                    _ => 0o001,
                };
                metadata.mode() & bit != 0
            })
        })
    }
}

/// Finds an account in the text of a passwd file.
fn find(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let mut ids = fields.skip(1).map(str::parse::<u32>);
        let (uid, gid) = (ids.next()?.ok()?, ids.next()?.ok()?);
        // An account with uid 0 would not drop privileges.
        (uid != 0).then(|| Account { name: name.to_owned(), uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\npostgres2:x:7:8::/:/bin/sh\npostgres:x:101:104:admin,,,:/var/lib:/bin/bash\n";
        assert_eq!(find(passwd, "postgres"), Some(Account { name: "postgres".to_owned(), uid: 101, gid: 104 }));
        assert_eq!(find(passwd, "nobody"), None);
        assert_eq!(find(passwd, "root"), None);
        assert_eq!(find("postgres:x:what", "postgres"), None);
    }

    #[test]
    fn a_private_directory_can_be_entered_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("own folder");
        let metadata = fs::metadata(folder.path()).expect("own folder");
        let owner = Account { name: "owner".to_owned(), uid: metadata.uid(), gid: metadata.gid() };
        let stranger = Account { name: "stranger".to_owned(), uid: NOBODY - 1, gid: NOBODY - 1 };
        assert!(owner.can_enter(folder.path()));
        assert!(!stranger.can_enter(folder.path()));
        assert!(stranger.can_enter(Path::new("/")));
        assert!(!stranger.can_enter(&folder.path().join("missing")));
    }
}
