//! The report as tables.

use std::fmt;

use super::report::{BacklogReader, EmitCost, LatencyReport, Report, StartReport, Statement, ThroughputReport};
use crate::config::Delivery;
use crate::terminal::{Colour, grouped};

impl Report {
    /// The tables, in colour or without.
    #[must_use]
    pub(crate) fn table(&self, colour: Colour) -> String {
        Table { report: self, colour, ratios: Ratios::Last }.to_string()
    }

    /// The tables, with the ratios to the references before the rates.
    #[must_use]
    pub(crate) fn comparison(&self, colour: Colour) -> String {
        Table { report: self, colour, ratios: Ratios::First }.to_string()
    }
}

impl ThroughputReport {
    /// The reader's display name.
    pub(super) fn name(&self) -> String {
        if self.checked {
            // Shown directly below the same reader without checks.
            return "  payloads checked".to_owned();
        }
        match (self.reader, self.delivery) {
            (BacklogReader::PgRecvlogical, _) => "pg_recvlogical".to_owned(),
            (BacklogReader::WalpostNull, _) => "walpost, no Kafka".to_owned(),
            (BacklogReader::Producer, _) => match self.median.linger_ms {
                Some(linger) => format!("plain producer, {linger} ms"),
                None => "plain producer".to_owned(),
            },
            (BacklogReader::Walpost, delivery) => named("walpost", delivery),
        }
    }
}

struct Table<'a> {
    report: &'a Report,
    colour: Colour,
    ratios: Ratios,
}

/// Where the ratios to the references are in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ratios {
    First,
    Last,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { emit, start, latency, throughput, .. } = self.report;
        if !emit.is_empty() {
            self.emit(f, emit)?;
        }
        if !throughput.is_empty() {
            self.throughput(f, throughput)?;
        }
        if !latency.is_empty() {
            self.latency(f, latency)?;
        }
        if !start.is_empty() {
            self.start(f, start)?;
        }
        self.facts(f)
    }
}

