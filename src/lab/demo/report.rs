//! The result: a table for people, a line of JSON for scripts.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::audit::{Audit, Figures};
use crate::lab::environment::LeftBehind;
use crate::terminal::{Colour, grouped};

/// The result of the demo.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Nothing was lost, out of order or invented.
    pub ok: bool,
    pub servers: ServersReport,
    /// How long the order service wrote, in seconds.
    pub seconds: f64,
    /// Transactions of the order service.
    pub transactions: TransactionsReport,
    pub events: EventsReport,
    /// From the commit to the consumer, in milliseconds.
    pub latency_ms: LatencyReport,
    /// The relay's counters.
    pub relay: RelayReport,
    /// What was created on the user's servers and could not be removed.
    pub left_behind: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ServersReport {
    pub postgres: String,
    pub kafka: String,
    /// Whether it is a Kafka and not a stand-in.
    pub kafka_is_real: bool,
}

/// Transactions by outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TransactionsReport {
    /// Those that committed.
    pub committed: u64,
    /// Those that did not.
    pub rolled_back: u64,
}

/// Events by outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct EventsReport {
    /// Written by committed transactions.
    pub committed: u64,
    /// Rolled back, with their transaction or to a savepoint.
    pub rolled_back: u64,
    /// Records that the consumer read.
    pub read: u64,
    /// Committed and never read.
    pub lost: u64,
    /// Read again.
    pub duplicated: u64,
    /// Read after a later one of the same topic and key.
    pub out_of_order: u64,
    /// Read, although no transaction committed them.
    pub invented: u64,
}

/// Latencies of the events, from each event's first read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LatencyReport {
    /// The median.
    pub p50: Option<u64>,
    /// The 99th percentile.
    pub p99: Option<u64>,
    /// How many seconds at the beginning are excluded, while connections are opened and the JVM warms up.
    pub warm_up_seconds: f64,
}

/// The relay's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RelayReport {
    /// Events that it could not publish as their contracts require.
    pub dead_letters: u64,
    /// Reconnections, on both sides.
    pub reconnects: u64,
}

/// Durations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    /// How long the order service wrote.
    pub(super) writing: Duration,
    /// The excluded beginning of that.
    pub(super) warm_up: Duration,
}

impl Report {
    /// Evaluates the finished audit.
    pub(super) fn new(audit: &Audit, servers: ServersReport, spent: Spent, relay: RelayReport) -> Self {
        let Figures {
            transactions,
            transactions_rolled_back,
            committed,
            rolled_back,
            read,
            missing,
            duplicated,
            out_of_order,
            invented,
        } = audit.figures();
        let latencies = audit.latencies();
        Self {
            ok: missing == 0 && out_of_order == 0 && invented == 0,
            servers,
            seconds: spent.writing.as_secs_f64(),
            transactions: TransactionsReport { committed: transactions, rolled_back: transactions_rolled_back },
            events: EventsReport { committed, rolled_back, read, lost: missing, duplicated, out_of_order, invented },
            latency_ms: LatencyReport {
                p50: latencies.quantile(0.5),
                p99: latencies.quantile(0.99),
                warm_up_seconds: spent.warm_up.as_secs_f64(),
            },
            relay,
            left_behind: Vec::new(),
        }
    }

    /// Adds what could not be removed.
    pub(super) fn with_left_behind(mut self, left: &[LeftBehind]) -> Self {
        self.left_behind = left.iter().map(ToString::to_string).collect();
        self
    }

    /// Whether the check has no findings and everything was removed.
    #[must_use]
    pub(crate) fn is_success(&self) -> bool {
        self.ok && self.left_behind.is_empty()
    }

    /// The table, in colour or without.
    #[must_use]
    pub(crate) fn table(&self, colour: Colour) -> String {
        Table { report: self, colour }.to_string()
    }
}

struct Table<'a> {
    report: &'a Report,
    colour: Colour,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { transactions, events, latency_ms, relay, .. } = self.report;
        let head = format!("  {:<14}{:>14}{:>12}", "", "transactions", "events");
        writeln!(formatter, "{}", self.colour.paint(Colour::DIM, &head))?;
        row(formatter, "committed", &grouped(transactions.committed), &grouped(events.committed))?;
        row(formatter, "rolled back", &grouped(transactions.rolled_back), &grouped(events.rolled_back))?;
        row(formatter, "read", "", &grouped(events.read))?;
        self.check(formatter, "lost", events.lost)?;
        self.check(formatter, "out of order", events.out_of_order)?;
        self.check(formatter, "invented", events.invented)?;
        row(formatter, "duplicated", "", &grouped(events.duplicated))?;
        for (name, count) in [("dead letters", relay.dead_letters), ("reconnects", relay.reconnects)] {
            if count > 0 {
                row(formatter, name, "", &grouped(count))?;
            }
        }
        row(formatter, "latency p50", "", &millis(latency_ms.p50))?;
        row(formatter, "latency p99", "", &millis(latency_ms.p99))?;
        let note = format!("  from commit to consumer, after {} s of warm-up", latency_ms.warm_up_seconds);
        writeln!(formatter, "{}", self.colour.paint(Colour::DIM, &note))?;
        writeln!(formatter, "\n  {}\n  {}", self.report.servers.postgres, self.report.servers.kafka)?;
        if !self.report.servers.kafka_is_real {
            let advice = "  (a stand-in for Kafka; install Java 17 or Docker to run a real one)";
            writeln!(formatter, "{}", self.colour.paint(Colour::DIM, advice))?;
        }
        writeln!(formatter, "\n  {}", self.verdict())
    }
}

