//! A tunnel through an HTTP proxy (RFC 9110 §9.3.6).

use bytes::BytesMut;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::ProxyError;
use crate::{
    Error,
    client::Rejection,
    handshake::{
        head::{Head, HeadLimits},
        write_headers,
    },
    stream::read_head,
};

/// Asks for a connection to `authority`, as `host:port`.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    authority: &str,
    headers: &HeaderMap,
    limits: HeadLimits,
) -> Result<(), ProxyError> {
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    write_headers(&mut request, headers);
    request.extend_from_slice(b"\r\n");
    io.write_all(&request).await?;
    io.flush().await?;
    let mut buffer = BytesMut::new();
    let mut head = Head::new(limits);
    let response = match read_head(io, &mut buffer, |bytes| head.response(bytes)).await {
        Ok(response) => response?,
        Err(Error::Io(error)) => return Err(error.into()),
        Err(_) => return Err(ProxyError::Io(std::io::ErrorKind::UnexpectedEof.into())),
    };
    if !response.status.is_success() {
        return Err(ProxyError::Refused(Box::new(Rejection::read(response, buffer, io).await)));
    }
    // Neither TLS nor a WebSocket begins with the server.
    if buffer.is_empty() { Ok(()) } else { Err(ProxyError::Trailing) }
}
