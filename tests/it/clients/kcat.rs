//! kcat, from the system's packages.

use std::process::Command;

use super::{Topic, finished};

/// kcat reads keys, values and headers of a topic byte for byte.
pub(super) fn check(kafka: &str, topic: &Topic) {
    // Lengths first, because a value may contain anything; -1 is null.
    let format = "%h\\n%K\\n%S\\n%k%s\\n";
    let read =
        ["-C", "-e", "-q", "-o", "beginning", "-X", "isolation.level=read_committed", "-b", kafka, "-f", format, "-t"];
    let output = finished(Command::new("kcat").args(read).arg(&topic.name));
    let output = output.unwrap_or_else(|reason| panic!("{reason}\nThe test needs kcat (Debian: kcat)"));
    let mut rest = output.stdout.as_slice();
    for (record, emitted) in topic.records.iter().zip(&topic.emitted) {
        let headers = line(&mut rest);
        let [key, value] = [(); 2].map(|()| line(&mut rest).parse::<i64>().expect("kcat prints a length"));
        let [key, value] =
            [key, value].map(|length| usize::try_from(length).ok().map(|length| take(&mut rest, length)));
        assert_eq!((key, value), (record.key.clone(), record.value.clone()), "{emitted:?}");
        assert_eq!(take(&mut rest, 1), b"\n");
        let wanted: Vec<String> = record
            .headers
            .iter()
            .map(|(name, value)| {
                let value = value.as_deref().map_or("NULL".into(), String::from_utf8_lossy);
                format!("{name}={value}")
            })
            .collect();
        assert_eq!(headers, wanted.join(","), "{emitted:?}");
    }
    assert!(rest.is_empty(), "kcat reads more of {} than there is", topic.name);
}

fn line(rest: &mut &[u8]) -> String {
    let end = rest.iter().position(|byte| *byte == b'\n').expect("kcat prints a line");
    let line = take(rest, end);
    take(rest, 1);
    String::from_utf8(line).expect("headers are text")
}

fn take(rest: &mut &[u8], length: usize) -> Vec<u8> {
    let (taken, after) = rest.split_at(length);
    *rest = after;
    taken.to_vec()
}
