//! A package from several providers: goes on with the next when one fails, and finds the liar.
//!
//! Bytes of several providers are mixed only while nobody is suspect. Once the whole has a wrong
//! hash, the getter begins anew and takes it from one provider at a time, whole, so that the next
//! wrong hash names its culprit.

use std::future::Future;

use protocol::SourceHash;

use super::getter::{Getter, PullFault, Sink};
use crate::connection::Connection;

/// Who is asked next: the node's choice, by load, nearness and what it remembers of each.
pub trait Providers: Send {
    /// Connects to the next provider; `None` when no more is to be tried.
    ///
    /// The same provider may come again later, after a refusal as busy for instance; how often
    /// and after what delay is up to the implementation, which has to end.
    fn next(&mut self) -> impl Future<Output = Option<Connection>> + Send;

    /// Learns how the pull from the provider that `next` gave last has failed.
    ///
    /// `proven` says that the fault is this provider's alone: after a wrong hash of bytes of
    /// several providers it is false.
    fn failed(&mut self, fault: &PullFault, proven: bool);
}

/// No provider brought the package.
#[derive(Debug, thiserror::Error)]
pub enum GetFault {
    /// All that could be asked have failed.
    #[error("no provider brought package `{}`: {tried} tried", hash.short())]
    Exhausted {
        /// What was wanted.
        hash: SourceHash,
        /// How many pulls failed.
        tried: usize,
        /// Why the last one failed, if any was tried.
        #[source]
        last: Option<PullFault>,
    },
    /// This node cannot store it; another provider would not help.
    #[error("the package cannot be stored")]
    Store(#[source] PullFault),
}

/// Pulls the package from one provider after the other until it is whole and right.
///
/// Answers its length.
///
/// # Errors
/// [`GetFault`].
pub async fn get<P: Providers, S: Sink>(
    getter: &mut Getter,
    providers: &mut P,
    sink: &mut S,
) -> Result<u64, GetFault> {
    // Bytes taken up from an earlier run count as somebody else's.
    let mut mixed = getter.received_bytes() > 0;
    let mut suspect = false;
    let mut tried = 0;
    let mut last = None;
    while let Some(provider) = providers.next().await {
        let before = getter.received_bytes();
        let mut outcome = getter.pull(&provider, sink).await;
        if matches!(outcome, Err(PullFault::OtherLength { .. })) && !is_length_known(getter) {
            // Either this provider or the one before is wrong about the length: hear it alone.
            getter.restart(sink).await.map_err(GetFault::Store)?;
            (mixed, suspect) = (false, true);
            outcome = getter.pull(&provider, sink).await;
        }
        let fault = match outcome {
            Ok(()) => return Ok(getter.received_bytes()),
            Err(fault @ PullFault::Store { .. }) => return Err(GetFault::Store(fault)),
            Err(fault) => fault,
        };
        tried += 1;
        let corrupt = matches!(fault, PullFault::Corrupt { .. });
        providers.failed(&fault, !(mixed && corrupt));
        mixed |= getter.received_bytes() > before;
        // The bytes of one that sends without end may be wrong from the first on.
        suspect |= corrupt || matches!(fault, PullFault::Endless { .. });
        if suspect {
            getter.restart(sink).await.map_err(GetFault::Store)?;
            mixed = false;
        }
        last = Some(fault);
    }
    Err(GetFault::Exhausted {
        hash: getter.wanted().hash,
        tried,
        last,
    })
}

fn is_length_known(getter: &Getter) -> bool {
    getter.wanted().length_bytes.is_some()
}
