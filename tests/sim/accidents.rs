//! Accidents of the slot, the server and the stored position while no stream runs, and the operator's response when the relay has detected
//! them. A relay that does not detect one loses rows, which the world's checks report.

use walpost::relay::Halt;
use walpost::relay::boundary::{Ancestry, Lsn};
use walpost::relay::confirm::Resume;
use walpost::relay::resume::{Gap, OtherOrigin, PositionGap, Server, Slot};

use crate::world::World;

/// Accidents that were not detected yet, and those that may be detected later.
#[derive(Default)]
pub(crate) struct Accidents {
    open: Option<Accident>,
    /// The WAL has diverged at an earlier point.
    detours: u64,
    /// Kafka has lost a position.
    has_lost_position: bool,
}

enum Accident {
    /// The slot was moved, dropped, recreated or invalidated: its previous state.
    Slot(Slot),
    /// The relay connects to another server, or to this one restored to an earlier end: the previous server.
    Server(Server),
    /// The WAL has diverged at an earlier point, while a relay runs that has read further.
    Detour,
}

impl Accidents {
    pub(crate) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A relay continues anyway: then nothing may be missing.
    pub(crate) fn continued_undetected(&mut self) {
        let open = self.open.take();
        assert!(matches!(open, None | Some(Accident::Slot(_))), "a relay streams from another history");
    }
}

impl World {
    /// An accident while no stream runs.
    pub(crate) fn cause_accident(&mut self) {
        if self.accidents.is_open() || self.postgres.row.is_none() || self.confirming.is_noting_backfill() {
            return;
        }
        match self.random.below(12) {
            0..=3 => self.move_slot(),
            4..=5 => self.switch_server(),
            6..=8 => self.diverge_earlier(true),
            9 => {
                self.crash();
                self.diverge_earlier(false);
            }
            10 => self.lose_position(true),
            _ => self.lose_position(false),
        }
    }

    /// The slot is advanced, recreated, dropped or invalidated.
    fn move_slot(&mut self) {
        let before = self.postgres.slot.clone();
        self.confirming.lose_writing();
        let (confirmed, end) = (self.postgres.confirmed(), self.postgres.server.wal_end);
        let own = match self.confirming.gate.resume() {
            Some(Resume::Confirmed(lsn)) => Some(lsn),
            Some(Resume::Backfilled(_)) | None => None,
        };
        // Within the noted limit, only the relay that has confirmed less can detect it.
        let limit = own.or(self.postgres.confirm_limit()).filter(|_| self.postgres.is_backfilled());
        self.postgres.slot = match (self.random.below(4), limit) {
            (0, _) => Slot::Missing,
            (1, _) => Slot::Lost { confirmed, reason: "its WAL was removed".to_owned() },
            (2, Some(limit)) if limit < end => Slot::At(end),
            (_, Some(limit)) if limit < end => Slot::At(Lsn(limit.0 + 1 + self.random.below(end.0 - limit.0))),
            _ => return,
        };
        self.accidents.open = Some(Accident::Slot(before));
    }

    /// The relay connects to another cluster, to a diverged copy of this one, or to this one restored to a point before what this process
    /// has confirmed.
    fn switch_server(&mut self) {
        let before = self.postgres.server.clone();
        let server = &mut self.postgres.server;
        match (self.random.below(3), self.confirming.gate.resume()) {
            (0, _) => server.system_identifier = "8".to_owned(),
            (1, _) => (server.timeline, server.ancestry) = (90, Ancestry(vec![(80, Lsn(1_000))])),
            (_, Some(resume)) => server.wal_end = Lsn(resume.lsn().0 - 1),
            _ => return,
        }
        self.accidents.open = Some(Accident::Server(before));
    }

    /// A standby is promoted that does not have everything; or the server is restored to an earlier state.
    fn diverge_earlier(&mut self, is_promoted: bool) {
        let end = self.postgres.server.wal_end;
        let parted = self.postgres.server.ancestry.0.last().map(|(_, end)| *end);
        let stands = parted.unwrap_or_default().max(self.postgres.confirmed());
        if !self.postgres.is_backfilled() {
            return;
        }
        // Often just behind the slot, where a stored position is past it.
        let span = if self.random.chance(50) { 100.min(end.0 - stands.0) } else { end.0 - stands.0 };
        let at = Lsn(stands.0 + self.random.below(span + 1));
        self.confirming.lose_writing();
        let lost = self.postgres.diverge_at(at, is_promoted);
        self.gone.extend(lost);
        self.checked = self.checked.min(at);
        self.accidents.detours += 1;
        // A new process has read none of it.
        self.accidents.open = self.last.as_ref().map(|_| Accident::Detour);
    }

    /// Kafka loses all positions, or the last one, while no relay runs.
    fn lose_position(&mut self, is_last_only: bool) {
        self.crash();
        let noted = self.postgres.row.as_ref().and_then(|row| row.position);
        let Some(transactions) = &mut self.transactions else { return };
        match is_last_only {
            true => transactions.rewind(),
            false => transactions.forget(),
        }
        self.accidents.has_lost_position = true;
        // A position that was stored after the last note is not missed.
        if noted.is_none_or(|noted| transactions.reaches(noted)) {
            self.allow_repeats();
        }
    }

    /// The relay has detected a gap: it exits, and the operator reverts the accident.
    pub(crate) fn handle_gap(&mut self, gap: &Gap) {
        let is_explained = match gap {
            Gap::SlotMissing | Gap::SlotLost { .. } | Gap::SlotAdvanced { .. } => {
                matches!(self.accidents.open, Some(Accident::Slot(_)))
            }
            Gap::TimelineChanged { .. } => {
                matches!(self.accidents.open, Some(Accident::Server(_) | Accident::Detour))
            }
            Gap::SystemChanged { .. } | Gap::TimelineForeign { .. } | Gap::ServerRewound { .. } => {
                matches!(self.accidents.open, Some(Accident::Server(_)))
            }
        };
        assert!(is_explained, "{gap:?} without a reason");
        self.repair();
        self.crash();
    }

    /// Reverts the accident of the slot or server.
    pub(crate) fn repair(&mut self) {
        match self.accidents.open.take() {
            Some(Accident::Slot(before)) => self.postgres.slot = before,
            Some(Accident::Server(before)) => self.postgres.server = before,
            Some(Accident::Detour) | None => {}
        }
    }

    /// The relay has detected that the position contradicts the slot: the operator resets it.
    pub(crate) fn handle_position_gap(&mut self, gap: &PositionGap) {
        let is_explained = match gap {
            PositionGap::Origin(OtherOrigin::Timeline { .. }) => self.accidents.detours > 0,
            PositionGap::Lost | PositionGap::Old { .. } | PositionGap::Behind { .. } => {
                self.accidents.has_lost_position
            }
            PositionGap::Origin(OtherOrigin::System { .. }) | PositionGap::Forgotten | PositionGap::Rewound { .. } => {
                false
            }
        };
        assert!(is_explained, "{gap:?} without a reason");
        self.forget_position();
    }

    /// There is a different event at the position.
    pub(crate) fn handle_displaced_position(&mut self, halt: &Halt) {
        assert!(self.accidents.detours > 0, "{halt} without a reason");
        self.forget_position();
    }

    fn forget_position(&mut self) {
        self.crash();
        if let Some(transactions) = &mut self.transactions {
            transactions.forget();
        }
        if let Some(row) = &mut self.postgres.row {
            row.position = None;
        }
        self.allow_repeats();
    }
}
