//! What a word names: a role, a global name or an address; one of them, or the list to choose from.

use node::client::Target;
use protocol::control::{Match, Request, Response};

use super::refusal::unexpected;
use super::session::Online;
use super::shown::moment;
use crate::{Exit, Failure};

/// A target that stands for one thing.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Where messages for it go.
    pub(crate) target: Target,
}

impl Resolved {
    /// Finds the one thing that the word stands for.
    ///
    /// # Errors
    /// `Refused` when there is none, when there are several, or when it does not run.
    pub(crate) fn find(
        online: &mut Online,
        word: &str,
        group: Option<&str>,
    ) -> Result<Self, Failure> {
        let mut matches = matches(online, word, group, false)?.matches;
        // The role and the name of one actor are one thing.
        matches.dedup_by_key(|found| found.actor.map_or_else(|| line(found), |a| a.to_string()));
        match matches.as_slice() {
            [] => Err(nothing(word, group)),
            [found] => target(found).map(|target| Self { target }).ok_or_else(|| {
                Failure::text(Exit::Refused, format_args!("`{word}` does not run"))
                    .hint("`director list` shows why")
            }),
            several => Err(ambiguous(word, several)),
        }
    }
}

/// What a node said that a word stands for.
#[derive(Debug)]
pub(crate) struct Matches {
    pub(crate) matches: Vec<Match>,
    pub(crate) index: u64,
    pub(crate) age_ms: u64,
}

/// All that a word stands for; confirmed by the leader, or as the node knows it.
pub(crate) fn matches(
    online: &mut Online,
    word: &str,
    group: Option<&str>,
    confirmed: bool,
) -> Result<Matches, Failure> {
    let request = Request::Resolve {
        target: word.to_owned(),
        group: group.map(str::to_owned),
        confirmed,
    };
    match online.request(request)? {
        Response::Resolved {
            matches,
            index,
            age_ms,
        } => Ok(Matches {
            matches,
            index,
            age_ms,
        }),
        other => Err(unexpected(&other)),
    }
}

/// The failure for a word that stands for nothing.
pub(crate) fn nothing(word: &str, group: Option<&str>) -> Failure {
    let within = group
        .map(|group| format!(" in the group `{group}`"))
        .unwrap_or_default();
    Failure::text(
        Exit::Refused,
        format_args!("`{word}` is no role, global name or address{within}"),
    )
    .hint("`director list` shows roles and addresses")
}

/// The failure for a word that stands for several things.
pub(crate) fn ambiguous(word: &str, several: &[Match]) -> Failure {
    let text = format!("`{word}` stands for {} things", several.len());
    let failure = Failure::text(Exit::Refused, text);
    let failure = several
        .iter()
        .fold(failure, |failure, found| failure.detail(line(found)));
    failure.hint("choose one by `--group`, or by its address")
}

fn target(found: &Match) -> Option<Target> {
    match found.role_address {
        Some(role) => Some(Target::Role(role)),
        None => found.actor.map(Target::Actor),
    }
}

/// `ROLE of GROUP: ADDR -- CLASS  (since TIME)`.
pub(crate) fn line(found: &Match) -> String {
    let what = match (&found.role, &found.group) {
        (Some(role), Some(group)) => format!("{role} of {group}"),
        (None, Some(group)) => format!("{} of {group}", found.kind),
        _ => found.kind.clone(),
    };
    let actor = found
        .actor
        .map_or_else(|| "no address".to_owned(), |actor| actor.to_string());
    let class = found.class.as_deref().unwrap_or("unknown class");
    let since = found
        .started
        .map(|stamp| format!("  (since {})", moment(stamp)));
    format!("{what}: {actor} -- {class}{}", since.unwrap_or_default())
}
