//! Replaces TLS if the Cargo feature `tls` is off. These types have no values.

use std::io;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::stream::Stream;

#[derive(Debug)]
pub(crate) enum Tls {}

#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {}

impl HandshakeError {
    pub(crate) fn reason(&self) -> &'static str {
        match *self {}
    }
}

pub(crate) enum Acceptor {}

impl Acceptor {
    #[expect(clippy::needless_pass_by_value, reason = "as its twin")]
    pub(crate) fn new(tls: Tls, _: bool) -> io::Result<Self> {
        match tls {}
    }

    pub(crate) fn plain_too(&self) -> bool {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "as its twin")]
    pub(crate) async fn accept(&self, _: Stream, _: Bytes) -> Result<Stream, HandshakeError> {
        match *self {}
    }

    pub(crate) fn reload_interval(&self) -> Option<Duration> {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "as its twin")]
    pub(crate) async fn keep_fresh(_: Weak<Self>, _: Duration) {}
}

pub(crate) enum TlsStream {}

pub(crate) enum DetachedTls {}

impl TlsStream {
    pub(crate) fn speaks_http2(&self) -> bool {
        match *self {}
    }

    pub(crate) fn keep_alive(&self) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn is_read_closed(&self) -> bool {
        match *self {}
    }

    pub(crate) fn detach(self) -> io::Result<DetachedTls> {
        match self {}
    }
}

impl DetachedTls {
    pub(crate) fn attach(self) -> io::Result<TlsStream> {
        match self {}
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match *self.get_mut() {}
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self.get_mut() {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self.get_mut() {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self.get_mut() {}
    }
}
