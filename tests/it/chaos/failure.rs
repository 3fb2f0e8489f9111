//! Injected failures.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use walpost::lab::sandbox::StopMode;
use walpost::random::Random;

use super::Chaos;

/// Longest outage of a server, in milliseconds.
const AWAY_MILLIS: u64 = 3_000;

/// How long Kafka waits for a broker's heartbeat before it fences it.
const SESSION: Duration = Duration::from_secs(3);

/// A failure of one of the processes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failure {
    KillRelay,
    StopRelay,
    TerminateWalsender,
    StopPostgres(StopMode),
    KillPostgres,
    KillPostgresAndRelay,
    KillKafka,
    /// It stops for longer than its session lasts, and then lists no brokers for a moment.
    PauseKafka,
    KillKafkaAndRelay,
    KillEverything,
}

impl Failure {
    /// A random one; killing the relay is the most common.
    pub(super) fn any(seeded: &mut Random) -> Self {
        match seeded.below(22) {
            0..=7 => Self::KillRelay,
            8 | 9 => Self::StopRelay,
            10..=12 => Self::TerminateWalsender,
            13 => Self::StopPostgres(StopMode::Fast),
            14 => Self::StopPostgres(StopMode::Immediate),
            15 => Self::KillPostgres,
            16 => Self::KillPostgresAndRelay,
            17 => Self::KillKafka,
            18 | 19 => Self::PauseKafka,
            20 => Self::KillKafkaAndRelay,
            _ => Self::KillEverything,
        }
    }

    /// Whether Postgres may lose slot positions: before version 17 it does not write them at a clean shutdown either.
    const fn loses_slot_positions(self) -> bool {
        matches!(self, Self::StopPostgres(_) | Self::KillPostgres | Self::KillPostgresAndRelay | Self::KillEverything)
    }

    /// Injects the failure, and restarts everything.
    pub(super) async fn strike(self, chaos: &mut Chaos) {
        if self.loses_slot_positions() {
            chaos.forgive_repeats();
        }
        match self {
            Self::KillRelay => chaos.running().kill(),
            Self::StopRelay => return stop_relay(chaos).await,
            Self::TerminateWalsender => {
                return chaos.harness.execute("select pg_terminate_backend(pid) from pg_stat_replication").await;
            }
            Self::StopPostgres(mode) => {
                chaos.harness.own_postgres().stop(mode).await.expect("postgres stops");
                return start_postgres(chaos).await;
            }
            Self::KillPostgres => {
                chaos.harness.own_postgres().kill();
                return start_postgres(chaos).await;
            }
            Self::KillPostgresAndRelay => {
                chaos.harness.own_postgres().kill();
                chaos.running().kill();
                start_postgres(chaos).await;
            }
            Self::KillKafka => {
                kill_kafka(chaos).await;
                return start_kafka(chaos).await;
            }
            Self::PauseKafka => return pause_kafka(chaos).await,
            Self::KillKafkaAndRelay => {
                kill_kafka(chaos).await;
                chaos.running().kill();
                start_kafka(chaos).await;
            }
            Self::KillEverything => {
                kill_kafka(chaos).await;
                chaos.harness.own_postgres().kill();
                chaos.running().kill();
                start_postgres(chaos).await;
                start_kafka(chaos).await;
            }
        }
        chaos.succeed();
    }
}

/// One that has not started to stream may have nothing to log, but it never repeats anything after a clean stop.
async fn stop_relay(chaos: &mut Chaos) {
    chaos.running().ready().await;
    chaos.running().signal(Signal::TERM);
    let status = chaos.running().exit().await;
    assert_eq!(status.code(), Some(0), "{}", chaos.running().log());
    chaos.stopped.push(chaos.relays.len() - 1);
    chaos.succeed();
}

async fn start_postgres(chaos: &mut Chaos) {
    away(chaos).await;
    chaos.harness.own_postgres().start_again().await.expect("postgres starts again");
}

async fn kill_kafka(chaos: &mut Chaos) {
    chaos.harness.own_kafka().kill().await.expect("kafka can be killed");
}

async fn start_kafka(chaos: &mut Chaos) {
    away(chaos).await;
    chaos.harness.own_kafka().start_again().await.expect("kafka starts again");
}

async fn pause_kafka(chaos: &mut Chaos) {
    let broker = chaos.harness.own_kafka().pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let broker = broker.expect("a process");
    kill_process(broker, Signal::STOP).expect("an own process");
    tokio::time::sleep(SESSION).await;
    away(chaos).await;
    kill_process(broker, Signal::CONT).expect("an own process");
}

async fn away(chaos: &mut Chaos) {
    tokio::time::sleep(Duration::from_millis(chaos.seeded.below(AWAY_MILLIS))).await;
}
