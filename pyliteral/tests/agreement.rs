//! What CPython says, this crate says: literals, their text form, and formatting.

mod python;

use num_bigint::{BigInt, Sign};
use proptest::collection::vec;
use proptest::prelude::*;
use pyliteral::{Limits, NoNames, Value, evaluate, parse};

use crate::python::shown;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_value_survives_the_way_through_cpython(value in value()) {
        let text = shown(&value);
        prop_assert_eq!(python::literal(&text), Ok(text.clone()));
        let read = parse(&text).unwrap();
        prop_assert_eq!(&read, &value);
        prop_assert_eq!(shown(&read), text);
    }

    #[test]
    fn a_mutated_literal_is_accepted_exactly_when_cpython_accepts_it(
        start in prop_oneof![value().prop_map(|value| value.repr()), vec(piece(), 0..8)
            .prop_map(|pieces| pieces.concat())],
        changes in vec((any::<prop::sample::Index>(), 0..3_u8, piece()), 0..4),
    ) {
        agree_on_literal(&mutated(&start, &changes))?;
    }

    #[test]
    fn text_of_pieces_is_accepted_exactly_when_cpython_accepts_it(pieces in vec(piece(), 0..7)) {
        agree_on_literal(&pieces.concat())?;
    }

    #[test]
    fn escapes_mean_what_they_mean_to_cpython(
        prefix in prop::sample::select(vec!["", "b", "r", "u", "Rb", "bR", "B"]),
        quote in prop::sample::select(vec!["'", "\"", "'''", "\"\"\""]),
        body in vec(escape(), 0..6),
    ) {
        agree_on_literal(&format!("{prefix}{quote}{}{quote}", body.concat()))?;
    }

    #[test]
    fn numbers_mean_what_they_mean_to_cpython(text in "[0-9._eEjJxXobB+-]{1,9}") {
        agree_on_literal(&text)?;
    }

    #[test]
    fn percent_formatting_is_cpythons(
        flags in "[-+ #0]{0,3}",
        width in prop_oneof![Just(String::new()), (0..25_u8).prop_map(|n| n.to_string())],
        precision in prop_oneof![Just(String::new()), (0..20_u8).prop_map(|n| format!(".{n}"))],
        conversion in "[srdioxXeEfFgGc]",
        value in scalar(),
    ) {
        let value = value.repr();
        let text = format!("'<%{flags}{width}{precision}{conversion}>' % ({value},)");
        let expected = python::expression(&text);
        // CPython formats these as lone surrogates or not at all.
        prop_assume!(conversion != "c" || value.len() < 5);
        match evaluate(&text, &NoNames, &Limits::default()) {
            Ok(value) => prop_assert_eq!(Ok(value.repr()), expected, "{}", text),
            Err(fault) => prop_assert!(expected.is_err(), "{}: {} but {:?}", text, fault, expected),
        }
    }

    #[test]
    fn format_fields_are_cpythons(
        align in prop_oneof![Just(""), Just("<"), Just(">"), Just("^"), Just("="), Just("*^")],
        sign in "[-+ ]?",
        flags in "#?0?",
        width in prop_oneof![Just(String::new()), (1..25_u8).prop_map(|n| n.to_string())],
        separator in "[,_]?",
        precision in prop_oneof![Just(String::new()), (0..20_u8).prop_map(|n| format!(".{n}"))],
        letter in "[sdboxXeEfFgG%]?",
        value in scalar(),
    ) {
        let field = format!("{align}{sign}{flags}{width}{separator}{precision}{letter}");
        let text = format!("'<{{:{field}}}>'.format({})", value.repr());
        let expected = python::expression(&text);
        match evaluate(&text, &NoNames, &Limits::default()) {
            Ok(value) => prop_assert_eq!(Ok(value.repr()), expected, "{}", text),
            Err(fault) => {
                let offered = !field.contains(['#', ',', '_']) && value.type_name() != "complex";
                prop_assert!(!offered || expected.is_err(), "{text}: {fault}, {expected:?}");
            }
        }
    }

    #[test]
    fn arithmetic_and_comparison_are_cpythons(
        left in scalar(),
        operator in prop::sample::select(vec!["+", "-", "*", "==", "!=", "<", ">=", "and", "or"]),
        right in scalar(),
        third in scalar(),
    ) {
        // CPython would allocate gigabytes to repeat a text as often as a large number says.
        let small = |value: &Value| value.as_i64().is_none_or(|int| int.abs() <= 100);
        let numbers = left.as_f64().is_some() && right.as_f64().is_some();
        let fits_i64 = |value: &Value| value.type_name() != "int" || value.as_i64().is_some();
        let harmless = [&left, &right].iter().all(|side| small(side) && fits_i64(side));
        prop_assume!(operator != "*" || numbers || harmless);
        let text = format!("({}) {operator} ({}) if {} else 0", left.repr(), right.repr(), third);
        let expected = python::expression(&text);
        match evaluate(&text, &NoNames, &Limits::default()) {
            Ok(value) => prop_assert_eq!(Ok(value.repr()), expected, "{}", text),
            Err(fault) => {
                let too_large = fault.message().contains("too large");
                prop_assert!(too_large || expected.is_err(), "{text}: {fault}, {expected:?}");
            }
        }
    }
}

