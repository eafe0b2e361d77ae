//! Nothing that is handed in costs more than its bound.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use pyliteral::{Limits, NoNames, Value, evaluate, parse};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 5000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_text_panics_and_every_error_lies_within_it(pieces in vec(piece(), 0..12)) {
        let text = pieces.concat();
        let variables = BTreeMap::from([("A".to_owned(), "a".to_owned())]);
        let names = pyliteral::Environment::new(&variables);
        for result in [evaluate(&text, &names, &Limits::default()), parse(&text)] {
            if let Err(fault) = result {
                prop_assert!(fault.line() <= text.matches('\n').count() + 1);
                prop_assert!(fault.column() <= text.chars().count() + 1);
            }
        }
    }
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
        "'a'",
        "'%s %(k)d'",
        " % ",
        "+",
        "-",
        "*",
        "'{} {0:>5} {k!r}'",
        ".format",
        "(1, 2)",
        "{'k': 1}",
        "os.getenv",
        "('A')",
        "os.environ",
        "['A']",
        "int",
        "float",
        "str",
        "dict",
        "set",
        "list",
        "os.path.join",
        "os.sep",
        ".",
        "=",
        " if ",
        " else ",
        " or ",
        " and ",
        "not ",
        " in ",
        " is ",
        "<",
        "==",
        "1",
        "2.5",
        "3j",
        "\n",
        "\n  ",
        "#",
        "\\",
        "\u{e9}",
        "b'x'",
        "f'x'",
        "lambda",
        "None",
        "**",
        "*",
        "'%*.*f'",
        "'%-+ #08.3g'",
        "{:=+#010_.3e}",
        "9999999999",
    ];
    let pieces = prop::sample::select(pieces.map(str::to_owned).to_vec());
    prop_oneof![20 => pieces, 1 => any::<String>()]
}

#[test]
fn deep_nesting_is_an_error_and_no_stack_overflow() {
    for (open, close) in [
        ("[", "]"),
        ("(", ")"),
        ("{1:", "}"),
        ("int(", ")"),
        ("'{}'.format(", ")"),
    ] {
        let text = open.repeat(200_000) + &close.repeat(200_000);
        let limits = Limits {
            text_bytes_max: 8 << 20,
            ..Limits::default()
        };
        let fault = evaluate(&text, &NoNames, &limits).unwrap_err();
        assert_eq!(fault.message(), "brackets are nested more than 64 deep");
        assert_eq!(fault.line(), 1);
        let unclosed = evaluate(&open.repeat(200_000), &NoNames, &limits).unwrap_err();
        assert_eq!(unclosed.message(), "brackets are nested more than 64 deep");
    }
    assert!(parse(&("[".repeat(200_000) + &"]".repeat(200_000))).is_err());
}

#[test]
fn the_depth_bound_is_exact_and_at_most_a_hundred() {
    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    assert!(parse(&nested(64)).is_ok());
    assert!(parse(&nested(65)).is_err());
    let limits = Limits {
        depth_max: usize::MAX,
        ..Limits::default()
    };
    assert!(evaluate(&nested(100), &NoNames, &limits).is_ok());
    assert!(evaluate(&nested(101), &NoNames, &limits).is_err());
}

#[test]
fn the_deepest_mixture_of_constructs_fits_a_small_stack() {
    let text =
        "(not -(1 if 0 or 1 and [{'a': ".repeat(25) + "1" + &"}][0]['a'] < 3 else 2))".repeat(25);
    let limits = Limits {
        depth_max: 100,
        ..Limits::default()
    };
    let read = move || evaluate(&text, &NoNames, &limits).map(|value| value.repr());
    let thread = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(read)
        .unwrap();
    assert_eq!(thread.join().unwrap(), Ok("False".to_owned()));
}

#[test]
fn long_chains_do_not_recurse() {
    for text in [
        format!("{}1", "1+".repeat(60_000)),
        format!("{}1", "-".repeat(60_000)),
        format!("{}1", "not ".repeat(60_000)),
        format!("{}1", "0 or ".repeat(60_000)),
        format!("{}1", "0 if 0 else ".repeat(60_000)),
        format!("1{}", "<2".repeat(60_000)),
        "''".repeat(60_000),
        format!("''{}", ".format()".repeat(60_000)),
    ] {
        let _any_answer_in_time = evaluate(&text, &NoNames, &Limits::default());
    }
}

#[test]
fn no_operation_produces_more_than_the_bound() {
    for text in [
        "'a' * 10000000000",
        "'a' * 99999999999999999999999999",
        "[0] * 2000000",
        "[[0] * 1000] * 1000 * 1000",
        "'%9999999999d' % 1",
        "'%99999999999999999999999s' % 1",
        "'%*d' % (999999999, 1)",
        "'%.999999999f' % 1",
        "'%.65536f' % 1",
        "'{:99999999999}'.format(1)",
        "'{:.70000f}'.format(1.0)",
        "('a' * 1000000) + ('b' * 1000000)",
        "'{0}{0}{0}{0}'.format('a' * 500000)",
        "'%(a)s%(a)s%(a)s%(a)s' % {'a': 'a' * 500000}",
        "list('a' * 1000000)",
        "'%(a).1s%(a).1s%(a).1s' % {'a': 'a' * 500000}",
        "'{0:.1}{0:.1}{0:.1}'.format('a' * 500000)",
    ] {
        let fault = evaluate(text, &NoNames, &Limits::default()).unwrap_err();
        let message = fault.message();
        assert!(
            message.contains("too large") || message.contains("precision"),
            "{text}: {fault}"
        );
    }
    let product = format!("1{}", " * 0xffffffffffffffff".repeat(2000));
    assert!(evaluate(&product, &NoNames, &Limits::default()).is_err());
}

#[test]
fn text_over_the_bound_is_not_read() {
    let fault = parse(&"1".repeat((1 << 20) + 1)).unwrap_err();
    assert_eq!(
        fault.message(),
        "the text has 1048577 bytes; at most 1048576 are read"
    );
    assert!(parse(&"1".repeat(4301)).is_err());
    assert!(parse(&"1".repeat(4300)).is_ok());
}

#[test]
fn a_megabyte_of_entries_is_read_in_seconds() {
    let entries: String = (0..80_000).map(|n| format!("{n}:{n},")).collect();
    let started = Instant::now();
    let value = parse(&format!("{{{entries}}}")).unwrap();
    assert_eq!(value.as_dict().map(<[_]>::len), Some(80_000));
    assert_eq!(value, value.clone());
    let spaces = " ".repeat(1_000_000);
    for text in [
        format!("1{spaces}2"),
        "a ".repeat(500_000),
        "1,".repeat(500_000) + "$",
    ] {
        assert!(parse(&text).is_err());
    }
    // Quadratic work would take minutes.
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn what_is_not_evaluated_cannot_fail() {
    let variables = BTreeMap::new();
    let names = pyliteral::Environment::new(&variables);
    for text in [
        "os.environ['X'] if 'X' in os.environ else 'none'",
        "'none' or os.environ['X']",
        "'none' if os.getenv('X') is None else os.environ['X']",
        "(os.getenv('X') and os.environ['X']) or 'none'",
    ] {
        let value = evaluate(text, &names, &Limits::default()).unwrap();
        assert_eq!(value, Value::from("none"), "{text}");
    }
}
