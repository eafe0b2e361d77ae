//! Keeps this node's certificate fresh: at half its life over a live connection, and after it has
//! expired on `join/1`. Connections live on; new ones show the new certificate.

use std::sync::Arc;
use std::time::Duration;

use protocol::peer::{PeerRequest, PeerResponse};
use protocol::wire::{RefusalCode, RenewRequest, RenewResponse};
use rand::Rng;
use transport::Alpn;
use transport::streams::AskFault;

use super::membership::Membership;
use super::peers::{PeerFault, resolve, told};
use crate::agent::node::{Node, stamp};

/// Renews whenever it is due, until shutdown.
pub(crate) async fn run(node: Arc<Node>) {
    let membership = &node.membership;
    let jitter = rand::rng().random_range(0..=1000);
    loop {
        let renewal = membership.identity().renewal(jitter);
        let now = stamp();
        let pause = match renewal {
            // Not a member yet.
            None => LOOK_AGAIN,
            Some((due, _)) if now < due => Duration::from_millis(due.0 - now.0).min(CLOCK_AGAIN),
            Some((_, end)) => match renew(membership, now > end).await {
                Ok(()) => {
                    tracing::info!("certificate renewed");
                    LOOK_AGAIN
                }
                Err(reason) => {
                    tracing::warn!(reason, "the certificate is not renewed yet");
                    if now > end { LOOK_AGAIN } else { RETRY }
                }
            },
        };
        let paused = node.shutdown.run_until_cancelled(tokio::time::sleep(pause));
        if paused.await.is_none() {
            return;
        }
    }
}

async fn renew(membership: &Membership, expired: bool) -> Result<(), String> {
    let own = membership.identity().renew_own(stamp());
    if own.map_err(|error| told(&error))? {
        let credentials = membership.identity().credentials();
        if let Some(credentials) = credentials.map_err(|error| told(&error))? {
            membership.credentials.swap(credentials);
        }
        return Ok(());
    }
    let request = membership.identity().key().request();
    let request = RenewRequest {
        certificate_request: request.map_err(|fault| told(&fault))?,
    };
    let response = if expired {
        by_join(membership, &request).await?
    } else {
        by_request(membership, request).await?
    };
    let credentials = membership
        .identity()
        .renewed(response.chain, stamp())
        .map_err(|error| told(&error))?;
    membership.credentials.swap(credentials);
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

/// With an expired certificate nobody says who leads: each known address is tried.
async fn by_join(membership: &Membership, request: &RenewRequest) -> Result<RenewResponse, String> {
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
                Ok(response) => return Ok(response),
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
