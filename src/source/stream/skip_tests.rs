use super::*;

fn message(tag: u8, rest: &[u8]) -> Vec<u8> {
    [&[b'w'][..], &[0; 24], &[tag], rest].concat()
}

fn begin(commit: u64) -> Vec<u8> {
    message(b'B', &[&commit.to_be_bytes()[..], &[0; 8], &7_u32.to_be_bytes()].concat())
}

fn commit(commit: u64) -> Vec<u8> {
    message(b'C', &[&[0][..], &commit.to_be_bytes(), &(commit + 8).to_be_bytes(), &[0; 8]].concat())
}

fn read(wanted: u64, published: u64, messages: &[Vec<u8>]) -> Result<Lsn, NotSkipped> {
    let (wanted, published) = (Lsn(wanted), Lsn(published));
    let mut reading = Reading { wanted, published, open: None, unpublished: None };
    for message in messages {
        reading.take(message)?;
    }
    reading.failed("why".to_owned(), "54000").map(|unsendable| unsendable.commit)
}

#[test]
fn case_33_only_the_transaction_that_fails_is_skipped_and_only_after_all_before_it() {
    let insert = message(b'I', &[0; 9]);
    let earlier = [begin(40), insert.clone(), commit(40)];
    let with = |more: &[Vec<u8>]| [&earlier[..], more].concat();
    assert_eq!(read(80, 48, &with(&[begin(80)])), Ok(Lsn(80)));
    let unpublished = NotSkipped::Unpublished { wanted: Lsn(80), events: 1, commit: Lsn(40) };
    assert_eq!(read(80, 47, &with(&[begin(80)])), Err(unpublished));
    let another = NotSkipped::Another { wanted: Lsn(80), fails: Lsn(40), error: "why".to_owned() };
    assert_eq!(read(80, 0, &[begin(40), insert]), Err(another));
    assert_eq!(read(40, 0, &earlier), Err(NotSkipped::Readable(Lsn(40))));
    assert_eq!(read(30, 0, &earlier), Err(NotSkipped::Absent(Lsn(30))));
    assert_eq!(read(80, 48, &earlier), Err(NotSkipped::Unnamed("why".to_owned())));
    let keepalive = [&b"k"[..], &90_u64.to_be_bytes(), &[0; 8], &[1]].concat();
    assert_eq!(read(80, 48, &with(&[keepalive])), Err(NotSkipped::Absent(Lsn(80))));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read(data in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
        let _ = read(80, 0, &[data]);
    }
}
