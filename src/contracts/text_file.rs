//! Reads text files of bounded size.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Largest file read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The text of a regular file of bounded size that is within `folder` after following symbolic links.
///
/// Authors of contracts are not trusted with other files of the machine: a link may lead to a secret, and a pipe or device may
/// never end.
pub(super) fn read(path: &Path, folder: &Path) -> io::Result<String> {
    let refuse = |kind, what: String| Err(io::Error::new(kind, what));
    let (real, folder) = (path.canonicalize()?, folder.canonicalize()?);
    if !real.starts_with(&folder) {
        return refuse(io::ErrorKind::PermissionDenied, "it is a link that leads out of its directory".to_owned());
    }
    // Opening a pipe without a writer would block.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&real)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return refuse(io::ErrorKind::InvalidInput, "it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let size = about.len().max(FILE_BYTES_MAX + 1);
        let what = format!("{size} bytes; the limit is {FILE_BYTES_MAX}");
        return refuse(io::ErrorKind::FileTooLarge, what);
    }
    let text = String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The directory of a file.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::{fs, process};

    use super::*;

    #[test]
    fn case_31_only_regular_files_within_the_directory_are_read() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (folder, secret) = (root.path().join("contracts"), root.path().join("secret.yaml"));
        fs::create_dir(&folder).expect("a folder");
        fs::write(&secret, "password: hunter2").expect("a file");
        fs::write(folder.join("a.yaml"), "\u{feff}a: 1").expect("a file");
        symlink("a.yaml", folder.join("same.yaml")).expect("a link");
        symlink(&secret, folder.join("out.yaml")).expect("a link");
        symlink("/dev/zero", folder.join("device.yaml")).expect("a link");
        let made = process::Command::new("mkfifo").arg(folder.join("pipe.yaml")).status().expect("mkfifo runs");
        assert!(made.success());
        fs::write(folder.join("large.yaml"), " ".repeat(1024 * 1024 + 1)).expect("a file");
        fs::write(folder.join("latin.yaml"), b"\xe9").expect("a file");
        let read = |name: &str| read(&folder.join(name), &folder).map_err(|error| error.to_string());
        assert_eq!(read("a.yaml").as_deref(), Ok("a: 1"));
        assert_eq!(read("same.yaml").as_deref(), Ok("a: 1"));
        for (name, why) in [
            ("out.yaml", "it is a link that leads out of its directory"),
            ("../secret.yaml", "it is a link that leads out of its directory"),
            ("device.yaml", "it is a link that leads out of its directory"),
            ("pipe.yaml", "it is not a regular file"),
            ("large.yaml", "1048577 bytes; the limit is 1048576"),
            ("latin.yaml", "it is not UTF-8"),
        ] {
            assert_eq!(read(name), Err(why.to_owned()), "{name}");
        }
        let device = super::read(Path::new("/dev/zero"), Path::new("/dev")).expect_err("it never ends");
        assert_eq!(device.to_string(), "it is not a regular file");
    }
}