#[test]
fn every_character_is_printed_or_escaped_as_in_cpython() {
    let text = python::all_known();
    assert!(text.chars().count() > 270_000);
    for part in text.chars().collect::<Vec<_>>().chunks(1000) {
        let own = Value::from(part.iter().collect::<String>()).repr();
        assert_eq!(python::literal(&own), Ok(own));
    }
}

#[test]
fn corners_of_the_language_are_cpythons() {
    for text in [
        "",
        " ",
        "\n",
        "# only a comment",
        "1,",
        "1,2",
        "(1)",
        "()",
        "(,)",
        "[,]",
        "{,}",
        "{1:2,}",
        "{1,2,}",
        "{1:2, 3}",
        "{1, 2:3}",
        "set()",
        "set(1)",
        "set([])",
        "(set)()",
        "-1",
        "--1",
        "-True",
        "+1.5",
        "- 1",
        "1+2j",
        "1-2j",
        "-1-2j",
        "2j+1",
        "1+1",
        "1j+2j",
        "-1j",
        "1+-2j",
        "012",
        "00",
        "0_0",
        "0x_f",
        "0x",
        "1__0",
        "1_",
        "1.e5",
        ".5",
        "5.",
        "1e",
        "1e999",
        "08.5",
        "09j",
        "1_0.0_1",
        "1_.5",
        "0b12",
        "0o8",
        "'a' 'b'",
        "'a' b'b'",
        "b'a' b'b'",
        "'a'\n'b'",
        "('a'\n'b')",
        "'a'\\\n'b'",
        "1\\",
        "1\\\n",
        "\\\n1",
        "b'\u{e9}'",
        "rb'\\x'",
        "br'a'",
        "ur'a'",
        "bu'a'",
        "f'a'",
        "'a\nb'",
        "'''a\nb'''",
        "'\\777'",
        "b'\\777'",
        "'\\x4'",
        "'\\U00110000'",
        "'\\q'",
        "'\\",
        "'",
        "'''",
        "{[]: 1}",
        "{[1]}",
        "{{}: 1}",
        "{(1, []): 2}",
        "{1: 'a', True: 'b', 1.0: 'c'}",
        "{1, True, 1.0}",
        "{**{}}",
        "[*[]]",
        "  1",
        "\t1",
        "\n 1",
        "\n1\n\n",
        "1 # c",
        "1\n# c\n  # d",
        "1\r\n",
        "'a\\\r\nb'",
        "'''a\r\nb\rc'''",
        "1;",
        "(1",
        "1)",
        "[1)",
        "None",
        "none",
        "True",
        "nan",
        "inf",
        "not 1",
        "1 < 2",
        "1 if 1 else 2",
        "lambda: 1",
        "[x for x in []]",
        "a",
        "a.b",
        "a()",
        "'a'.b",
        "'a' % 1",
        "1 2",
        "{'a' 1}",
        "{'a': 1 'b': 2}",
        "$",
        "'\u{1f600}'",
        "\u{1f600}",
        "1\u{c}",
        "\u{c}1",
        "\u{a0}1",
        "-(1)",
        "-(1+2j)",
        "(1)+(2j)",
        "((1+2j))",
        "1+2j+3j",
        "-0.0+2j",
        "0xFFFFFFFFFFFFFFFFFFFF",
        "1 ,2\n",
        "1_000j",
        "1if 1else 2",
        "0_7",
        "1.0.0",
        "..5",
        "1..",
        "\u{feff}1",
    ] {
        agree_on_literal(text).unwrap();
    }
}

fn agree_on_literal(text: &str) -> Result<(), TestCaseError> {
    let ours = parse(text);
    let theirs = python::literal(text);
    if let Err(fault) = &ours
        && is_refused_on_purpose(fault.message())
    {
        return Ok(());
    }
    let last_line = text.rsplit(['\n', '\r']).next().unwrap_or("");
    let indented = |fault: &String| fault.contains("unexpected indent");
    if theirs.as_ref().is_err_and(indented) && last_line.trim().is_empty() {
        // Blanks after the last line end: an error to some versions, harmless here.
        return Ok(());
    }
    let ours = ours
        .map(|value| shown(&value))
        .map_err(|fault| fault.to_string());
    prop_assert_eq!(
        ours.is_ok(),
        theirs.is_ok(),
        "{:?}: {:?} but {:?}",
        text,
        ours,
        theirs
    );
    if ours
        .as_ref()
        .is_ok_and(|ours| ours.chars().all(python::knows))
    {
        prop_assert_eq!(ours, theirs, "{:?}", text);
    }
    Ok(())
}

