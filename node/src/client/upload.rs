//! Upload of a package in front of the request that names it.

use protocol::control::{Request, Response};
use protocol::limits::UPLOAD_CHUNK_BYTES;
use protocol::{Frame, FrameKind, Header, PayloadKind};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::session::{Client, ClientError};

impl Client {
    /// Uploads `package` and then sends `request` (a `Load`) under the same number.
    ///
    /// `sent` is told of the bytes of each piece. At most two pieces are in memory.
    ///
    /// # Errors
    /// [`ClientError`]; after `Source` the node waits for a rest that never comes: drop the client.
    pub async fn upload(
        &mut self,
        mut package: impl AsyncRead + Unpin,
        request: Request,
        mut sent: impl FnMut(u64),
    ) -> Result<Response, ClientError> {
        let sequence = self.next_request();
        let mut n_pieces = 0_u64;
        loop {
            let piece = piece(&mut package).await.map_err(ClientError::Source)?;
            // An empty package is one piece too: the node shall judge it.
            if piece.is_empty() && n_pieces > 0 {
                break;
            }
            n_pieces += 1;
            let (n_bytes, is_last) = (piece.len() as u64, piece.len() < UPLOAD_CHUNK_BYTES);
            let mut header = Header::control(FrameKind::Upload, sequence);
            header.payload_kind = PayloadKind::Raw;
            self.line.queue(&Frame::new(header, piece));
            self.flush().await?;
            sent(n_bytes);
            if let Some(early) = self.answer_to(sequence) {
                return early;
            }
            if is_last {
                break;
            }
        }
        self.finish_request(sequence, &request).await
    }
}

/// The next piece, full unless it is the last.
async fn piece(package: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(UPLOAD_CHUNK_BYTES);
    let mut rest = package.take(UPLOAD_CHUNK_BYTES as u64);
    rest.read_to_end(&mut piece).await?;
    Ok(piece)
}
