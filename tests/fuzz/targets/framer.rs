//! Arbitrary bytes from a server, split arbitrarily: the messages are the same as without a split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walpost::postgres::{Frame, Framer, ProtocolError};

fuzz_target!(|data: &[u8]| {
    let Some((piece, bytes)) = data.split_first() else { return };
    let whole = cut(bytes, bytes.len().max(1));
    let pieces = cut(bytes, usize::from(*piece).max(1));
    assert_eq!(whole, pieces);
    let total: usize = whole.0.iter().map(|frame| frame.body.len() + 5).sum();
    assert!(total <= bytes.len(), "the output is not longer than the input");
    if let Some(error) = whole.1 {
        assert!(error.offset <= bytes.len() as u64, "{error}");
    }
});

fn cut(bytes: &[u8], piece: usize) -> (Vec<Frame>, Option<ProtocolError>) {
    let mut framer = Framer::default();
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        framer.extend(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}
