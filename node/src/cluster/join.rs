//! The joiner's side: asks a listed node to be let in, each second, until it is.
//!
//! The token pins the key of the convention's authority; without one, an operator compares the
//! fingerprints that both sides show. The node's own key is kept before it is ever shown.
//! A node that was invited asks once, where the user's secret is known as well (`invited`).
//! Not here: what the convention makes of it (`admission`).

use std::sync::Arc;
use std::time::Duration;

use protocol::peer::{JoinWishes, JoinedTo};
use protocol::wire::{JoinRequest, JoinResponse, RefusalCode, Shape};
use protocol::{decode, encode};
use transport::PeerFault as Unaccepted;
use transport::endpoint::{DialFault, JoinTrust};
use transport::identity::KeyHash;
use transport::streams::AskFault;
use transport::token::JoinToken;

use super::membership::Membership;
use super::peers::{resolve, told};
use super::{listener, reachable, same_user};
use crate::agent::node::{Node, stamp};

/// What a joiner shows.
enum Proof {
    /// A token, with the authority that it pins.
    Token(Box<JoinToken>),
    /// That it runs as the same user on the same host.
    SameUser(Box<transport::token::TokenSecret>),
    /// The same, to the convention with this authority alone.
    Invited(Box<transport::token::TokenSecret>, KeyHash),
    /// Nothing: an operator approves it.
    Approval,
}

/// Asks until this node is a member, or it is shut down.
pub(crate) async fn run(node: &Arc<Node>) {
    let asking = async {
        loop {
            let again = match once(node).await {
                Ok(()) => return,
                Err(Refused { reason, again }) => {
                    let news = node.membership.trouble.send_if_modified(|trouble| {
                        let news = trouble.as_ref() != Some(&reason);
                        *trouble = Some(reason.clone());
                        news
                    });
                    if news {
                        tracing::warn!(reason, "not joined yet");
                    }
                    again
                }
            };
            tokio::time::sleep(again).await;
        }
    };
    let _stopped = node.shutdown.run_until_cancelled(asking).await;
}

/// Not joined this time.
struct Refused {
    reason: String,
    again: Duration,
}

/// Asks each listed node in turn.
async fn once(node: &Arc<Node>) -> Result<(), Refused> {
    let membership = &node.membership;
    let wait = |reason: String| Refused {
        reason,
        again: ASK_AGAIN,
    };
    let proof = proof(node).map_err(wait)?;
    let port = membership
        .endpoint
        .local_address()
        .map_or(0, |at| at.port());
    let mut listed_itself = false;
    let mut refused = None;
    let mut leaders: Vec<_> = node.settings.convention_leaders.iter().collect();
    if matches!(proof, Proof::SameUser(_)) {
        // Those of this user that run on this host answer at once; others may not be there.
        leaders.sort_by_key(|leader| !reachable::is_served(leader));
    }
    for leader in leaders {
        let address = reachable::dialled(leader);
        let remotes = resolve(&address).await;
        if remotes.is_empty() {
            refused.get_or_insert_with(|| {
                wait(format!("`{address}` (`convleader.cfg`) has no address"))
            });
        }
        for remote in remotes {
            if reachable::is_own(remote, membership.address(), port) {
                listed_itself = true;
                continue;
            }
            let mut asked = ask(membership, remote, &proof).await;
            if matches!(proof, Proof::SameUser(_)) && asked.as_ref().is_err_and(|(_, told)| *told) {
                // A convention of Director directories lets its operator decide.
                asked = match listener::other_user_at(remote) {
                    Some(user) => Err((wait(of_another(remote, user)), true)),
                    None => ask(membership, remote, &Proof::Approval).await,
                };
            }
            match asked {
                Ok(()) => return Ok(()),
                // One that decided says more than one that is not there.
                Err((fault, decided)) if decided => refused = Some(fault),
                Err((fault, _)) => {
                    refused.get_or_insert(fault);
                }
            }
        }
    }
    let mut refused = refused.unwrap_or_else(|| wait("`convleader.cfg` names nobody".to_owned()));
    if listed_itself {
        refused.reason.push_str(
            "; this node is listed itself: if no convention exists yet, found one on one of the \
             hosts with `director start --found`",
        );
    }
    Err(refused)
}

