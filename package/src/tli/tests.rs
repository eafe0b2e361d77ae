//! What `.tli` files mean, the seed's two samples included.

use std::collections::BTreeMap;

use pyliteral::{Environment, NoNames};

use super::*;

fn read(text: &str) -> (GroupDefinition, Vec<String>) {
    let (definition, warnings) = parse_tli("foo.tli", text, &NoNames).unwrap();
    (
        definition,
        warnings.iter().map(ToString::to_string).collect(),
    )
}

fn error(text: &str) -> String {
    parse_tli("foo.tli", text, &NoNames)
        .unwrap_err()
        .to_string()
}

fn only(text: &str) -> ActorDefinition {
    let (definition, warnings) = read(&format!("{{'Actors': {{'foo.Bar': {text}}}}}"));
    assert_eq!(warnings, [""; 0]);
    definition.actors.into_iter().next().unwrap()
}

const FOO: &str = "{ 'Actors':
  { 'foo.fooactor':
    { 'OnLoad': { 'Role': 'MainFoo',
                  'Message': 'StartFoo',
                  'GlobalName': 'Foo Primary',
                  },
      'OnReactivate': { 'Message': ('Restart', True) },
      'OnDeactivate': { 'Message': {'Shutdown': True,
                                     'timeout': 3 } } },
  'foo.subdir2.barn.cowactor':
        { 'OnLoad': { 'Role': 'FlyingCow',
                    'Message': 'Moo!'
                    },
        },
    },
}
";

#[test]
fn the_seeds_first_sample_reads_once_its_brace_is_mended() {
    let (definition, warnings) = read(FOO);
    assert_eq!(warnings, [""; 0]);
    let [foo, cow] = definition.actors.as_slice() else {
        panic!("{definition:?}")
    };
    assert_eq!(foo.class, "foo.fooactor");
    assert_eq!(foo.role.as_deref(), Some("MainFoo"));
    assert_eq!(foo.global_name.as_deref(), Some("Foo Primary"));
    assert_eq!(foo.on_load.as_deref(), Some("'StartFoo'"));
    assert_eq!(foo.on_reactivate.as_deref(), Some("('Restart', True)"));
    assert_eq!(
        foo.on_deactivate.as_deref(),
        Some("{'Shutdown': True, 'timeout': 3}")
    );
    assert_eq!(
        (cow.role.as_deref(), cow.global_name.as_deref()),
        (Some("FlyingCow"), None)
    );
    assert_eq!(definition.auto_unload, AutoUnload::KeepAll);

    let brace_too_many = FOO.replace("'timeout': 3 } } },", "'timeout': 3 } } },\n    },");
    assert!(
        error(&brace_too_many).starts_with("`foo.tli` line "),
        "{}",
        error(&brace_too_many)
    );
}

#[test]
fn the_seeds_second_sample_reads_once_its_comma_is_there() {
    let sample = "{
  'Actors':
    { 'other.mainActor':
      { 'OnLoad':
        { 'Role': 'other',
          'Message': 'Start %s' % os.getenv('OTHER_INFO', 'notspec'),
        },
      },
    }
  'AutoUnload': True,
  'TLS_Keep_Limit': 3,
}
";
    let variables = BTreeMap::from([("OTHER_INFO".to_owned(), "quietly".to_owned())]);
    let environment = Environment::new(&variables);
    let refused = parse_tli("other.tli", sample, &environment).unwrap_err();
    let TliError::Literal { source, .. } = &refused else {
        panic!("{refused}")
    };
    assert!(matches!(source.line(), 9 | 10), "{refused}");
    assert!(
        refused.to_string().starts_with("`other.tli` line "),
        "{refused}"
    );

    let mended = sample.replace("    }\n  'AutoUnload'", "    },\n  'AutoUnload'");
    let (definition, warnings) = parse_tli("other.tli", &mended, &environment).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(
        definition.actors[0].on_load.as_deref(),
        Some("'Start quietly'")
    );
    assert_eq!(definition.auto_unload, AutoUnload::Keep(1));
    assert_eq!(definition.keep_limit, Some(3));
}

#[test]
fn a_message_that_is_present_counts_whatever_its_value() {
    for (text, kept) in [
        ("None", "None"),
        ("0", "0"),
        ("''", "''"),
        ("False", "False"),
        ("{}", "{}"),
    ] {
        let actor = only(&format!(
            "{{'OnLoad': {{'Message': {text}}}, 'OnDeactivate': {{'Message': {text}}}}}"
        ));
        assert_eq!(actor.on_load.as_deref(), Some(kept));
        assert_eq!(actor.on_deactivate.as_deref(), Some(kept));
        assert_eq!(actor.on_reactivate, None);
    }
    assert_eq!(only("{'OnLoad': {}}").on_load, None);
}

#[test]
fn our_own_keys_are_read() {
    let plain = only("{}");
    assert_eq!(
        (plain.placement, plain.preload),
        (Placement::One, Preload::Once)
    );
    assert_eq!(
        (plain.on_lost_lease, plain.requirements),
        (OnLostLease::Keep, None)
    );
    let actor = only(
        "{'Placement': 'each', 'Requirements': {'Has GPU': True}, 'Preload': False,
          'OnLostLease': 'stop'}",
    );
    assert_eq!(
        (actor.placement, actor.preload),
        (Placement::Each, Preload::PerActor)
    );
    assert_eq!(actor.on_lost_lease, OnLostLease::Stop);
    assert_eq!(actor.requirements.as_deref(), Some("{'Has GPU': True}"));
}

