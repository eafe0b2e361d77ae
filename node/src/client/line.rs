//! The connection as a stream of frames, read and written in one place.
//!
//! Reading goes on while something waits to be written, so that two full buffers never block each
//! other. Not here: what frames mean (`session`).

use std::io;
use std::path::Path;

use protocol::{Frame, FrameReader, HeaderError};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Bytes asked of the system at once.
const READ_BYTES: usize = 64 << 10;

/// One connection to a node.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    reader: FrameReader,
    scratch: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    // Nothing can be written any more; what the node said last may still be read.
    half_closed: bool,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum LineEnd {
    Closed,
    Failed(io::Error),
}

impl Line {
    pub(super) async fn dial(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path).await?;
        let me = rustix::process::geteuid().as_raw();
        let owner = stream.peer_cred()?.uid();
        // What lay at the path may have been swapped since it was looked at.
        if me != 0 && owner != 0 && owner != me {
            let text = format!("`{}` is a socket of user {owner}", path.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        Ok(Self {
            stream,
            reader: FrameReader::default(),
            scratch: vec![0; READ_BYTES],
            out: Vec::new(),
            written: 0,
            half_closed: false,
        })
    }

    /// Puts a frame behind what waits to be written.
    pub(super) fn queue(&mut self, frame: &Frame) {
        if !self.half_closed {
            frame.write_to(&mut self.out);
        }
    }

    /// Bytes that wait to be written.
    pub(super) fn unwritten(&self) -> usize {
        self.out.len() - self.written
    }

    /// The next whole frame that has arrived.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, HeaderError> {
        self.reader.next_frame()
    }

    /// Waits until something could be read or written, and has done so.
    ///
    /// # Cancel safety
    /// Nothing is lost when the call is dropped.
    pub(super) async fn turn(&mut self) -> Result<(), LineEnd> {
        let interest = if self.unwritten() > 0 {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        let ready = self.stream.ready(interest).await.map_err(LineEnd::Failed)?;
        if ready.is_writable() && self.unwritten() > 0 {
            self.write();
        }
        if ready.is_readable() {
            self.read()?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), LineEnd> {
        match self.stream.try_read(&mut self.scratch) {
            Ok(0) => Err(LineEnd::Closed),
            Ok(n_bytes) => {
                self.reader
                    .extend(self.scratch.get(..n_bytes).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(LineEnd::Closed),
            Err(error) => Err(LineEnd::Failed(error)),
        }
    }

    fn write(&mut self) {
        let rest = self.out.get(self.written..).unwrap_or_default();
        match self.stream.try_write(rest) {
            Ok(n_bytes) => self.written += n_bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_gone) => {
                self.half_closed = true;
                self.written = self.out.len();
            }
        }
        if self.unwritten() == 0 {
            self.out.clear();
            self.written = 0;
        }
    }
}