/// The differences that the README names.
fn is_refused_on_purpose(message: &str) -> bool {
    let reasons = [
        "`...` is not allowed",
        "\\N{...} is not read",
        "is a lone surrogate",
    ];
    reasons.iter().any(|reason| message.contains(reason))
}

fn mutated(start: &str, changes: &[(prop::sample::Index, u8, String)]) -> String {
    let mut chars: Vec<char> = start.chars().collect();
    for (place, kind, piece) in changes {
        let at = place.index(chars.len() + 1);
        let end = (at + usize::from(*kind > 0)).min(chars.len());
        let new: Vec<char> = if *kind == 1 {
            Vec::new()
        } else {
            piece.chars().collect()
        };
        chars.splice(at..end, new);
    }
    chars.into_iter().collect()
}

fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "'",
        "\"",
        "'''",
        "+",
        "-",
        "*",
        ".",
        " ",
        "\n",
        "\t",
        "#",
        "\\",
        "\\\n",
        "0",
        "1",
        "7",
        "_",
        "e",
        "E",
        "j",
        "x",
        "0x",
        "b",
        "r",
        "f",
        "u",
        "1.5",
        "2j",
        "'a'",
        "b'b'",
        "r'\\'",
        "True",
        "None",
        "set()",
        "not ",
        " if ",
        " or ",
        "=",
        "\\x41",
        "\\u00e9",
        "\r",
        "\r\n",
        "\u{e9}",
        "\u{1f600}",
        "\u{c}",
        "[1, 2]",
        "{'k': 1}",
        "{1, 2}",
        "(1,)",
        "%",
        "@",
        "$",
        "!",
        "\0",
    ];
    prop::sample::select(pieces.map(str::to_owned).to_vec())
}

fn escape() -> impl Strategy<Value = String> {
    let letters = "\\\\[abfnrtvxuU0-9NqL'\"\\\\\n\r\u{e9}]";
    prop_oneof![
        letters,
        "[0-9a-fA-F]{1,4}",
        "\\\\x[0-9a-f]{2}",
        "\\\\u[0-9a-c][0-9a-f]{3}",
        "\\\\U000[0-9a-f]{5}",
        "[ -~\n]",
        "\\PC",
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::None),
        1 => any::<bool>().prop_map(Value::from),
        4 => (-100_i64..100).prop_map(Value::from),
        3 => int().prop_map(Value::from),
        4 => finite().prop_map(Value::from),
        4 => (-99_999_i32..99_999, 0..6_i32)
            .prop_map(|(n, places)| Value::from(f64::from(n) / 10_f64.powi(places))),
        3 => ".{0,6}".prop_map(known),
        1 => vec(any::<u8>(), 0..4).prop_map(Value::from),
    ]
}

/// The text without characters of a later Unicode version than CPython's.
fn known(text: String) -> Value {
    let replaced = |c| if python::knows(c) { c } else { 'x' };
    Value::Str(text.chars().map(replaced).collect())
}

fn leaf() -> impl Strategy<Value = Value> {
    let part = || finite().prop_filter("no zero, whose sign is lost", |part| *part != 0.0);
    prop_oneof![
        8 => scalar(),
        2 => any::<String>().prop_map(known),
        1 => (part(), part()).prop_map(|(real, imag)| Value::Complex { real, imag }),
        1 => part().prop_map(|imag| Value::Complex { real: 0.0, imag: imag.abs() }),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let hashable = leaf().prop_recursive(2, 8, 3, |inner| vec(inner, 0..3).prop_map(Value::Tuple));
    let key = hashable.clone();
    let member = hashable.clone();
    hashable.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::List),
            vec(inner.clone(), 0..6).prop_map(Value::Tuple),
            vec(member.clone(), 0..6).prop_map(Value::set),
            vec((key.clone(), inner), 0..6).prop_map(Value::dict),
        ]
    })
}

fn int() -> impl Strategy<Value = BigInt> {
    (any::<bool>(), vec(any::<u8>(), 0..40)).prop_map(|(negative, bytes)| {
        let sign = if negative { Sign::Minus } else { Sign::Plus };
        BigInt::from_bytes_be(sign, &bytes)
    })
}

fn finite() -> impl Strategy<Value = f64> {
    use prop::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO
}
