//! Epochs and keys of positions, as `outbox.relay` and `outbox.secret` have them.

use super::{Outbox, lease_of};
use crate::postgres::Connection;
use crate::postgres::scratch::Scratch;
use crate::relay::boundary::{Ancestry, Lsn, PositionKeys, PositionProof};
use crate::source::server::identity::{Server, System};
use crate::source::state::{relay_state, secrets};
use crate::source::{Note, NoteLimit};

/// What `outbox.relay` says of the epoch of the slot's positions.
fn epoch(outbox: &Outbox) -> PositionKeys {
    let mut found = None;
    change(outbox, |control, server, _, slot| found = Some(secrets::read(control, server, slot).expect("secrets")));
    found.expect("it was read").positions
}

fn change(outbox: &Outbox, change: impl FnOnce(&mut Connection, &Server, &System, &str)) {
    let mut control = Connection::open(&outbox.options.connect).expect("a connection");
    let server = Server::read(&mut control).expect("a server");
    let identifier = outbox.value("select system_identifier from outbox.relay");
    let system = System { identifier, timeline: 1, ancestry: Ancestry::default(), wal_end: Lsn(0) };
    change(&mut control, &server, &system, &outbox.options.slot);
}

fn adopt(outbox: &Outbox, forgets: bool) {
    change(outbox, |control, server, system, slot| {
        relay_state::adopt(control, server, system, slot, Lsn(0x40), forgets).expect("noted");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn case_39_a_position_without_an_epoch_counts_only_if_an_older_version_noted_it_last() {
    let outbox = Outbox::new(Scratch::shared(), "epochs");
    drop(outbox.connect().await);
    assert_eq!(epoch(&outbox).epoch, None, "none was forgotten");
    adopt(&outbox, true);
    let first = epoch(&outbox);
    assert!(first.epoch.is_some() && first.must_have_epoch, "{first:?}");

    let note = async |stored: u64, is_of_epoch| {
        let proof = PositionProof { signed_by: Some(1), is_of_epoch };
        let (flush, stored) = (Lsn(stored), Some(Lsn(stored)));
        let note = Note { flush, received: flush, stored, proof, extent: NoteLimit::Exact };
        lease_of(&outbox.options).note(note).await.expect("noted");
        epoch(&outbox).must_have_epoch
    };
    assert!(note(0x50, true).await);
    // An older version, which knows nothing of epochs, notes its position alone.
    outbox.sql("update outbox.relay set position = '0/60', signed_position = '0/60'");
    assert!(!epoch(&outbox).must_have_epoch);
    assert!(!note(0x60, false).await, "it is still the last one in Kafka");
    assert!(note(0x70, true).await);

    adopt(&outbox, false);
    assert_eq!(epoch(&outbox).epoch, first.epoch, "nothing was forgotten");
    adopt(&outbox, true);
    let second = epoch(&outbox);
    assert!(second.epoch != first.epoch && second.must_have_epoch, "{second:?}");
    change(&outbox, |control, server, system, slot| {
        relay_state::begin_recovery(control, server, system, slot, "0").expect("noted");
    });
    assert_ne!(epoch(&outbox).epoch, second.epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_for_positions_that_were_added_come_with_the_next_note() {
    let outbox = Outbox::new(Scratch::shared(), "rotated");
    drop(outbox.connect().await);
    let lease = lease_of(&outbox.options);
    let note = async || {
        let proof = PositionProof::default();
        let note = Note { flush: Lsn(1), received: Lsn(1), stored: None, proof, extent: NoteLimit::Exact };
        let keys = lease.note(note).await.expect("noted").position_keys;
        keys.map(|keys| keys.iter().map(|key| key.id).collect::<Vec<_>>())
    };
    let add = |id: u8| {
        outbox.sql(&format!(
            "insert into outbox.secret values ({id}, 'position', decode(repeat('0{id}', 64), 'hex'), \
             decode(repeat('1{id}', 64), 'hex'), clock_timestamp())"
        ));
    };
    add(1);
    assert_eq!(note().await, Some(vec![1]), "there may be more than at the start");
    assert_eq!(note().await, None);
    add(2);
    assert_eq!(note().await, Some(vec![2, 1]));
    outbox.sql("delete from outbox.secret where id = 1");
    assert_eq!(note().await, Some(vec![2]));
    assert_eq!(note().await, None);
}
