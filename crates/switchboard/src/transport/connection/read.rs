//! What a connection reads: bytes in the worker's buffer, which are decoded in place, and their messages.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use switchboard_hub::Worker;
use switchboard_websocket::{Message, Opcode};

use super::{Connection, ConnectionEnd, Phase};

/// What one read brought.
#[derive(Clone, Copy)]
pub(super) struct Received {
    /// 0: the peer has closed its end.
    pub(super) bytes: usize,
    /// The buffer is full: more may be there to read.
    pub(super) full: bool,
}

impl Connection {
    /// Reads once and handles what came: in the worker's buffer, or, of a long payload, to where it stays.
    pub(super) fn poll_receive(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Received>> {
        let mut decoder = self.decoder.borrow_mut();
        if let Some(room) = decoder.room() {
            let room_for = room.len();
            let n = ready!(self.io.borrow_mut().poll_read(cx, room))?;
            decoder.fill(n);
            drop(decoder);
            let received = Received { bytes: n, full: n == room_for };
            self.received(worker, received, &mut []);
            return Poll::Ready(Ok(received));
        }
        drop(decoder);
        let mut buffer = worker.take_read_buffer();
        let polled = self.io.borrow_mut().poll_read(cx, &mut buffer);
        let polled = polled.map_ok(|bytes| Received { bytes, full: bytes == buffer.len() });
        if let Poll::Ready(Ok(received)) = polled {
            self.received(worker, received, buffer.get_mut(..received.bytes).unwrap_or_default());
            if received.full {
                self.read_out.set(false);
            }
        }
        worker.put_read_buffer(buffer);
        polled
    }

    /// Handles what has come, of which `bytes` are not decoded yet.
    fn received(self: &Rc<Self>, worker: &Rc<Worker>, received: Received, bytes: &mut [u8]) {
        if received.bytes > 0 {
            worker.stats().bytes_received.add(received.bytes as u64);
            self.alive.set(true);
            self.feed(worker, bytes);
            if !received.full
                && let Some(owner) = self.owner()
            {
                self.write_early(worker, owner.outbox());
            }
        }
    }

    /// Handles all messages that are complete in `bytes`.
    pub(super) fn feed(self: &Rc<Self>, worker: &Rc<Worker>, bytes: &mut [u8]) {
        let mut at = 0;
        if let Some(end) = self.handle_messages(worker, bytes, &mut at) {
            self.tell_end(worker, end);
        } else if self.phase.get() != Phase::Open {
            // A message made us close: the peer's close may have come in the same read.
            self.look_for_close(bytes.get_mut(at..).unwrap_or_default());
        }
    }

    /// Handles messages up to `at`, as long as the connection is open. Returns an end that the peer has brought about.
    fn handle_messages(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        bytes: &mut [u8],
        at: &mut usize,
    ) -> Option<ConnectionEnd> {
        let mut decoder = self.decoder.borrow_mut();
        while self.phase.get() == Phase::Open {
            match decoder.decode(bytes, at) {
                Ok(Some(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    worker.stats().messages_received.add(1);
                    let Some(owner) = self.owner() else { break };
                    self.write_pieces(worker, owner.outbox());
                    owner.on_message(worker, self, message);
                }
                Ok(Some(Message::Ping(payload))) => self.write_control(worker, Opcode::Pong, payload),
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close(frame))) => {
                    self.on_close(worker, frame.as_ref());
                    return Some(ConnectionEnd::Closed { code: self.peer_code.get() });
                }
                Ok(None) => break,
                Err(error) => {
                    metrics::counter!("switchboard_websocket_protocol_errors_total").increment(1);
                    self.close(worker, Some(error.close_code()), "");
                    // What the peer sends behind an error is not looked at.
                    self.peer_closed.set(true);
                    self.peer_code.set(Some(error.close_code()));
                    return Some(ConnectionEnd::Protocol(error));
                }
            }
        }
        None
    }
}
