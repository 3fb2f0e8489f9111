use serde_json::json;

use super::*;

fn parse(text: &str) -> Result<Document, String> {
    let file: Arc<Path> = Arc::from(Path::new("c.yaml"));
    Document::parse(&file, text).map_err(|diagnostic| diagnostic.to_string())
}

fn value(text: &str) -> Value {
    parse(text).expect("it is YAML").value
}

#[test]
fn scalars_follow_the_yaml_1_2_core_schema() {
    let text = "[1, -1, +1, 0x1F, 0o17, 1.5, .5, 1., 1e3, 18446744073709551615, ~, null, true, False, yes, on, 1.0.0, 2022-10-03, \
                \"1\", '', 1e, -, 0x, 0b1, v1, 12e+]";
    let expected = json!([
        1,
        -1,
        1,
        31,
        15,
        1.5,
        0.5,
        1.0,
        1000.0,
        18_446_744_073_709_551_615_u64,
        null,
        null,
        true,
        false,
        "yes",
        "on",
        "1.0.0",
        "2022-10-03",
        "1",
        "",
        "1e",
        "-",
        "0x",
        "0b1",
        "v1",
        "12e+"
    ]);
    // A lone dash is not a scalar in a flow sequence.
    assert_eq!(value(&text.replace(" -,", " \"-\",")), expected);
}

#[test]
fn every_value_has_the_place_of_its_key() {
    let document = parse("a: 1\nb:\n  - c: x\n    d:\n  - {e/f: 2}\n").expect("it is YAML");
    assert_eq!(document.value, json!({"a": 1, "b": [{"c": "x", "d": null}, {"e/f": 2}]}));
    for (pointer, line, column) in [
        ("", 1, 1),
        ("/a", 1, 1),
        ("/b", 2, 1),
        ("/b/0", 3, 5),
        ("/b/0/c", 3, 5),
        ("/b/0/d", 4, 5),
        ("/b/1/e~1f", 5, 6),
        ("/b/1/nowhere/deeper", 5, 5),
    ] {
        let place = document.place(pointer);
        assert_eq!((place.line, place.column), (line, column), "{pointer}");
    }
}

#[test]
fn aliases_are_expanded_up_to_a_limit() {
    assert_eq!(value("a: &x {b: 1}\nc: *x"), json!({"a": {"b": 1}, "c": {"b": 1}}));
    let bomb: String = (0..8).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let aliases = vec![format!("*a{level}"); 10].join(", ");
        format!("{text}a{0}: &a{0} [{aliases}]\n", level + 1)
    });
    assert!(parse(&bomb).expect_err("it is too large").contains("more than 100000 values"));
    assert!(parse("a: &x [*x]").expect_err("it refers to itself").contains("c.yaml:1:"));
}

#[test]
fn unsupported_features_are_refused_with_their_place() {
    for (text, expected) in [
        ("a: 1\nb: [", "c.yaml:"),
        ("a: 1\na: 2", "c.yaml:2:1: duplicate_key: duplicate key \"a\""),
        ("a: 1\n---\nb: 2", "c.yaml:2:1: yaml: a second document"),
        ("a: !!python/object x", "c.yaml:1:4: yaml: the tag"),
        ("a: .inf", "c.yaml:1:4: yaml: .inf is not a JSON number"),
        ("a: 1e400", "c.yaml:1:4: yaml: 1e400 is beyond the range of a double"),
        ("a: \"x\\0\"", "c.yaml:1:4: yaml: a string contains U+0000"),
        ("[a]: 1", "c.yaml:1:1: yaml: "),
        ("a:\n\t- 1\n\tb", "c.yaml:2:"),
    ] {
        let message = parse(text).expect_err(text);
        assert!(message.starts_with(expected), "{text:?}: {message}");
    }
}

#[test]
fn ten_thousand_levels_are_refused_without_overflow() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let deep = open.repeat(10_000) + &close.repeat(10_000);
        assert!(parse(&deep).expect_err("too deep").contains("nesting: nested more than 96 levels"));
    }
    let block: String = (0..10_000).fold(String::new(), |text, level| text + &" ".repeat(level % 300) + "a:\n");
    assert!(parse(&block).is_err());
}

#[test]
fn case_44_json_writes_some_characters_as_two_escapes() {
    let text = r#"{"a\ud83d\ude00": "\uD83D\uDE00 \\ud83d\\ude00 \u00e9", "b": "\"\/"}"#;
    let expected: Value = serde_json::from_str(text).expect("it is JSON");
    assert_eq!(value(text), expected);
    assert_eq!(parse(r#"{"a": "\ud83d"}"#).map(|document| document.value).unwrap_or_default(), Value::Null);
}