#[test]
fn auto_unload_and_keep_limit_mean_what_thespian_means() {
    let unload = |text: &str| read(&format!("{{'AutoUnload': {text}}}")).0.auto_unload;
    assert_eq!(unload("False"), AutoUnload::KeepAll);
    assert_eq!(unload("None"), AutoUnload::KeepAll);
    for newest_only in ["True", "1", "0"] {
        assert_eq!(unload(newest_only), AutoUnload::Keep(1));
    }
    assert_eq!(unload("2"), AutoUnload::Keep(2));
    let limit = |text: &str| read(&format!("{{'TLS_Keep_Limit': {text}}}")).0.keep_limit;
    assert_eq!(
        (limit("3"), limit("0"), limit("-1"), limit("None")),
        (Some(3), None, None, None)
    );
}

#[test]
fn blank_names_are_none() {
    let actor = only("{'OnLoad': {'Role': None, 'GlobalName': ' '}}");
    assert_eq!((actor.role, actor.global_name), (None, None));
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    let (_, warnings) = read(
        "{'Actor': {}, 'Actors': {'foo.Bar': {'onload': {}, 'Role': 'x', 'OnLoad': {'Mesage': 1},
          'OnDeactivate': {7: 1}}}}",
    );
    assert_eq!(
        warnings,
        [
            "`foo.tli`: unknown key 'Actor' in the whole is ignored; did you mean 'Actors'?",
            "`foo.tli`: unknown key 'onload' in `['Actors']['foo.Bar']` is ignored; \
             did you mean 'OnLoad'?",
            "`foo.tli`: unknown key 'Role' in `['Actors']['foo.Bar']` is ignored; \
             did you mean 'Role' in 'OnLoad'?",
            "`foo.tli`: unknown key 'Mesage' in `['Actors']['foo.Bar']['OnLoad']` is ignored; \
             did you mean 'Message'?",
            "`foo.tli`: unknown key 7 in `['Actors']['foo.Bar']['OnDeactivate']` is ignored",
        ]
    );
}

#[test]
fn a_wrong_type_is_named_with_its_path() {
    assert_eq!(
        error("{'Actors': {'foo.Bar': {'OnLoad': {'Role': 5}}}}"),
        "`foo.tli`: `['Actors']['foo.Bar']['OnLoad']['Role']` must be a string, not the int 5"
    );
    let cases = [
        ("[]", "the whole must be a dictionary"),
        (
            "{'Actors': []}",
            "`['Actors']` must be a dictionary of actors",
        ),
        (
            "{'Actors': {'foo.Bar': None}}",
            "must be a dictionary with keys such as 'OnLoad'",
        ),
        (
            "{'Actors': {'foo.Bar': {'OnLoad': 'x'}}}",
            "['OnLoad']` must be a dictionary",
        ),
        (
            "{'Actors': {'foo.Bar': {'Placement': 'all'}}}",
            "must be 'one' or 'each', not the str",
        ),
        (
            "{'Actors': {'foo.Bar': {'OnLostLease': 1}}}",
            "must be 'keep' or 'stop'",
        ),
        (
            "{'Actors': {'foo.Bar': {'Preload': 0}}}",
            "must be True or False, not the int 0",
        ),
        (
            "{'Actors': {'foo.Bar': {'Requirements': []}}}",
            "must be a dictionary of capabilities",
        ),
        ("{'AutoUnload': 'yes'}", "must be True, False or a number"),
        ("{'AutoUnload': -1}", "must be True, False or a number"),
        (
            "{'TLS_Keep_Limit': '3'}",
            "must be a number of package files",
        ),
    ];
    for (text, wanted) in cases {
        let error = error(text);
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn a_class_must_be_an_import_path() {
    for class in ["foo/bar.py", "", "foo.", "foo..Bar", "1foo.Bar", "foo bar"] {
        let error = error(&format!("{{'Actors': {{'{class}': {{}}}}}}"));
        assert!(error.contains("is no import path"), "{class:?}: {error}");
    }
    assert!(error("{'Actors': {5: {}}}").contains("`5` is no import path"));
}

#[test]
fn one_role_twice_is_a_warning_and_one_global_name_twice_an_error() {
    let twice = |key: &str| {
        let named = format!("{{'OnLoad': {{'{key}': 'x'}}}}");
        format!("{{'Actors': {{'a.A': {named}, 'b.B': {named}}}}}")
    };
    let (_, warnings) = read(&twice("Role"));
    assert!(
        warnings[0].contains("role `x` is given to `a.A` and to `b.B`"),
        "{warnings:?}"
    );
    assert!(error(&twice("GlobalName")).contains("global name `x`"));
}

#[test]
fn nothing_is_executed() {
    for text in [
        "__import__('os').system('true')",
        "os.system('true')",
        "open('/etc/passwd')",
    ] {
        let refused = parse_tli("foo.tli", text, &NoNames);
        assert!(matches!(refused, Err(TliError::Literal { .. })), "{text}");
    }
}
