//! The newest package of every group, in this node's Director directory or in all live members'.
//!
//! A package goes with the `.tli` that lies beside it: they were written for each other.
//! Not here: what is done with it (`refresh`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use package::PackageName;
use protocol::SourceHash;
use protocol::control::{
    ClusterRequest, ClusterResponse, Lies, MemberDirectory, OfferedGroup, Reach, Request, Response,
};

use super::load::LoadOrder;
use super::refusal::unexpected;
use super::session::Online;
use super::surplus;
use crate::commands::Context;
use crate::{Exit, Failure};

/// A group's newest package in one directory.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) name: PackageName,
    /// Where it lies, for people: with the member's name in front if that is another one.
    pub(super) path: PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// In the own directory; whether its group has a `.tli` there.
    Own { has_tli: bool },
    /// In a member's, with the text of the `.tli` there.
    Member { lies: Lies, tli: Option<String> },
}

impl Newest {
    /// The order that loads it.
    ///
    /// # Errors
    /// `Refused` when its `.tli` cannot be read.
    pub(super) fn order(&self, context: &Context) -> Result<LoadOrder, Failure> {
        let (path, name) = (self.path.clone(), self.name.clone());
        match &self.place {
            Place::Own { .. } => LoadOrder::new(context, path, name),
            Place::Member { lies, tli } => {
                let tli = tli.as_deref().unwrap_or_default();
                LoadOrder::elsewhere(context, path, name, lies.clone(), tli)
            }
        }
    }

    /// What its bytes are, if they can be read.
    pub(super) fn hash(&self) -> Option<SourceHash> {
        match &self.place {
            Place::Own { .. } => surplus::hash(&self.path),
            Place::Member { lies, .. } => Some(lies.hash),
        }
    }

    fn has_tli(&self) -> bool {
        match &self.place {
            Place::Own { has_tli } => *has_tli,
            Place::Member { tli, .. } => tli.is_some(),
        }
    }
}

/// The newest package of every group that has a `.tli`, by the names of the groups.
///
/// # Errors
/// When a directory cannot be listed.
pub(super) fn newest(
    context: &Context,
    online: &mut Online,
    reach: Reach,
) -> Result<Vec<Newest>, Failure> {
    let mut found = own(context)?;
    if reach != Reach::OnDemand {
        for directory in others(online)? {
            match &directory.fault {
                None => found.extend(of_member(directory)),
                Some(fault) if reach == Reach::Partial => {
                    let name = &directory.name;
                    context
                        .printer
                        .warning(format_args!("what `{name}` has is not known: {fault}"));
                }
                Some(fault) => {
                    let name = &directory.name;
                    let text = format!("what the directory of `{name}` has is not known: {fault}");
                    return Err(Failure::text(Exit::Unavailable, text).hint(
                        "nothing was loaded; mend it, or go on without that member by `--partial`",
                    ));
                }
            }
        }
    }
    let mut groups: BTreeMap<String, Vec<Newest>> = BTreeMap::new();
    for newest in found {
        let group = newest.name.group().to_owned();
        groups.entry(group).or_default().push(newest);
    }
    let chosen = groups.into_values().filter_map(|found| {
        let (chosen, left) = choose(found);
        for left in left {
            let (path, group) = (left.path.display(), left.name.group());
            context.printer.note(format_args!(
                "{path} is left alone: there is no `{group}.tli` beside it"
            ));
        }
        chosen
    });
    Ok(chosen.collect())
}

/// Of one group: the highest version with a `.tli`, the first of equals, and those above it
/// without one.
fn choose(mut found: Vec<Newest>) -> (Option<Newest>, Vec<Newest>) {
    found.sort_by_cached_key(|newest| std::cmp::Reverse(newest.name.key()));
    let at = found.iter().position(Newest::has_tli);
    let mut rest = found.split_off(at.unwrap_or(found.len()));
    let chosen = (!rest.is_empty()).then(|| rest.swap_remove(0));
    (chosen, found)
}

fn own(context: &Context) -> Result<Vec<Newest>, Failure> {
    let listing = context.directory.listing().map_err(|error| {
        let hint = error.hint();
        Failure::new(Exit::Refused, error).hint(hint)
    })?;
    let groups = listing.groups.into_iter().filter_map(|group| {
        let has_tli = group.tli.is_some();
        let newest = group.packages.into_iter().next()?;
        Some(Newest {
            name: newest.name,
            path: newest.path,
            place: Place::Own { has_tli },
        })
    });
    Ok(groups.collect())
}

fn others(online: &mut Online) -> Result<Vec<MemberDirectory>, Failure> {
    match online.request(Request::Cluster(ClusterRequest::Directories))? {
        Response::Cluster(ClusterResponse::Directories { directories }) => Ok(directories),
        other => Err(unexpected(&other)),
    }
}

fn of_member(directory: MemberDirectory) -> Vec<Newest> {
    let MemberDirectory {
        node, name, path, ..
    } = directory;
    let newest = |offered: OfferedGroup| {
        let parsed = PackageName::parse(&offered.file, [offered.group.as_str()]).ok()?;
        Some(Newest {
            name: parsed,
            path: PathBuf::from(format!("{name}:{path}")).join(&offered.file),
            place: Place::Member {
                lies: Lies {
                    node,
                    file: offered.file,
                    hash: offered.hash,
                },
                tli: offered.tli,
            },
        })
    };
    directory.groups.into_iter().filter_map(newest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(version: &str, name: &str, tli: Option<&str>) -> Newest {
        let file = format!("foo-{version}.tls");
        let directory = MemberDirectory {
            node: protocol::NodeId(7),
            name: name.to_owned(),
            path: "/d".to_owned(),
            groups: vec![OfferedGroup {
                group: "foo".to_owned(),
                file,
                hash: SourceHash::of(name.as_bytes()),
                tli: tli.map(str::to_owned),
            }],
            fault: None,
        };
        of_member(directory).remove(0)
    }

    #[test]
    fn the_highest_version_with_a_tli_is_chosen_and_the_first_of_equals() {
        let found = vec![
            at("1.9", "a", Some("{}")),
            at("1.10", "b", Some("{}")),
            at("1.10", "c", Some("{}")),
            at("2.0", "d", None),
            at("1.0", "e", None),
        ];
        let (chosen, left) = choose(found);
        let shown = |newest: &Newest| newest.path.display().to_string();
        assert_eq!(shown(&chosen.unwrap()), "b:/d/foo-1.10.tls");
        let left: Vec<_> = left.iter().map(shown).collect();
        assert_eq!(left, ["d:/d/foo-2.0.tls"]);
        let (none, left) = choose(vec![at("2.0", "d", None)]);
        assert!(none.is_none() && left.len() == 1);
    }
}