/// Read anew each time: an operator may have written another token.
fn proof(node: &Node) -> Result<Proof, String> {
    let written = node.directory.settings();
    let token = match written {
        Ok(read) => read.settings.join_token,
        Err(error) => return Err(error.to_string()),
    };
    if let Some(text) = token {
        let token = text
            .parse()
            .map_err(|fault: transport::token::TokenFault| format!("`convtoken.cfg`: {fault}"))?;
        return Ok(Proof::Token(Box::new(token)));
    }
    let same = node.membership.identity().user_secret().cloned();
    Ok(same.map_or(Proof::Approval, |secret| Proof::SameUser(Box::new(secret))))
}

/// Asks the node at one address; says whether a refusal is a decision.
async fn ask(
    membership: &Arc<Membership>,
    remote: std::net::SocketAddr,
    proof: &Proof,
) -> Result<(), (Refused, bool)> {
    let admitted = admitted(membership, remote, proof).await?;
    let credentials = membership
        .identity()
        .joined(&admitted.response, admitted.authority, stamp())
        .map_err(|error| broken(told(&error)))?;
    membership.credentials.swap(credentials);
    membership.peers.hint(admitted.known);
    let JoinResponse {
        convention, node, ..
    } = admitted.response;
    tracing::info!(%convention, %node, "joined");
    Ok(())
}

/// A convention has let this node in.
pub(super) struct Admitted {
    pub(super) response: JoinResponse,
    pub(super) authority: KeyHash,
    /// Where its members are asked.
    pub(super) known: Vec<String>,
}

/// Asks to be let into the convention of a node of this user, which has this authority and shows
/// that it knows the user's secret. Nothing is kept of it yet.
///
/// # Errors
/// Why it does not, for people, and whether it is worth asking again.
pub(super) async fn by_invitation(
    membership: &Arc<Membership>,
    address: &str,
    authority: KeyHash,
) -> Result<Admitted, (String, bool)> {
    let secret = membership.identity().user_secret().cloned();
    let secret = secret.ok_or_else(|| ("no user's secret counts here".to_owned(), false))?;
    let proof = Proof::Invited(Box::new(secret), authority);
    let mut reason = (format!("`{address}` has no address"), true);
    for remote in resolve(address).await {
        match admitted(membership, remote, &proof).await {
            Ok(admitted) => return Ok(admitted),
            Err((refused, _)) => reason = (refused.reason, refused.again < REFUSED_AGAIN),
        }
    }
    Err(reason)
}

async fn admitted(
    membership: &Arc<Membership>,
    remote: std::net::SocketAddr,
    proof: &Proof,
) -> Result<Admitted, (Refused, bool)> {
    let trust = match proof {
        Proof::Token(token) => JoinTrust::Pinned(token.authority),
        Proof::Invited(_, authority) => JoinTrust::Pinned(*authority),
        Proof::SameUser(_) | Proof::Approval => JoinTrust::Compared,
    };
    let dialled = membership.endpoint.dial_to_join(remote, trust).await;
    let connection = dialled.map_err(|fault| not_reached(remote, &fault))?;
    let authority = connection
        .authority()
        .ok_or_else(|| broken(format!("`{remote}` shows no authority")))?;
    let request = request(membership, proof, authority).map_err(broken)?;
    let answer = connection.ask::<_, JoinResponse>(&request, ASK_LIMIT).await;
    let response = match answer {
        Ok(response) => response,
        Err(AskFault::Refused(refusal)) => {
            let own = membership.identity().key().hash();
            return Err(turned_down(&refusal.text, refusal.code, own, authority));
        }
        Err(fault) => return Err(broken(format!("`{remote}`: {}", told(&fault)))),
    };
    let known: Result<JoinedTo, _> = decode(JoinedTo::NAME, JoinedTo::VERSION, &response.document);
    if let Proof::SameUser(secret) | Proof::Invited(secret, _) = proof {
        let shown = known.as_ref().map_or(&[][..], |known| &known.proof);
        let meant = same_user::request_of(&request);
        if !same_user::is_convention(secret, authority, meant, shown) {
            return Err(broken(format!(
                "`{remote}` lets this node in and does not prove that it runs as this user: \
                 another user's program may have taken the port; not joined"
            )));
        }
    }
    let told_of = known.map(|known| known.known).unwrap_or_default();
    let known = told_of.into_iter().map(|(_, address)| address).collect();
    Ok(Admitted {
        response,
        authority,
        known,
    })
}

