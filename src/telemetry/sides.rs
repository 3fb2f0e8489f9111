//! The state of the relay's two connections.

use std::time::SystemTime;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::known::KnownGauge;

/// A system that the relay is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The replication connection.
    Postgres,
    /// The producer.
    Kafka,
}

impl Side {
    pub(super) const ALL: [Self; 2] = [Self::Postgres, Self::Kafka];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Kafka => "kafka",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "Postgres",
            Self::Kafka => "Kafka",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SideLabel {
    side: &'static str,
}

/// The metrics of both sides.
#[derive(Debug)]
pub struct Sides {
    /// `walpost_reconnects_total{side}`.
    reconnects: [Counter; Side::ALL.len()],
    /// `walpost_connected{side}`: 1 or 0. A standby relay is connected while Postgres answers it.
    connected: [Gauge; Side::ALL.len()],
    /// `walpost_last_contact_timestamp_seconds{side}`: when a side last sent something.
    last_contact: [KnownGauge<f64>; Side::ALL.len()],
}

impl Sides {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let reconnects = Family::<SideLabel, Counter>::default();
        let connected = Family::<SideLabel, Gauge>::default();
        let contact = Family::<SideLabel, KnownGauge<f64>>::default();
        let label = |side: Side| SideLabel { side: side.as_str() };
        let sides = Self {
            reconnects: Side::ALL.map(|of| reconnects.get_or_create_owned(&label(of))),
            connected: Side::ALL.map(|of| connected.get_or_create_owned(&label(of))),
            last_contact: Side::ALL.map(|of| contact.get_or_create_owned(&label(of))),
        };
        registry.register("reconnects", "Reconnections", reconnects);
        let help = "Whether the relay is connected, 1 or 0; on a standby relay, whether Postgres answers it";
        registry.register("connected", help, connected);
        let help = "When Postgres or Kafka last sent something, since the Unix epoch";
        registry.register_with_unit("last_contact_timestamp", help, Unit::Seconds, contact);
        sides
    }

    /// Counts a reconnection.
    pub fn count_reconnect(&self, side: Side) {
        self.reconnects[side as usize].inc();
    }

    /// How often a side was reconnected.
    pub(super) fn reconnects(&self, side: Side) -> u64 {
        self.reconnects[side as usize].get()
    }

    pub fn set_connected(&self, side: Side, connected: bool) {
        self.connected[side as usize].set(i64::from(connected));
    }

    #[must_use]
    pub fn is_connected(&self, side: Side) -> bool {
        self.connected[side as usize].get() == 1
    }

    /// A side sent something at this time.
    pub fn note_contact(&self, side: Side, at: SystemTime) {
        let Ok(since_epoch) = at.duration_since(SystemTime::UNIX_EPOCH) else { return };
        // In milliseconds: the time of Kafka's is reconstructed from an age, and jitters below that.
        let seconds = since_epoch.as_millis() as f64 / 1_000.0;
        let last = &self.last_contact[side as usize];
        if last.get().is_none_or(|last| last < seconds) {
            last.set(Some(seconds));
        }
    }

    /// When a side last sent something, in milliseconds since the Unix epoch.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time after the Unix epoch")]
    pub(super) fn last_contact_millis(&self, side: Side) -> Option<u64> {
        self.last_contact[side as usize].get().map(|seconds| (seconds * 1_000.0).round() as u64)
    }
}
