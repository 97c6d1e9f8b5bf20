//! The end of a handshake of hixie-76 (`draft-hixie-thewebsocketprotocol-76`, 5.2): the client sends eight
//! bytes behind the head of its request, perhaps only when it, or a proxy before it, has seen the head of our
//! answer; the body of the answer is made with them.

use std::io;

use bytes::Bytes;
use switchboard_websocket::drafts::hixie::{Challenge, KEY_BODY_BYTES};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The answer to a request of the drafts hixie-75 and -76.
pub(crate) struct DraftAnswer {
    /// The head byte for byte: clients compare it.
    pub(crate) head: Vec<u8>,
    /// What the answer's body is made with.
    pub(crate) challenge: Option<Challenge>,
}

/// Reads the eight bytes, the first of which may be in `unread` already, and answers them. What follows them
/// is not read.
pub(crate) async fn prove<S>(stream: &mut S, challenge: Challenge, unread: &mut Bytes) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut body = [0; KEY_BODY_BYTES];
    let begun = unread.split_to(unread.len().min(KEY_BODY_BYTES));
    let (there, rest) = body.split_at_mut(begun.len());
    there.copy_from_slice(&begun);
    stream.read_exact(rest).await?;
    stream.write_all(&challenge.answer(body)).await?;
    stream.flush().await
}
