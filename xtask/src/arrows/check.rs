//! The rules of the arrows, held against a graph.

use super::graph::Graph;
use super::rules::{Exception, Rules};
use crate::finding::Finding;

/// The file that a finding points at: whoever meets one either mends a manifest or writes an ADR.
const RULES: &str = "xtask/src/arrows/rules.rs";

/// Every broken rule, and every line of the rules that names nothing.
pub(crate) fn findings(graph: &Graph, rules: &Rules) -> Vec<Finding> {
    let mut findings = unknown_names(graph, rules);
    findings.extend(strangers(graph, rules));
    findings.extend(forbidden_arrows(graph, rules));
    findings.extend(impure_reaches(graph, rules));
    findings.extend(idle_exceptions(graph, rules));
    findings
}

/// Names in the lists that no crate bears.
fn unknown_names(graph: &Graph, rules: &Rules) -> Vec<Finding> {
    let members = graph.members();
    let arrows = rules
        .arrows
        .iter()
        .flat_map(|(from, to)| std::iter::once(from).chain(*to));
    let exceptions = rules.exceptions.iter().map(|exception| &exception.from);
    let ours = arrows.chain(rules.pure).chain(exceptions);
    let unknown_ours = ours.filter(|name| !members.contains(**name));
    let awaited = |bringer: Option<&str>| bringer.is_some_and(|name| !members.contains(name));
    let unknown_impure = rules.impure.iter();
    let unknown_impure =
        unknown_impure.filter(|impure| !graph.has(impure.name) && !awaited(impure.brought_by));
    let mut names: Vec<_> = unknown_ours.copied().collect();
    names.extend(unknown_impure.map(|impure| impure.name));
    names.sort_unstable();
    names.dedup();
    let finding = |name| Finding::of(RULES, format!("no crate is called `{name}`: misspelt?"));
    names.into_iter().map(finding).collect()
}

/// Crates of the workspace without a line in the list.
fn strangers(graph: &Graph, rules: &Rules) -> Vec<Finding> {
    let listed = |name: &str| rules.arrows.iter().any(|(from, _)| *from == name);
    let strangers = graph.members().into_iter().filter(|name| !listed(name));
    let finding = |name| {
        let what = format!("`{name}` has no line in ARROWS: a further crate needs an ADR and one");
        Finding::of(RULES, what)
    };
    strangers.map(finding).collect()
}

/// Arrows between our crates that the list does not hold, tests included.
fn forbidden_arrows(graph: &Graph, rules: &Rules) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (from, allowed) in rules.arrows {
        for edge in graph
            .edges_of_member(from)
            .iter()
            .filter(|edge| graph.is_ours(&edge.to))
        {
            let to = graph.name(&edge.to);
            if !allowed.contains(&to) {
                let what = format!("`{from}` may not depend on `{to}`: arrows point down only");
                findings.push(Finding::of(&format!("{from}/Cargo.toml"), what));
            }
        }
    }
    findings
}

/// Ways from a pure crate to an impure one, the excepted left out.
fn impure_reaches(graph: &Graph, rules: &Rules) -> Vec<Finding> {
    let mut findings = Vec::new();
    for from in rules.pure {
        for edge in graph
            .edges_of_member(from)
            .iter()
            .filter(|edge| edge.is_shipped)
        {
            // What comes through a crate of ours is a finding of that crate, if it is pure.
            let through = graph.name(&edge.to);
            if graph.is_ours(&edge.to) && rules.pure.contains(&through) {
                continue;
            }
            for impure in rules.impure {
                let excepted = |it: &Exception| it.covers(from, through, impure.name);
                let Some(way) = graph.way(&edge.to, impure.name) else {
                    continue;
                };
                if !rules.exceptions.iter().any(excepted) {
                    let way = way.join(" → ");
                    let what = format!("`{from}` must stay pure, but reaches {from} → {way}");
                    findings.push(Finding::of(&format!("{from}/Cargo.toml"), what));
                }
            }
        }
    }
    findings
}

/// Exceptions that nothing needs any more.
fn idle_exceptions(graph: &Graph, rules: &Rules) -> Vec<Finding> {
    let needed = |it: &&Exception| {
        let edges = graph.edges_of_member(it.from).iter();
        let mut through = edges.filter(|edge| graph.name(&edge.to) == it.through);
        through.any(|edge| edge.is_shipped && graph.way(&edge.to, it.to).is_some())
    };
    let idle = rules
        .exceptions
        .iter()
        .filter(|exception| !needed(exception));
    let finding = |it: &Exception| {
        let Exception {
            from,
            through,
            to,
            reason,
        } = it;
        let what =
            format!("nothing needs {from} → {through} → {to} any more ({reason}): remove it");
        Finding::of(RULES, what)
    };
    idle.map(finding).collect()
}

