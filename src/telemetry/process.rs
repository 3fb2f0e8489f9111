//! What the operating system says about this process, under the names that Prometheus' client libraries use:
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>. Linux only; elsewhere there are none.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};

/// Reads `/proc` at each request for the metrics.
#[derive(Debug)]
pub(super) struct Process;

/// The fields of `/proc/self/stat` that are used (proc_pid_stat(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    /// In user and kernel mode, in seconds.
    cpu_seconds: f64,
    /// Since the start of the system, in seconds.
    started_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Stat {
    /// `None` if the text is not as documented.
    fn parse(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<Self> {
        // The command's name is in parentheses, and may contain any character.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The first one after the name is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second as f64;
        Some(Self {
            cpu_seconds: seconds(field(14)? + field(15)?),
            started_seconds: seconds(field(22)?),
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_bytes,
        })
    }
}

/// When the system started, in seconds since the Unix epoch, as `/proc/stat` says.
fn booted_seconds(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut metric = |name: &str, help: &str, unit: Option<Unit>, value: f64, kind: MetricType| {
            let descriptor = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
            match kind {
                MetricType::Counter => ConstCounter::new(value).encode(descriptor),
                _ => ConstGauge::new(value).encode(descriptor),
            }
        };
        let ticks = rustix::param::clock_ticks_per_second();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        if let Some(stat) = Stat::parse(&stat, ticks, rustix::param::page_size() as u64) {
            let cpu = "CPU time spent in user and kernel mode";
            metric("cpu", cpu, Some(Unit::Seconds), stat.cpu_seconds, MetricType::Counter)?;
            let (resident, size) = (stat.resident_bytes as f64, stat.virtual_bytes as f64);
            metric("resident_memory", "Resident memory", Some(Unit::Bytes), resident, MetricType::Gauge)?;
            metric("virtual_memory", "Virtual memory", Some(Unit::Bytes), size, MetricType::Gauge)?;
            let booted = fs::read_to_string("/proc/stat").ok().and_then(|stat| booted_seconds(&stat));
            if let Some(booted) = booted {
                let help = "When the process started, since the Unix epoch";
                let started = booted + stat.started_seconds;
                metric("start_time", help, Some(Unit::Seconds), started, MetricType::Gauge)?;
            }
        }
        if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
            // One of them is the directory itself.
            let open = descriptors.count().saturating_sub(1) as f64;
            metric("open_fds", "Open file descriptors", None, open, MetricType::Gauge)?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            metric("max_fds", "Limit of open file descriptors", None, most as f64, MetricType::Gauge)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_have_any_name() {
        let stat = "4242 (a) R 9) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 8 0 12345 8192 3 18446744073709551615 1";
        let expected =
            Stat { cpu_seconds: 2.0, started_seconds: 123.45, virtual_bytes: 8_192, resident_bytes: 3 * 4_096 };
        assert_eq!(Stat::parse(stat, 100, 4_096), Some(expected));
        assert_eq!(Stat::parse("4242 (a) S 1", 100, 4_096), None);
        assert_eq!(booted_seconds("cpu 1 2\nbtime 1700000000\nprocesses 5\n"), Some(1_700_000_000.0));
    }

    #[test]
    fn this_process_has_used_cpu_memory_and_descriptors() {
        let mut registry = prometheus_client::registry::Registry::with_prefix("process");
        registry.register_collector(Box::new(Process));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes everything");
        let value = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            value.unwrap_or_else(|| panic!("{name}: {text}"))
        };
        assert!(value("process_resident_memory_bytes") > 1e6 && value("process_open_fds") >= 3.0, "{text}");
        assert!(value("process_cpu_seconds_total") >= 0.0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let age = now.as_secs_f64() - value("process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age), "{age} s old");
    }
}
