//! Limits that must agree with each other, checked once everything is read.

use super::error::{Complaint, Origin};
use super::kafka::KafkaConfig;
use super::names::{IDENTIFIER_BYTES_MAX, SlotName};
use super::reader::Findings;
use super::relay::RelayConfig;

/// Checks the relay's limits against the properties that librdkafka is given: a queue of the client that is smaller than
/// the relay's window would be full before the window is, and the relay would spin on it.
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
        // librdkafka takes 0 messages as no limit.
        if set < least && !(set == 0 && name == "queue.buffering.max.messages") {
            let origin = kafka.properties.origin(name).cloned().unwrap_or(Origin::Nowhere);
            let complaint = Complaint::new(
                format!("{set} is less than the {least} that {limit} needs"),
                format!("leave it out, or lower {limit}"),
            );
            findings.refuse(&format!("kafka.properties.{name}"), origin, complaint);
        }
    }
}

/// What the name of the slot of the rewind window has behind the relay's slot's.
pub const REWIND_SLOT_END: &str = "_rewind";

/// Checks that the slot of the rewind window can have a name.
pub(super) fn check_rewind(relay: &RelayConfig, slot: &SlotName, findings: &mut Findings) {
    let longest = IDENTIFIER_BYTES_MAX - REWIND_SLOT_END.len();
    if relay.rewind.is_some() && slot.as_str().len() > longest {
        let home = findings.home.clone();
        let what = format!("slot {} leaves no room for the name of a second one", slot.as_str());
        let mend = format!("choose a postgres.slot of at most {longest} bytes, or leave relay.rewind off");
        findings.refuse("relay.rewind", home, Complaint::new(what, mend));
    }
}
