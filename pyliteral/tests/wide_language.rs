//! The language of `.tli` and `.cfg` files: what each construct yields.

#![expect(clippy::panic, reason = "a test's helper")]

use std::collections::BTreeMap;

use pyliteral::{Environment, Limits, Value, evaluate};

#[test]
fn variables_come_from_the_caller() {
    check("os.getenv('HOME')", "'/home/a'");
    check("os.getenv('NOPE')", "None");
    check("os.getenv('NOPE', 3)", "3");
    check("os.getenv('NOPE', default='x')", "'x'");
    check("os.environ['HOME']", "'/home/a'");
    check("os.environ.get('NOPE', 'y')", "'y'");
    check("os.getenv('NOPE') or 'else'", "'else'");
    check("int(os.environ.get('SLOTS', '1')) + 1", "5");
    check(
        "'HOME' in os.environ, 'NOPE' not in os.environ",
        "(True, True)",
    );
    check(
        "os.path.join(os.environ['HOME'], 'log', 'a.txt')",
        "'/home/a/log/a.txt'",
    );
    check("os.path.join('a/', '/b', '', 'c')", "'/b/c'");
    check("os.path.join('a', '')", "'a/'");
}

#[test]
fn names_come_from_the_caller_and_the_platform() {
    check("logdir + os.sep + 'x.log'", "'/var/log/x.log'");
    check("os.path.join(logdir, 'x')", "'/var/log/x'");
    check("'{}/x'.format(logdir)", "'/var/log/x'");
    check("sys.version_info[0] >= 3", "True");
    check("sys.version_info >= (3, 8) and 'new'", "'new'");
    check("sys.platform in ('linux', 'darwin', 'win32')", "True");
    check("sys.maxsize > 2147483647", "True");
}

#[test]
fn text_is_formatted() {
    check("'Start %s' % 'now'", "'Start now'");
    check("'%s-%d-%05.2f' % ('a', 7, 1.5)", "'a-7-01.50'");
    check("'%(a)s %(b)r' % {'a': 1, 'b': 'x'}", "\"1 'x'\"");
    check(
        "'%x %X %#o %e %g %c %%' % (255, 255, 8, 1.5, 0.0001, 'z')",
        "'ff FF 0o10 1.500000e+00 0.0001 z %'",
    );
    check("'%-5s|%5s|%.2s' % ('a', 'b', 'cde')", "'a    |    b|cd'");
    check("'{} {}'.format(1, 'a')", "'1 a'");
    check("'{1}{0}{name!r}'.format('a', 'b', name='c')", "\"ba'c'\"");
    check(
        "'{{}} {:>5}|{:04d}|{:,.2f}'.format('a', 7, 12345.678)",
        "'{}     a|0007|12,345.68'",
    );
    check("('a' 'b'\n 'c')", "'abc'");
    check("'=' * 3 + '>'", "'===>'");
}

#[test]
fn values_are_joined_and_converted() {
    check("[1] + [2, 3] + []", "[1, 2, 3]");
    check("(1,) + (2,)", "(1, 2)");
    check("b'a' + b'b'", "b'ab'");
    check("60 * 60 * 24 - 1", "86399");
    check("-7 % 3, 7 % -3", "(2, -2)");
    check(
        "int(' 1_000 '), int('ff', 16), int(-2.9), int(True)",
        "(1000, 255, -2, 1)",
    );
    check("float('1.5'), float('-inf'), float(2)", "(1.5, -inf, 2.0)");
    check(
        "str(1.0), str('a'), str(b'a'), str()",
        "('1.0', 'a', \"b'a'\", '')",
    );
    check("bool([]), bool('a'), bool()", "(False, True, False)");
    check(
        "list('ab'), tuple([1]), dict(a=1), set([1, 1])",
        "(['a', 'b'], (1,), {'a': 1}, {1})",
    );
    check(
        "dict([('a', 1)], b=2), dict({'c': 3}), list({'k': 1})",
        "({'a': 1, 'b': 2}, {'c': 3}, ['k'])",
    );
}

#[test]
fn conditions_choose() {
    check("'a' if 1 > 2 else 'b' if 2 < 3 <= 3 else 'c'", "'b'");
    check(
        "not 0, not not 1, 1 == 1.0, 'a' != 'b'",
        "(True, True, True, True)",
    );
    check(
        "None is None, True is not False, 1 in [1.0], 'a' in {'a': 1}",
        "(True, True, True, True)",
    );
    check("0 or '' or [] or 'last'", "'last'");
    check("1 and 2 and 3", "3");
}

#[test]
fn layout_is_free() {
    check(
        "\u{feff}{ # a comment\n 'a': 1, # another\n}\n\n# the end",
        "{'a': 1}",
    );
    check("\n  {'a': 1}", "{'a': 1}");
    check("1,", "(1,)");
    check("{'a': 1, 'b': 2, 'a': 3}", "{'a': 3, 'b': 2}");
    check("{1: 'int', 1.0: 'float', True: 'bool'}", "{1: 'bool'}");
}

#[test]
fn values_convert_from_rust() {
    let value = Value::from(vec![
        (Value::from("a"), Value::from(1_u64)),
        ("b".into(), Value::from(None::<bool>)),
        ("a".into(), Value::from(vec![Value::from(1.0), true.into()])),
    ]);
    assert_eq!(value.to_string(), "{'a': [1.0, True], 'b': None}");
    assert_eq!(
        value.get("a").and_then(Value::as_items).map(<[_]>::len),
        Some(2)
    );
    assert_eq!(value.get("zz"), None);
    assert_eq!(Value::from(true).as_i64(), None);
    assert_eq!(Value::from(3_i64).as_f64(), Some(3.0));
    assert_eq!(Value::None.type_name(), "NoneType");
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let pairs = [("HOME", "/home/a"), ("SLOTS", "4")];
    let variables: BTreeMap<String, String> = pairs
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let names = Environment::new(&variables)
        .with("logdir", "/var/log")
        .with(
            "sys.version_info",
            Value::Tuple(vec![3.into(), 12.into(), 1.into()]),
        );
    match evaluate(text, &names, &Limits::default()) {
        Ok(value) => assert_eq!(value.repr(), expected, "{text}"),
        Err(fault) => panic!("{text}: {fault} ({:?})", fault.hint()),
    }
}
