//! What carries sockets: a session of a protocol.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use switchboard_hub::{HubError, Key, Session, Worker};

use crate::handshake::Handshake;
use crate::{DisconnectReason, Error, SocketId};

/// A session that carries the sockets of one client: how a protocol tells the client of their events, and
/// what sockets ask of their session. What the client sends goes to its
/// [`Sockets`](crate::protocol::Sockets).
///
/// All is called on the worker's thread. A packet is queued in the session's outbox ([`Worker::write`]) when
/// a method returns, so that the order is that of the calls.
pub trait Carrier: 'static {
    /// The session, as the hub knows it: the members of namespaces are written to by it.
    fn session(self: Rc<Self>) -> Rc<dyn Session>;

    /// The same, for a look at its outbox.
    fn as_session(&self) -> &dyn Session;

    /// The request that the session began with.
    fn handshake(&self) -> &Handshake;

    /// Whether the session still takes packets.
    fn is_open(&self) -> bool;

    /// Appends what stands before the JSON of an event or an acknowledgement.
    fn begin(&self, packet: &mut Vec<u8>, head: Head<'_>);

    /// Queues an event or an acknowledgement.
    ///
    /// # Errors
    /// [`HubError::OutboxFull`]: nothing of the packet was queued. [`HubError::Gone`]: the session has
    /// closed.
    fn send(self: Rc<Self>, worker: &Rc<Worker>, packet: Outgoing<'_>) -> Result<(), HubError>;

    /// As [`send`](Self::send), of an event that tells the newest state of its key's subject: it takes the
    /// place of the event with the same key that waits ([`Worker::write_conflated`]). Default: as `send`.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn send_conflated(
        self: Rc<Self>,
        worker: &Rc<Worker>,
        key: &Key,
        packet: Outgoing<'_>,
    ) -> Result<(), HubError> {
        let _ = key;
        self.send(worker, packet)
    }

    /// Tells the client that it is in a namespace, and the id of its socket there.
    fn connected(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, id: SocketId);

    /// Whether the client can get its session back after its connection was lost: it is given a token, and
    /// shows it in the `auth` of its next CONNECT, with the position of the last event that it has got.
    /// Default: no.
    fn can_recover(&self) -> bool {
        false
    }

    /// As [`connected`](Self::connected), for a client that [can recover](Self::can_recover). The token is a
    /// secret. If the client has shown it, it has its session back, and the events that it had missed stand
    /// before this in the outbox.
    fn connected_with_token(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, id: SocketId, token: &str) {
        let _ = token;
        self.connected(worker, namespace, id);
    }

    /// Names that the client knows its socket by, beside [`SocketId`]: its protocol has no place for ours. The socket
    /// joins a room of each. Default: none.
    fn own_rooms(&self, namespace: &str) -> Vec<String> {
        let _ = namespace;
        Vec::new()
    }

    /// Tells the client that it was refused. What it may know of the reason is [`Error::public_message`] and
    /// [`Error::data`].
    fn refused(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str, error: &Error);

    /// Tells the client that the server has disconnected it from a namespace.
    fn disconnected(self: Rc<Self>, worker: &Rc<Worker>, namespace: &str);

    /// Takes no more input until [`resume`](Self::resume): handlers have more to do than may wait.
    fn pause(&self);

    /// Takes input again.
    fn resume(self: Rc<Self>, worker: &Rc<Worker>);

    /// Closes the session, behind what waits. [`Sockets::closed`](crate::protocol::Sockets::closed) is to be
    /// called with the reason.
    fn close(self: Rc<Self>, worker: &Rc<Worker>, reason: DisconnectReason);

    /// Makes sure that [`Sockets::on_timer`](crate::protocol::Sockets::on_timer) is called at `deadline` at
    /// the latest.
    fn arm(&self, worker: &Worker, deadline: Instant);
}

/// What a packet to the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An event: its JSON is `["event",argument,…]`.
    Event,
    /// The acknowledgement of an event of the client's: its JSON is `[argument,…]`.
    Ack,
}

/// What stands in a packet beside its JSON.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Head<'a> {
    /// What it is.
    pub kind: Kind,
    /// The namespace.
    pub namespace: &'a str,
    /// Of an event, the id that the client is to acknowledge it with, if it is; of an acknowledgement, the
    /// one it answers.
    pub id: Option<u64>,
}

/// An event or an acknowledgement for the client.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outgoing<'a> {
    /// What it is.
    pub head: Head<'a>,
    /// What [`Carrier::begin`] appended, and the JSON behind it.
    pub packet: &'a mut Vec<u8>,
    /// Where the JSON begins.
    pub json_at: usize,
    /// What the placeholders `{"_placeholder":true,"num":n}` in the JSON stand for.
    pub attachments: &'a [Bytes],
    /// Whether it is compressed where the connection compresses.
    pub compress: bool,
}

impl Outgoing<'_> {
    /// The JSON.
    pub fn json(&self) -> &[u8] {
        self.packet.get(self.json_at..).unwrap_or_default()
    }
}
