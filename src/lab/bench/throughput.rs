//! How fast backlogs are read: by pg_recvlogical, by walpost without Kafka, by a plain producer, and by the relay, in turn.
//!
//! They take turns because a machine's speed changes from minute to minute: the ratio of two medians measured side by side is more
//! meaningful than either.

use super::backlog::{Backlog, Content, create_slot, drop_slot};
use super::error::BenchError;
use super::report::{BacklogReader, RunReport, StartReport, ThroughputReport, median};
use super::stage::Stage;
use super::{Options, Part, Payload, Shape, null, producer, recvlogical, relay};
use crate::config::Delivery;
use crate::lab::environment::View;
use crate::terminal::grouped;

/// A reader, as far as it is selected.
#[derive(Clone, Copy)]
struct Chosen {
    reader: BacklogReader,
    delivery: Option<Delivery>,
    /// Whether it checks payloads.
    checked: bool,
}

impl Chosen {
    const fn new(reader: BacklogReader, delivery: Option<Delivery>) -> Self {
        Self { reader, delivery, checked: false }
    }
}

/// Writes each backlog and lets every reader read it as often as requested.
pub(super) async fn measure(
    options: &Options,
    stage: &Stage,
    view: &View,
) -> Result<Vec<ThroughputReport>, BenchError> {
    let readers = readers(options, stage, view);
    let mut reports = Vec::new();
    // A JVM that has just started is slow: its first backlog is read once more before all others.
    let mut is_warm = stage.servers.kafka_if_any().is_none_or(crate::lab::environment::KafkaServer::is_named);
    for content in contents(options) {
        let backlog = Backlog::write(stage, content, options.events, view).await?;
        if !std::mem::replace(&mut is_warm, true)
            && let Some(delivery) = readers.iter().find_map(|chosen| chosen.delivery)
        {
            let doing = view.doing("warming up Kafka");
            relay::run(stage, &backlog, delivery).await?;
            doing.done("Kafka is warm");
        }
        reports.extend(read(options.runs, &readers, stage, &backlog, view).await?);
        backlog.remove(stage).await?;
    }
    Ok(reports)
}

/// The backlogs to write.
fn contents(options: &Options) -> Vec<Content> {
    let mut contents = Vec::new();
    for &payload in &options.payloads {
        for &per_transaction in &options.per_transaction {
            contents.extend(options.shapes.iter().map(|&shape| Content { payload, per_transaction, shape }));
        }
    }
    contents
}

/// From a relay's start to its first record: a backlog of one event.
pub(super) async fn start(options: &Options, stage: &Stage, view: &View) -> Result<Vec<StartReport>, BenchError> {
    let content = Content { payload: Payload::Json, per_transaction: 1, shape: Shape::DEFAULT };
    let backlog = Backlog::write(stage, content, 1, &View::silent()).await?;
    let mut reports = Vec::new();
    for &delivery in &options.deliveries {
        let doing = view.counting("starting the relay", u64::from(options.runs));
        let mut runs_millis = Vec::new();
        // The first run is a warm-up and does not count.
        for run in 0..=options.runs {
            let measured = relay::run(stage, &backlog, delivery).await?;
            if run > 0 {
                runs_millis.extend(measured.start_millis);
                doing.reached(u64::from(run));
            }
        }
        let median_millis = median(runs_millis.clone());
        doing.done(&format!("{}: first record {median_millis:.0} ms after the start", delivery.as_str()));
        reports.push(StartReport { delivery, runs_millis, median_millis });
    }
    backlog.remove(stage).await?;
    Ok(reports)
}

/// A slot of a relay for future events.
pub(super) async fn fresh_slot(stage: &Stage) -> Result<String, BenchError> {
    let mut connection = stage.connect().await?;
    let slot = create_slot(stage, &mut connection).await?;
    crate::lab::environment::close(connection).await;
    Ok(slot)
}

/// Drops it.
pub(super) async fn done_with(stage: &Stage, slot: &str) -> Result<(), BenchError> {
    drop_slot(stage, slot).await
}