impl Table<'_> {
    fn emit(&self, f: &mut fmt::Formatter<'_>, costs: &[EmitCost]) -> fmt::Result {
        self.head(
            f,
            "What a statement costs",
            &format!("{:>10}{:>10}{:>12}{:>10}{:>10}", "a tx", "us", "server us", "x bare", "WAL bytes"),
        )?;
        for cost in costs {
            let name = match cost.statement {
                Statement::InsertOrder => "insert, an order",
                Statement::BareInsert => "insert, bare",
                Statement::InsertEvent => "insert, outbox.event",
                Statement::Emit => "outbox.emit",
                Statement::EmitMessage => "outbox.emit_message",
            };
            let bare = costs.iter().find(|other| {
                other.statement == Statement::BareInsert && other.per_transaction == cost.per_transaction
            });
            // By the server's CPU if it is known: the round trip is the same for all.
            let work = |cost: &EmitCost| cost.server_cpu_micros.unwrap_or(cost.micros);
            let ratio = bare.map_or_else(|| "-".to_owned(), |bare| format!("{:.2}", work(cost) / work(bare)));
            let cpu = cost.server_cpu_micros.map_or_else(|| "-".to_owned(), |micros| format!("{micros:.1}"));
            let per_transaction = grouped(cost.per_transaction);
            let EmitCost { micros, wal_bytes, .. } = cost;
            writeln!(f, "  {name:<26}{per_transaction:>10}{micros:>10.1}{cpu:>12}{ratio:>10}{wal_bytes:>10.0}")?;
        }
        writeln!(f)
    }

    fn throughput(&self, f: &mut fmt::Formatter<'_>, reports: &[ThroughputReport]) -> fmt::Result {
        let events = grouped(self.report.settings.events);
        let is_checked = reports.iter().any(|report| report.checked);
        let (rates, ratios) = (
            format!("{:>12}{:>14}{:>10}", "events/s", "CPU us/event", "peak MB"),
            format!("{:>9}{:>11}{:>10}", "x recv", "x producer", "x lower"),
        );
        let columns = self.ordered(&rates, &ratios) + if is_checked { "  x unchecked" } else { "" };
        self.head(f, &format!("A backlog of {events}"), &columns)?;
        let mut shown = None;
        for report in reports {
            let ThroughputReport { payload, per_transaction, shape, median, .. } = report;
            if shown.replace((payload, per_transaction, shape)) != Some((payload, per_transaction, shape)) {
                let backlog = format!("{shape}; {}, {} per transaction", payload.as_str(), grouped(*per_transaction));
                writeln!(f, "  {}", self.colour.paint(Colour::DIM, &backlog))?;
            }
            let (cpu, megabytes) = (median.cpu_micros_per_event, median.peak_rss_bytes as f64 / 1e6);
            let rates = format!("{:>12}{cpu:>14.2}{megabytes:>10.0}", grouped(whole(median.events_per_second)));
            let [recv, producer, lower] = [report.of_pg_recvlogical, report.of_producer, report.of_lower]
                .map(|ratio| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")));
            let ratios = format!("{recv:>9}{producer:>11}{lower:>10}");
            let checked = report.of_unchecked.map(|ratio| format!("{ratio:>13.2}")).unwrap_or_default();
            writeln!(f, "  {:<26}{}{checked}", report.name(), self.ordered(&rates, &ratios))?;
        }
        writeln!(f)
    }

    fn ordered(&self, rates: &str, ratios: &str) -> String {
        match self.ratios {
            Ratios::First => format!("{ratios}{rates}"),
            Ratios::Last => format!("{rates}{ratios}"),
        }
    }

    fn latency(&self, f: &mut fmt::Formatter<'_>, reports: &[LatencyReport]) -> fmt::Result {
        let columns = format!(
            "{:>8}{:>12}{:>10}{:>10}{:>9}{:>9}{:>9}{:>11}",
            "payload", "partitions", "wanted/s", "events/s", "p50 ms", "p99 ms", "p99.9 ms", "relay CPU"
        );
        self.head(f, "From commit to consumer", &columns)?;
        for report in reports {
            let name = named("walpost", Some(report.delivery));
            let LatencyReport { rate, achieved_rate, p50_millis, p99_millis, p999_millis, relay_cpu, .. } = report;
            let partitions = grouped(report.shape.all_partitions().into());
            let (payload, percent) = (report.payload.as_str(), format!("{:.1} %", relay_cpu * 100.0));
            writeln!(
                f,
                "  {name:<26}{payload:>8}{partitions:>12}{rate:>10}{achieved_rate:>10.0}{p50_millis:>9.1}{p99_millis:>9.1}{p999_millis:>9.1}{percent:>11}"
            )?;
        }
        writeln!(f)
    }

    fn start(&self, f: &mut fmt::Formatter<'_>, reports: &[StartReport]) -> fmt::Result {
        self.head(f, "From start to first record", &format!("{:>10}{:>10}", "ms", "most"))?;
        for report in reports {
            let most = report.runs_millis.iter().copied().fold(0.0, f64::max);
            let (name, median) = (named("walpost", Some(report.delivery)), report.median_millis);
            writeln!(f, "  {name:<26}{median:>10.0}{most:>10.0}")?;
        }
        writeln!(f)
    }

    fn facts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { machine, postgres, kafka, settings, left_behind, .. } = self.report;
        let cpu = machine.cpu.as_deref().unwrap_or("an unnamed processor");
        let memory =
            machine.memory_bytes.map(|bytes| format!(", {} MB", grouped(bytes / 1_000_000))).unwrap_or_default();
        let load = machine.load.as_ref().map(|load| format!(", load {load} at the start")).unwrap_or_default();
        let cores = if machine.cores == 1 { "1 core".to_owned() } else { format!("{} cores", machine.cores) };
        let build =
            if machine.debug_build { " (built without optimization: these figures are meaningless)" } else { "" };
        writeln!(f, "  {cpu}, {cores}{memory}, {}{load}", machine.kernel)?;
        let values = postgres.settings.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>();
        writeln!(f, "  {}: {}", postgres.name, values.join(", "))?;
        if let Some(kafka) = kafka {
            writeln!(f, "  {kafka}")?;
        }
        let note = format!("  walpost {}{build}; medians of {} runs in turn", machine.walpost, settings.runs);
        writeln!(f, "{}", self.colour.paint(Colour::DIM, &note))?;
        for left in left_behind {
            writeln!(f, "  {}", self.colour.paint(Colour::RED, &format!("not removed: {left}")))?;
        }
        Ok(())
    }

    fn head(&self, f: &mut fmt::Formatter<'_>, title: &str, columns: &str) -> fmt::Result {
        let title = self.colour.paint(Colour::BOLD, &format!("{title:<26}"));
        writeln!(f, "  {title}{}", self.colour.paint(Colour::DIM, columns))
    }
}

