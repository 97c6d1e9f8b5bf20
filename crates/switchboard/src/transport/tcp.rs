//! Reads and writes of plain TCP sockets, in fewer steps than tokio's own.
//!
//! The socket is asked first, as nearly every read and write succeeds: tokio is asked to wake a task only where
//! one has to wait. The system is called without the C library, whose functions `recv` and `send` may be
//! cancelled with their thread: in a process of several threads that costs a hundred instructions for a message.

use std::io;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A plain TCP socket, for a write that does not wait.
pub(super) struct Tcp<'a>(pub(super) &'a TcpStream);

impl Tcp<'_> {
    /// Writes one slice, and no others.
    ///
    /// # Errors
    /// Those of the write. `WouldBlock` also for several slices.
    #[inline]
    pub(super) fn try_send(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [bytes] => send(self.0, bytes),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Reads once. `Ok(0)`: the peer has closed its end.
#[inline]
pub(super) fn poll_recv(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        let done = once(stream, Interest::READABLE, buffer.len(), || {
            let (n, _) = rustix::net::recv(stream, &mut *buffer, RecvFlags::empty())?;
            Ok(n)
        });
        match done {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(stream.poll_read_ready(cx))?,
            done => return Poll::Ready(done),
        }
    }
}

/// Writes once.
#[inline]
pub(super) fn poll_send(stream: &TcpStream, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        match send(stream, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(stream.poll_write_ready(cx))?,
            done => return Poll::Ready(done),
        }
    }
}

#[inline(always)]
fn send(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    once(stream, Interest::WRITABLE, bytes.len(), || {
        Ok(rustix::net::send(stream, bytes, SendFlags::NOSIGNAL)?)
    })
}

/// Calls the system once, if the socket is ready as far as tokio knows.
///
/// A call that moves a part of `most` bytes has found the end of what the socket has, or takes: the reactor
/// reports the next change (epoll and kqueue do, as tokio uses them). So the socket counts as not ready, which
/// saves the call that would fail. tokio's own reads and writes do the same.
#[inline(always)]
#[expect(clippy::inline_always, reason = "measured: 25 instructions of each read and write")]
fn once(
    stream: &TcpStream,
    interest: Interest,
    most: usize,
    call: impl FnOnce() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut part = 0;
    let done = stream.try_io(interest, || {
        let n = call()?;
        if 0 < n && n < most {
            part = n;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(n)
    });
    if part > 0 { Ok(part) } else { done }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, theirs) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (ours.unwrap(), theirs.unwrap().0)
    }

    fn no_wait() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[tokio::test]
    async fn a_socket_is_read_as_often_as_it_has_bytes() {
        let (ours, mut peer) = pair().await;
        let mut buffer = [0; 4];
        for text in [&b"abc"[..], b"de", b"whole, and more than that", b"f"] {
            assert!(poll_recv(&ours, &mut no_wait(), &mut buffer).is_pending(), "nothing has come");
            peer.write_all(text).await.unwrap();
            let mut got = Vec::new();
            while got.len() < text.len() {
                let n = poll_fn(|cx| poll_recv(&ours, cx, &mut buffer)).await.unwrap();
                got.extend_from_slice(&buffer[..n]);
            }
            assert_eq!(got, text);
        }
        drop(peer);
        assert_eq!(poll_fn(|cx| poll_recv(&ours, cx, &mut buffer)).await.unwrap(), 0);
        assert_eq!(poll_fn(|cx| poll_recv(&ours, cx, &mut buffer)).await.unwrap(), 0, "and so again");
    }

    #[tokio::test]
    async fn the_peers_end_behind_its_last_bytes_is_not_missed() {
        let (ours, mut peer) = pair().await;
        peer.write_all(b"last").await.unwrap();
        drop(peer);
        let mut buffer = [0; 64];
        assert_eq!(poll_fn(|cx| poll_recv(&ours, cx, &mut buffer)).await.unwrap(), 4);
        assert_eq!(poll_fn(|cx| poll_recv(&ours, cx, &mut buffer)).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_socket_that_is_full_takes_the_rest_when_it_has_room() {
        const ALL: usize = 32 << 20;
        let (ours, mut peer) = pair().await;
        let bytes: Vec<u8> = (0..ALL).map(|at| (at % 251) as u8).collect();
        let mut written = 0;
        while let Poll::Ready(n) = poll_send(&ours, &mut no_wait(), &bytes[written..]) {
            written += n.unwrap();
            assert!(written < ALL, "no socket's buffers are so large");
        }
        let mut got = vec![0; ALL];
        let rest = async {
            while written < ALL {
                written += poll_fn(|cx| poll_send(&ours, cx, &bytes[written..])).await.unwrap();
            }
        };
        let (read, ()) = tokio::join!(peer.read_exact(&mut got), rest);
        read.unwrap();
        assert!(got == bytes);
    }

    #[tokio::test]
    async fn a_write_to_a_peer_that_has_gone_is_an_error_and_no_signal() {
        let (ours, peer) = pair().await;
        // A peer that closes with unread bytes resets the connection.
        poll_fn(|cx| poll_send(&ours, cx, b"unread")).await.unwrap();
        peer.readable().await.unwrap();
        drop(peer);
        let mut buffer = [0; 1];
        let read = poll_fn(|cx| poll_recv(&ours, cx, &mut buffer)).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let written = poll_fn(|cx| poll_send(&ours, cx, b"more")).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
