//! Checks across sections, after everything is read.

use super::error::{Complaint, ValueOrigin};
use super::kafka::KafkaConfig;
use super::names::{IDENTIFIER_BYTES_MAX, SlotName};
use super::reader::Findings;
use super::relay::RelayConfig;

/// Checks the relay's limits against librdkafka's: if the client's queue were smaller than the relay's window, it would fill up
/// first, and the relay would spin.
pub(super) fn check(relay: &RelayConfig, kafka: &KafkaConfig, findings: &mut Findings) {
    let kibibytes = relay.max_in_flight_bytes.div_ceil(1024);
    let least = [
        ("queue.buffering.max.messages", relay.max_in_flight, "relay.max_in_flight"),
        ("queue.buffering.max.kbytes", kibibytes, "relay.max_in_flight_bytes"),
    ];
    for (name, least, limit) in least {
        let Some(set) = kafka.properties.get(name).and_then(|text| text.parse::<usize>().ok()) else {
            continue;
        };
        // To librdkafka, 0 messages means no limit.
        if set < least && !(set == 0 && name == "queue.buffering.max.messages") {
            let origin = kafka.properties.origin(name).cloned().unwrap_or(ValueOrigin::Nowhere);
            let complaint = Complaint::new(
                format!("{set} is too low: {limit} needs at least {least}"),
                format!("remove it, or lower {limit}"),
            );
            findings.refuse(&format!("kafka.properties.{name}"), origin, complaint);
        }
    }
}

/// Suffix of the rewind window's slot name.
pub(crate) const REWIND_SLOT_END: &str = "_rewind";

/// Checks that the slot name of the rewind window is not too long.
pub(super) fn check_rewind(relay: &RelayConfig, slot: &SlotName, findings: &mut Findings) {
    let longest = IDENTIFIER_BYTES_MAX - REWIND_SLOT_END.len();
    if relay.rewind.is_some() && slot.as_str().len() > longest {
        let home = findings.home.clone();
        let what = format!("slot name {} is too long to derive the rewind window's slot name from it", slot.as_str());
        let fix = format!("choose a postgres.slot of at most {longest} bytes, or turn relay.rewind off");
        findings.refuse("relay.rewind", home, Complaint::new(what, fix));
    }
}
