//! Arbitrary bytes as the content of a logical message, and as a row's headers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walpost::relay::decode::message;
use walpost::relay::publish::encode::RowHeaders;

fuzz_target!(|data: &[u8]| {
    let (event, refusal) = message::from_message(data);
    match refusal {
        Some(_) => assert_eq!(event.payload.as_deref(), Some(data), "what can't be read is kept whole"),
        None => {
            let payload = event.payload.as_deref().unwrap_or_default();
            assert!(
                payload.is_empty() || data.windows(payload.len()).any(|part| part == payload),
                "a payload is a part of its message"
            );
        }
    }
    let _ = RowHeaders::parse(event.headers.as_deref());
    let _ = RowHeaders::parse(Some(data));
});
