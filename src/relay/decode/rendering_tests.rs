use super::*;

const TEXT: Codec = Codec::Utf8;

fn form(edit: impl FnOnce(&mut ResolvedRendering)) -> ResolvedRendering {
    let mut form = ResolvedRendering { value: Converter::Json, key: Converter::Json, ..ResolvedRendering::default() };
    edit(&mut form);
    form
}

fn text(text: Option<Text<'_>>) -> Option<String> {
    text.map(|text| String::from_utf8(text.to_vec()).expect("UTF-8"))
}

#[test]
fn a_json_key_is_quoted_unless_it_is_a_number_or_a_boolean() {
    for (codec, key, expected) in [
        (TEXT, "1", r#""1""#),
        (Codec::Uuid, "406c07f3-26f0-4eea-a50c-109940064b8f", r#""406c07f3-26f0-4eea-a50c-109940064b8f""#),
        (Codec::Integer, "-7", "-7"),
        (Codec::Scalar(Scalar::Bool), "true", "true"),
        (Codec::Scalar(Scalar::Float8), "1.5", "1.5"),
        (Codec::Scalar(Scalar::Float8), "NaN", r#""NaN""#),
        (Codec::Scalar(Scalar::Numeric), "1.50", r#""1.50""#),
        (Codec::Bytea, "abcd", r#""YWJjZA==""#),
        (Codec::Bytea, "abc", r#""YWJj""#),
        (Codec::Bytea, "ab", r#""YWI=""#),
        (Codec::Bytea, "", r#""""#),
        (TEXT, "a\"\\/\u{8}\u{c}\n\r\t\u{1f}\u{7f}ü🦀", "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u001F\u{7f}ü\\uD83E\\uDD80\""),
    ] {
        let key = form(|_| {}).key(codec, Some(Text::Borrowed(key.as_bytes())));
        assert_eq!(text(key).as_deref(), Some(expected));
    }
    assert_eq!(text(form(|_| {}).key(TEXT, None)).as_deref(), Some("null"));
    assert_eq!(text(ResolvedRendering::default().key(TEXT, Some(Text::Borrowed(b"1")))).as_deref(), Some("1"));
    assert!(ResolvedRendering::default().key(TEXT, None).is_none());
}

#[test]
fn a_json_value_is_a_string_unless_it_is_expanded() {
    let plain = form(|_| {});
    let expanded = form(|form| form.expands_json = true);
    for (payload, as_string, as_json) in [
        (r#"{"a": 1.50, "b \" ": [ 1 ,2]}"#, r#""{\"a\": 1.50, \"b \\\" \": [ 1 ,2]}""#, r#"{"a":1.50,"b \" ":[1,2]}"#),
        (r#"["\u00e9🦀\/\ud800"]"#, r#""[\"\\u00e9\uD83E\uDD80\\/\\ud800\"]""#, r#"["\u00e9🦀\/\ud800"]"#),
        (r#"["\u00e9🦀\/"]"#, r#""[\"\\u00e9\uD83E\uDD80\\/\"]""#, r#"["é\uD83E\uDD80/"]"#),
        ("7", r#""7""#, r#""7""#),
        ("{broken", r#""{broken""#, r#""{broken""#),
        ("", r#""""#, r#""""#),
    ] {
        let value =
            |form: &ResolvedRendering| text(form.value(TEXT, Some(Text::Borrowed(payload.as_bytes())), Vec::new()));
        assert_eq!(value(&plain).as_deref(), Some(as_string), "{payload}");
        assert_eq!(value(&expanded).as_deref(), Some(as_json), "{payload}");
    }
    assert_eq!(text(plain.value(TEXT, None, Vec::new())).as_deref(), Some("null"));
}

#[test]
fn an_envelope_has_the_payload_and_the_columns_in_order() {
    let slot = RowColumn { index: 0, codec: TEXT };
    let envelope = form(|form| form.envelope = vec![(slot, "eventType".to_owned()), (slot, "n\"".to_owned())]);
    let value = |payload: Option<&'static str>, kind: Option<&'static str>| {
        let members = vec![
            (TEXT, "eventType", kind.map(|kind| Text::Borrowed(kind.as_bytes()))),
            (Codec::Integer, "n\"", Some(Text::Borrowed(b"3"))),
        ];
        text(envelope.value(TEXT, payload.map(|payload| Text::Borrowed(payload.as_bytes())), members))
    };
    assert_eq!(
        value(Some("{}"), Some("Created")).as_deref(),
        Some(r#"{"payload":"{}","eventType":"Created","n\"":3}"#)
    );
    assert_eq!(value(None, None).as_deref(), Some(r#"{"payload":null,"eventType":null,"n\"":3}"#));
}

#[test]
fn an_empty_payload_is_a_tombstone_only_if_it_is_asked_for() {
    let asked = |value| form(|form| (form.empty_is_tombstone, form.value) = (true, value));
    for form in [asked(Converter::String), asked(Converter::Json)] {
        assert!(!form.is_plain());
        for (codec, payload, is_tombstone) in [
            (TEXT, None, true),
            (TEXT, Some(""), true),
            (TEXT, Some(" \n\t"), true),
            (TEXT, Some("{}"), false),
            (Codec::Bytea, Some(" "), false),
        ] {
            let payload = payload.map(|payload: &str| Text::Borrowed(payload.as_bytes()));
            assert_eq!(form.value(codec, payload, Vec::new()).is_none(), is_tombstone);
        }
    }
    assert!(ResolvedRendering::default().is_plain());
}
