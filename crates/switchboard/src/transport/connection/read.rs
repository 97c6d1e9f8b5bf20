//! Reading: bytes come into the worker's buffer, are decoded there, and their messages are handled.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use switchboard_hub::Worker;
use switchboard_websocket::{Message as Frame, ProtocolError};

use super::turn::{TURN_BYTES, Turn};
use super::{Connection, ConnectionEnd, Flag, Phase};
use crate::message::Message;

/// Bytes that were read and are not decoded yet.
#[derive(Default)]
pub(super) struct Unread {
    bytes: Vec<u8>,
    /// Up to where they are decoded.
    at: usize,
}

impl Unread {
    /// Copies the bytes, so that they do not keep the buffer which they were read into.
    pub(super) fn copy(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), at: 0 }
    }

    fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }
}

/// What one read brought.
#[derive(Clone, Copy)]
pub(super) struct Received {
    /// 0: the peer has closed its end.
    pub(super) bytes: usize,
    /// The buffer is full: more may be there to read.
    pub(super) full: bool,
}

impl Connection {
    /// Reads once, and handles the messages. A long payload is read to its final place, anything else into
    /// the worker's buffer.
    pub(super) fn poll_receive(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        turn: &mut Turn,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Received>> {
        turn.message_before = None;
        if !self.decoder.borrow().is_idle()
            && let Some(received) = ready!(self.poll_receive_long(worker, turn, cx))
        {
            return Poll::Ready(received);
        }
        let mut buffer = worker.take_read_buffer();
        // No more than a turn handles: if the turn ends before the read is handled, the rest is copied.
        let room = buffer.get_mut(..TURN_BYTES).unwrap_or_default();
        let polled = self.io.borrow_mut().poll_read(cx, room);
        let polled = polled.map_ok(|bytes| Received { bytes, full: bytes == room.len() });
        if let Poll::Ready(Ok(received)) = polled {
            self.received(worker, turn, received, room.get_mut(..received.bytes).unwrap_or_default());
            if received.full {
                self.set(Flag::ReadOut, false);
            }
        }
        worker.put_read_buffer(buffer);
        polled
    }

    /// As [`poll_receive`](Self::poll_receive), amid a message. `None` where the worker's buffer is to be read
    /// into.
    #[cold]
    fn poll_receive_long(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        turn: &mut Turn,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Received>>> {
        let mut decoder = self.decoder.borrow_mut();
        turn.message_before = decoder.unfinished_message();
        let Some(room) = decoder.room() else { return Poll::Ready(None) };
        let room_for = room.len();
        let n = match ready!(self.io.borrow_mut().poll_read(cx, room)) {
            Ok(n) => n,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        decoder.fill(n);
        drop(decoder);
        let received = Received { bytes: n, full: n == room_for };
        self.received(worker, turn, received, &mut []);
        Poll::Ready(Some(Ok(received)))
    }

    /// Handles what has come, of which `bytes` are not decoded yet.
    fn received(self: &Rc<Self>, worker: &Rc<Worker>, turn: &mut Turn, received: Received, bytes: &mut [u8]) {
        if received.bytes == 0 {
            return;
        }
        worker.stats().bytes_received.add(received.bytes as u64);
        self.set(Flag::Alive, true);
        let Some(owner) = self.owner() else { return };
        let outbox = owner.outbox();
        let begun = worker.begin_read(outbox);
        let mut at = 0;
        self.feed(worker, turn, bytes, &mut at);
        turn.count_read(received.bytes);
        let rest = bytes.get(at..).unwrap_or_default();
        if !rest.is_empty() {
            self.rare().unread.replace(Unread::copy(rest));
        }
        // Where more may be there to read, the answers to that go out with these. A stream of HTTP/2 gives each
        // frame in a read of its own.
        let may_write = !received.full && self.io.borrow().is_own() && self.is_owned_by(&owner);
        if begun && worker.end_read(outbox, || Rc::clone(&owner).as_session(), may_write) {
            self.write_answers(worker, outbox);
        } else if !received.full {
            self.write_early(worker, outbox);
        }
    }

    /// Whether bytes were read and are not decoded yet. Nothing is read before they are.
    pub(super) fn has_unread(&self) -> bool {
        self.rare.get().is_some_and(|rare| !rare.unread.borrow().is_empty())
    }

    /// Handles bytes that were read earlier.
    pub(super) fn handle_unread(self: &Rc<Self>, worker: &Rc<Worker>, turn: &mut Turn) {
        let Some(rare) = self.rare.get() else { return };
        let mut unread = rare.unread.take();
        turn.message_before = self.decoder.borrow().unfinished_message();
        self.feed(worker, turn, &mut unread.bytes, &mut unread.at);
        if !unread.is_empty() {
            rare.unread.replace(unread);
        }
    }

    /// Handles the messages that are complete in `bytes`, from `at` on. Where it stops before the end, the
    /// rest is to be kept.
    fn feed(self: &Rc<Self>, worker: &Rc<Worker>, turn: &mut Turn, bytes: &mut [u8], at: &mut usize) {
        turn.completed_message = false;
        if let Some(end) = self.handle_messages(worker, turn, bytes, at) {
            self.tell_end(worker, end);
        }
        if self.phase.get() == Phase::Open {
            self.time_message(worker, turn);
        } else {
            // A message made us close: the peer's close may have come in the same read.
            self.look_for_close(bytes.get_mut(*at..).unwrap_or_default());
            *at = bytes.len();
        }
    }

    /// Looks for the peer's close in bytes that were read earlier. Nothing else of them is handled any more.
    pub(super) fn skip_unread(&self) {
        if let Some(rare) = self.rare.get() {
            let Unread { mut bytes, at } = rare.unread.take();
            self.look_for_close(bytes.get_mut(at..).unwrap_or_default());
        }
    }

    /// Handles messages up to `at`, as long as they may be handled. Returns an end that the peer has brought
    /// about.
    fn handle_messages(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        turn: &mut Turn,
        bytes: &mut [u8],
        at: &mut usize,
    ) -> Option<ConnectionEnd> {
        let mut decoder = self.decoder.borrow_mut();
        while self.phase.get() == Phase::Open && !turn.is_over() && !self.is_unread() {
            let message = match decoder.decode(bytes, at) {
                Ok(Some(Frame::Text(text))) => Message::Text(text),
                Ok(Some(Frame::Binary(bytes))) => Message::Binary(bytes),
                Ok(Some(Frame::Ping(payload))) => {
                    turn.count_frame(0);
                    if let Some(end) = self.answer_ping(worker, payload) {
                        return Some(end);
                    }
                    continue;
                }
                Ok(Some(Frame::Pong(_))) => {
                    turn.count_frame(0);
                    continue;
                }
                Ok(Some(Frame::Close(frame))) => {
                    self.on_close(worker, frame.as_ref());
                    return Some(ConnectionEnd::Closed { code: self.peer_code.get() });
                }
                Ok(None) => break,
                Err(error) => return Some(self.fail(worker, error)),
            };
            self.hand_over(worker, turn, message);
            // Cheaper than a call that finds nothing, which is how nearly every read ends.
            if *at == bytes.len() && decoder.is_idle() {
                break;
            }
        }
        if *at < bytes.len() && !decoder.is_idle() {
            // Frees the message that was handled last: the next one may wait for long.
            let _no_more_came = decoder.decode(&mut [], &mut 0);
        }
        None
    }

    /// Hands a whole message to the owner.
    #[inline]
    fn hand_over(self: &Rc<Self>, worker: &Rc<Worker>, turn: &mut Turn, message: Message<'_>) {
        worker.stats().messages_received.add(1);
        turn.count_frame(if self.wire.is_compressed() { message.as_bytes().len() } else { 0 });
        turn.completed_message = true;
        if let Some(owner) = self.owner() {
            self.write_pieces(worker, owner.outbox());
            turn.full_inbox = worker.handle_input(|| owner.on_message(worker, self, message)).1;
        }
    }

    /// The peer broke its protocol, or a bound of it. What it sends after that is not looked at.
    fn fail(&self, worker: &Rc<Worker>, error: ProtocolError) -> ConnectionEnd {
        metrics::counter!("switchboard_websocket_protocol_errors_total").increment(1);
        self.refuse(worker, error.close_code());
        ConnectionEnd::Protocol(error)
    }
}