fn named(who: &str, delivery: Option<Delivery>) -> String {
    delivery.map_or_else(|| who.to_owned(), |delivery| format!("{who}, {}", delivery.as_str()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shown to people")]
fn whole(figure: f64) -> u64 {
    figure.round() as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::expect;

    use super::*;
    use crate::lab::bench::facts::{Machine, PostgresFacts};
    use crate::lab::bench::report::{RunReport, SettingsReport};
    use crate::lab::bench::{Part, Payload, Shape};

    fn report() -> Report {
        let machine = Machine {
            walpost: "0.1.0".to_owned(),
            debug_build: false,
            cpu: Some("AMD EPYC".to_owned()),
            cores: 2,
            memory_bytes: Some(25_276_000_000),
            kernel: "Linux 6.18.44 x86_64".to_owned(),
            load: Some("0.10".to_owned()),
        };
        let settings = BTreeMap::from([("fsync".to_owned(), "on".to_owned())]);
        let cost = |statement, micros, server, wal_bytes| EmitCost {
            statement,
            per_transaction: 2_000,
            micros,
            server_cpu_micros: server,
            wal_bytes,
        };
        let throughput = |reader, delivery, rate, of_pg_recvlogical| {
            let median = RunReport {
                start_millis: None,
                seconds: 1.0,
                events_per_second: rate,
                cpu_micros_per_event: 2.345,
                peak_rss_bytes: 28_400_000,
                linger_ms: (reader == BacklogReader::Producer).then_some(20),
            };
            let (payload, runs) = (Payload::Json, vec![median]);
            ThroughputReport {
                reader,
                delivery,
                checked: false,
                payload,
                per_transaction: 10,
                shape: Shape::DEFAULT,
                events: 1,
                runs,
                median,
                of_pg_recvlogical,
                of_producer: Some(rate / 274_000.0),
                of_lower: of_pg_recvlogical,
                of_unchecked: None,
            }
        };
        let at_least_once = Delivery::AtLeastOnce;
        Report {
            machine,
            postgres: PostgresFacts { name: "PostgreSQL 15.18 (this machine's)".to_owned(), settings },
            kafka: Some("Apache Kafka 4.3.1 (jars, Java 17)".to_owned()),
            settings: SettingsReport { parts: vec![Part::Emit], events: 1_000_000, runs: 3 },
            emit: vec![
                cost(Statement::BareInsert, 61.0, Some(40.0), 337.0),
                cost(Statement::Emit, 71.0, Some(50.0), 337.4),
            ],
            start: vec![StartReport { delivery: at_least_once, runs_millis: vec![120.0, 140.0], median_millis: 130.0 }],
            latency: vec![LatencyReport {
                delivery: at_least_once,
                payload: Payload::Json,
                shape: Shape::DEFAULT,
                rate: 300,
                achieved_rate: 299.8,
                events: 5_000,
                p50_millis: 2.34,
                p99_millis: 8.0,
                p999_millis: 21.5,
                max_millis: 30.0,
                relay_cpu: 0.051,
            }],
            throughput: vec![
                throughput(BacklogReader::PgRecvlogical, None, 137_000.0, Some(1.0)),
                throughput(BacklogReader::Producer, None, 274_000.0, Some(2.0)),
                throughput(BacklogReader::Walpost, Some(at_least_once), 143_850.0, Some(1.05)),
                ThroughputReport {
                    checked: true,
                    of_unchecked: Some(0.9),
                    ..throughput(BacklogReader::Walpost, Some(at_least_once), 129_465.0, Some(0.945))
                },
            ],
            left_behind: vec!["topic t: not allowed".to_owned()],
        }
    }

    #[test]
    fn the_tables() {
        let table = report().table(Colour::Off);
        let text: String =
            table.lines().map(|line| line.strip_prefix("  ").unwrap_or(line).to_owned() + "\n").collect();
        expect![[r#"
            What a statement costs          a tx        us   server us    x bare WAL bytes
            insert, bare                   2,000      61.0        40.0      1.00       337
            outbox.emit                    2,000      71.0        50.0      1.25       337

            A backlog of 1,000,000        events/s  CPU us/event   peak MB   x recv x producer   x lower  x unchecked
            1 topic of 1 partition, 5,000 keys, 240 bytes; json, 10 per transaction
            pg_recvlogical                 137,000          2.35        28     1.00       0.50      1.00
            plain producer, 20 ms          274,000          2.35        28     2.00       1.00      2.00
            walpost, at-least-once         143,850          2.35        28     1.05       0.53      1.05
              payloads checked             129,465          2.35        28     0.94       0.47      0.94         0.90

            From commit to consumer    payload  partitions  wanted/s  events/s   p50 ms   p99 ms p99.9 ms  relay CPU
            walpost, at-least-once        json           1       300       300      2.3      8.0     21.5      5.1 %

            From start to first record        ms      most
            walpost, at-least-once           130       140

            AMD EPYC, 2 cores, 25,276 MB, Linux 6.18.44 x86_64, load 0.10 at the start
            PostgreSQL 15.18 (this machine's): fsync = on
            Apache Kafka 4.3.1 (jars, Java 17)
            walpost 0.1.0; medians of 3 runs in turn
            not removed: topic t: not allowed
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn a_comparison_begins_with_the_ratios() {
        let tables = report().comparison(Colour::Off);
        let row = tables.lines().find(|line| line.contains("plain producer, 20 ms")).expect("the producer's row");
        let figures: Vec<&str> = row.split_whitespace().skip(4).collect();
        assert_eq!(figures, ["2.00", "1.00", "2.00", "274,000", "2.35", "28"]);
    }
}
