//! The environment of the measurements, without which no figure means anything.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;
use sqlx::{PgConnection, Row as _};

use super::error::BenchError;
use super::stage::Stage;
use crate::lab::environment::EnvironmentError;

/// The PostgreSQL settings that affect the figures.
const SETTINGS: [&str; 9] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
    "logical_decoding_work_mem",
    "autovacuum",
    "default_toast_compression",
    "ssl",
];

/// This machine and this program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// The version of walpost.
    pub walpost: String,
    /// Whether it was built without optimization, so that its figures mean nothing.
    pub debug_build: bool,
    /// The processor, if the system names it.
    pub cpu: Option<String>,
    /// Number of hardware threads.
    pub cores: usize,
    /// Bytes of memory, if the system reports it.
    pub memory_bytes: Option<u64>,
    /// Name, release and architecture of the system's kernel: "Linux 6.1.0 x86_64".
    pub kernel: String,
    /// The load average of the last minute before the start, if the system reports it.
    pub load: Option<String>,
}

/// The PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PostgresFacts {
    /// Its version and origin.
    pub name: String,
    /// Settings that affect the figures.
    pub settings: BTreeMap<String, String>,
}

/// Both servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServersFacts {
    /// The PostgreSQL.
    pub postgres: PostgresFacts,
    /// The Kafka, if one was needed.
    pub kafka: Option<String>,
}

impl Machine {
    /// Queries the system.
    pub(super) fn read() -> Self {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim_start_matches(['\t', ' ', ':']).trim().to_owned())
        };
        let kibibytes = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let load = fs::read_to_string("/proc/loadavg").ok();
        Self {
            walpost: env!("CARGO_PKG_VERSION").to_owned(),
            debug_build: cfg!(debug_assertions),
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kibibytes.map(|kibibytes| kibibytes * 1024),
            kernel: kernel(),
            load: load.and_then(|text| text.split(' ').next().map(str::to_owned)),
        }
    }
}

/// Queries both servers.
pub(super) async fn servers(stage: &Stage, connection: &mut PgConnection) -> Result<ServersFacts, BenchError> {
    let rows = sqlx::query("select name, current_setting(name) from pg_settings where name = any($1)")
        .bind(&SETTINGS[..])
        .fetch_all(connection)
        .await
        .map_err(EnvironmentError::postgres("ask for the settings"))?;
    let settings = rows.iter().map(|row| (row.get::<String, _>(0), row.get::<String, _>(1))).collect();
    let postgres = PostgresFacts { name: stage.servers.postgres.name.clone(), settings };
    let kafka = stage.servers.kafka_if_any().map(|kafka| kafka.name.clone());
    Ok(ServersFacts { postgres, kafka })
}

fn kernel() -> String {
    let system = rustix::system::uname();
    [system.sysname(), system.release(), system.machine()].map(|part| part.to_string_lossy().into_owned()).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_known() {
        let machine = Machine::read();
        assert!(machine.cores > 0 && machine.debug_build);
        assert_eq!(machine.kernel.split(' ').count(), 3, "{}", machine.kernel);
    }
}
