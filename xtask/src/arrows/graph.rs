//! The graph of dependencies, reduced to what the arrows need.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use cargo_metadata::{DependencyKind, Metadata, NodeDep};

/// Packages by id, with the edges between them.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    packages: BTreeMap<String, Package>,
}

#[derive(Debug)]
struct Package {
    name: String,
    is_ours: bool,
    edges: Vec<Edge>,
}

/// A dependency of one package on another.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    /// The id of the package depended on.
    pub(crate) to: String,
    /// Whether it is built for those who use the package, not for its tests alone.
    pub(crate) is_shipped: bool,
}

impl Graph {
    /// From cargo's own resolution, every kind of dependency included.
    pub(crate) fn of(metadata: &Metadata) -> anyhow::Result<Self> {
        let resolve = metadata
            .resolve
            .as_ref()
            .context("cargo resolved no dependencies")?;
        let ours: BTreeSet<_> = metadata.workspace_members.iter().collect();
        let mut graph = Self::default();
        for node in &resolve.nodes {
            let name = metadata[&node.id].name.to_string();
            let edges = node.deps.iter().map(Edge::of).collect();
            let package = Package {
                name,
                is_ours: ours.contains(&node.id),
                edges,
            };
            graph.packages.insert(node.id.to_string(), package);
        }
        Ok(graph)
    }

    /// The names of the workspace's crates.
    pub(crate) fn members(&self) -> BTreeSet<&str> {
        let ours = self.packages.values().filter(|package| package.is_ours);
        ours.map(|package| package.name.as_str()).collect()
    }

    /// Whether any package has that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.packages.values().any(|package| package.name == name)
    }

    /// The edges of the workspace's crate of that name.
    pub(crate) fn edges_of_member(&self, name: &str) -> &[Edge] {
        let named = |package: &&Package| package.is_ours && package.name == name;
        self.packages
            .values()
            .find(named)
            .map_or(&[], |package| &package.edges)
    }

    /// The name of a package; ids come from edges, so an unknown one has no name.
    pub(crate) fn name(&self, id: &str) -> &str {
        self.packages.get(id).map_or("", |package| &package.name)
    }

    /// Whether a package is a crate of the workspace.
    pub(crate) fn is_ours(&self, id: &str) -> bool {
        self.packages.get(id).is_some_and(|package| package.is_ours)
    }

    /// The names on the shortest way over shipped edges from a package to one of that name.
    pub(crate) fn way(&self, from: &str, to: &str) -> Option<Vec<&str>> {
        let mut came_from = BTreeMap::from([(from, None)]);
        let mut queue = std::collections::VecDeque::from([from]);
        while let Some(id) = queue.pop_front() {
            if self.name(id) == to {
                let way = std::iter::successors(Some(id), |id| came_from.get(id).copied()?);
                let mut names: Vec<_> = way.map(|id| self.name(id)).collect();
                names.reverse();
                return Some(names);
            }
            let edges = self
                .packages
                .get(id)
                .map_or(&[][..], |package| &package.edges);
            for edge in edges.iter().filter(|edge| edge.is_shipped) {
                came_from.entry(&edge.to).or_insert_with(|| {
                    queue.push_back(&edge.to);
                    Some(id)
                });
            }
        }
        None
    }
}

impl Edge {
    fn of(dep: &NodeDep) -> Self {
        let is_shipped = |kind: DependencyKind| kind != DependencyKind::Development;
        Self {
            to: dep.pkg.to_string(),
            is_shipped: dep.dep_kinds.iter().any(|info| is_shipped(info.kind)),
        }
    }
}

#[cfg(test)]
impl Graph {
    /// A graph written down: `ours` are members, an edge ending in `?` is for tests only.
    pub(crate) fn planted(ours: &[&str], lines: &[(&str, &[&str])]) -> Self {
        let edge = |to: &&str| Edge {
            to: to.trim_end_matches('?').to_owned(),
            is_shipped: !to.ends_with('?'),
        };
        let packages = lines.iter().map(|(name, edges)| {
            let package = Package {
                name: (*name).to_owned(),
                is_ours: ours.contains(name),
                edges: edges.iter().map(edge).collect(),
            };
            ((*name).to_owned(), package)
        });
        Self {
            packages: packages.collect(),
        }
    }
}
