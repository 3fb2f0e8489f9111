//! The driver's part in confirming: it asks the gate, sends what may be confirmed, and writes notes. A write may finish late, fail, or
//! succeed without anyone learning of it.

use walpost::relay::boundary::Lsn;
use walpost::relay::confirm::{Gate, Notes, Reached, Wanted};
use walpost::relay::resume::{LastStreamed, same_server};

use crate::postgres::Postgres;
use walpost::random::Random;

pub(crate) struct Confirming {
    pub(crate) gate: Gate,
    writing: Option<Writing>,
}

#[derive(Clone, Copy)]
enum Writing {
    Backfill,
    Limit { flush: Lsn, received: Lsn, stored: Option<Lsn> },
}

impl Confirming {
    pub(crate) const fn new() -> Self {
        Self { gate: Gate::new(Notes::Required), writing: None }
    }

    /// The driver's turn.
    pub(crate) fn turn(&mut self, reached: Reached, received: Lsn, postgres: &mut Postgres, random: &mut Random) {
        let wanted = self.confirm(reached, postgres);
        if self.writing.is_some() {
            return;
        }
        self.writing = match wanted {
            Some(Wanted::Backfill) => Some(Writing::Backfill),
            Some(Wanted::Limit { flush, noted }) if flush > noted || random.chance(5) => {
                Some(Writing::Limit { flush, received, stored: reached.stored })
            }
            Some(Wanted::Limit { .. }) | None => None,
        };
    }

    fn confirm(&mut self, reached: Reached, postgres: &mut Postgres) -> Option<Wanted> {
        let step = self.gate.poll(reached);
        if let Some(lsn) = step.confirm.filter(|_| postgres.is_connected()) {
            postgres.confirm(lsn);
        }
        step.note
    }

    /// The slot or the server has changed, and no pending write succeeds.
    pub(crate) fn lose_writing(&mut self) {
        self.writing = None;
    }

    /// Whether the link must not connect.
    pub(crate) const fn is_noting_backfill(&self) -> bool {
        matches!(self.writing, Some(Writing::Backfill))
    }

    /// The write has finished.
    pub(crate) fn written(&mut self, calm: bool, postgres: &mut Postgres, random: &mut Random) {
        let Some(writing) = self.writing.take() else { return };
        if !calm && random.chance(20) {
            // It may have succeeded without anyone learning of it.
            if random.chance(50) {
                write(writing, postgres);
            }
            return;
        }
        match write(writing, postgres) {
            Some(limit) => self.gate.handle_noted(limit),
            None => self.gate.handle_backfill_noted(),
        }
    }

    /// The relay crashes; a pending write may still succeed.
    pub(crate) fn crash(&mut self, postgres: &mut Postgres, random: &mut Random) {
        if let Some(writing) = self.writing.take()
            && random.chance(50)
        {
            write(writing, postgres);
        }
        *self = Self::new();
    }

    /// The relay stops cleanly, or as well as it can.
    pub(crate) fn stop(
        &mut self,
        reached: Reached,
        last: Option<&LastStreamed>,
        postgres: &mut Postgres,
        random: &mut Random,
    ) {
        self.written(true, postgres, random);
        if let Some(Wanted::Limit { flush, .. }) = self.confirm(reached, postgres)
            && random.chance(70)
        {
            self.gate.handle_noted(postgres.note(flush, flush, reached.stored));
            self.confirm(reached, postgres);
            if random.chance(70) {
                postgres.receive_status_update();
            }
        }
        // Then over another connection, which notes it first.
        postgres.disconnect(random);
        self.gate.handle_lost(false);
        let is_same = |lsn: &Lsn| same_server(&postgres.server, last, Some(*lsn)).is_ok();
        let target = self.gate.last(reached).filter(is_same);
        if let Some(lsn) = target.filter(|lsn| *lsn > postgres.confirmed() && random.chance(70)) {
            postgres.note(lsn.max(postgres.confirm_limit().unwrap_or_default()), lsn, None);
            postgres.confirm(lsn);
            postgres.receive_status_update();
        }
        *self = Self::new();
    }
}

/// The noted limit, if the write was of one.
fn write(writing: Writing, postgres: &mut Postgres) -> Option<Lsn> {
    match writing {
        Writing::Backfill => {
            postgres.keep_slot();
            None
        }
        Writing::Limit { flush, received, stored } => Some(postgres.note(flush, received, stored)),
    }
}
