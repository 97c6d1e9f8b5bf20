//! A tunnel through an HTTP proxy (RFC 9110 §9.3.6).

use bytes::BytesMut;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::ProxyError;
use crate::{
    Error,
    client::Rejection,
    handshake::{head::HeadLimits, write_request_headers},
    stream::read_response,
};

/// Asks for a connection to `authority`, as `host:port`.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    authority: &str,
    headers: &HeaderMap,
    limits: HeadLimits,
) -> Result<(), ProxyError> {
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    write_request_headers(&mut request, headers);
    request.extend_from_slice(b"\r\n");
    io.write_all(&request).await?;
    io.flush().await?;
    let mut buffer = BytesMut::new();
    let response = match read_response(io, &mut buffer, limits).await {
        Ok(response) => response?,
        Err(Error::Io(error)) => return Err(error.into()),
        Err(_) => return Err(ProxyError::Ended),
    };
    if !response.status.is_success() {
        return Err(ProxyError::Refused(Box::new(Rejection::read(response, buffer, io).await)));
    }
    // The server's first byte comes after ours, with TLS and with a WebSocket.
    if buffer.is_empty() { Ok(()) } else { Err(ProxyError::Trailing) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    /// The result of a request to a proxy that sends `answer` and nothing more, and the request that the
    /// proxy got.
    async fn talk(answer: &[u8]) -> (Result<(), ProxyError>, String) {
        let (mut ours, mut proxy) = duplex(4096);
        proxy.write_all(answer).await.unwrap();
        proxy.shutdown().await.unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("proxy-authorization", HeaderValue::from_static("Basic bWU6c2VjcmV0"));
        let result = open(&mut ours, "a.example:443", &headers, HeadLimits::DEFAULT).await;
        drop(ours);
        let mut told = String::new();
        proxy.read_to_string(&mut told).await.unwrap();
        (result, told)
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_is_asked_for_and_any_2xx_opens_it() {
        for status in ["200 Connection established", "200", "204 x"] {
            let (result, told) = talk(format!("HTTP/1.1 {status}\r\nVia: x\r\n\r\n").as_bytes()).await;
            assert!(result.is_ok(), "{status}: {result:?}");
            assert_eq!(
                told,
                "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\
                 Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_says_why() {
        let (result, _) =
            talk(b"HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\nContent-Length: 5\r\n\r\nwho??").await;
        let Err(ProxyError::Refused(answer)) = &result else { panic!("{result:?}") };
        assert_eq!((answer.status().as_u16(), answer.body.as_slice()), (407, b"who??".as_slice()));
        assert_eq!(answer.headers()["proxy-authenticate"], "Basic");
        let table: [(&[u8], &str); 4] = [
            (b"", "ended the connection"),
            (b"HTTP/1.1 200 OK\r\n", "ended the connection"),
            (b"HTTP/1.1 200 OK\r\n\r\nx", "it sent bytes behind its answer"),
            (b"\x05\xff\r\n\r\n", "the head is malformed: HTTP version"),
        ];
        for (answer, why) in table {
            let error = talk(answer).await.0.unwrap_err().to_string();
            assert!(error.contains(why), "{answer:?}: {error}");
        }
        let flood = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; 4000]].concat();
        let (mut ours, mut proxy) = duplex(8192);
        proxy.write_all(&flood).await.unwrap();
        let limits = HeadLimits::default().max_bytes(1000);
        let result = open(&mut ours, "a:1", &HeaderMap::new(), limits).await;
        assert!(matches!(result, Err(ProxyError::Head(_))), "{result:?}");
    }
}
