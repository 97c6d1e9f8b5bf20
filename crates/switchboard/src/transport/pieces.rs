//! The byte stream of a streaming answer whose connection another server has: writes are pieces of a body.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::sync::mpsc::{OwnedPermit, Sender};

/// Bytes of one piece at most.
const PIECE_BYTES: usize = 64 << 10;

type Waiting<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// Writes pieces of a body. A read gives nothing, until the client leaves.
pub(crate) struct Pieces {
    /// `None`: the body is at its end.
    sender: Option<Sender<Bytes>>,
    /// Waits for room, where there is none.
    room: Waiting<Result<OwnedPermit<Bytes>, SendError<()>>>,
    /// Waits until the client leaves.
    gone: Waiting<()>,
}

impl Pieces {
    pub(crate) fn new(sender: Sender<Bytes>) -> Self {
        Self { sender: Some(sender), room: None, gone: None }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(sender) = &this.sender else { return Poll::Ready(Ok(())) };
        let gone = this.gone.get_or_insert_with(|| {
            let sender = sender.clone();
            Box::pin(async move { sender.closed().await })
        });
        ready!(gone.as_mut().poll(cx));
        // A future that is done is not asked again.
        (this.sender, this.room, this.gone) = (None, None, None);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(sender) = &this.sender else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let piece = bytes.get(..PIECE_BYTES).unwrap_or(bytes);
        if this.room.is_none() {
            match sender.try_reserve() {
                Ok(room) => {
                    room.send(Bytes::copy_from_slice(piece));
                    return Poll::Ready(Ok(piece.len()));
                }
                Err(TrySendError::Full(())) => {}
                Err(TrySendError::Closed(())) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let room = this.room.get_or_insert_with(|| Box::pin(sender.clone().reserve_owned()));
        let reserved = ready!(room.as_mut().poll(cx));
        this.room = None;
        let room = reserved.map_err(|_gone| io::Error::from(io::ErrorKind::BrokenPipe))?;
        room.send(Bytes::copy_from_slice(piece));
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the body. Its pieces are sent meanwhile, and after the stream is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        (this.sender, this.room, this.gone) = (None, None, None);
        Poll::Ready(Ok(()))
    }
}
