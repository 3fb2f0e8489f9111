//! PgBouncer in front of a test's PostgreSQL.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;
use tokio::net::TcpStream;
use url::Url;

use super::{Harness, PATIENCE, POLL};

/// A running PgBouncer. Killed when dropped.
pub(crate) struct Pooler {
    child: Child,
    url: Url,
    _folder: TempDir,
}

impl Pooler {
    /// PgBouncer with transaction pooling and a single server connection, so that every client gets the same one.
    pub(crate) async fn before(harness: &Harness) -> Self {
        let mut url = Url::parse(harness.url()).expect("the server's address is a URL");
        let server = (url.port().expect("it has a port"), url.username(), url.password().unwrap_or_default());
        let server = format!("host=127.0.0.1 port={} user={} password={}", server.0, server.1, server.2);
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = {server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 1\n"
        );
        fs::write(&file, settings).expect("the configuration is written");
        let mut command = Command::new("pgbouncer");
        if rustix::process::geteuid().is_root() {
            // It refuses to run as root, and reads its configuration as this account.
            let open = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
            fs::set_permissions(folder.path(), open).expect("the folder is ours");
            command.args(["-u", "nobody"]);
        }
        let child = command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{error}: the test needs PgBouncer (Debian: pgbouncer)"));
        url.set_port(Some(port)).expect("the URL has a host");
        let pooler = Self { child, url, _folder: folder };
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(since.elapsed() < PATIENCE, "PgBouncer does not listen");
            tokio::time::sleep(POLL).await;
        }
        pooler
    }

    /// The test's database, through the pooler.
    pub(crate) fn url(&self) -> &str {
        self.url.as_str()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
