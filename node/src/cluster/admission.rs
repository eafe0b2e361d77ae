//! Letting nodes in: tokens, approvals, the certificates that follow, and their renewal.
//!
//! A joiner is admitted by commit *before* it gets its certificate. Of its request only the public
//! key is taken; it proves that it holds the private one. Every refusal has a text of its own, with
//! the next step, and an entry in the audit.
//! Not here: the joiner's side (`join`), how long a token holds (the registry).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use leader::reconcile::{ProposeFailure, Replica};
use protocol::control::WaitingJoiner;
use protocol::peer::{JoinWishes, JoinedTo, PeerRequest, PeerResponse};
use protocol::registry::{Command, KeyDigest, MemberCommand, Outcome, Refusal as Refused, State};
use protocol::wire::{
    JoinRequest, JoinResponse, Refusal, RefusalCode, RenewRequest, RenewResponse, Shape,
};
use protocol::{NodeId, Stamp, decode, encode};
use tokio::time::timeout;
use transport::Connection;
use transport::identity::{Authority, KeyHash};
use transport::streams::BiStream;
use transport::token::{SecretHash, TokenSecret};

use super::invitations::DEREGISTERED;
use super::membership::Membership;
use super::peers::PeerFault;
use super::{endpoint, same_user};
use crate::agent::node::{Node, stamp};

/// Who waits to be let in; in the leader's memory.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    // Held for a look-up or an insertion only.
    waiting: Mutex<BTreeMap<KeyDigest, Waiting>>,
}

/// A node that asks to be let in without a token.
#[derive(Debug)]
struct Waiting {
    name: String,
    at: String,
    since: Stamp,
    asked: Instant,
}

impl Admission {
    /// Who waits now, with the key that an operator compares.
    pub(crate) fn waiting(&self) -> Vec<WaitingJoiner> {
        let mut waiting = self.table();
        waiting.retain(|_, joiner| joiner.asked.elapsed() < STILL_WAITING);
        let joiners = waiting.iter().map(|(key, joiner)| WaitingJoiner {
            name: joiner.name.clone(),
            address: joiner.at.clone(),
            key: key.to_string(),
            since: joiner.since,
        });
        joiners.collect()
    }

