//! The glossary's banned words, looked for in the names of Rust items.
//!
//! A name is cut into its words (`TlsFile` and `tls_file` hold `tls`, `rustls` does not). Names
//! that a trait of another crate dictates (`impl Trait for`) and the sentences that name tests are
//! left alone. Not here: words that have a right meaning besides the banned one, such as `host` or
//! `peer`; those stay with the reviewer.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

use super::source::Source;
use crate::finding::Finding;

/// A word that another one is the house's name for.
struct Banned {
    word: &'static str,
    say: &'static str,
    /// Whether its use counts as well, or only the declaration of a name that holds it.
    everywhere: bool,
    /// Folders in which it has its own meaning.
    fine_in: &'static [&'static str],
}

const fn banned(word: &'static str, say: &'static str) -> Banned {
    Banned {
        word,
        say,
        everywhere: false,
        fine_in: &[],
    }
}

const BANNED: &[Banned] = &[
    Banned {
        everywhere: true,
        fine_in: &["transport/"],
        ..banned("tls", "package or archive")
    },
    Banned {
        fine_in: &[
            "cli/",
            "tests/cluster/",
            "bench/",
            // The requests of the command group, and who answers them.
            "protocol/src/control",
            "node/src/cluster",
            "node/src/lib.rs",
        ],
        ..banned(
            "cluster",
            "convention; cluster is the command group and the test harness",
        )
    },
    banned("manager", "what it does, as a noun"),
    banned("helper", "what it does, as a noun"),
    banned("helpers", "what they do, as a noun"),
    banned("util", "what it does, as a noun"),
    banned("utils", "what they do, as a noun"),
    banned("validator", "source authority"),
    banned("runner", "worker"),
    banned("executor", "worker"),
    banned("zygote", "forkserver"),
    banned("epoch", "term"),
    banned("master", "leader"),
    banned(
        "timestamp",
        "moment (monotonic) or stamp (put in by the leader)",
    ),
    banned("msg", "message, or FooRequest and FooResponse"),
    banned("req", "request"),
];

/// Words after which a name is declared.
const DECLARING: [&str; 9] = [
    "struct", "enum", "union", "trait", "type", "mod", "fn", "const", "static",
];

/// What the standard library itself calls the mutable and the inner one.
const STD_GETTERS: [&str; 2] = ["get_mut", "get_ref"];

/// Every banned word in the file's names.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut names = Names {
        source,
        findings: Vec::new(),
    };
    names.walk(source.tokens(), false);
    names.findings
}

struct Names<'a> {
    source: &'a Source,
    findings: Vec<Finding>,
}

impl Names<'_> {
    /// `is_dictated`: inside `impl Trait for`, where functions and types are not ours to name.
    fn walk(&mut self, tokens: TokenStream, is_dictated: bool) {
        let mut declaring = String::new();
        let mut is_test = false;
        let mut implements = false;
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(ident) => {
                    let word = ident.to_string();
                    if is_test && declaring == "fn" {
                        is_test = false;
                    } else {
                        self.look_at(&ident, if is_dictated { "" } else { &declaring });
                    }
                    let is_bound = matches!(tokens.peek(),
                        Some(TokenTree::Punct(next)) if next.as_char() == '<');
                    implements |= word == "for" && !is_bound && declaring == "impl";
                    if word == "impl" || DECLARING.contains(&word.as_str()) {
                        declaring = word;
                    } else {
                        forget(&mut declaring);
                    }
                }
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    self.walk(group.stream(), implements);
                    declaring.clear();
                    implements = false;
                }
                TokenTree::Group(group) => {
                    is_test |= is_test_attribute(&group);
                    self.walk(group.stream(), false);
                    forget(&mut declaring);
                }
                // The words in `&'static Name` and `*const Name` declare nothing.
                TokenTree::Punct(punct) if matches!(punct.as_char(), '\'' | '*') => {
                    tokens.next_if(|next| is_one_of(next, &["static", "const"]));
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => forget(&mut declaring),
            }
        }
    }

    fn look_at(&mut self, ident: &Ident, declaring: &str) {
        let name = ident.to_string();
        let name = name.trim_start_matches("r#");
        let is_declared = DECLARING.contains(&declaring);
        let line = ident.span().start().line;
        let words = words(name);
        let path = self.source.path();
        let counts = |banned: &&Banned| banned.everywhere || is_declared;
        for banned in BANNED.iter().filter(counts) {
            let is_fine_here = banned.fine_in.iter().any(|folder| path.starts_with(folder));
            if !is_fine_here && words.iter().any(|word| word == banned.word) {
                let what = format!("`{name}`: for `{}` say {}", banned.word, banned.say);
                self.findings.push(Finding::at(path, line, what));
            }
        }
        if declaring == "fn" && name.starts_with("get_") && !STD_GETTERS.contains(&name) {
            let what = format!("`{name}`: drop the `get_`");
            self.findings.push(Finding::at(path, line, what));
        }
    }
}

/// A name follows its word at once; only the head of an `impl` goes on until its braces.
fn forget(declaring: &mut String) {
    if declaring != "impl" {
        declaring.clear();
    }
}

fn is_one_of(token: &TokenTree, words: &[&str]) -> bool {
    matches!(token, TokenTree::Ident(ident) if words.iter().any(|word| ident == word))
}

