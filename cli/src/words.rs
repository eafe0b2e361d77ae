//! The words of the command line, before clap: older forms become the options that clap knows.
//!
//! `director verbose avail` is `director --verbose avail`; for gensrc `version:1.0` is
//! `--version=1.0`, in any place; under the name `cluster` the word `cluster` is put in front.
//! Words after `--` stay as they are.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The words as clap shall see them.
pub(crate) fn modern(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_else(|| OsString::from("director"));
    let (mut modern, mut command) = match stem(&program) {
        // Help and errors name the words that can be typed anywhere.
        Some("cluster") => (vec!["director".into()], Some(OsString::from("cluster"))),
        _ => (vec![program], None),
    };
    modern.extend(command.clone());
    let mut literal = false;
    for word in words {
        let text = word.to_str().unwrap_or_default();
        if literal || text == "--" {
            literal = true;
            modern.push(word);
        } else if command.is_none() && text == "verbose" {
            modern.push("--verbose".into());
        } else if let Some(option) = old_option(command.as_deref(), text) {
            modern.push(option);
        } else {
            if command.is_none() && !text.starts_with('-') {
                command = Some(word.clone());
            }
            modern.push(word);
        }
    }
    modern
}

/// The command among words that clap has seen: the first that is no option.
pub(crate) fn command(modern: &[OsString]) -> Option<&str> {
    let words = modern.iter().skip(1).filter_map(|word| word.to_str());
    words.into_iter().find(|word| !word.starts_with('-'))
}

fn stem(program: &OsStr) -> Option<&str> {
    Path::new(program).file_stem()?.to_str()
}

fn old_option(command: Option<&OsStr>, word: &str) -> Option<OsString> {
    if command != Some(OsStr::new("gensrc")) {
        return None;
    }
    let (name, value) = word.split_once(':')?;
    GENSRC_OPTIONS
        .contains(&name)
        .then(|| format!("--{name}={value}").into())
}

const GENSRC_OPTIONS: [&str; 5] = ["version", "deps", "deps-only", "tli", "fmt"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, want: &str) {
        let words = modern(words.split(' ').map(OsString::from));
        let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(words.join(" "), want);
    }

    #[test]
    fn gensrc_takes_its_older_options_in_any_place() {
        check(
            "director gensrc version:1 foo deps:a:b key.pem . tli:f foo/*.py fmt:X",
            "director gensrc --version=1 foo --deps=a:b key.pem . --tli=f foo/*.py --fmt=X",
        );
    }

    #[test]
    fn other_commands_keep_words_with_colons() {
        check(
            "director tell version:1 deps:x",
            "director tell version:1 deps:x",
        );
        check("director gensrc a:b", "director gensrc a:b");
        check(
            "director gensrc -- version:1",
            "director gensrc -- version:1",
        );
    }

    #[test]
    fn verbose_is_an_option_only_in_front_of_the_command() {
        check("director verbose avail", "director --verbose avail");
        check(
            "director --json verbose avail",
            "director --json --verbose avail",
        );
        check("director role verbose", "director role verbose");
    }

    #[test]
    fn under_the_name_cluster_the_word_is_put_in_front() {
        check("/usr/bin/cluster load foo", "director cluster load foo");
    }

    #[test]
    fn the_command_is_the_first_word_that_is_no_option() {
        let words = modern(["director", "--json", "verbose", "list", "foo"].map(OsString::from));
        assert_eq!(command(&words), Some("list"));
    }
}
