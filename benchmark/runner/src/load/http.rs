//! As much of an HTTP/1.1 client as polling needs: one request at a time on a kept connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use httparse::{EMPTY_HEADER, Status, parse_chunk_size};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::socket::dial;

const READ: usize = 16 * 1024;

pub(super) struct HttpConnection {
    socket: TcpStream,
    received: Vec<u8>,
}

impl HttpConnection {
    pub(super) fn open(server: SocketAddr) -> Result<Self> {
        Ok(Self { socket: dial(server)?, received: Vec::new() })
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// One request and its answer, waiting for both; the body.
    pub(super) fn ask(&mut self, request: &[u8], patience: Duration) -> Result<Vec<u8>> {
        self.socket.set_read_timeout(Some(patience))?;
        self.socket.write_all(request)?;
        let mut buffer = [0; READ];
        loop {
            if let Some(body) = self.take_response()? {
                return Ok(body);
            }
            let n = self.socket.read(&mut buffer).context("waiting for a response")?;
            ensure!(n > 0, "the server closed a connection");
            self.received.extend_from_slice(&buffer[..n]);
        }
    }

    /// Sends one request on a socket that has nothing else to send.
    pub(super) fn send(&self, request: &[u8]) -> Result<()> {
        let sent = send(&self.socket, request, SendFlags::NOSIGNAL)?;
        ensure!(sent == request.len(), "a request did not fit into an empty socket");
        Ok(())
    }

    /// Reads what there is; the body of the response once it is complete.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<Vec<u8>>> {
        loop {
            match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((_, 0)) => bail!("the server closed a connection"),
                Ok((_, n)) => {
                    self.received.extend_from_slice(&buffer[..n]);
                    if n < buffer.len() {
                        break;
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.take_response()
    }

    fn take_response(&mut self) -> Result<Option<Vec<u8>>> {
        if self.received.is_empty() {
            return Ok(None);
        }
        let Some((body, used)) = parse_response(&self.received)? else { return Ok(None) };
        self.received.drain(..used);
        Ok(Some(body))
    }
}

/// The body of the response `bytes` start with, and the length of the whole, once it is all there.
fn parse_response(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>> {
    let mut headers = [EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let Status::Complete(head) = response.parse(bytes)? else { return Ok(None) };
    ensure!(response.code == Some(200), "refused: {}", bytes.escape_ascii());
    let header =
        |name: &str| response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    if let Some(length) = header("content-length") {
        let length: usize = std::str::from_utf8(length)?.trim().parse()?;
        return Ok(bytes.get(head..head + length).map(|body| (body.to_vec(), head + length)));
    }
    ensure!(header("transfer-encoding").is_some(), "a response without a length: {}", bytes.escape_ascii());
    parse_chunks(&bytes[head..]).map(|found| found.map(|(body, used)| (body, head + used)))
}

/// RFC 9112, section 7.1, without trailers.
fn parse_chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Ok(Status::Complete((line, size))) = parse_chunk_size(&bytes[at..]) else {
            return Ok(None);
        };
        let data = at + line;
        let end = data + usize::try_from(size)?;
        let Some(chunk) = bytes.get(data..end) else { return Ok(None) };
        if bytes.len() < end + 2 {
            return Ok(None);
        }
        body.extend_from_slice(chunk);
        at = end + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_taken_when_its_last_byte_is_there() {
        let table: [(&[u8], &[u8]); 3] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nabc\r\n0\r\n\r\n",
                b"okabc",
            ),
        ];
        for (bytes, body) in table {
            for end in 0..bytes.len() {
                assert!(parse_response(&bytes[..end]).unwrap().is_none(), "{}", bytes[..end].escape_ascii());
            }
            let with_more = [bytes, b"HTTP"].concat();
            assert_eq!(parse_response(&with_more).unwrap(), Some((body.to_vec(), bytes.len())));
        }
    }

    #[test]
    fn anything_but_200_is_an_error() {
        assert!(parse_response(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").is_err());
    }
}
