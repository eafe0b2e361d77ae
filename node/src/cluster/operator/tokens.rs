//! Who may join: tokens given out and taken back, joiners approved.

use std::time::Duration;

use protocol::Stamp;
use protocol::control::{ClusterResponse, RequestError};
use protocol::registry::{KeyDigest, MemberCommand, State};

use super::{Answered, commit, done, show};
use crate::agent::node::{Node, stamp};
use crate::agent::requests::{internal, refused};
use transport::token::JoinToken;

/// Longest life of a token: one in a drawer is one too many.
const TTL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Most uses of one token: a fleet of the size planned for.
const USES_MAX: u32 = 100_000;

/// Gives a token out; its secret is in the answer and nowhere else.
pub(super) async fn invite(node: &Node, uses: u32, ttl_s: u64, by: String) -> Answered {
    if uses == 0 || uses > USES_MAX {
        let message = format!("a token may be used 1 to {USES_MAX} times, not {uses}");
        return Err(refused(message, Some("give another `--uses`")));
    }
    if ttl_s == 0 || ttl_s > TTL_MAX.as_secs() {
        let message = format!(
            "a token is good for 1 to {} seconds, not {ttl_s}",
            TTL_MAX.as_secs()
        );
        return Err(refused(message, Some("give another `--ttl`")));
    }
    let authority = node.membership.identity().authority_key();
    let Some(authority) = authority else {
        return Err(refused(
            "this node has not joined a convention yet".to_owned(),
            Some("wait until it has: `director cluster status`"),
        ));
    };
    let token = JoinToken::draw(authority).map_err(|fault| internal(&fault.to_string()))?;
    let now = stamp();
    let id = token.id.to_string();
    let expires = Stamp(now.0.saturating_add(ttl_s.saturating_mul(1_000)));
    let issue = MemberCommand::Issue {
        id: id.clone(),
        secret: KeyDigest(token.secret.hash().0),
        uses,
        expires,
        by,
        stamp: now,
    };
    commit(node, issue).await?;
    Ok(ClusterResponse::Invited {
        token: token.reveal(),
        id,
        expires,
    })
}

/// The tokens that are good, and who waits.
pub(super) fn list(node: &Node) -> ClusterResponse {
    let tokens = node.replica.read(|state| show::tokens(state, stamp()));
    ClusterResponse::Tokens {
        tokens,
        waiting: node.membership.admission.waiting(),
        authority: authority(node),
    }
}

/// Makes a token useless.
pub(super) async fn revoke(node: &Node, prefix: &str, by: String) -> Answered {
    let id = node.replica.read(|state| find_token(state, prefix))?;
    let revoke = MemberCommand::Revoke {
        id: id.clone(),
        by,
        stamp: stamp(),
    };
    commit(node, revoke).await?;
    Ok(done(vec![format!("token {id} is good no longer")]))
}

/// Lets a waiting node in.
pub(super) async fn approve(node: &Node, who: &str, by: String) -> Answered {
    let waiting = node.membership.admission.waiting();
    let joiner = show::find_waiting(&waiting, who)?;
    let key = parse_key(&joiner.key)?;
    let approve = MemberCommand::Approve {
        key,
        name: joiner.name.clone(),
        by,
        stamp: stamp(),
    };
    commit(node, approve).await?;
    Ok(done(vec![format!(
        "`{}` at {} may join with key {}; the authority here is {}: compare both with what the \
         node shows itself",
        joiner.name,
        joiner.address,
        joiner.key,
        authority(node)
    )]))
}

/// What a joiner sees of this convention, to be compared.
fn authority(node: &Node) -> String {
    let key = node.membership.identity().authority_key();
    key.map(|key| key.to_string()).unwrap_or_default()
}

fn parse_key(text: &str) -> Result<KeyDigest, RequestError> {
    let mut key = KeyDigest::default();
    hex::decode_to_slice(text, &mut key.0).map_err(|error| internal(&error.to_string()))?;
    Ok(key)
}

fn find_token(state: &State, prefix: &str) -> Result<String, RequestError> {
    let ids = state.roll.tokens.keys();
    let found: Vec<_> = ids.filter(|id| id.starts_with(prefix)).collect();
    match found.as_slice() {
        [id] if !prefix.is_empty() => Ok((*id).clone()),
        [] => Err(refused(
            format!("no join token begins with `{prefix}`"),
            Some("`director cluster tokens` lists those that are good"),
        )),
        several => Err(refused(
            format!("`{prefix}` means {} join tokens", several.len()),
            Some("give more of its id"),
        )),
    }
}
