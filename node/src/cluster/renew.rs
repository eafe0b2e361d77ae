//! Keeps this node's certificate fresh: at half its life, or once another authority issues, over a
//! live connection; after it has expired, or its authority has retired, on `join/1`. Connections
//! live on; new ones show the new certificate.

use std::sync::Arc;
use std::time::Duration;

use protocol::peer::{PeerRequest, PeerResponse};
use protocol::wire::{RefusalCode, RenewRequest, RenewResponse};
use rand::Rng;
use tokio::sync::watch;
use transport::Alpn;
use transport::streams::AskFault;

use super::membership::Membership;
use super::peers::{PeerFault, resolve, told};
use crate::agent::node::{Node, stamp};

/// Renews whenever it is due, until shutdown.
pub(crate) async fn run(node: Arc<Node>) {
    let membership = &node.membership;
    let jitter = rand::rng().random_range(0..=1000);
    let mut retired = membership.peers.rumours().retired().subscribe();
    loop {
        let (renewal, is_outdated) = {
            let identity = membership.identity();
            (identity.renewal(jitter), identity.is_outdated())
        };
        let is_retired = *retired.borrow_and_update();
        let now = stamp();
        let pause = match renewal {
            // Not a member yet.
            None => LOOK_AGAIN,
            Some((due, _)) if now < due && !is_outdated && !is_retired => {
                Duration::from_millis(due.0 - now.0).min(CLOCK_AGAIN)
            }
            Some((_, end)) => {
                let way = match (is_retired, now > end) {
                    (true, _) => Way::Retired,
                    (false, true) => Way::Expired,
                    (false, false) => Way::Live,
                };
                let renewed = renew(&node, way).await;
                // Whoever is still refused for it is told so again.
                membership.peers.rumours().retired().send_replace(false);
                match renewed {
                    Ok(()) => {
                        membership.certified.send_modify(|times| *times += 1);
                        tracing::info!("certificate renewed");
                        LOOK_AGAIN
                    }
                    Err(reason) => {
                        tracing::warn!(reason, "the certificate is not renewed yet");
                        let is_urgent = way != Way::Live || is_outdated;
                        if is_urgent { LOOK_AGAIN } else { RETRY }
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = node.shutdown.cancelled() => return,
            () = membership.renewal.notified() => {}
            _told = told_of_retirement(&mut retired, pause) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Waits until somebody says that this node's authority has retired; not at once after it was said
/// before, whoever says it.
async fn told_of_retirement(retired: &mut watch::Receiver<bool>, pause: Duration) {
    tokio::time::sleep(LOOK_AGAIN.min(pause)).await;
    drop(retired.wait_for(|told| *told).await);
}

/// How this node comes to a new certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The present one is good.
    Live,
    /// It has expired.
    Expired,
    /// Others say that its authority was replaced: also where this node knows nothing of it.
    Retired,
}

async fn renew(node: &Node, way: Way) -> Result<(), String> {
    let membership = &node.membership;
    // A key that was replaced still issues, as far as its holder knows.
    if way != Way::Retired {
        let own = membership.identity().renew_own(stamp());
        if own.map_err(|error| told(&error))? {
            let credentials = membership.identity().credentials();
            if let Some(credentials) = credentials.map_err(|error| told(&error))? {
                membership.credentials.swap(credentials);
            }
            return Ok(());
        }
    }
    let request = membership.identity().key().request();
    let request = RenewRequest {
        certificate_request: request.map_err(|fault| told(&fault))?,
    };
    match way {
        Way::Live => {
            let response = by_request(membership, request).await?;
            take(membership, response, way)
        }
        Way::Expired | Way::Retired => by_join(membership, &request, way).await,
    }
}

fn take(membership: &Membership, response: RenewResponse, way: Way) -> Result<(), String> {
    let before = membership.identity().certified_by();
    let renewed = membership.identity().renewed(response.chain, stamp());
    let credentials = renewed.map_err(|error| told(&error))?;
    let after = membership.identity().certified_by();
    membership.credentials.swap(credentials);
    if way == Way::Retired && before == after {
        return Err("the node that was asked knows nothing of another authority".to_owned());
    }
    Ok(())
}

async fn by_request(
    membership: &Membership,
    request: RenewRequest,
) -> Result<RenewResponse, String> {
    let request = PeerRequest::Renew(request);
    match membership.peers.ask_leader(&request, ASK_LIMIT).await {
        Ok(PeerResponse::Renewed(response)) => Ok(response),
        Ok(_) => Err("the leader's answer is of another kind".to_owned()),
        Err(PeerFault::Refused(refusal)) => Err(refusal.text),
        Err(fault) => Err(fault.to_string()),
    }
}

/// With such a certificate nobody says who leads: each known address is tried.
async fn by_join(membership: &Membership, request: &RenewRequest, way: Way) -> Result<(), String> {
    let mut reason = "no address of the convention is known".to_owned();
    let mut addresses = membership.registry.read(|state| {
        let members = state.members.iter().filter(|(id, _)| **id != membership.me);
        members
            .map(|(_, member)| member.address.clone())
            .collect::<Vec<_>>()
    });
    addresses.extend(membership.peers.hints());
    addresses.sort_unstable();
    addresses.dedup();
    for address in addresses.iter().filter(|address| !address.is_empty()) {
        for remote in resolve(address).await {
            let connection = match membership.endpoint.dial(remote, None, Alpn::Join).await {
                Ok(connection) => connection,
                Err(fault) => {
                    membership.peers.note_removal(&fault);
                    reason = told(&fault);
                    continue;
                }
            };
            match connection.ask::<_, RenewResponse>(request, ASK_LIMIT).await {
                Ok(response) => match take(membership, response, way) {
                    Ok(()) => return Ok(()),
                    Err(fault) => reason = fault,
                },
                Err(AskFault::Refused(refusal)) => {
                    if let (RefusalCode::Removed, Some(by)) = (refusal.code, connection.peer()) {
                        membership.peers.told_of_removal(by.node, &refusal.text);
                    }
                    reason = refusal.text;
                }
                Err(fault) => reason = told(&fault),
            }
        }
    }
    Err(reason)
}

/// While there is nothing to renew yet, or the certificate has expired.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The wall clock may jump.
const CLOCK_AGAIN: Duration = Duration::from_secs(3600);

/// Half the life remains: there is time.
const RETRY: Duration = Duration::from_secs(30);

/// How long an answer may take.
const ASK_LIMIT: Duration = Duration::from_secs(10);
