//! A Postgres server for tests: a new cluster in a directory of its own, gone when the test or its process ends.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{ConnectOptions, Connection};

/// How long a server may take to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Waits for a condition, however slow the machine is; panics after a minute.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running server. Role `admin` is a superuser whom everybody is trusted to be.
pub(crate) struct Scratch {
    directory: PathBuf,
    port: u16,
    /// Ends the server and removes the directory when its standard input closes, so also when this process dies.
    keeper: Child,
}

impl Scratch {
    /// The server that tests share when they need nothing of their own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Scratch> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// A server with further lines of `postgresql.conf`.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("walpost-postgres-").tempdir().expect("a directory").keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("permissions");
        let data = directory.join("data");
        fs::create_dir(&data).expect("a directory");
        own(&data, 0o700);
        let bin = bin_directory();
        let mut initdb = as_postgres(&bin.join("initdb"));
        initdb.arg("--pgdata").arg(&data).args(["--username=admin", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        let output = initdb.output().expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        write_certificates(&directory);
        let port = free_port();
        configure(&data, &directory, port, settings);
        let keeper = run(&bin, &data, &directory);
        let scratch = Self { directory, port, keeper };
        eventually("the server to start", || Connection::open(&scratch.options("admin", "sslmode=disable")).ok());
        scratch.sql(
            "set password_encryption = 'scram-sha-256'; create role scram login replication password 'secret';
             create role certified login; create role plain login password 'secret';
             set password_encryption = 'md5'; create role hashed login password 'secret'",
        );
        scratch
    }

    /// Options for a role by TCP, with further `key=value` pairs.
    pub(crate) fn options(&self, role: &str, more: &str) -> ConnectOptions {
        let text = format!("host=127.0.0.1 port={} user={role} dbname=postgres {more}", self.port);
        ConnectOptions::parse(&text, &|_| None).expect("sound options")
    }

    /// Where the Unix socket, `ca.pem`, `client.pem`, `client.key`, `other.pem` and `log` are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn admin(&self) -> ConnectOptions {
        self.options("admin", "sslmode=disable")
    }

    /// Runs SQL as the superuser; the first column of the rows.
    pub(crate) fn sql(&self, sql: &str) -> Vec<String> {
        let mut connection = Connection::open(&self.admin()).expect("a connection");
        let rows = connection.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection.close();
        rows.iter().map(|row| row.text(0).unwrap_or("null").to_owned()).collect()
    }

    /// A new database on this server.
    pub(crate) fn database(&self, name: &str) -> ConnectOptions {
        self.sql(&format!("create database {}", super::quote_identifier(name)));
        self.admin().with_database(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn bin_directory() -> PathBuf {
    let versions = ["18", "17", "16", "15", "14"].map(|version| format!("/usr/lib/postgresql/{version}/bin"));
    let found = std::env::var("WALPOST_TEST_PG_BIN").ok().into_iter().chain(versions).map(PathBuf::from);
    found.into_iter().find(|bin| bin.join("initdb").exists()).expect("a Postgres 14 to 18 is installed")
}

/// Postgres refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program).current_dir("/");
    command
}

fn own(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    if rustix::process::geteuid().is_root() {
        let id = |flag| {
            let output = Command::new("id").args([flag, "postgres"]).output().expect("id runs");
            String::from_utf8_lossy(&output.stdout).trim().parse().expect("the user postgres exists")
        };
        chown(path, Some(id("-u")), Some(id("-g"))).expect("root may give files away");
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn configure(data: &Path, directory: &Path, port: u16, settings: &[&str]) {
    let certificates = directory.display();
    let mut text = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
         wal_level = logical\nmax_wal_senders = 30\nmax_replication_slots = 30\nwal_sender_timeout = 10s\n\
         ssl = on\nssl_cert_file = '{certificates}/server.pem'\nssl_key_file = '{certificates}/server.key'\n\
         ssl_ca_file = '{certificates}/ca.pem'\nlog_connections = on\n",
        data.display()
    );
    for line in settings {
        text.push_str(line);
        text.push('\n');
    }
    let conf = data.join("postgresql.conf");
    fs::write(&conf, text).expect("a file");
    let rules = "local all all trust\nhost all admin 127.0.0.1/32 trust\nhostssl all certified 127.0.0.1/32 cert\n\
                 host all plain 127.0.0.1/32 password\nhost all hashed 127.0.0.1/32 md5\n\
                 host all all 127.0.0.1/32 scram-sha-256\n";
    fs::write(data.join("pg_hba.conf"), rules).expect("a file");
    own(&conf, 0o600);
    own(&data.join("pg_hba.conf"), 0o600);
}

fn run(bin: &Path, data: &Path, directory: &Path) -> Child {
    let script = r#"directory=$1; shift; "$@" >"$directory/log" 2>&1 & server=$!
        trap '' INT TERM; read -r _; kill -QUIT $server; wait $server; rm -rf "$directory""#;
    let server = as_postgres(&bin.join("postgres"));
    let mut keeper = Command::new("sh");
    keeper.args(["-c", script, "keeper"]).arg(directory).arg(server.get_program()).args(server.get_args());
    keeper.arg("-D").arg(data).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    keeper.spawn().expect("sh runs")
}

/// A certificate authority; by it, the server's certificate for `localhost` and a client's for `certified`; and an
/// authority that has signed nothing.
fn write_certificates(directory: &Path) {
    let authority = |name: &str| {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).expect("a certificate");
        (certificate.pem(), Issuer::new(params, key))
    };
    let (ca, issuer) = authority("walpost test authority");
    let signed = |names: Vec<String>, common_name: &str| {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("a name");
        params.distinguished_name.push(DnType::CommonName, common_name);
        (params.signed_by(&key, &issuer).expect("a certificate").pem(), key.serialize_pem())
    };
    let (server, server_key) = signed(vec!["localhost".to_owned()], "localhost");
    let (client, client_key) = signed(vec![], "certified");
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    write("ca.pem", &ca);
    write("other.pem", &authority("somebody else").0);
    write("server.pem", &server);
    write("client.pem", &client);
    own(&write("server.key", &server_key), 0o600);
    let client_key = write("client.key", &client_key);
    fs::set_permissions(client_key, fs::Permissions::from_mode(0o600)).expect("permissions");
}
