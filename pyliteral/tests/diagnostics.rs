//! Errors stand where a person would mend the text, and say how.

#![expect(clippy::unwrap_used, reason = "a test's helper")]

use pyliteral::{Limits, NoNames, evaluate, parse};

#[test]
fn a_missing_separator_is_reported_behind_the_value_before_it() {
    check(
        "[1 2]",
        "1:3 expected `,` or `]` after `1`, found `2`",
        "add a `,` after `1`",
    );
    check(
        "(1, 2 3)",
        "1:6 expected `,` or `)` after `2`, found `3`",
        "add a `,` after `2`",
    );
    check(
        "{'a': 1 'b': 2}",
        "1:8 expected `,` or `}` after the value of `'a'`",
        "add a `,`",
    );
    check(
        "{'a': 'x'\n 'b': 2}",
        "1:10 expected `,` or `}` after the value of `'a'`",
        "after `'x'`",
    );
    check(
        "{'a' 1}",
        "1:5 expected `:`, `,` or `}` after `'a'`, found `1`",
        "add a `:` or a `,`",
    );
    check(
        "{1: 2, 'a' 1}",
        "1:11 expected `:` after the key `'a'`",
        "add a `:` after `'a'`",
    );
    check(
        "os.getenv('A' 1)",
        "1:14 expected `,` or `)` after `'A'`",
        "add a `,`",
    );
    check(
        "{'a' = 1}",
        "1:6 expected `:`, `,` or `}` after `'a'`, found `=`",
        "",
    );
}

#[test]
fn a_quotation_mark_inside_a_string_is_explained() {
    check(
        "['don't']",
        "1:7 a letter follows the end of a string",
        "is written \\' or",
    );
    check(
        "'abc",
        "1:1 the string that begins here is not closed",
        "add the closing '",
    );
    check(
        "{'a': 'b\n}",
        "1:7 the string that begins here is not closed",
        "add the closing '",
    );
    check(
        "'''abc\n",
        "1:1 the string that begins with ''' is never closed",
        "add the closing '''",
    );
    check(
        "{\u{2018}a\u{2019}: 1}",
        "1:2 \u{2018} is not a quotation mark",
        "word processor",
    );
}

#[test]
fn brackets_that_do_not_pair_are_reported_at_the_one_to_mend() {
    check(
        "{'a': [1, 2}",
        "1:12 `}` does not close the `[` of line 1, column 7",
        "write `]`",
    );
    check(
        "[1, (2, 3]",
        "1:10 `]` does not close the `(` of line 1, column 5",
        "write `)`",
    );
    check(
        "{'a': 1}}",
        "1:9 one `}` too many: nothing is open here",
        "remove this `}`",
    );
    check("]", "1:1 expected a value, found `]`", "");
    check(
        "[1,\n 2",
        "1:1 the `[` that begins here is never closed",
        "add the closing `]`",
    );
    let unclosed = "{\n  'a': {\n    'b': 1,\n  'c': [\n    2,\n  ],\n}\n";
    check(
        unclosed,
        "2:8 the `{` that begins here is never closed",
        "add the closing `}`",
    );
    let twice = "{\n  'a': {\n    'b': 1,\n  },\n  },\n  'c': 2,\n}\n";
    check(
        twice,
        "5:3 one `}` too many: the `{` of line 2, column 8",
        "one on line 4",
    );
}

