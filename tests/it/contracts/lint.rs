//! The examples conform to the standard: `datacontract lint`, of the Python package `datacontract-cli`, accepts them.
//!
//! It uses the program in `WALPOST_TEST_DATACONTRACT`, otherwise one that is installed once into `target` with Python's venv and pip.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The version to install.
const PACKAGE: &str = "datacontract-cli==1.2.8";
/// The message without it.
const TWO_WAYS: &str = "datacontract-cli is not available to check the examples. Either set WALPOST_TEST_DATACONTRACT, or install \
    Python 3.10 or newer with venv (Debian: python3-venv) and let the test install it";

fn run(program: &Path, arguments: &[&str]) -> Result<Output, String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{}: {error}", program.display()))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!(
            "{} {}: {}\n{}{}",
            program.display(),
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// The program; installed unless it exists.
fn datacontract() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("WALPOST_TEST_DATACONTRACT").filter(|named| !named.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGE.replace("==", "-"));
    let (lock, done) = (folder.with_extension("lock"), folder.join("installed"));
    // With two test runs in one target directory the second waits for the first. The lock is released when the process ends.
    let lock = File::create(&lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    lock.lock().map_err(|error| error.to_string())?;
    if !done.exists() {
        let program = |name: &str| folder.join("bin").join(name);
        let text = |path: &Path| path.to_str().map(str::to_owned).ok_or("the target folder's path is text");
        // An unfinished installation is started over.
        run(Path::new("python3"), &["-m", "venv", "--clear", &text(&folder)?])?;
        run(&program("pip"), &["install", "--quiet", "--disable-pip-version-check", PACKAGE])?;
        fs::write(&done, PACKAGE).map_err(|error| error.to_string())?;
    }
    Ok(folder.join("bin").join("datacontract"))
}

#[test]
fn datacontract_cli_accepts_the_examples_and_rejects_an_invalid_file() {
    let program = datacontract().unwrap_or_else(|reason| panic!("{TWO_WAYS}.\nThe last one failed: {reason}"));
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/contracts");
    let mut count = 0;
    for folder in ["orders", "refused"] {
        for entry in fs::read_dir(examples.join(folder)).expect("the examples are there") {
            let path = entry.expect("an entry of a folder").path();
            if path.extension().is_some_and(|ends| ends == "yaml") {
                let name = path.display().to_string();
                run(&program, &["lint", &name]).unwrap_or_else(|reason| panic!("{reason}"));
                count += 1;
            }
        }
    }
    assert_eq!(count, 3, "examples were linted");
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let wrong = scratch.path().join("wrong.odcs.yaml");
    let text = fs::read_to_string(examples.join("orders/1.0.0.odcs.yaml")).expect("it is there");
    fs::write(&wrong, text.replace("kind: DataContract", "kind: Contract")).expect("it is written");
    assert!(run(&program, &["lint", &wrong.display().to_string()]).is_err(), "lint accepts anything");
}
