//! The programs in `tests/clients` and their dependencies, installed once into walpost's cache with each language's package manager.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The directory of the programs.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// A language, and the clients that its program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// CloudEvents SDK for Go, sarama.
    Go,
    /// CloudEvents SDK for JavaScript, kafkajs.
    JavaScript,
    /// CloudEvents SDK for Python, confluent-kafka.
    Python,
    /// CloudEvents SDK for Java, kafka-clients.
    Java,
}

impl Client {
    pub(super) const ALL: [Self; 4] = [Self::Go, Self::JavaScript, Self::Python, Self::Java];

    const fn folder(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::JavaScript => "javascript",
            Self::Python => "python",
            Self::Java => "java",
        }
    }

    const fn files(self) -> &'static [&'static str] {
        match self {
            Self::Go => &["go.mod", "go.sum", "main.go"],
            Self::JavaScript => &["package.json", "package-lock.json"],
            Self::Python => &["requirements.txt"],
            Self::Java => &["pom.xml", "Read.java"],
        }
    }

    /// What it requires of the machine.
    const fn needs(self) -> &'static str {
        match self {
            Self::Go => "Go 1.18 or newer (Debian: golang-go)",
            Self::JavaScript => "Node.js 18 or newer with npm (Debian: nodejs, npm)",
            Self::Python => "Python 3.10 or newer with venv (Debian: python3-venv)",
            Self::Java => "a JDK 17 or newer and Maven (Debian: default-jdk-headless, maven)",
        }
    }

    /// The program, ready for its arguments; installs missing dependencies. Blocks.
    pub(super) fn program(self) -> Command {
        let installed = self.installed().unwrap_or_else(|reason| {
            panic!("can't install the client in {}. It requires {}.\n{reason}", self.folder(), self.needs())
        });
        let source = Path::new(SOURCES).join(self.folder());
        match self {
            Self::Go => Command::new(installed.join("read")),
            Self::JavaScript => {
                let mut command = Command::new("node");
                command.arg(source.join("read.js")).env("NODE_PATH", installed.join("node_modules"));
                command
            }
            Self::Python => {
                let mut command = Command::new(installed.join("bin/python"));
                command.arg(source.join("read.py"));
                command
            }
            Self::Java => {
                let mut command = Command::new("java");
                let path = format!("{0}/classes:{0}/lib/*", installed.display());
                command.args(["-XX:TieredStopAtLevel=1", "-cp", &path, "Read"]);
                command
            }
        }
    }

    fn installed(self) -> Result<PathBuf, String> {
        let source = Path::new(SOURCES).join(self.folder());
        let mut hash = DefaultHasher::new();
        for file in self.files() {
            let path = source.join(file);
            fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?.hash(&mut hash);
        }
        let folder = cache().join(format!("{}-{:016x}", self.folder(), hash.finish()));
        let text = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(text)?;
        // With two test runs the second waits for the first. The lock is released when the process ends, for whatever reason.
        let lock = File::create(folder.with_extension("lock")).map_err(text)?;
        lock.lock().map_err(text)?;
        let done = folder.join("installed");
        if !done.exists() {
            self.install(&source, &folder)?;
            fs::write(&done, "").map_err(text)?;
        }
        Ok(folder)
    }

    /// Installs into `folder`, which may contain the result of an unfinished attempt.
    fn install(self, source: &Path, folder: &Path) -> Result<(), String> {
        let path = |below: &str| folder.join(below).display().to_string();
        let command = |program: &str| {
            let mut command = Command::new(program);
            command.current_dir(source);
            command
        };
        match self {
            Self::Go => run(command("go").args(["build", "-mod=readonly", "-o", &path("read"), "."])),
            Self::JavaScript => {
                for file in self.files() {
                    fs::copy(source.join(file), folder.join(file)).map_err(|error| error.to_string())?;
                }
                run(Command::new("npm")
                    .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"])
                    .current_dir(folder))
            }
            Self::Python => {
                run(command("python3").args(["-m", "venv", "--clear", &path("")]))?;
                let install = ["install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"];
                run(command(&path("bin/pip")).args(install))
            }
            Self::Java => {
                let output = format!("-DoutputDirectory={}", path("lib"));
                run(command("mvn").args(["-q", "-B", "dependency:copy-dependencies", &output]))?;
                run(command("javac").args(["-cp", &path("lib/*"), "-d", &path("classes"), "Read.java"]))
            }
        }
    }
}

/// Outside the repository, so that a fresh clone can use it too.
fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || variable("HOME").map(|home| home.join(".cache/walpost"));
    let cache = variable("WALPOST_CACHE_DIR").or_else(home);
    cache.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into()).join("clients")
}

fn run(command: &mut Command) -> Result<(), String> {
    finished(command).map(drop)
}

/// Runs a program, which must succeed.
pub(super) fn finished(command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("{name} can't be started: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    Err(format!("{name} failed, {}\n{stdout}{stderr}", output.status))
}