impl Exception {
    fn covers(&self, from: &str, through: &str, to: &str) -> bool {
        self.from == from && self.through == through && self.to == to
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::Impure;
    use super::*;

    const RULES: Rules = Rules {
        arrows: &[
            ("roof", &["floor", "cellar"]),
            ("floor", &["cellar"]),
            ("cellar", &[]),
        ],
        pure: &["floor", "cellar"],
        impure: &[
            Impure {
                name: "dice",
                brought_by: None,
            },
            Impure {
                name: "pipes",
                brought_by: Some("annex"),
            },
        ],
        exceptions: &[],
    };

    const OURS: &[&str] = &["roof", "floor", "cellar"];

    fn found(lines: &[(&str, &[&str])], rules: &Rules) -> Vec<String> {
        let ours: Vec<_> = OURS.iter().copied().chain(["annex"]).collect();
        let graph = Graph::planted(&ours, lines);
        findings(&graph, rules)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn check(lines: &[(&str, &[&str])], expected: &[&str]) {
        assert_eq!(found(lines, &RULES), expected);
    }

    #[test]
    fn arrows_that_point_down_are_fine() {
        check(
            &[
                ("roof", &["floor", "cellar", "dice"]),
                ("floor", &["cellar"]),
                ("cellar", &[]),
                ("dice", &[]),
            ],
            &[],
        );
    }

    #[test]
    fn an_arrow_that_points_up_is_found_also_when_for_tests_only() {
        let what = "floor/Cargo.toml: `floor` may not depend on `roof`: arrows point down only";
        for up in ["roof", "roof?"] {
            check(
                &[
                    ("roof", &[]),
                    ("floor", &[up]),
                    ("cellar", &[]),
                    ("dice", &[]),
                ],
                &[what],
            );
        }
    }

    #[test]
    fn a_pure_crate_that_reaches_dice_is_found_with_the_way_there() {
        check(
            &[
                ("roof", &[]),
                ("floor", &["cellar"]),
                ("cellar", &["bag"]),
                ("bag", &["cup"]),
                ("cup", &["dice"]),
                ("dice", &[]),
            ],
            &["cellar/Cargo.toml: `cellar` must stay pure, \
               but reaches cellar → bag → cup → dice"],
        );
    }

    #[test]
    fn what_only_tests_need_may_be_impure() {
        check(
            &[
                ("roof", &[]),
                ("floor", &["bag?"]),
                ("cellar", &["cup"]),
                ("cup", &["dice?"]),
                ("bag", &["dice"]),
                ("dice", &[]),
            ],
            &[],
        );
    }

    #[test]
    fn a_misspelt_name_is_a_finding_of_its_own() {
        check(
            &[("roof", &[]), ("floor", &[]), ("cellar", &[])],
            &["xtask/src/arrows/rules.rs: no crate is called `dice`: misspelt?"],
        );
        check(
            &[
                ("roof", &[]),
                ("flour", &[]),
                ("cellar", &[]),
                ("dice", &[]),
            ],
            &["xtask/src/arrows/rules.rs: no crate is called `floor`: misspelt?"],
        );
    }

    #[test]
    fn a_name_may_be_unknown_until_the_crate_that_brings_it_is_there() {
        let with_annex = Rules {
            arrows: &[
                ("roof", &[]),
                ("floor", &[]),
                ("cellar", &[]),
                ("annex", &[]),
            ],
            ..RULES
        };
        let lines: &[(&str, &[&str])] = &[
            ("roof", &[]),
            ("floor", &[]),
            ("cellar", &[]),
            ("dice", &[]),
            ("annex", &[]),
        ];
        assert_eq!(
            found(lines, &with_annex),
            ["xtask/src/arrows/rules.rs: no crate is called `pipes`: misspelt?"]
        );
    }

    #[test]
    fn a_crate_without_a_line_in_the_list_is_found() {
        check(
            &[
                ("roof", &[]),
                ("floor", &[]),
                ("cellar", &[]),
                ("dice", &[]),
                ("annex", &["dice"]),
            ],
            &[
                "xtask/src/arrows/rules.rs: no crate is called `pipes`: misspelt?",
                "xtask/src/arrows/rules.rs: `annex` has no line in ARROWS: \
                 a further crate needs an ADR and one",
            ],
        );
    }

    #[test]
    fn an_exception_covers_its_own_way_only_and_is_found_when_idle() {
        const EXCEPTED: Rules = Rules {
            exceptions: &[Exception {
                from: "cellar",
                through: "bag",
                to: "dice",
                reason: "loaded",
            }],
            ..RULES
        };
        let bag: (&str, &[&str]) = ("bag", &["dice"]);
        let rest: [(&str, &[&str]); 4] = [
            ("roof", &[]),
            ("floor", &[]),
            ("cup", &["dice"]),
            ("dice", &[]),
        ];
        let with = |cellar: &'static [&'static str]| {
            let mut lines = vec![("cellar", cellar), bag];
            lines.extend(rest);
            found(&lines, &EXCEPTED)
        };
        assert_eq!(with(&["bag"]), [""; 0]);
        assert_eq!(
            with(&["bag", "cup"]),
            ["cellar/Cargo.toml: `cellar` must stay pure, but reaches cellar → cup → dice"]
        );
        assert_eq!(
            with(&[]),
            [
                "xtask/src/arrows/rules.rs: nothing needs cellar → bag → dice any more (loaded): \
              remove it"
            ]
        );
    }
}
