//! One end of a TLS connection, without I/O: it turns records into plain bytes, and plain bytes into records.
//! An idle session holds no buffer; each of rustls's buffered connections keeps one of 4 KiB.

use std::mem;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};

/// The greatest size of a record with its header and the bytes that encryption adds (RFC 8446, 5.2).
pub(super) const MAX_RECORD: usize = 5 + (16 << 10) + 256;

/// The greatest number of bytes that may wait for the rest of a record, or of a handshake message, which may
/// span several records.
const MAX_WAITING: usize = 64 << 10;

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The handshake waits for more bytes.
    Handshaking,
    /// Plain bytes may be written now.
    Ready,
    /// The peer sends no more bytes.
    PeerClosed,
}

pub(super) struct Session {
    connection: UnbufferedServerConnection,
    /// Records that have not arrived completely.
    waiting: Vec<u8>,
    /// Records to be sent.
    outgoing: Vec<u8>,
    peer_closed: bool,
    close_sent: bool,
    /// rustls has failed, and must not be called again.
    failed: bool,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            waiting: Vec::new(),
            outgoing: Vec::new(),
            peer_closed: false,
            close_sent: false,
            failed: false,
        })
    }

    pub(super) fn connection(&self) -> &UnbufferedServerConnection {
        &self.connection
    }

    /// Records that must be sent before any other bytes.
    pub(super) fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    pub(super) fn is_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// The bytes that wait for the rest of their record.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    /// Takes the bytes that wait for the rest of their record. The caller must put them before the next bytes
    /// that it passes to [`read`](Self::read).
    pub(super) fn take_waiting(&mut self) -> Vec<u8> {
        mem::take(&mut self.waiting)
    }

    /// Reads records; the last one may be incomplete. Appends their plain bytes to `plain`. After an error
    /// there may be an alert in [`outgoing`](Self::outgoing).
    pub(super) fn read(
        &mut self,
        bytes: &mut [u8],
        mut plain: impl FnMut(&[u8]),
    ) -> Result<Progress, rustls::Error> {
        let (read, result) = self.process(bytes, &mut plain, |_, _| ());
        result?;
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

    /// Encrypts plain bytes and appends the records to the bytes to be sent. Must not be called before the
    /// handshake is done.
    pub(super) fn write(&mut self, plain: &[u8]) -> Result<(), rustls::Error> {
        self.send(|mut traffic, out| {
            // Room for records of 16 KiB each, and for the records that rustls may have to send first.
            let room = plain.len() + (plain.len() / (16 << 10) + 1) * 64 + 64;
            grow_and(out, room, |room| traffic.encrypt(plain, room))
        })
    }

    /// Tells the peer that no more bytes follow. Further calls do nothing.
    pub(super) fn close(&mut self) -> Result<(), rustls::Error> {
        // After an error the alert has already told the peer.
        if mem::replace(&mut self.close_sent, true) || self.failed || self.connection.is_handshaking() {
            return Ok(());
        }
        self.send(|mut traffic, out| grow_and(out, 64, |room| traffic.queue_close_notify(room)))
    }

    fn send(
        &mut self,
        send: impl FnOnce(WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> Result<(), EncryptError>,
    ) -> Result<(), rustls::Error> {
        // rustls expects to see the waiting bytes at each call.
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

    /// Lets rustls process `bytes` until it needs more. `ready` may write when rustls is ready for it.
    /// Returns the number of processed bytes.
    fn process(
        &mut self,
        bytes: &mut [u8],
        plain: &mut impl FnMut(&[u8]),
        ready: impl FnOnce(WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>),
    ) -> (usize, Result<(), rustls::Error>) {
        if self.failed {
            return (0, Err(rustls::Error::General("the TLS connection has failed before".to_owned())));
        }
        let (read, result) = self.process_until_more(bytes, plain, ready);
        if result.is_err() {
            self.failed = true;
            self.say_why();
        }
        (read, result)
    }

    /// Takes the alert after an error. As long as rustls has something to send, it returns that and reads no
    /// bytes.
    fn say_why(&mut self) {
        while self.connection.wants_write() {
            let status = self.connection.process_tls_records(&mut []);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else { return };
            encode(&mut self.outgoing, |room| data.encode(room));
        }
    }

    fn process_until_more(
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
                // The record is in `outgoing`, and is sent before any other bytes.
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
                // The server does not offer early data.
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

/// Appends the output of `encode`, with as much room as `encode` asks for.
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

/// Appends the output of `encrypt`, with this much room, or with as much as `encrypt` asks for.
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use proptest::prelude::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// A client, and the server's end, which has received nothing yet.
    fn ends() -> (ClientConnection, Session) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
        (client, Session::new(Arc::new(server)).unwrap())
    }

    /// Passes received bytes on behind the waiting ones, as the stream does.
    fn read(session: &mut Session, bytes: &[u8], plain: &mut Vec<u8>) -> Result<Progress, rustls::Error> {
        let mut records = session.take_waiting();
        records.extend_from_slice(bytes);
        session.read(&mut records, |bytes| plain.extend_from_slice(bytes))
    }

    fn from_client(client: &mut ClientConnection) -> Vec<u8> {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn to_client(client: &mut ClientConnection, session: &mut Session) {
        let outgoing = mem::take(session.outgoing());
        let mut rest = &outgoing[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }

    /// Both ends, after the handshake.
    fn connected() -> (ClientConnection, Session) {
        let (mut client, mut session) = ends();
        while client.is_handshaking() || session.connection().is_handshaking() {
            let bytes = from_client(&mut client);
            read(&mut session, &bytes, &mut Vec::new()).unwrap();
            to_client(&mut client, &mut session);
        }
        (client, session)
    }

    /// A handshake message as records, cut at these places.
    fn records(message: &[u8], cuts: &[usize]) -> Vec<u8> {
        let mut at = 0;
        let mut records = Vec::new();
        for end in cuts.iter().copied().chain([message.len()]) {
            let part = message.get(at..end).unwrap_or_default();
            if !part.is_empty() {
                records.extend([0x16, 3, 1]);
                records.extend((part.len() as u16).to_be_bytes());
                records.extend(part);
                at = end;
            }
        }
        records
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn messages_come_through_in_any_split(
            messages in prop::collection::vec(0_usize..40_000, 1..5),
            chunk in 100_usize..30_000,
        ) {
            let (mut client, mut session) = connected();
            let (mut sent, mut bytes) = (Vec::new(), Vec::new());
            for len in messages {
                let message = vec![len as u8; len];
                client.writer().write_all(&message).unwrap();
                bytes.extend(from_client(&mut client));
                sent.extend(message);
            }
            let (mut plain, mut answer) = (Vec::new(), Vec::new());
            for chunk in bytes.chunks(chunk) {
                prop_assert_eq!(read(&mut session, chunk, &mut plain), Ok(Progress::Ready));
                // A write between the two parts does not harm the waiting bytes.
                session.write(b"between").unwrap();
                to_client(&mut client, &mut session);
                let _no_more = client.reader().read_to_end(&mut answer);
            }
            prop_assert_eq!(plain, sent);
            prop_assert!(session.waiting().is_empty());
            prop_assert_eq!(answer.len(), bytes.chunks(chunk).count() * 7);
        }

        #[test]
        fn a_hello_in_any_pieces_is_answered_and_a_broken_one_is_an_error(
            mut cuts in prop::collection::vec(0_usize..300, 0..5),
            chunk in 1_usize..400,
            broken in prop::option::of((any::<prop::sample::Index>(), 1_u8..)),
            behind in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let (mut client, mut session) = ends();
            let hello = from_client(&mut client);
            cuts.sort_unstable();
            let mut bytes = records(&hello[5..], &cuts);
            if let Some((at, change)) = broken {
                let at = at.index(bytes.len());
                bytes[at] ^= change;
                bytes.extend(behind);
            }
            let mut plain = Vec::new();
            for chunk in bytes.chunks(chunk) {
                if read(&mut session, chunk, &mut plain).is_err() {
                    break;
                }
            }
            prop_assert!(plain.is_empty());
            prop_assert!(broken.is_some() || !session.outgoing().is_empty());
        }

        #[test]
        fn bytes_that_come_later_are_the_peers_or_an_error(
            at in any::<prop::sample::Index>(), change in 1_u8.., chunk in 1_usize..200,
        ) {
            let (mut client, mut session) = connected();
            client.refresh_traffic_keys().unwrap();
            client.writer().write_all(&[b'x'; 100]).unwrap();
            let mut bytes = from_client(&mut client);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            let mut plain = Vec::new();
            for chunk in bytes.chunks(chunk) {
                if read(&mut session, chunk, &mut plain).is_err() {
                    break;
                }
                let _may_fail = session.write(b"between");
            }
            prop_assert!(plain.is_empty() || plain == [b'x'; 100]);
            let _may_fail = session.close();
        }
    }

    #[test]
    fn the_end_is_said_once_by_each() {
        let (mut client, mut session) = connected();
        session.close().unwrap();
        let said = session.outgoing().len();
        session.close().unwrap();
        assert_eq!(session.outgoing().len(), said);
        to_client(&mut client, &mut session);
        assert_eq!(client.reader().read(&mut [0]).unwrap(), 0);
        client.send_close_notify();
        let bytes = from_client(&mut client);
        assert_eq!(read(&mut session, &bytes, &mut Vec::new()), Ok(Progress::PeerClosed));
        assert!(session.is_peer_closed() && session.write(b"too late").is_err());
    }

    #[test]
    fn nothing_is_held_while_nothing_is_on_its_way() {
        let (mut client, mut session) = connected();
        client.writer().write_all(&[7; 5000]).unwrap();
        let bytes = from_client(&mut client);
        let mut plain = Vec::new();
        read(&mut session, &bytes[..4000], &mut plain).unwrap();
        assert!(plain.is_empty() && session.waiting().len() == 4000);
        read(&mut session, &bytes[4000..], &mut plain).unwrap();
        assert_eq!((plain.len(), session.waiting.capacity(), session.outgoing.capacity()), (5000, 0, 0));
    }
}
