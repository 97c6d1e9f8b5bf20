//! A TLS connection as a byte stream. It borrows its buffers from its thread, so an idle connection is not
//! much larger than rustls's own state.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::acceptor::HTTP2;
use super::session::{MAX_RECORD, Progress, Session};
use crate::transport::stream::{Detached, Stream};

/// The number of bytes of records in one read.
const READ: usize = 128 << 10;

/// The greatest number of plain bytes that are encrypted and written at once: four records (RFC 8446, 5.1).
const WRITE: usize = 64 << 10;

/// The buffers of a thread.
#[derive(Default)]
struct Scratch {
    /// Records that were read.
    read: Vec<u8>,
    /// Records to be written. Empty between uses.
    write: Vec<u8>,
    /// Slices copied together. Empty between uses.
    plain: Vec<u8>,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

fn with_scratch<T>(f: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = f(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}

/// A TLS connection that our listener accepted.
pub(crate) struct TlsStream {
    socket: Stream,
    session: Session,
    /// Plain bytes for which the reader's buffer had no room.
    unread: Vec<u8>,
    /// The socket has no more bytes.
    at_end: bool,
}

/// A TLS connection on its way from one worker to another.
pub(crate) struct DetachedTls {
    socket: Detached,
    session: Session,
    unread: Vec<u8>,
    at_end: bool,
}

impl TlsStream {
    pub(super) fn new(socket: Stream, session: Session) -> Self {
        Self { socket, session, unread: Vec::new(), at_end: false }
    }

    /// Does the handshake. `begun` holds the bytes that were read already.
    pub(super) async fn handshake(&mut self, begun: Bytes) -> io::Result<()> {
        let mut progress = self.take(&mut Vec::from(begun));
        loop {
            // Our records, including an alert, are sent first.
            std::future::poll_fn(|cx| self.poll_outgoing(cx)).await?;
            match progress? {
                Progress::Handshaking => {}
                Progress::Ready => return Ok(()),
                Progress::PeerClosed => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            progress = std::future::poll_fn(|cx| self.poll_records(cx)).await;
            if self.at_end {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub(super) fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.session.connection().handshake_kind()
    }

    /// Whether the handshake agreed on HTTP/2 (ALPN).
    pub(crate) fn speaks_http2(&self) -> bool {
        self.session.connection().alpn_protocol() == Some(HTTP2)
    }

    /// Whether the peer has closed its end, as far as the reactor knows without a read.
    pub(crate) fn is_read_closed(&self) -> bool {
        self.session.is_peer_closed() || self.socket.is_read_closed()
    }

    /// The same as [`Stream::keep_alive`].
    pub(crate) fn keep_alive(&self) -> io::Result<()> {
        self.socket.keep_alive()
    }

    /// Removes the stream from this thread's reactor.
    pub(crate) fn detach(self) -> io::Result<DetachedTls> {
        let Self { socket, session, unread, at_end } = self;
        Ok(DetachedTls { socket: socket.detach()?, session, unread, at_end })
    }

    /// Decrypts records that were read before. Their plain bytes wait in `unread`.
    fn take(&mut self, records: &mut [u8]) -> io::Result<Progress> {
        let Self { session, unread, .. } = self;
        session.read(records, |plain| unread.extend_from_slice(plain)).map_err(broken)
    }

    /// Reads from the socket once, for the handshake.
    fn poll_records(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Progress>> {
        self.poll_records_into(cx, &mut ReadBuf::new(&mut []))
    }

    /// Reads from the socket once. Puts plain bytes into `buffer` as far as there is room.
    fn poll_records_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Progress>> {
        with_scratch(|scratch| {
            let waiting = self.session.waiting();
            let begun = waiting.len();
            // Reads not much more than there is room for.
            let end = begun + buffer.remaining().clamp(MAX_RECORD, READ);
            if scratch.read.len() < end {
                scratch.read.resize(end, 0);
            }
            let records = scratch.read.get_mut(..end).unwrap_or_default();
            let (head, rest) = records.split_at_mut(begun);
            let read = ready!(self.socket.poll_recv(cx, rest))?;
            if read == 0 {
                self.at_end = true;
                return Poll::Ready(Ok(Progress::PeerClosed));
            }
            head.copy_from_slice(&self.session.take_waiting());
            let records = records.get_mut(..begun + read).unwrap_or_default();
            let Self { session, unread, .. } = self;
            let progress = session.read(records, |plain| {
                let (fits, more) = plain.split_at(plain.len().min(buffer.remaining()));
                buffer.put_slice(fits);
                unread.extend_from_slice(more);
            });
            Poll::Ready(progress.map_err(broken))
        })
    }

    /// Writes the records that wait to be sent.
    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outgoing = self.session.outgoing();
        if outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut written = 0;
        let result = loop {
            let Some(rest) = outgoing.get(written..).filter(|rest| !rest.is_empty()) else {
                break Poll::Ready(Ok(()));
            };
            match Pin::new(&mut self.socket).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => written += n,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        // Keeps only the bytes that must wait.
        *outgoing = outgoing.get(written..).unwrap_or_default().to_vec();
        result
    }

    /// Encrypts and writes. Returns the number of plain bytes taken. If the socket does not take all of their
    /// records, the rest waits for a [flush](AsyncWrite::poll_flush).
    fn poll_write_plain(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_outgoing(cx))?;
        with_scratch(|scratch| {
            // No records wait. New ones are written into the thread's buffer, and only the unsent rest is
            // copied into a buffer of this stream.
            std::mem::swap(self.session.outgoing(), &mut scratch.write);
            let taken = self.encrypt(slices, &mut scratch.plain);
            let mut written = 0;
            let mut result = taken.map_err(broken);
            if result.is_ok() {
                let records = self.session.outgoing();
                while let Some(rest) = records.get(written..).filter(|rest| !rest.is_empty()) {
                    match Pin::new(&mut self.socket).poll_write(cx, rest) {
                        Poll::Ready(Ok(n)) if n > 0 => written += n,
                        Poll::Ready(Ok(_)) => {
                            result = Err(io::ErrorKind::WriteZero.into());
                            break;
                        }
                        Poll::Ready(Err(error)) => {
                            result = Err(error);
                            break;
                        }
                        Poll::Pending => break,
                    }
                }
            }
            std::mem::swap(self.session.outgoing(), &mut scratch.write);
            *self.session.outgoing() = scratch.write.get(written..).unwrap_or_default().to_vec();
            scratch.write.clear();
            Poll::Ready(result)
        })
    }

    /// Encrypts as much as one write takes.
    fn encrypt(&mut self, slices: &[io::IoSlice<'_>], plain: &mut Vec<u8>) -> Result<usize, rustls::Error> {
        match slices {
            [] => Ok(0),
            [one] => {
                let one = one.get(..one.len().min(WRITE)).unwrap_or_default();
                self.session.write(one)?;
                Ok(one.len())
            }
            several => {
                plain.clear();
                // Slices are copied together: a record for each would cost more than the copy.
                for slice in several {
                    let room = WRITE - plain.len();
                    plain.extend_from_slice(slice.get(..slice.len().min(room)).unwrap_or_default());
                    if plain.len() == WRITE {
                        break;
                    }
                }
                self.session.write(plain)?;
                Ok(plain.len())
            }
        }
    }
}

impl DetachedTls {
    /// Registers the stream with this thread's reactor.
    pub(crate) fn attach(self) -> io::Result<TlsStream> {
        let Self { socket, session, unread, at_end } = self;
        Ok(TlsStream { socket: socket.attach()?, session, unread, at_end })
    }
}

/// An error of rustls inside an I/O error, from which it can be recovered.
fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl AsyncRead for TlsStream {
    /// A stream that ends without `close_notify` counts as ended in order: each protocol inside TLS knows
    /// itself whether its data is complete.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.unread.is_empty() {
            let n = this.unread.len().min(buffer.remaining());
            buffer.put_slice(this.unread.get(..n).unwrap_or_default());
            this.unread = this.unread.get(n..).unwrap_or_default().to_vec();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        while buffer.filled().len() == before {
            if this.at_end || this.session.is_peer_closed() || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let read = ready!(this.poll_records_into(cx, buffer));
            // A record from rustls itself, such as an alert. If the socket does not take it now, it goes out
            // with the next write.
            if let Poll::Ready(Err(error)) = this.poll_outgoing(cx) {
                read.and(Err(error))?;
            } else {
                read?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_plain(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_plain(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_outgoing(cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.session.close().map_err(broken)?;
        ready!(this.poll_outgoing(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}
