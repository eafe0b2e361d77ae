//! Who may join: tokens given out and taken back, joiners approved.

use std::sync::Arc;
use std::time::Duration;

use protocol::control::{
    ClusterRequest, ClusterResponse, DrawnToken, Request, RequestError, Response, WaitingJoiner,
};
use protocol::limits::{TOKEN_TTL_MAX_MS, TOKEN_USES_MAX};
use protocol::registry::{KeyDigest, MemberCommand, State};
use protocol::{RequestId, Stamp};

use super::{Answered, done, last, show, step};
use crate::agent::node::{Node, stamp};
use crate::agent::requests::{internal, refused};
use crate::cluster::orders;
use transport::token::JoinToken;

/// Gives a token out, as the node that was asked: it draws the secret, which is in the answer and
/// nowhere else, and has the leader give out the hash, however often it has to ask.
pub(super) async fn invite(node: &Arc<Node>, uses: u32, ttl_s: u64, by: String) -> Answered {
    within_limits(uses, ttl_s)?;
    let authority = node.membership.identity().authority_key();
    let Some(authority) = authority else {
        return Err(refused(
            "this node has not joined a convention yet".to_owned(),
            Some("wait until it has: `director cluster status`"),
        ));
    };
    let token = JoinToken::draw(authority).map_err(|fault| internal(&fault.to_string()))?;
    let drawn = DrawnToken {
        id: token.id.to_string(),
        secret: KeyDigest(token.secret.hash().0),
        authority: KeyDigest(authority.0),
    };
    let issue = ClusterRequest::Invite {
        uses,
        ttl_s,
        by,
        drawn: Some(drawn),
    };
    match orders::give(node, Request::Cluster(issue), None).await? {
        Response::Cluster(ClusterResponse::Invited { id, expires, .. }) => {
            Ok(ClusterResponse::Invited {
                token: token.reveal(),
                id,
                expires,
            })
        }
        _ => Err(internal("an invitation was answered as something else")),
    }
}

/// Refuses more than a token may be; asked again where it is given out, and in the registry.
fn within_limits(uses: u32, ttl_s: u64) -> Result<(), RequestError> {
    if !(1..=TOKEN_USES_MAX).contains(&uses) {
        let message = format!("a token may be used 1 to {TOKEN_USES_MAX} times, not {uses}");
        return Err(refused(message, Some("give another `--uses`")));
    }
    if !(1..=TOKEN_TTL_MAX_MS / 1_000).contains(&ttl_s) {
        let message = format!(
            "a token is good for 1 to {} seconds, not {ttl_s}",
            TOKEN_TTL_MAX_MS / 1_000
        );
        return Err(refused(message, Some("give another `--ttl`")));
    }
    Ok(())
}

/// Gives a token out, as the leader, of which only the node that was asked knows the secret.
pub(super) async fn issue(
    node: &Node,
    request: RequestId,
    drawn: DrawnToken,
    (uses, ttl_s): (u32, u64),
    by: String,
) -> Answered {
    within_limits(uses, ttl_s)?;
    let issues = node.membership.identity().authority_key();
    if issues.map(|key| key.0) != Some(drawn.authority.0) {
        return Err(refused(
            "the authority's key was replaced just now: the token would pin the one before"
                .to_owned(),
            Some("repeat it"),
        ));
    }
    let (now, id) = (stamp(), drawn.id.clone());
    let expires = Stamp(now.0.saturating_add(ttl_s.saturating_mul(1_000)));
    let issue = MemberCommand::Issue {
        id: drawn.id,
        secret: drawn.secret,
        uses,
        expires,
        authority: drawn.authority,
        by,
        stamp: now,
    };
    step(node, request, issue, &[]).await?;
    Ok(issued(node, id))
}

/// The answer to an order that was carried out before and is answered by more than lines.
pub(super) fn answered_before(node: &Node, request: &ClusterRequest) -> Option<ClusterResponse> {
    match request {
        ClusterRequest::Invite {
            drawn: Some(drawn), ..
        } => Some(issued(node, drawn.id.clone())),
        _ => None,
    }
}

fn issued(node: &Node, id: String) -> ClusterResponse {
    let expires = node.replica.read(|state| {
        let token = state.roll.tokens.get(&id);
        token.map(|token| token.expires)
    });
    ClusterResponse::Invited {
        token: String::new(),
        id,
        // One that was revoked since is good no longer.
        expires: expires.unwrap_or_else(stamp),
    }
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
pub(super) async fn revoke(node: &Node, request: RequestId, prefix: &str, by: String) -> Answered {
    let id = node.replica.read(|state| find_token(state, prefix))?;
    let revoke = MemberCommand::Revoke {
        id: id.clone(),
        by,
        stamp: stamp(),
    };
    let told = format!("token {id} is good no longer");
    last(node, request, revoke, vec![told]).await.map(done)
}

/// Lets a waiting node in.
pub(super) async fn approve(node: &Node, request: RequestId, who: &str, by: String) -> Answered {
    let joiner = waiting(node, who).await?;
    let key = parse_key(&joiner.key)?;
    let approve = MemberCommand::Approve {
        key,
        name: joiner.name.clone(),
        by,
        stamp: stamp(),
    };
    let told = format!(
        "`{}` at {} may join with key {}; the authority here is {}: compare both with what the \
         node shows itself",
        joiner.name,
        joiner.address,
        joiner.key,
        authority(node)
    );
    last(node, request, approve, vec![told]).await.map(done)
}

/// The joiner that is meant. Who waits is in the memory of the leader that it asks, each second: a
/// new leader hears of it in a moment.
async fn waiting(node: &Node, who: &str) -> Result<WaitingJoiner, RequestError> {
    loop {
        let waiting = node.membership.admission.waiting();
        let found = show::find_waiting(&waiting, who).cloned();
        let led_for = node.mutual.leads_since().map(|since| since.elapsed());
        let is_new = led_for.is_none_or(|led_for| led_for < HEARD_OF_JOINERS);
        if found.is_ok() || !is_new || !node.membership.leads() {
            return found;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Joiners have asked a new leader by then.
const HEARD_OF_JOINERS: Duration = Duration::from_secs(10);

/// Between two looks at who waits.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

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
