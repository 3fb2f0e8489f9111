//! The relay's conversions compared with those of Postgres.

use crate::postgres::Connection;
use crate::postgres::scratch::Scratch;
use crate::relay::decode::text_encoding::Encoding;

/// What Postgres makes of each character of one to three bytes.
const CONVERT: &str = "create function pg_temp.converted(bytes bytea, encoding text) returns text language plpgsql as $$
    begin return encode(convert_to(convert_from(bytes, encoding), 'UTF8'), 'hex'); exception when others then return null; end $$";

#[test]
fn case_33_every_character_is_converted_as_postgres_does() {
    let server = Scratch::shared();
    let mut connection = Connection::open(&server.database("encodings")).expect("a connection");
    connection.simple_query(CONVERT).expect("a function");
    let single = ["LATIN1", "LATIN2", "LATIN3", "LATIN4", "LATIN5", "LATIN6", "LATIN7", "LATIN8", "LATIN9", "LATIN10"];
    let more = ["ISO_8859_5", "ISO_8859_6", "ISO_8859_7", "ISO_8859_8", "KOI8R", "KOI8U", "WIN866", "WIN874"];
    let windows = (1250..=1258).map(|number| format!("WIN{number}"));
    let names = single.iter().chain(&more).map(|name| (*name).to_owned()).chain(windows);
    for name in names {
        compare(&mut connection, &name, "select to_hex(a) from generate_series(128, 255) a");
    }
    let double = "select to_hex(a * 256 + b) from generate_series(161, 254) a, generate_series(161, 254) b";
    for name in ["EUC_CN", "EUC_KR", "EUC_JP"] {
        compare(&mut connection, name, double);
    }
    let triple = "select '8f' || to_hex(a * 256 + b) from generate_series(161, 254) a, generate_series(161, 254) b";
    compare(&mut connection, "EUC_JP", triple);
}

fn compare(connection: &mut Connection, name: &str, characters: &str) {
    let encoding = Encoding::of(name).expect("it is known");
    let sql = format!(
        "select * from (select h, pg_temp.converted(decode(h, 'hex'), '{name}') text from ({characters}) c(h)) d where text is not null"
    );
    let rows = connection.simple_query(&sql).expect("an answer");
    assert!(rows.len() > 20, "{name}");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for row in &rows {
        let (bytes, expected) = (row.text(0).expect("bytes"), row.text(1).expect("text"));
        let pairs = bytes.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
        let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect();
        let found = encoding.decode(&bytes).map(|text| hex(text.as_bytes()));
        assert_eq!(found.as_deref(), Some(expected), "{name} {}", hex(&bytes));
    }
}