fn readers(options: &Options, stage: &Stage, view: &View) -> Vec<Chosen> {
    let mut readers = Vec::new();
    match stage.recvlogical() {
        Some(_) => readers.push(Chosen::new(BacklogReader::PgRecvlogical, None)),
        None => view.note("pg_recvlogical is not installed, so there is no upper bound to compare the rates with"),
    }
    if options.has(Part::Decode) {
        readers.push(Chosen::new(BacklogReader::WalpostNull, None));
    }
    if options.has(Part::Relay) {
        readers.push(Chosen::new(BacklogReader::Producer, None));
        readers.extend(options.deliveries.iter().map(|delivery| Chosen::new(BacklogReader::Walpost, Some(*delivery))));
    }
    if options.check {
        // Each with and without checks in direct succession, because a machine's speed changes from minute to minute.
        let twice = |chosen: Chosen| {
            let checks = matches!(chosen.reader, BacklogReader::WalpostNull | BacklogReader::Walpost);
            let checked = checks.then_some(Chosen { checked: true, ..chosen });
            [Some(chosen), checked].into_iter().flatten()
        };
        readers = readers.into_iter().flat_map(twice).collect();
    }
    readers
}

async fn read(
    runs: u32,
    readers: &[Chosen],
    stage: &Stage,
    backlog: &Backlog,
    view: &View,
) -> Result<Vec<ThroughputReport>, BenchError> {
    let mut measured: Vec<Vec<RunReport>> = vec![Vec::new(); readers.len()];
    let is_checked = readers.iter().any(|chosen| chosen.checked);
    let doing = view.counting("reading", u64::from(runs) * readers.len() as u64);
    for run in 0..runs {
        for (place, reader) in readers.iter().enumerate() {
            if is_checked {
                backlog.promise(stage, reader.checked).await?;
            }
            measured[place].push(read_once(*reader, stage, backlog).await?);
            doing.reached(u64::from(run) * readers.len() as u64 + place as u64 + 1);
        }
    }
    let medians: Vec<RunReport> = measured.iter().map(|runs| RunReport::median(runs)).collect();
    let rate_of =
        |is: &dyn Fn(&Chosen) -> bool| readers.iter().position(is).map(|place| medians[place].events_per_second);
    let ceiling = rate_of(&|chosen| chosen.reader == BacklogReader::PgRecvlogical);
    let producer = rate_of(&|chosen| chosen.reader == BacklogReader::Producer);
    let lower = ceiling.into_iter().chain(producer).min_by(f64::total_cmp);
    let unchecked: Vec<Option<f64>> = readers
        .iter()
        .map(|of| {
            let same = |other: &Chosen| other.reader == of.reader && other.delivery == of.delivery && !other.checked;
            rate_of(&same).filter(|_| of.checked)
        })
        .collect();
    let reports = readers.iter().zip(measured).zip(medians.iter().zip(unchecked)).map(
        |((chosen, runs), (&median, unchecked))| {
            let Chosen { reader, delivery, checked } = *chosen;
            let of = |other: Option<f64>| other.map(|rate| median.events_per_second / rate);
            let Content { payload, per_transaction, shape } = backlog.content;
            ThroughputReport {
                reader,
                delivery,
                checked,
                payload,
                per_transaction,
                shape,
                events: backlog.events,
                runs,
                median,
                of_pg_recvlogical: of(ceiling),
                of_producer: of(producer),
                of_lower: of(lower),
                of_unchecked: of(unchecked),
            }
        },
    );
    let reports: Vec<_> = reports.collect();
    let said = reports.iter().map(|report| format!("{} {}", report.name(), per_second(&report.median)));
    doing.done(&format!("read: {}", said.collect::<Vec<_>>().join(", ")));
    Ok(reports)
}

async fn read_once(chosen: Chosen, stage: &Stage, backlog: &Backlog) -> Result<RunReport, BenchError> {
    match (chosen.reader, chosen.delivery, stage.recvlogical()) {
        (BacklogReader::PgRecvlogical, _, Some(program)) => recvlogical::run(&program, stage, backlog).await,
        (BacklogReader::Producer, ..) => producer::measure(stage, backlog).await,
        (BacklogReader::Walpost, Some(delivery), _) => relay::run(stage, backlog, delivery).await,
        _ => null::measure(stage, backlog).await,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shown to people")]
fn per_second(run: &RunReport) -> String {
    format!("{}/s", grouped(run.events_per_second.round() as u64))
}
