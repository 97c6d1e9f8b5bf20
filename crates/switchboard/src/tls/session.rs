//! One end of a TLS conversation, without I/O: records in, plain bytes out, and the other way. It holds no buffer while nothing is on its way:
//! rustls's buffered connections keep one of 4 KiB each.

use std::mem;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};

/// A record with its header and what encryption adds (RFC 8446, 5.2).
pub(super) const MAX_RECORD: usize = 5 + (16 << 10) + 256;

/// What may wait to be a whole record, or a whole message of the handshake, which may be spread over several.
const MAX_WAITING: usize = 64 << 10;

/// How a read went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The handshake waits for more bytes.
    Handshaking,
    /// Plain bytes may be written.
    Ready,
    /// The peer sends no more.
    PeerClosed,
}

pub(super) struct Session {
    connection: UnbufferedServerConnection,
    /// Records that have not come whole.
    waiting: Vec<u8>,
    /// Records to be sent.
    outgoing: Vec<u8>,
    peer_closed: bool,
    close_sent: bool,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            waiting: Vec::new(),
            outgoing: Vec::new(),
            peer_closed: false,
            close_sent: false,
        })
    }

    pub(super) fn connection(&self) -> &UnbufferedServerConnection {
        &self.connection
    }

    /// Records that are to be sent before anything else is written.
    pub(super) fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    pub(super) fn is_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// What waits for more to come.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    /// Takes what has waited for more to come: it is to stand before the next bytes that [`read`](Self::read) is given.
    pub(super) fn take_waiting(&mut self) -> Vec<u8> {
        mem::take(&mut self.waiting)
    }

    /// Reads records, the end of which may be missing; gives their plain bytes to `plain`. Behind an error there may be an alert in
    /// [`outgoing`](Self::outgoing).
    pub(super) fn read(
        &mut self,
        bytes: &mut [u8],
        mut plain: impl FnMut(&[u8]),
    ) -> Result<Progress, rustls::Error> {
        let (read, result) = self.process(bytes, &mut plain, |_, _| ());
        if let Err(error) = result {
            // The error again, and before it the alert.
            let _same = self.process(&mut [], &mut plain, |_, _| ());
            return Err(error);
        }
        let rest = bytes.get(read..).unwrap_or_default();
        if self.peer_closed {
            return Ok(Progress::PeerClosed);
        }
        if rest.len() > MAX_WAITING {
            return Err(rustls::Error::General("a message of the handshake is too long".to_owned()));
        }
        self.waiting = rest.to_vec();
        Ok(if self.connection.is_handshaking() { Progress::Handshaking } else { Progress::Ready })
    }

    /// Encrypts plain bytes behind what is to be sent. Must not be called before the handshake is done.
    pub(super) fn write(&mut self, plain: &[u8]) -> Result<(), rustls::Error> {
        self.send(|mut traffic, out| {
            // Room for records of 16 KiB each, and what rustls may have to say first.
            let room = plain.len() + (plain.len() / (16 << 10) + 1) * 64 + 64;
            grow_and(out, room, |room| traffic.encrypt(plain, room))
        })
    }

    /// Says that nothing more will be written. Once.
    pub(super) fn close(&mut self) -> Result<(), rustls::Error> {
        if mem::replace(&mut self.close_sent, true) || self.connection.is_handshaking() {
            return Ok(());
        }
        self.send(|mut traffic, out| grow_and(out, 64, |room| traffic.queue_close_notify(room)))
    }

    fn send(
        &mut self,
        send: impl FnOnce(WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> Result<(), EncryptError>,
    ) -> Result<(), rustls::Error> {
        // rustls counts on seeing what waits at each call.
        let mut waiting = self.take_waiting();
        let mut sent = None;
        let (read, result) =
            self.process(&mut waiting, &mut |_| {}, |traffic, out| sent = Some(send(traffic, out)));
        waiting.drain(..read.min(waiting.len()));
        self.waiting = waiting;
        result?;
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(rustls::Error::EncryptError),
        }
    }

    /// Lets rustls do what it can with `bytes`, up to where it wants more; there, `ready` may write. Returns how many bytes are done with.
    fn process(
        &mut self,
        bytes: &mut [u8],
        plain: &mut impl FnMut(&[u8]),
        ready: impl FnOnce(WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>),
    ) -> (usize, Result<(), rustls::Error>) {
        let mut read = 0;
        loop {
            let rest = bytes.get_mut(read..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(rest);
            let done = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    match traffic.next_record() {
                        Some(Ok(record)) => plain(record.payload),
                        Some(Err(error)) => break Some(Err(error)),
                        None => break None,
                    }
                },
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.outgoing, |room| data.encode(room));
                    None
                }
                // It is in `outgoing`, and goes out before anything else.
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    None
                }
                Ok(ConnectionState::WriteTraffic(traffic)) => {
                    ready(traffic, &mut self.outgoing);
                    return (read + discard, Ok(()));
                }
                Ok(ConnectionState::Closed) => {
                    self.peer_closed = true;
                    Some(Ok(()))
                }
                // Early data is not offered.
                Ok(_) => Some(Ok(())),
                Err(error) => Some(Err(error)),
            };
            read += discard;
            if let Some(result) = done {
                return (read, result);
            }
        }
    }
}

/// Appends what `encode` writes, with as much room as it asks for.
fn encode(out: &mut Vec<u8>, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let at = out.len();
    let mut room = 0;
    loop {
        out.resize(at + room, 0);
        match encode(out.get_mut(at..).unwrap_or_default()) {
            Ok(written) => return out.truncate(at + written),
            Err(EncodeError::InsufficientSize(error)) if error.required_size > room => {
                room = error.required_size;
            }
            Err(_) => return out.truncate(at),
        }
    }
}

/// Appends what `encrypt` writes, with this much room, or as much as it asks for.
fn grow_and(
    out: &mut Vec<u8>,
    mut room: usize,
    mut encrypt: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), EncryptError> {
    let at = out.len();
    loop {
        out.resize(at + room, 0);
        match encrypt(out.get_mut(at..).unwrap_or_default()) {
            Ok(written) => {
                out.truncate(at + written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(error)) if error.required_size > room => {
                room = error.required_size;
            }
            Err(error) => {
                out.truncate(at);
                return Err(error);
            }
        }
    }
}
