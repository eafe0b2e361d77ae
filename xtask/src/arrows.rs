//! The arrows: who may depend on whom, held against the graph that cargo resolved.
//!
//! Two rules. Between our own crates only the arrows of `rules::ARROWS` exist. The pure crates
//! reach none of `rules::IMPURE`, however deep, in what is built for others (dev-dependencies are
//! free to). Every name in the lists must exist, so that a misspelt one cannot pass as absent.

mod check;
mod graph;
mod rules;

use crate::finding::Finding;
use crate::house::House;

/// Where the workspace breaks the rules.
pub(crate) fn check(house: &House) -> anyhow::Result<Vec<Finding>> {
    let graph = graph::Graph::of(&house.graph()?)?;
    Ok(check::findings(&graph, &rules::HOUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_keeps_its_arrows() {
        let findings = check(&House::find().unwrap()).unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    }
}
