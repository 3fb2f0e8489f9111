use super::*;

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks_exact(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
}

/// The bytes that PostgreSQL 15's send functions returned, and what psql showed.
#[test]
fn case_37_scalars_have_the_text_that_psql_shows() {
    for (type_oid, digits, text) in [
        (16, "00", "false"),
        (16, "01", "true"),
        (26, "ffffffff", "4294967295"),
        (700, "3727c5ac", "1e-05"),
        (700, "38d1b717", "0.0001"),
        (700, "58635fa9", "1e+15"),
        (700, "80000000", "-0"),
        (700, "7fc00000", "NaN"),
        (701, "0000000000000001", "5e-324"),
        (701, "42dc12218377de40", "123456789012345"),
        (701, "43118b54f22aeb00", "1.234567890123456e+15"),
        (701, "3f18e757928e0c9e", "9.5e-05"),
        (701, "7fefffffffffffff", "1.7976931348623157e+308"),
        (701, "fff0000000000000", "-Infinity"),
        // The shortest digits, 1e+23, are exactly halfway between two values.
        (701, "44b52d02c7e14af6", "9.999999999999999e+22"),
        // Of two equally near, the even one.
        (701, "42dc9205df169b88", "125653957237358.12"),
        (701, "43019ca3691a71fa", "619662532628031.2"),
        (1700, "0000000000000000", "0"),
        (1700, "0000000000000002", "0.00"),
        (1700, "0001ffff400000011388", "-0.5"),
        (1700, "000200000000000200011388", "1.50"),
        (1700, "00010002000000000001", "100000000"),
        (1700, "0001ffff000000080001", "0.00010000"),
        (1700, "000a000700000005000c0d801ed204d2162e23340d801ed204d21388", "123456789012345678901234567890.12345"),
        (1700, "00000000c0000000", "NaN"),
        (1700, "00000000f0000020", "-Infinity"),
        (1082, "0000003b", "2000-02-29"),
        (1082, "fff4dbf8", "0001-12-31 BC"),
        (1082, "7fda970c", "5874897-12-31"),
        (1082, "80000000", "-infinity"),
        (1083, "000000141dd75fff", "23:59:59.999999"),
        (1083, "000000141dd76000", "24:00:00"),
        (1266, "0000000861cc0920ffffb2a8", "10:00:00.5+05:30"),
        (1266, "0000000861c4680000003147", "10:00:00-03:30:15"),
        (1114, "00030470f89cb600", "2026-11-29 22:56:24"),
        (1114, "ff1fe2ffc58d1dc1", "0001-12-31 23:59:59.000001 BC"),
        (1184, "00030470f89e3ca0", "2026-11-29 22:56:24.1+00"),
        (1184, "fd0f7fbdaf17e000", "4713-01-01 00:00:00+00 BC"),
        (1184, "7fffffffffffffff", "infinity"),
        (1186, "000000036c966ee0000000030000000e", "1 year 2 mons 3 days 04:05:06.7"),
        (1186, "00000000000f4240ffffffff00000000", "-1 days +00:00:01"),
        (1186, "0000000000000000ffffffff00000001", "1 mon -1 days"),
        (1186, "00000000000000000000000000000000", "00:00:00"),
        (869, "0220000401020304", "1.2.3.4"),
        (869, "0208000401020304", "1.2.3.4/8"),
        (869, "0380001020010db8000000010000000000000001", "2001:db8:0:1::1"),
        (869, "0360001000000000000000000000ffff01020304", "::ffff:1.2.3.4/96"),
        (869, "0380001000000000000000000001000000000000", "::1:0:0:0"),
        (650, "020801040a000000", "10.0.0.0/8"),
        (650, "0220010401020304", "1.2.3.4/32"),
    ] {
        let scalar = Scalar::of(type_oid).expect("a scalar type");
        assert_eq!(scalar.text(&bytes(digits)).as_deref(), Some(text), "{type_oid} {digits}");
    }
}

#[test]
fn case_30_invalid_values_give_none_and_no_panic() {
    for (type_oid, digits) in [
        (16, "02"),
        (701, "00"),
        (1082, ""),
        (1083, "ffffffffffffffff"),
        (1266, "0000000861c46800"),
        (1186, "00"),
        (869, "0220000301020304"),
        (869, "0221000401020304"),
        (869, "0420000401020304"),
        (1700, ""),
        (1700, "00020000000000000001"),
        (1700, "00010000000000002710"),
        (1700, "0001000012340000ffff"),
    ] {
        assert_eq!(Scalar::of(type_oid).expect("a scalar type").text(&bytes(digits)), None, "{type_oid} {digits}");
    }
    // The largest length claimed without any bytes.
    let text = Scalar::Numeric.text(&bytes("00007fff0000ffff")).expect("zeros");
    assert_eq!(text.len(), 4 * 0x8000 - 3 + 1 + 0xFFFF);
    proptest::proptest!(|(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..24))| {
        for type_oid in 0..6_000 {
            Scalar::of(type_oid).map(|scalar| scalar.text(&bytes));
        }
    });
}
