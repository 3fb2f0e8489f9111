//! The password file (`~/.pgpass`; Postgres manual, "The Password File").

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Password;

/// What a line must match.
pub(super) struct Key<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// The password of the first line that matches. A file that others may read is not used, as libpq does.
pub(super) fn look_up(path: &Path, key: &Key<'_>) -> Option<Password> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() {
        tracing::warn!(path = %path.display(), "password file is not a plain file and is ignored");
        return None;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "password file can be read by others and is ignored: chmod 0600 it");
        return None;
    }
    match fs::read(path) {
        Ok(bytes) => find(&String::from_utf8_lossy(&bytes), key),
        Err(error) => {
            tracing::warn!(path = %path.display(), error = %error, "password file can't be read");
            None
        }
    }
}

fn find(text: &str, key: &Key<'_>) -> Option<Password> {
    let port = key.port.to_string();
    let wanted = [key.host, &port, key.database, key.user];
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(fields).find_map(|fields| {
        let (password, patterns) = fields.split_last().filter(|(_, patterns)| patterns.len() == wanted.len())?;
        let matches = patterns.iter().zip(wanted).all(|(pattern, wanted)| pattern == "*" || pattern == wanted);
        (matches && !password.is_empty()).then(|| Password::new(password.clone()))
    })
}

/// The fields between colons; a backslash takes the next character as it is. The fifth runs to the line's end.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let count = fields.len();
        let last = fields.last_mut().expect("there is always a field being written");
        match character {
            '\\' => last.extend(characters.next()),
            ':' if count < 5 => fields.push(String::new()),
            character => last.push(character),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key<'_> = Key { host: "h", port: 5432, database: "d:b", user: "u" };

    fn found(text: &str) -> Option<String> {
        find(text, &KEY).map(|password| password.reveal().to_owned())
    }

    #[test]
    fn the_first_line_that_matches_wins() {
        assert_eq!(found("# h:5432:d\\:b:u:no\nh:1:*:*:one\nh:*:d\\:b:u:two\n*:*:*:*:three").as_deref(), Some("two"));
        assert_eq!(found("*:*:*:*:a\\:b\\\\c:d").as_deref(), Some("a:b\\c:d"));
        assert_eq!(found("h:5432:other:u:x\nnonsense\n"), None);
    }

    #[test]
    fn a_file_that_others_can_read_is_ignored() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pgpass");
        fs::write(&path, "*:*:*:*:secret\n").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("permissions");
        assert!(look_up(&path, &KEY).is_none());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
        assert_eq!(look_up(&path, &KEY).expect("a password").reveal(), "secret");
        assert!(look_up(directory.path(), &KEY).is_none());
    }
}
