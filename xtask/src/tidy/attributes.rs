//! Attributes that have no place here: a test that is switched off is a test that lies.
//!
//! Not here: `allow` without a reason, which is clippy's to find.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::source::Source;
use crate::finding::Finding;

/// Every `#[ignore]` of the file, those of a `cfg_attr` included.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let what = "`#[ignore]`: mend the test, or assert today's result and say why";
    let mut lines = Vec::new();
    walk(source.tokens(), &mut lines);
    lines
        .into_iter()
        .map(|line| Finding::at(source.path(), line, what))
        .collect()
}

fn walk(tokens: TokenStream, lines: &mut Vec<usize>) {
    let mut after_hash = false;
    for token in tokens {
        if let TokenTree::Group(group) = &token {
            let is_attribute = after_hash && group.delimiter() == Delimiter::Bracket;
            if is_attribute && switches_off(group.stream()) {
                lines.push(group.span_open().start().line);
            }
            walk(group.stream(), lines);
        }
        after_hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
    }
}

fn switches_off(attribute: TokenStream) -> bool {
    let mut tokens = attribute.into_iter();
    let first = tokens.next().map(|token| token.to_string());
    match first.as_deref() {
        Some("ignore") => true,
        Some("cfg_attr") => tokens.any(|token| match token {
            TokenTree::Group(group) => group.stream().into_iter().any(|it| is_ignore(&it)),
            _ => false,
        }),
        _ => false,
    }
}

fn is_ignore(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == "ignore")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, lines: &[usize]) {
        let findings = super::check(&Source::new("a.rs", text));
        let what = "`#[ignore]`: mend the test, or assert today's result and say why";
        let expected: Vec<_> = lines
            .iter()
            .map(|line| format!("a.rs:{line}: {what}"))
            .collect();
        let found: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_test_that_is_switched_off_is_found() {
        check("mod tests {\n#[test]\n#[ignore]\nfn a() {} }", &[3]);
        check("#[ignore = \"slow\"]\nfn a() {}", &[1]);
        check("#[cfg_attr(windows, ignore)]\nfn a() {}", &[1]);
    }

    #[test]
    fn the_word_is_fine_outside_attributes() {
        check(
            "fn ignore(a: [u8; 2]) { ignore([1, 2]); let _ = [ignore]; }",
            &[],
        );
        check(
            "#[expect(clippy::panic, reason = \"ignore\")]\nfn a() {}",
            &[],
        );
    }
}