    fn wait(&self, key: KeyDigest, wishes: &JoinWishes, at: &str) {
        let mut waiting = self.table();
        waiting.retain(|_, joiner| joiner.asked.elapsed() < STILL_WAITING);
        if waiting.len() >= WAITING_MAX && !waiting.contains_key(&key) {
            return;
        }
        let since = waiting.get(&key).map_or_else(stamp, |joiner| joiner.since);
        let joiner = Waiting {
            name: wishes.name.clone(),
            at: at.to_owned(),
            since,
            asked: Instant::now(),
        };
        waiting.insert(key, joiner);
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<KeyDigest, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a `join/1` connection: a joiner, or a member whose certificate has expired.
pub(super) async fn serve(node: &Arc<Node>, connection: Connection) {
    let until = tokio::time::Instant::now() + JOIN_CONNECTION_LIMIT;
    let at = connection.remote_address().ip().to_string();
    while tokio::time::Instant::now() < until {
        let next = node.shutdown.run_until_cancelled(connection.accept());
        let Ok(Some(Ok(stream))) = timeout(JOIN_IDLE_LIMIT, next).await else {
            break;
        };
        let served = match connection.peer() {
            Some(peer) => renewing(node, peer.node, peer.key, stream).await,
            None => joining(node, &at, stream).await,
        };
        if served.is_none() {
            break;
        }
    }
    let text = "this connection has done its work; dial again";
    connection.close(&Refusal::new(RefusalCode::Busy, text));
}

async fn joining(node: &Arc<Node>, at: &str, mut stream: BiStream) -> Option<()> {
    let request = timeout(JOIN_IDLE_LIMIT, stream.request::<JoinRequest>());
    let request = request.await.ok()?.ok()?;
    let admitted = if node.membership.leads() {
        admit(node, &request, at).await
    } else {
        pass_on(node, request, at).await
    };
    stream.answer(admitted).await.ok()
}

async fn renewing(
    node: &Arc<Node>,
    from: NodeId,
    key: KeyHash,
    mut stream: BiStream,
) -> Option<()> {
    let request = timeout(JOIN_IDLE_LIMIT, stream.request::<RenewRequest>());
    let request = request.await.ok()?.ok()?;
    let renewed = renew(node, from, key, &request);
    stream.answer(renewed).await.ok()
}

/// The leader decides who comes in.
async fn pass_on(
    node: &Arc<Node>,
    request: JoinRequest,
    at: &str,
) -> Result<JoinResponse, Refusal> {
    let request = PeerRequest::Join {
        request,
        from: at.to_owned(),
    };
    match node
        .membership
        .peers
        .ask_leader(&request, PASS_ON_LIMIT)
        .await
    {
        Ok(PeerResponse::Joined(response)) => Ok(response),
        Err(PeerFault::Refused(refusal)) => Err(refusal),
        Err(fault) => Err(Refusal::new(RefusalCode::Busy, fault.to_string())),
        Ok(_) => Err(Refusal::new(
            RefusalCode::Busy,
            "the leader's answer is of another kind",
        )),
    }
}

/// Lets a node in, if its token, an approval, or its key says so. Only the leader may.
pub(super) async fn admit(
    node: &Arc<Node>,
    request: &JoinRequest,
    at: &str,
) -> Result<JoinResponse, Refusal> {
    let membership = &node.membership;
    // To the end: this node does not leave the convention meanwhile.
    let Ok(_stays) = node.mutual.moving.try_read() else {
        let text = "this node is about to be of another convention; ask again";
        return Err(Refusal::new(RefusalCode::Busy, text));
    };
    let wishes: JoinWishes = decode(JoinWishes::NAME, JoinWishes::VERSION, &request.document)
        .map_err(|error| Refusal::new(RefusalCode::BadRequest, error.to_string()))?;
    let key = Authority::request_key_hash(&request.certificate_request)
        .map_err(|fault| Refusal::new(RefusalCode::BadRequest, fault.to_string()))?;
    let admitted = judge(membership, request, &wishes, KeyDigest(key.0));
    let admitted = match admitted {
        Ok(Entry::Again) => Ok(()),
        Ok(Entry::By(token)) => commit(membership, &wishes, KeyDigest(key.0), token).await,
        Ok(Entry::SameUser) => match approve_user(membership, &wishes, KeyDigest(key.0)).await {
            Ok(()) => commit(membership, &wishes, KeyDigest(key.0), None).await,
            refused => refused,
        },
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = admitted {
        if refusal.code == RefusalCode::NotApproved {
            membership.admission.wait(KeyDigest(key.0), &wishes, at);
            membership
                .audit
                .note("join waits for approval", &wishes.name, &key.to_string());
        } else {
            let detail = format!("from {at}: {}", refusal.text);
            membership.audit.note("join refused", &wishes.name, &detail);
        }
        return Err(refusal);
    }
    membership.admission.table().remove(&KeyDigest(key.0));
    let response = issue(membership, request, wishes.node);
    response.inspect_err(|refusal| {
        tracing::error!(
            joiner = wishes.name,
            reason = refusal.text,
            "no certificate issued"
        );
    })
}

/// How somebody comes in.
enum Entry {
    /// It is a member with this key: an answer got lost.
    Again,
    /// By a token, or by an approval.
    By(Option<String>),
    /// It runs as the same user on the same host.
    SameUser,
}

fn judge(
    membership: &Membership,
    request: &JoinRequest,
    wishes: &JoinWishes,
    key: KeyDigest,
) -> Result<Entry, Refusal> {
    let token = request.token_id.as_deref();
    let secret = TokenSecret::from_bytes(&request.secret);
    if token == Some(same_user::TOKEN) {
        same_user::judge(&membership.identity(), request, wishes.asked, stamp())?;
        // It may have been let go before; whom an operator has removed stays so.
        let let_go = membership.registry.read(|state| {
            let removal = state.roll.removed.get(&wishes.node)?;
            let is_taken = state.members.values().any(|it| it.admission.key == key);
            let takes_back = (removal.left || removal.by == DEREGISTERED) && !is_taken;
            takes_back.then_some(removal.stamp)
        });
        match let_go {
            // Shown again by whoever has passed it on before.
            Some(gone) if wishes.asked < gone => {
                return Err(same_user::stale("was made before this node was let go"));
            }
            Some(_) => return Ok(Entry::SameUser),
            None => {}
        }
        return known(membership, wishes, key).map(|known| known.unwrap_or(Entry::SameUser));
    }
    if let Some(known) = known(membership, wishes, key)? {
        return Ok(known);
    }
    membership.registry.read(|state| match token {
        Some(id) => by_token(state, id, secret.as_ref(), stamp()),
        None if state.roll.approvals.contains_key(&key) => Ok(Entry::By(None)),
        None => Err(Refusal::new(
            RefusalCode::NotApproved,
            format!(
                "the request waits for approval: compare the key `{key}` and run `cluster \
                     approve {}` on a member",
                wishes.name
            ),
        )),
    })
}

/// Whether the joiner is a member already, or was one.
fn known(
    membership: &Membership,
    wishes: &JoinWishes,
    key: KeyDigest,
) -> Result<Option<Entry>, Refusal> {
    membership.registry.read(|state| {
        if let Some(removal) = state.roll.removed.get(&wishes.node) {
            return Err(endpoint::removed(&removal.name, removal.left));
        }
        let Some(member) = state.members.get(&wishes.node) else {
            return Ok(None);
        };
        if member.admission.key == key {
            return Ok(Some(Entry::Again));
        }
        let text = format!(
            "node id `{}` belongs to `{}`, which has another key; move `state/` of the joiner \
             away, so that it draws a fresh id",
            wishes.node, member.name
        );
        Err(Refusal::new(RefusalCode::NotAllowed, text))
    })
}

fn by_token(
    state: &State,
    id: &str,
    secret: Option<&TokenSecret>,
    now: Stamp,
) -> Result<Entry, Refusal> {
    let known = state.roll.tokens.get(id);
    let holds = known.zip(secret).filter(|(token, secret)| {
        // In the same time for all secrets.
        SecretHash(token.secret.0) == secret.hash()
    });
    let Some((token, _)) = holds else {
        return Err(refusal_of(&Refused::UnknownToken { id: id.to_owned() }));
    };
    if token.expires <= now {
        return Err(refusal_of(&Refused::TokenExpired { id: id.to_owned() }));
    }
    if token.uses_left == 0 {
        return Err(refusal_of(&Refused::TokenUsed { id: id.to_owned() }));
    }
    Ok(Entry::By(Some(id.to_owned())))
}

async fn commit(
    membership: &Membership,
    wishes: &JoinWishes,
    key: KeyDigest,
    token: Option<String>,
) -> Result<(), Refusal> {
    // From now on others depend on the log.
    let settled = membership.identity().settle();
    settled.map_err(|error| Refusal::new(RefusalCode::Busy, error.to_string()))?;
    own_key(membership).await?;
    let admit = MemberCommand::Admit {
        node: wishes.node,
        key,
        name: wishes.name.clone(),
        address: wishes.address.clone(),
        token,
        may_vote: wishes.may_vote,
        stamp: stamp(),
    };
    propose(membership, admit).await
}

/// The founder of a convention of one has no key in the registry yet.
async fn own_key(membership: &Membership) -> Result<(), Refusal> {
    let me = membership.me;
    let keyless = membership.registry.read(|state| {
        let member = state.members.get(&me);
        member.is_some_and(|member| member.admission.key == KeyDigest::default())
    });
    if !keyless {
        return Ok(());
    }
    let key = KeyDigest(membership.identity().key().hash().0);
    let admit = MemberCommand::Admit {
        node: me,
        key,
        name: membership.name.clone(),
        address: membership.address().to_owned(),
        token: None,
        may_vote: membership.may_vote(),
        stamp: stamp(),
    };
    propose(membership, admit).await
}

async fn approve_user(
    membership: &Membership,
    wishes: &JoinWishes,
    key: KeyDigest,
) -> Result<(), Refusal> {
    let by = "being of the same user";
    if is_removed(membership, wishes.node) {
        let take_back = MemberCommand::TakeBack {
            node: wishes.node,
            by: by.to_owned(),
            stamp: stamp(),
        };
        propose(membership, take_back).await?;
    }
    let approve = MemberCommand::Approve {
        key,
        name: wishes.name.clone(),
        by: by.to_owned(),
        stamp: stamp(),
    };
    propose(membership, approve).await
}

fn is_removed(membership: &Membership, node: NodeId) -> bool {
    let registry = &membership.registry;
    registry.read(|state| state.roll.removed.contains_key(&node))
}

async fn propose(membership: &Membership, command: MemberCommand) -> Result<(), Refusal> {
    match membership.registry.propose(Command::Member(command)).await {
        Ok((_, Outcome::Refused(refused))) => Err(refusal_of(&refused)),
        Ok(_) => Ok(()),
        Err(ProposeFailure::Unknown { reason }) => Err(Refusal::new(RefusalCode::Unknown, reason)),
        Err(failure) => Err(Refusal::new(RefusalCode::NotLeader, failure.to_string())),
    }
}

/// The registry's refusal, for the joiner.
fn refusal_of(refused: &Refused) -> Refusal {
    let (code, step) = match refused {
        Refused::UnknownToken { .. } => (
            RefusalCode::TokenUnknown,
            "copy the whole token into `convtoken.cfg`, or make another with `cluster invite`",
        ),
        Refused::TokenUsed { .. } => (
            RefusalCode::TokenUsed,
            "make another with `cluster invite`; `--uses N` lets several nodes in",
        ),
        Refused::TokenExpired { .. } => (
            RefusalCode::TokenExpired,
            "make another with `cluster invite`; `--ttl T` makes it last longer",
        ),
        Refused::NotApproved { .. } => (
            RefusalCode::NotApproved,
            "run `cluster approve` on a member",
        ),
        Refused::RemovedMember { .. } => (
            RefusalCode::Removed,
            "move the joiner's `state/` folder away, so that it draws a fresh id",
        ),
        _ => (
            RefusalCode::NotAllowed,
            "move the joiner's `state/` folder away, so that it draws a fresh id and key",
        ),
    };
    Refusal::new(code, format!("{refused}; {step}"))
}

fn issue(
    membership: &Membership,
    request: &JoinRequest,
    joiner: NodeId,
) -> Result<JoinResponse, Refusal> {
    let identity = membership.identity();
    let certificate = identity
        .issue(&request.certificate_request, joiner, stamp())
        .ok_or_else(no_authority)?
        .map_err(|fault| Refusal::new(RefusalCode::BadRequest, fault.to_string()))?;
    let convention = identity.convention().unwrap_or_default();
    let authority = identity.authority_key().ok_or_else(no_authority)?;
    let proof = match (request.token_id.as_deref(), identity.user_secret()) {
        (Some(same_user::TOKEN), Some(secret)) => {
            same_user::conventions(secret, authority, same_user::request_of(request)).to_vec()
        }
        _ => Vec::new(),
    };
    drop(identity);
    let known = known_voters(membership);
    let document = encode(
        JoinedTo::NAME,
        JoinedTo::VERSION,
        &JoinedTo { known, proof },
    );
    Ok(JoinResponse {
        convention,
        node: joiner,
        chain: certificate.to_der(),
        document: document
            .map_err(|error| Refusal::new(RefusalCode::BadRequest, error.to_string()))?,
    })
}

fn known_voters(membership: &Membership) -> Vec<(NodeId, String)> {
    let own = (membership.me, membership.address().to_owned());
    let others = membership.registry.read(|state| {
        let able = state.members.iter();
        let able = able.filter(|(node, m)| **node != membership.me && m.admission.may_vote);
        able.map(|(node, member)| (*node, member.address.clone()))
            .filter(|(_, address)| !address.is_empty())
            .take(TOLD_MAX)
            .collect::<Vec<_>>()
    });
    std::iter::once(own).chain(others).collect()
}

/// Gives a member a new certificate for the key that it has, whether or not the old one has
/// expired, or is of an authority that was replaced.
pub(super) fn renew(
    node: &Node,
    from: NodeId,
    key: KeyHash,
    request: &RenewRequest,
) -> Result<RenewResponse, Refusal> {
    let membership = &node.membership;
    let known = membership.registry.read(|state| {
        if let Some(removal) = state.roll.removed.get(&from) {
            return Err(endpoint::removed(&removal.name, removal.left));
        }
        let member = state.members.get(&from);
        Ok(member.map(|member| (member.name.clone(), member.admission.key)))
    })?;
    let Some((name, admitted)) = known else {
        let text = format!("node `{from}` is no member of this convention");
        return Err(Refusal::new(RefusalCode::UnknownNode, text));
    };
    let asked = Authority::request_key_hash(&request.certificate_request)
        .map_err(|fault| Refusal::new(RefusalCode::BadRequest, fault.to_string()))?;
    let is_admitted = admitted == KeyDigest::default() || admitted.0 == key.0;
    if asked != key || !is_admitted {
        membership
            .audit
            .note("renewal refused", &name, "it asked for another key");
        let text = "a certificate is renewed for the same key only; join anew for another";
        return Err(Refusal::new(RefusalCode::NotAllowed, text));
    }
    let identity = membership.identity();
    let issued = identity.issue(&request.certificate_request, from, stamp());
    let issued = issued
        .ok_or_else(no_authority)?
        .map_err(|fault| Refusal::new(RefusalCode::BadRequest, fault.to_string()))?;
    tracing::info!(member = %from, name, "certificate renewed");
    Ok(RenewResponse {
        chain: issued.to_der(),
    })
}

fn no_authority() -> Refusal {
    let text = "this node does not hold the key of the convention's authority; ask the leader";
    Refusal::new(RefusalCode::NotLeader, text)
}

/// How long a joiner may be silent on its connection.
const JOIN_IDLE_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection of a joiner lasts at most.
const JOIN_CONNECTION_LIMIT: Duration = Duration::from_secs(300);

/// How long the leader may take to answer a join that is passed on.
const PASS_ON_LIMIT: Duration = Duration::from_secs(8);

/// A joiner asks each second; after this it has given up.
const STILL_WAITING: Duration = Duration::from_secs(30);

/// Joiners shown as waiting; strangers must not fill the memory.
const WAITING_MAX: usize = 100;

/// Members told to a new one.
const TOLD_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use protocol::registry::Token;

    use transport::token::JoinToken;

    use super::*;

    fn state(uses_left: u32, expires: u64) -> (State, JoinToken) {
        let token = JoinToken::draw(KeyHash([1; 32])).unwrap();
        let mut state = State::default();
        let kept = Token {
            secret: KeyDigest(token.secret.hash().0),
            uses_left,
            expires: Stamp(expires),
            issued: Stamp(0),
            by: "ann".to_owned(),
            authority: KeyDigest([1; 32]),
        };
        state.roll.tokens.insert(token.id.to_string(), kept);
        (state, token)
    }

    fn judged(state: &State, id: &str, secret: &TokenSecret) -> Option<RefusalCode> {
        let judged = by_token(state, id, Some(secret), Stamp(100));
        judged.err().map(|refusal| refusal.code)
    }

    #[test]
    fn each_way_to_be_refused_has_a_code_of_its_own() {
        let (good, token) = state(1, 101);
        let id = token.id.to_string();
        assert_eq!(judged(&good, &id, &token.secret), None);
        let other = JoinToken::draw(KeyHash([1; 32])).unwrap();
        let unknown = Some(RefusalCode::TokenUnknown);
        assert_eq!(judged(&good, &id, &other.secret), unknown, "another secret");
        assert_eq!(judged(&good, &other.id.to_string(), &token.secret), unknown);
        let (used, token) = state(0, 101);
        let code = judged(&used, &token.id.to_string(), &token.secret);
        assert_eq!(code, Some(RefusalCode::TokenUsed));
        let (old, token) = state(1, 100);
        let code = judged(&old, &token.id.to_string(), &token.secret);
        assert_eq!(code, Some(RefusalCode::TokenExpired));
    }

    #[test]
    fn strangers_that_wait_take_a_bounded_room() {
        let admission = Admission::default();
        for number in 0..2 * WAITING_MAX {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(number as u64).to_le_bytes());
            let wishes = JoinWishes {
                node: NodeId(number as u64),
                name: "x".to_owned(),
                address: String::new(),
                may_vote: true,
                asked: Stamp(0),
            };
            admission.wait(KeyDigest(key), &wishes, "192.0.2.1");
        }
        assert_eq!(admission.waiting().len(), WAITING_MAX);
    }
}
