//! A PostgreSQL for this run, a database for each test.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, ensure};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection};
use tokio::net::{TcpStream, UnixStream};
use walpost::migrations;

/// One test's database.
pub(crate) struct Database {
    options: PgConnectOptions,
}

impl Database {
    /// An empty database.
    pub(crate) async fn empty() -> anyhow::Result<Self> {
        let server = server()?;
        let name = unique("walpost_sql");
        let mut connection = server.connect().await.context("connect to the test's PostgreSQL")?;
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await?;
        Ok(Self { options: server.database(&name) })
    }

    /// A database with every migration and two versions of `order.placed`.
    pub(crate) async fn migrated() -> anyhow::Result<Self> {
        let database = Self::empty().await?;
        let mut connection = database.connect().await?;
        migrations::migrate(&mut connection).await?;
        for version in ["1", "2"] {
            sqlx::query("select outbox.register_schema_version('order.placed', $1, 'orders')")
                .bind(version)
                .execute(&mut connection)
                .await?;
        }
        Ok(database)
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<PgConnection> {
        Ok(self.options.connect().await?)
    }

    /// As the superuser who then is `role`: rights are the role's, and no password is needed.
    pub(crate) async fn connect_as(&self, role: &str) -> anyhow::Result<PgConnection> {
        let mut connection = self.connect().await?;
        connection.execute(AssertSqlSafe(format!("set session authorization \"{role}\""))).await?;
        Ok(connection)
    }

    pub(crate) async fn connect_tokio(&self) -> anyhow::Result<tokio_postgres::Client> {
        let options = &self.options;
        let mut config = tokio_postgres::Config::new();
        config.user(options.get_username()).dbname(options.get_database().context("the options name a database")?);
        if let Some(password) = server_password() {
            config.password(password);
        }
        let client = if let Some(folder) = options.get_socket() {
            let stream = UnixStream::connect(folder.join(format!(".s.PGSQL.{}", options.get_port()))).await?;
            let (client, connection) = config.connect_raw(stream, tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            client
        } else {
            let stream = TcpStream::connect((options.get_host(), options.get_port())).await?;
            let (client, connection) = config.connect_raw(stream, tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            client
        };
        Ok(client)
    }
}

/// A name that no other test of any run on the server has.
pub(crate) fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Runs statements that give no rows.
pub(crate) async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.map(drop)
}

/// The one value that a query gives, as text.
pub(crate) async fn text(connection: &mut PgConnection, sql: &str) -> anyhow::Result<Option<String>> {
    let sql = format!("select (q.v)::text from ({sql}) q (v)");
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await?)
}

/// The SQLSTATE and message with which statements fail.
pub(crate) async fn refusal(connection: &mut PgConnection, sql: &str) -> anyhow::Result<(String, String)> {
    let error = match run(connection, sql).await {
        Ok(()) => anyhow::bail!("not refused: {sql}"),
        Err(error) => error,
    };
    let error = error.as_database_error().with_context(|| format!("{sql}: {error}"))?;
    Ok((error.code().unwrap_or_default().into_owned(), error.message().to_owned()))
}

/// Changes of a slot that was made with `pgoutput` for publication `outbox`, messages included: each as its raw bytes.
pub(crate) async fn changes(connection: &mut PgConnection, slot: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let sql = "select data from pg_logical_slot_get_binary_changes($1, null, null, 'proto_version', '1', \
               'publication_names', 'outbox', 'messages', 'true')";
    Ok(sqlx::query_scalar(sql).bind(slot).fetch_all(connection).await?)
}

/// A new slot for [`changes`].
pub(crate) async fn slot(connection: &mut PgConnection) -> anyhow::Result<String> {
    let slot = unique("walpost_sql");
    sqlx::query("select pg_create_logical_replication_slot($1, 'pgoutput')").bind(&slot).execute(connection).await?;
    Ok(slot)
}

fn server() -> anyhow::Result<PgConnectOptions> {
    static SERVER: OnceLock<Result<PgConnectOptions, String>> = OnceLock::new();
    let started = SERVER.get_or_init(|| match std::env::var("WALPOST_TEST_POSTGRES") {
        Ok(url) => PgConnectOptions::from_str(&url).map_err(|error| error.to_string()),
        Err(_) => start().map_err(|error| format!("{error:#}")),
    });
    started.clone().map_err(anyhow::Error::msg)
}

/// The password that the environment's URL holds; our own cluster asks for none.
fn server_password() -> Option<String> {
    let url = url::Url::parse(&std::env::var("WALPOST_TEST_POSTGRES").ok()?).ok()?;
    url.password().map(str::to_owned)
}

/// Starts a cluster that ends with this process: the shell that started it reads from a pipe that only we hold, and takes
/// the cluster down when the pipe ends.
fn start() -> anyhow::Result<PgConnectOptions> {
    static LIFELINE: Mutex<Option<(Child, ChildStdin)>> = Mutex::new(None);
    let binaries = binaries()?;
    let folder = std::env::temp_dir().join(unique("walpost-sql"));
    std::fs::create_dir(&folder)?;
    let mut as_postgres = Command::new("sh");
    // PostgreSQL refuses to run as root.
    if std::fs::metadata(&folder)?.uid() == 0 {
        ensure!(Command::new("chown").arg("postgres").arg(&folder).status()?.success(), "give a folder to postgres");
        as_postgres = Command::new("setpriv");
        as_postgres.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh"]);
    }
    let script = r#"
        cd "$2" && "$1/initdb" -D data -A trust -U postgres >initdb.log 2>&1 || { echo failed; exit 1; }
        "$1/pg_ctl" -D data -l log -w start -o "-c listen_addresses='' -k $2 -c fsync=off -c wal_level=logical \
            -c max_replication_slots=20 -c max_connections=200" >/dev/null && echo started || echo failed
        read -r _
        "$1/pg_ctl" -D data -m immediate -w stop >/dev/null
        cd / && rm -rf "$2""#;
    let mut child = as_postgres
        .args(["-c", script, "sh"])
        .arg(&binaries)
        .arg(&folder)
        .env("HOME", &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    stdin.flush()?;
    let mut line = String::new();
    let stdout = child.stdout.take().context("stdout is piped")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
    ensure!(line.trim() == "started", "PostgreSQL did not start in {}: see its logs there", folder.display());
    *LIFELINE.lock().expect("nobody panics while holding it") = Some((child, stdin));
    Ok(PgConnectOptions::new_without_pgpass()
        .socket(&folder)
        .host(&folder.to_string_lossy())
        .username("postgres")
        .database("postgres"))
}

/// The folder of the newest installed server's programs.
fn binaries() -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").context("find an installed PostgreSQL")?;
    let newest = versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .context("no version of PostgreSQL is installed, and WALPOST_TEST_POSTGRES is not set")?;
    Ok(Path::new("/usr/lib/postgresql").join(newest.to_string()).join("bin"))
}