/// It did not come to a decision.
fn broken(reason: String) -> (Refused, bool) {
    let again = ASK_AGAIN;
    (Refused { reason, again }, false)
}

fn request(
    membership: &Membership,
    proof: &Proof,
    authority: KeyHash,
) -> Result<JoinRequest, String> {
    let wishes = JoinWishes {
        node: membership.me,
        name: membership.name.clone(),
        address: membership.address().to_owned(),
        may_vote: membership.may_vote() && !matches!(proof, Proof::Invited(..)),
        asked: stamp(),
    };
    let key_request = membership.identity().key().request();
    let mut request = JoinRequest {
        token_id: None,
        secret: Vec::new(),
        certificate_request: key_request.map_err(|fault| told(&fault))?,
        document: encode(JoinWishes::NAME, JoinWishes::VERSION, &wishes)
            .map_err(|error| error.to_string())?,
    };
    match proof {
        Proof::Token(token) => {
            request.token_id = Some(token.id.to_string());
            request.secret = token.secret.bytes().to_vec();
        }
        Proof::SameUser(secret) | Proof::Invited(secret, _) => {
            request.token_id = Some(same_user::TOKEN.to_owned());
            let meant = same_user::request_of(&request);
            request.secret = same_user::joiners(secret, authority, meant).to_vec();
        }
        Proof::Approval => {}
    }
    Ok(request)
}

fn of_another(remote: std::net::SocketAddr, user: u32) -> String {
    format!(
        "`{remote}` belongs to user {user} of this host and does not prove to be this user's: \
         not joined; give it another port, or run the node in a Director directory with a token"
    )
}

fn not_reached(remote: std::net::SocketAddr, fault: &DialFault) -> (Refused, bool) {
    let (reason, decided) = match fault {
        DialFault::Peer {
            fault: Unaccepted::Pin { pinned },
            ..
        } => (
            format!(
                "`{remote}` is not the convention that the token is for: its authority is not \
                 `{pinned}`; check `convleader.cfg`, or write a token of that convention into \
                 `convtoken.cfg`, a fresh one of `cluster invite` if its authority's key was \
                 replaced since"
            ),
            true,
        ),
        DialFault::Refused { refusal, .. } => (
            format!("`{remote}` refuses: {}", refusal.text),
            matches!(
                refusal.code,
                RefusalCode::VersionTooOld | RefusalCode::VersionTooNew
            ),
        ),
        fault => (told(fault), false),
    };
    let again = if decided { REFUSED_AGAIN } else { ASK_AGAIN };
    (Refused { reason, again }, decided)
}

fn turned_down(text: &str, code: RefusalCode, own: KeyHash, authority: KeyHash) -> (Refused, bool) {
    let (reason, again) = match code {
        RefusalCode::NotApproved => (
            format!(
                "waiting for approval: this node's key is `{own}`, the convention's authority \
                 `{authority}`; compare both, then run `cluster approve` on a member"
            ),
            ASK_AGAIN,
        ),
        RefusalCode::Busy | RefusalCode::NotLeader | RefusalCode::Unknown => {
            (text.to_owned(), ASK_AGAIN)
        }
        _ => (text.to_owned(), REFUSED_AGAIN),
    };
    (Refused { reason, again }, true)
}

/// Wait before the listed nodes are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Wait after a refusal that only an operator can change.
const REFUSED_AGAIN: Duration = Duration::from_secs(3);

/// How long an answer may take: the one asked may have to find the leader.
const ASK_LIMIT: Duration = Duration::from_secs(10);
