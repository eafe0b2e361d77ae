//! The getter's side of one package: how far it has come, the running hash, and one pull.

use std::future::Future;
use std::time::Duration;

use protocol::SourceHash;
use protocol::limits::TRANSFER_CHUNK_BYTES;
use protocol::wire::{Answer, Refusal, RefusalCode, TransferRequest, TransferResponse};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::pace::{Pace, Window};
use crate::connection::Connection;
use crate::streams::{BiStream, StreamFault};

/// Where the bytes go: appended in order, or begun anew when they turned out to be wrong.
pub trait Sink: AsyncWrite + Unpin + Send {
    /// Forgets all that was written; the next byte is the first.
    ///
    /// # Errors
    /// What the system says.
    fn restart(&mut self) -> impl Future<Output = std::io::Result<()>> + Send;
}

/// What is wanted, and what is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// SHA-256 of the package.
    pub hash: SourceHash,
    /// Its length, where the registry says; a provider that announces another is at fault.
    pub length_bytes: Option<u64>,
    /// Longest package that this node takes.
    pub max_bytes: u64,
    /// How long a provider may send nothing.
    pub stall: Duration,
    /// How slow it may be.
    pub pace: Pace,
}

/// One pull that did not bring the whole package.
#[derive(Debug, thiserror::Error)]
pub enum PullFault {
    /// The provider does not hold it, or is busy.
    #[error("the provider refuses")]
    Refused(#[source] Refusal),
    /// The provider announces more than this node takes.
    #[error("the provider announces {length_bytes} bytes; at most {max_bytes} are taken")]
    TooLong {
        /// Announced.
        length_bytes: u64,
        /// Taken at most.
        max_bytes: u64,
    },
    /// The provider announces another length than the one known.
    #[error("the provider announces {length_bytes} bytes where {known_bytes} are known")]
    OtherLength {
        /// Announced.
        length_bytes: u64,
        /// Known from the registry or an earlier provider.
        known_bytes: u64,
    },
    /// The provider sends more than it announced.
    #[error("the provider sends more than the {length_bytes} bytes that it announced")]
    Endless {
        /// Announced.
        length_bytes: u64,
    },
    /// The provider went away; what has come is kept.
    #[error("the provider went away at byte {at_bytes}")]
    Interrupted {
        /// How far it has come.
        at_bytes: u64,
        /// How it ended.
        #[source]
        source: StreamFault,
    },
    /// The provider sends nothing; what has come is kept.
    #[error("the provider sent nothing for {} ms at byte {at_bytes}", stall.as_millis())]
    Stalled {
        /// How far it has come.
        at_bytes: u64,
        /// How long nothing came.
        stall: Duration,
    },
    /// The provider sends next to nothing; what has come is kept.
    #[error(
        "the provider sent less than {} bytes in {} ms, up to byte {at_bytes}",
        pace.bytes,
        pace.within.as_millis()
    )]
    Slow {
        /// How far it has come.
        at_bytes: u64,
        /// What was to come at least.
        pace: Pace,
    },
    /// The bytes are not those that were wanted.
    #[error("the bytes have hash `{found}`, `{wanted}` is wanted")]
    Corrupt {
        /// Wanted.
        wanted: SourceHash,
        /// What came.
        found: SourceHash,
    },
    /// This node cannot store them.
    #[error("the bytes cannot be stored at byte {at_bytes}")]
    Store {
        /// How far it has come.
        at_bytes: u64,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// A package on its way: how far it has come, from whomever.
#[derive(Debug, Clone)]
pub struct Getter {
    wanted: Wanted,
    /// Of the registry, or of the first provider.
    length_bytes: Option<u64>,
    received_bytes: u64,
    running: Sha256,
}

impl Getter {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            length_bytes: wanted.length_bytes,
            received_bytes: 0,
            running: Sha256::new(),
        }
    }

    /// Takes up what an earlier run of the node had stored; the sink stands behind it.
    ///
    /// # Errors
    /// [`PullFault::TooLong`] when more is stored than is wanted; [`PullFault::Store`].
    pub async fn take_up<R: AsyncRead + Unpin + Send>(
        &mut self,
        stored: &mut R,
    ) -> Result<(), PullFault> {
        let max_bytes = self.length_bytes.unwrap_or(self.wanted.max_bytes);
        let mut chunk = Vec::with_capacity(TRANSFER_CHUNK_BYTES);
        loop {
            chunk.clear();
            let mut piece = (&mut *stored).take(TRANSFER_CHUNK_BYTES as u64);
            let read = piece.read_to_end(&mut chunk).await;
            let read = read.map_err(|source| self.store_fault(source))?;
            if read == 0 {
                return Ok(());
            }
            self.count(&chunk);
            if self.received_bytes > max_bytes {
                return Err(PullFault::TooLong {
                    length_bytes: self.received_bytes,
                    max_bytes,
                });
            }
        }
    }

    /// What is wanted.
    #[must_use]
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// How many bytes have come.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// How many there are in all, once known.
    #[must_use]
    pub fn length_bytes(&self) -> Option<u64> {
        self.length_bytes
    }

    /// Begins anew: what has come is wrong.
    ///
    /// # Errors
    /// [`PullFault::Store`].
    pub async fn restart<S: Sink>(&mut self, sink: &mut S) -> Result<(), PullFault> {
        let restarted = sink.restart().await;
        restarted.map_err(|source| self.store_fault(source))?;
        *self = Self::new(self.wanted);
        Ok(())
    }

    /// Pulls what is missing from this provider into the sink and checks the whole.
    ///
    /// # Errors
    /// [`PullFault`]. After `Interrupted`, `Stalled`, `Slow` and `Refused` a pull from another
    /// provider goes on where this one stopped; after `Corrupt` only [`restart`](Self::restart)
    /// helps.
    ///
    /// # Cancel safety
    /// None: bytes may have reached the sink that are not counted. Drop the getter as well.
    pub async fn pull<S: Sink>(
        &mut self,
        provider: &Connection,
        sink: &mut S,
    ) -> Result<(), PullFault> {
        let mut stream = self.within_stall(open(provider, self.request())).await?;
        let announced = self.within_stall(announcement(&mut stream)).await?;
        let pulled = match self.agree(announced) {
            Ok(length_bytes) => self.fill(&mut stream, sink, length_bytes).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = pulled {
            stream.receiver.give_up(RefusalCode::BadRequest);
            return Err(fault);
        }
        let flushed = sink.flush().await;
        flushed.map_err(|source| self.store_fault(source))?;
        self.check()
    }

    fn request(&self) -> TransferRequest {
        TransferRequest {
            hash: self.wanted.hash,
            offset_bytes: self.received_bytes,
        }
    }

    /// The cap counts before anything is read, and a length stays what it was.
    fn agree(&mut self, announced: Answer<TransferResponse>) -> Result<u64, PullFault> {
        let length_bytes = match announced {
            Answer::Done(response) => response.length_bytes,
            Answer::Refused(refusal) => return Err(PullFault::Refused(refusal)),
        };
        if length_bytes > self.wanted.max_bytes {
            return Err(PullFault::TooLong {
                length_bytes,
                max_bytes: self.wanted.max_bytes,
            });
        }
        // What an earlier provider announced binds nobody as long as none of its bytes are here.
        let known = match self.received_bytes {
            0 => self.wanted.length_bytes,
            _ => self.length_bytes,
        };
        match known {
            Some(known_bytes) if known_bytes != length_bytes => Err(PullFault::OtherLength {
                length_bytes,
                known_bytes,
            }),
            None if length_bytes < self.received_bytes => Err(PullFault::OtherLength {
                length_bytes,
                known_bytes: self.received_bytes,
            }),
            _ => {
                self.length_bytes = Some(length_bytes);
                Ok(length_bytes)
            }
        }
    }

    async fn fill<S: Sink>(
        &mut self,
        stream: &mut BiStream,
        sink: &mut S,
        length_bytes: u64,
    ) -> Result<(), PullFault> {
        let mut window = Window::new(self.wanted.pace);
        loop {
            let begun = Instant::now();
            let piece = stream.receiver.receive_raw(TRANSFER_CHUNK_BYTES);
            let piece = match timeout(window.left(), self.within_stall(piece)).await {
                Ok(piece) => piece?,
                Err(_elapsed) => {
                    return Err(PullFault::Slow {
                        at_bytes: self.received_bytes,
                        pace: self.wanted.pace,
                    });
                }
            };
            let piece = piece.as_ref();
            window.came(piece.len() as u64, begun.elapsed());
            let left = length_bytes - self.received_bytes;
            if piece.len() as u64 > left {
                return Err(PullFault::Endless { length_bytes });
            }
            if piece.is_empty() {
                return if left == 0 {
                    Ok(())
                } else {
                    Err(self.interrupted(StreamFault::Cut))
                };
            }
            let stored = sink.write_all(piece).await;
            stored.map_err(|source| self.store_fault(source))?;
            self.count(piece);
        }
    }

    fn check(&self) -> Result<(), PullFault> {
        let found = SourceHash(self.running.clone().finalize().into());
        let wanted = self.wanted.hash;
        if found == wanted {
            Ok(())
        } else {
            Err(PullFault::Corrupt { wanted, found })
        }
    }

    fn count(&mut self, piece: &[u8]) {
        self.running.update(piece);
        self.received_bytes += piece.len() as u64;
    }

    async fn within_stall<T>(
        &self,
        step: impl Future<Output = Result<T, StreamFault>>,
    ) -> Result<T, PullFault> {
        let stall = self.wanted.stall;
        match timeout(stall, step).await {
            Ok(done) => done.map_err(|source| self.interrupted(source)),
            Err(_elapsed) => Err(PullFault::Stalled {
                at_bytes: self.received_bytes,
                stall,
            }),
        }
    }

    fn interrupted(&self, source: StreamFault) -> PullFault {
        PullFault::Interrupted {
            at_bytes: self.received_bytes,
            source,
        }
    }

    fn store_fault(&self, source: std::io::Error) -> PullFault {
        PullFault::Store {
            at_bytes: self.received_bytes,
            source,
        }
    }
}

async fn open(provider: &Connection, request: TransferRequest) -> Result<BiStream, StreamFault> {
    let opened = provider.open().await;
    let mut stream = opened.map_err(StreamFault::Connection)?;
    stream.sender.send(&request).await?;
    stream.sender.finish();
    Ok(stream)
}

async fn announcement(stream: &mut BiStream) -> Result<Answer<TransferResponse>, StreamFault> {
    stream.receiver.receive().await?.ok_or(StreamFault::Cut)
}