impl Table<'_> {
    /// A row whose figure must be 0.
    fn check(&self, formatter: &mut fmt::Formatter<'_>, name: &str, figure: u64) -> fmt::Result {
        let colour = if figure == 0 { Colour::GREEN } else { Colour::RED };
        let text = format!("{:>12}", grouped(figure));
        writeln!(formatter, "  {name:<14}{:>14}{}", "", self.colour.paint(colour, &text))
    }

    fn verdict(&self) -> String {
        let EventsReport { committed, duplicated, lost, out_of_order, invented, .. } = self.report.events;
        if !self.report.ok {
            let [lost, out_of_order, invented] = [lost, out_of_order, invented].map(grouped);
            let text = format!("FAILED: {lost} lost, {out_of_order} out of order, {invented} invented.");
            return self.colour.paint(Colour::RED, &text);
        }
        let text = match (committed, duplicated) {
            (0, _) => "Nothing was committed, and nothing was read.",
            (_, 0) => "Every committed event was read once and in order, and nothing that was rolled back.",
            _ => "Nothing was lost or out of order. Delivery is at least once: some records were duplicated.",
        };
        self.colour.paint(Colour::BOLD, text)
    }
}

fn row(formatter: &mut fmt::Formatter<'_>, name: &str, transactions: &str, events: &str) -> fmt::Result {
    writeln!(formatter, "  {name:<14}{transactions:>14}{events:>12}")
}

fn millis(millis: Option<u64>) -> String {
    millis.map_or_else(|| "-".to_owned(), |millis| format!("{} ms", grouped(millis)))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use uuid::Uuid;

    use super::super::audit::{Event, Topic};
    use super::*;

    fn report(audit: &Audit) -> Report {
        let (postgres, kafka) = ("PostgreSQL 15.18 (this machine's)".to_owned(), "Apache Kafka 4.3.1".to_owned());
        let servers = ServersReport { postgres, kafka, kafka_is_real: true };
        let spent = Spent { writing: Duration::from_secs(10), warm_up: Duration::from_secs(1) };
        Report::new(audit, servers, spent, RelayReport::default())
    }

    fn audit(committed: u64, read: impl IntoIterator<Item = u64>) -> Audit {
        let event = |sequence| {
            let id = Uuid::from_u64_pair(1, sequence);
            Event { topic: Topic::Orders, customer: 1, sequence, id }
        };
        let mut audit = Audit::default();
        (1..=committed).for_each(|sequence| audit.committed(&[event(sequence)]));
        read.into_iter().for_each(|sequence| audit.read(&event(sequence), Some(sequence)));
        audit
    }

    /// The expected table below is compared without its indentation.
    fn without_margin(table: &str) -> String {
        table.lines().map(|line| line.strip_prefix("  ").unwrap_or(line).to_owned() + "\n").collect()
    }

    #[test]
    fn the_table_of_a_good_run() {
        let report = report(&audit(1_200, 1..=1_200));
        assert!(report.is_success());
        expect![[r#"
                            transactions      events
            committed              1,200       1,200
            rolled back                0           0
            read                               1,200
            lost                                   0
            out of order                           0
            invented                               0
            duplicated                             0
            latency p50                       600 ms
            latency p99                     1,188 ms
            from commit to consumer, after 1 s of warm-up

            PostgreSQL 15.18 (this machine's)
            Apache Kafka 4.3.1

            Every committed event was read once and in order, and nothing that was rolled back.
        "#]]
        .assert_eq(&without_margin(&report.table(Colour::Off)));
    }

    #[test]
    fn a_duplicate_is_reported_but_only_a_loss_fails() {
        let twice = report(&audit(2, [1, 2, 2]));
        assert!(twice.is_success() && twice.table(Colour::Off).contains("some records were duplicated"));
        let lost = report(&audit(3, [1, 3]));
        assert!(!lost.is_success() && lost.table(Colour::Off).contains("FAILED: 1 lost, 0 out of order, 0 invented."));
        let late = report(&audit(3, [1, 3, 2]));
        assert!(!late.ok && late.table(Colour::On).contains("\x1b[31m           1\x1b[0m"));
    }

    #[test]
    fn the_json_is_one_line() {
        let left = LeftBehind { what: "topic t".to_owned(), why: "not allowed".to_owned() };
        let report = report(&audit(1, [1])).with_left_behind(&[left]);
        assert!(report.ok && !report.is_success());
        let json = serde_json::to_string(&report).expect("plain values");
        expect![[r#"{"ok":true,"servers":{"postgres":"PostgreSQL 15.18 (this machine's)","kafka":"Apache Kafka 4.3.1","kafka_is_real":true},"seconds":10.0,"transactions":{"committed":1,"rolled_back":0},"events":{"committed":1,"rolled_back":0,"read":1,"lost":0,"duplicated":0,"out_of_order":0,"invented":0},"latency_ms":{"p50":1,"p99":1,"warm_up_seconds":1.0},"relay":{"dead_letters":0,"reconnects":0},"left_behind":["topic t: not allowed"]}"#]]
        .assert_eq(&json);
    }
}