/// `[test]`, `[tokio::test(…)]` and the like, as they stand behind a `#`.
fn is_test_attribute(group: &Group) -> bool {
    let mut path = group.stream().into_iter().take_while(|token| match token {
        TokenTree::Ident(_) => true,
        TokenTree::Punct(punct) => punct.as_char() == ':',
        TokenTree::Group(_) | TokenTree::Literal(_) => false,
    });
    group.delimiter() == Delimiter::Bracket && path.any(|token| is_one_of(&token, &["test"]))
}

/// The words of a name, in lower case: `TLSFile`, `TlsFile` and `tls_file` have the same.
fn words(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (index, char) in chars.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|it| chars.get(it));
        let begins = char.is_uppercase()
            && (before.is_some_and(|it| !it.is_uppercase())
                || chars.get(index + 1).is_some_and(|it| it.is_lowercase()));
        if begins || *char == '_' {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| *char != '_') {
            word.extend(char.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_in(path: &str, text: &str, expected: &[&str]) {
        let findings = super::check(&Source::new(path, text));
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(lines, expected, "{text}");
    }

    fn check(text: &str, expected: &[&str]) {
        check_in("node/src/a.rs", text, expected);
    }

    #[test]
    fn names_are_cut_into_words() {
        for name in ["TLSFile", "TlsFile", "tls_file", "TLS_FILE", "_tls__file"] {
            assert_eq!(words(name), ["tls", "file"], "{name}");
        }
        assert_eq!(words("rustls"), ["rustls"]);
    }

    #[test]
    fn tls_for_a_package_is_found_wherever_it_stands() {
        let found = "node/src/a.rs:1: `tls_path`: for `tls` say package or archive";
        check("struct Package { tls_path: PathBuf }", &[found]);
        check("fn load() { let tls_path = 1; }", &[found]);
        check("const KEEP: &str = \"TLS_Keep_Limit\"; // tls", &[]);
        check("use rustls::ServerConfig; fn tlsinfo() {}", &[]);
        check_in("transport/src/a.rs", "struct TlsIdentity;", &[]);
    }

    #[test]
    fn empty_words_are_found_in_every_kind_of_item() {
        for (item, word) in [
            (
                "struct NodeManager;",
                "`NodeManager`: for `manager` say what it does, as a noun",
            ),
            (
                "trait LoadHelper {}",
                "`LoadHelper`: for `helper` say what it does, as a noun",
            ),
            (
                "mod util;",
                "`util`: for `util` say what it does, as a noun",
            ),
            ("enum Zygote {}", "`Zygote`: for `zygote` say forkserver"),
            (
                "fn run_master() {}",
                "`run_master`: for `master` say leader",
            ),
            ("static EPOCH: u8 = 0;", "`EPOCH`: for `epoch` say term"),
            (
                "type LoadMsg = u8;",
                "`LoadMsg`: for `msg` say message, or FooRequest and FooResponse",
            ),
        ] {
            check(item, &[&format!("node/src/a.rs:1: {word}")]);
        }
    }

    #[test]
    fn names_of_other_crates_may_be_used() {
        check(
            "use x::{UNIX_EPOCH, Manager}; fn f() { x::timestamp(UNIX_EPOCH).get_x(); }",
            &[],
        );
        check(
            "fn f(a: &'static Manager, b: *const Manager, c: fn(u8), master: u8) {}",
            &[],
        );
    }

    #[test]
    fn cluster_is_for_the_commands_and_the_harness() {
        let what = "for `cluster` say convention; \
                    cluster is the command group and the test harness";
        check(
            "struct ClusterState;",
            &[&format!("node/src/a.rs:1: `ClusterState`: {what}")],
        );
        check_in("cli/src/cluster.rs", "struct ClusterArguments;", &[]);
        check_in("tests/cluster/src/lib.rs", "struct Cluster;", &[]);
    }

    #[test]
    fn get_is_found_except_where_a_trait_dictates_it() {
        check(
            "impl A { pub fn get_name(&self) {} }",
            &["node/src/a.rs:1: `get_name`: drop the `get_`"],
        );
        check(
            "impl<T> Store for A<T> where T: for<'a> B<'a> { fn get_log(&self) {} }",
            &[],
        );
        check(
            "fn f(x: impl for<'a> Fn(&'a u8)) { fn get_name() {} }",
            &["node/src/a.rs:1: `get_name`: drop the `get_`"],
        );
        check(
            "trait A { fn get_name(&self); }",
            &["node/src/a.rs:1: `get_name`: drop the `get_`"],
        );
    }

    #[test]
    fn names_in_the_manner_of_std_are_fine() {
        check(
            "impl A { fn get_mut(&mut self) {} fn get_ref(&self) {} }",
            &[],
        );
    }

    #[test]
    fn a_declaration_after_a_dictated_one_counts_again() {
        check(
            "impl A for B { fn get_a() {} }\nimpl B { fn get_b() {} }\nfn get_c() {}",
            &[
                "node/src/a.rs:2: `get_b`: drop the `get_`",
                "node/src/a.rs:3: `get_c`: drop the `get_`",
            ],
        );
    }

    #[test]
    fn tests_are_sentences_in_which_any_word_may_stand() {
        check("#[test]\nfn a_master_is_refused() {}", &[]);
        check(
            "#[tokio::test(start_paused = true)]\nasync fn a_timestamp_is_refused() {}",
            &[],
        );
        check(
            "#[test]\nfn a() {}\nfn master() {}",
            &["node/src/a.rs:3: `master`: for `master` say leader"],
        );
    }
}