#[test]
fn code_is_refused_with_what_is_allowed() {
    check(
        "__import__('os')",
        "1:1 the call of `__import__` is not allowed",
        "os.getenv",
    );
    check(
        "os.system('x')",
        "1:1 the call of `os.system` is not allowed",
        "allowed are",
    );
    check(
        "{'a': open('x')}",
        "1:7 the call of `open` is not allowed",
        "allowed are",
    );
    check(
        "().__class__",
        "1:3 the attribute `.__class__` is not allowed",
        "'text {}'.format",
    );
    check(
        "'{0.a}'.format(1)",
        "1:8 the field `{0.a}` reaches into a value",
        "hand the part",
    );
    check(
        "'a'.upper()",
        "1:4 the attribute `.upper` is not allowed",
        "format",
    );
    check(
        "[x for x in (1,)]",
        "1:4 a comprehension is not allowed",
        "list the items",
    );
    check(
        "lambda: 1",
        "1:1 `lambda` is not allowed here",
        "data, not code",
    );
    check(
        "f'{x}'",
        "1:1 f-strings are not allowed here",
        ".format(value)",
    );
    check(
        "2**100",
        "1:2 the operator `**` is not allowed here",
        "allowed are + - * %",
    );
    check(
        "[*(1, 2)]",
        "1:2 unpacking with `*` is not allowed",
        "write the items",
    );
    check("'abc'[0:1]", "1:8 a slice is not allowed", "");
    check(
        "(x := 1)",
        "1:4 an assignment is not allowed",
        "data, not code",
    );
    check("import os", "1:1 `import` is not allowed", "data, not code");
    check(
        "hello",
        "1:1 the name `hello` is not allowed here",
        "put it in quotes: 'hello'",
    );
    check(
        "{'a': true}",
        "1:7 the name `true` is not allowed here",
        "Python writes it True",
    );
    check(
        "'\\N{BULLET}'",
        "1:2 \\N{...} is not read here",
        "\\u and its four digits",
    );
    check(
        "os.getenv",
        "1:1 `os.getenv` is a function",
        "call it: os.getenv(...)",
    );
    check(
        "os.environ",
        "1:1 `os.environ` as a whole",
        "os.environ['NAME']",
    );
}

#[test]
fn values_that_do_not_fit_are_reported_at_the_operation() {
    check(
        "'a' + 1",
        "1:5 `+` does not fit str and int",
        "str(...) around the second",
    );
    check(
        "'a' + os.getenv('X')",
        "1:5 `+` does not fit str and NoneType",
        "default",
    );
    check(
        "os.environ['X']",
        "1:12 the environment variable 'X' is not set",
        "os.environ.get('X'",
    );
    check(
        "'%s %s' % 1",
        "1:9 the text has more `%` places",
        "add the values",
    );
    check(
        "'%s' % (1, 2)",
        "1:6 the text has fewer `%` places",
        "remove a value",
    );
    check("'%d' % 'a'", "1:6 `%d` needs an int, not str", "%s");
    check("'100%' % ()", "1:8 the text ends within a `%` place", "%%");
    check(
        "'{}'.format()",
        "1:5 the field `{}` has no argument",
        "write {{ }}",
    );
    check("int('x')", "1:1 `int` cannot read 'x'", "write a number");
    check("{[]: 1}", "1:2 a list cannot be a key", "use a tuple");
}

#[test]
fn columns_count_characters_and_lines_count_every_line_end() {
    check("{'\u{e9}\u{1f600}': x}", "1:8 the name `x`", "");
    check("[\r\n 1,\r x]", "3:2 the name `x`", "");
}

#[test]
fn a_strict_literal_has_no_names_and_no_operations() {
    let strict = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(
        strict("[1, a]"),
        "line 1, column 5: the name `a` is not allowed in a literal"
    );
    assert_eq!(
        strict("1 + 1"),
        "line 1, column 1: an operation is not allowed in a literal"
    );
    assert_eq!(
        strict(""),
        "line 1, column 1: expected a value, the text is empty"
    );
    assert_eq!(
        parse("false").unwrap_err().hint(),
        Some("Python writes it False")
    );
}

/// `expected` is `line:column` and the beginning of the message; `hint` is part of the hint.
#[track_caller]
fn check(text: &str, expected: &str, hint: &str) {
    let fault = evaluate(text, &NoNames, &Limits::default()).unwrap_err();
    let shown = format!("{}:{} {}", fault.line(), fault.column(), fault.message());
    assert!(
        shown.starts_with(expected),
        "{text}\n  got      {shown}\n  expected {expected}"
    );
    let own = fault.hint().unwrap_or("");
    assert!(
        own.contains(hint),
        "{text}\n  got the hint {own}\n  expected     {hint}"
    );
}
