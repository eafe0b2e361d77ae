//! The first exchange of a connection: which protocol version both speak, and who they are.
//!
//! # Format
//! On the first bi stream, each way one frame (length u32 little-endian, then the envelope) with
//! `HelloRequest` and `HelloResponse`, whose shapes never change.

use protocol::limits::HELLO_BYTES_MAX;
use protocol::wire::{About, HelloRequest, HelloResponse, Refusal, RefusalCode};

use crate::endpoint::Versions;
use crate::streams::{read_shape, write_shape};

/// The exchange did not come about, seen by the dialler.
#[derive(Debug)]
pub(crate) enum GreetFault {
    /// The connection ended; its close says why.
    Ended,
    /// The answer makes no sense.
    Bad(Refusal),
}

/// The dialler's part.
pub(crate) async fn greet(
    quic: &quinn::Connection,
    versions: Versions,
    about: &About,
) -> Result<HelloResponse, GreetFault> {
    let (mut sender, mut receiver) = quic.open_bi().await.map_err(|_closed| GreetFault::Ended)?;
    let request = HelloRequest {
        oldest: versions.oldest,
        newest: versions.newest,
        about: about.clone(),
        more: Vec::new(),
    };
    write_shape(&mut sender, &request)
        .await
        .map_err(|_closed| GreetFault::Ended)?;
    // Finishing fails only on a stream that the peer stopped; its close comes right after.
    let _stopped = sender.finish();
    let response: HelloResponse = match read_shape(&mut receiver, HELLO_BYTES_MAX).await {
        Ok(Some(response)) => response,
        Ok(None) => return Err(GreetFault::Ended),
        Err(fault) if fault.is_end() => return Err(GreetFault::Ended),
        Err(fault) => return Err(GreetFault::Bad(bad_hello(&fault))),
    };
    if (versions.oldest..=versions.newest).contains(&response.version) {
        Ok(response)
    } else {
        let text = format!("the peer chose version {}, not offered", response.version);
        let refusal = Refusal::new(RefusalCode::BadHello, text);
        Err(GreetFault::Bad(refusal))
    }
}

/// The acceptor's first part: what the dialler says.
pub(crate) async fn read_request(
    receiver: &mut quinn::RecvStream,
) -> Result<HelloRequest, Refusal> {
    match read_shape(receiver, HELLO_BYTES_MAX).await {
        Ok(Some(request)) => Ok(request),
        Ok(None) => Err(bad_hello(&"it is empty")),
        Err(fault) => Err(bad_hello(&fault)),
    }
}

/// The newest version that both speak.
pub(crate) fn agree(request: &HelloRequest, ours: Versions) -> Result<u16, Refusal> {
    let theirs = format!("{} to {}", request.oldest, request.newest);
    let speaks = format!("{} to {}", ours.oldest, ours.newest);
    if request.newest < ours.oldest {
        let text = format!(
            "the dialler speaks versions {theirs}, this node {speaks}: upgrade the dialler"
        );
        return Err(Refusal::new(RefusalCode::VersionTooOld, text));
    }
    if request.oldest > ours.newest {
        let text =
            format!("the dialler speaks versions {theirs}, this node {speaks}: upgrade this node");
        return Err(Refusal::new(RefusalCode::VersionTooNew, text));
    }
    if request.oldest > request.newest {
        let text = format!("versions {theirs} are no range");
        return Err(Refusal::new(RefusalCode::BadHello, text));
    }
    Ok(request.newest.min(ours.newest))
}

/// The acceptor's second part.
pub(crate) async fn respond(
    sender: &mut quinn::SendStream,
    version: u16,
    about: &About,
) -> Result<(), Refusal> {
    let response = HelloResponse {
        version,
        about: about.clone(),
        more: Vec::new(),
    };
    write_shape(sender, &response)
        .await
        .map_err(|fault| bad_hello(&fault))?;
    let _stopped = sender.finish();
    Ok(())
}

fn bad_hello(cause: &dyn std::fmt::Display) -> Refusal {
    let text = format!("the first document of the connection cannot be read: {cause}");
    Refusal::new(RefusalCode::BadHello, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(oldest: u16, newest: u16) -> HelloRequest {
        HelloRequest {
            oldest,
            newest,
            about: About::default(),
            more: Vec::new(),
        }
    }

    #[test]
    fn the_newest_common_version_is_spoken() {
        let ours = Versions {
            oldest: 4,
            newest: 5,
        };
        let agreed =
            |oldest, newest| agree(&offer(oldest, newest), ours).map_err(|refusal| refusal.code);
        assert_eq!(agreed(4, 5), Ok(5));
        assert_eq!(agreed(3, 4), Ok(4));
        assert_eq!(agreed(5, 6), Ok(5));
        assert_eq!(agreed(2, 3), Err(RefusalCode::VersionTooOld));
        assert_eq!(agreed(6, 7), Err(RefusalCode::VersionTooNew));
        assert_eq!(agreed(5, 4), Err(RefusalCode::BadHello));
    }
}
