//! The samples of the document that Director is built from: their slips are found where a person
//! would mend them, and mended they load.

use std::collections::BTreeMap;

use pyliteral::{Environment, Limits, LiteralError, Value, evaluate};

#[test]
fn one_brace_too_many_is_reported_at_the_brace_that_closes_too_much() {
    let fault = read(include_str!("seed/foo.tli")).unwrap_err();
    check(
        &fault,
        "line 10, column 5: one `}` too many: the `{` of line 3, column 5, under which it \
         stands, is already closed at line 9, column 55",
        "remove this `}`, or one on line 9",
    );
}

#[test]
fn a_missing_comma_is_reported_behind_the_value_that_it_should_follow() {
    let fault = read(include_str!("seed/other.tli")).unwrap_err();
    check(
        &fault,
        "line 5, column 6: expected `,` or `}` after the value of `'Actors'`, found \
         `'AutoUnload'` on line 6",
        "add a `,` after `}`",
    );
    let fault = read(include_str!("seed/other_getenv.tli")).unwrap_err();
    check(
        &fault,
        "line 9, column 6: expected `,` or `}` after the value of `'Actors'`, found \
         `'AutoUnload'` on line 10",
        "add a `,` after `}`",
    );
}

#[test]
fn a_brace_that_ends_the_value_too_soon_is_reported_before_what_follows() {
    let fault = read(include_str!("seed/thesplog.cfg")).unwrap_err();
    check(
        &fault,
        "line 22, column 1: this `}` ends the whole value, but `'filters'` follows on line 23",
        "if `'filters'` belongs inside, write `,` here instead of the `}` and close at the end",
    );
}

#[test]
fn a_brace_that_splits_an_entry_is_reported_at_the_key_without_a_value() {
    let fault = read(include_str!("seed/thesplog_half_mended.cfg")).unwrap_err();
    assert_eq!((fault.line(), fault.column()), (23, 76));
    assert!(
        fault
            .message()
            .starts_with("expected `:` after the key `'thespian.director.")
    );
    assert!(
        fault.hint().unwrap().contains("one-member set before it"),
        "{:?}",
        fault.hint()
    );
}

#[test]
fn the_mended_samples_load() {
    let foo = read(include_str!("seed/foo_mended.tli")).unwrap();
    let actors = foo.get("Actors").unwrap();
    assert_eq!(actors.as_dict().unwrap().len(), 2);
    let actor = actors.get("foo.fooactor").unwrap();
    let restart = actor.get("OnReactivate").unwrap().get("Message").unwrap();
    assert_eq!(restart.repr(), "('Restart', True)");

    let other = read(include_str!("seed/other_mended.tli")).unwrap();
    assert_eq!(other.get("AutoUnload").and_then(Value::as_bool), Some(true));
    assert_eq!(other.get("TLS_Keep_Limit").and_then(Value::as_i64), Some(3));

    let logging = read(include_str!("seed/thesplog_mended.cfg")).unwrap();
    let filters = logging.get("filters").unwrap();
    assert_eq!(
        filters.repr(),
        "{'isActorLog': {'()': 'thespian.director.ActorAddressLogFilter'}}"
    );
}

#[test]
fn the_message_takes_the_variable_or_its_default() {
    let text = include_str!("seed/other_getenv_mended.tli");
    let message = |value: &Value| {
        let actor = value.get("Actors").unwrap().get("other.mainActor").unwrap();
        actor
            .get("OnLoad")
            .unwrap()
            .get("Message")
            .unwrap()
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(
        message(&read(text).unwrap()).as_deref(),
        Some("Start notspec")
    );
    let variables = BTreeMap::from([("OTHER_INFO".to_owned(), "now".to_owned())]);
    let value = evaluate(text, &Environment::new(&variables), &Limits::default()).unwrap();
    assert_eq!(message(&value).as_deref(), Some("Start now"));
}

fn read(text: &str) -> Result<Value, LiteralError> {
    evaluate(
        text,
        &Environment::new(&BTreeMap::new()),
        &Limits::default(),
    )
}

fn check(fault: &LiteralError, message: &str, hint: &str) {
    assert_eq!(fault.to_string(), message);
    assert_eq!(fault.hint(), Some(hint));
}
