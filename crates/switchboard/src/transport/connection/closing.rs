//! The end of a connection: both ends' closes ([RFC 6455,
//! 7](https://www.rfc-editor.org/rfc/rfc6455#section-7)).

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use switchboard_hub::{Place, Worker};
use switchboard_websocket::{CloseCode, CloseFrame, Message};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::turn::TURN_BYTES;
use super::{Connection, ConnectionEnd, Flag, Phase, end_turn};

/// How long a peer has to end its stream once both ends have closed, and ours has ended.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Tells the connections of a worker that are closing to wait no more.
#[derive(Default)]
struct Cut(Notify);

/// Ends the connections of this worker that wait for their peers to close.
pub(crate) fn cut_closing(worker: &Rc<Worker>) {
    worker.extension::<Cut>().0.notify_waiters();
}

impl Connection {
    /// Queues a close frame behind what waits; the connection ends when the peer has answered, or has taken
    /// too long.
    pub fn close(&self, worker: &Rc<Worker>, code: Option<CloseCode>, reason: &str) {
        if self.phase.get() != Phase::Open {
            return;
        }
        let Some(owner) = self.owner() else { return };
        // It may pass the bound: a peer that is disconnected because it did not read as fast as it was sent
        // to is told so, if it reads on.
        let session = owner.as_session();
        let encode = |out: &mut Vec<u8>| self.wire.encode_close(out, code, reason);
        let _always_taken =
            worker.write_packet(session.outbox(), || Rc::clone(&session), Place::Always, encode);
        self.phase.set(Phase::Closing);
        if !self.wire.answers_closes() {
            self.set(Flag::PeerClosed, true);
        }
        self.wake();
    }

    pub(super) fn on_close(&self, worker: &Rc<Worker>, frame: Option<&CloseFrame<'_>>) {
        self.set(Flag::PeerClosed, true);
        self.peer_code.set(frame.map(|frame| frame.code));
        self.set(Flag::ReadOut, true);
        // The answer carries the peer's code, as RFC 6455 5.5.1 asks.
        self.close(worker, frame.map(|frame| frame.code), "");
    }

    /// The end of a connection whose peer has closed, if nothing is left to be read and what is left to be
    /// written goes out now: its socket is closed then, with no more ado. A peer may send nothing behind its
    /// close; of one that does not, there is nothing for the kernel to answer with a reset.
    pub(super) fn end_at_once(&self, worker: &Rc<Worker>, cx: &mut Context<'_>) -> Option<ConnectionEnd> {
        if !self.is(Flag::ReadOut)
            || self.phase.get() != Phase::Closing
            || !self.io.borrow().ends_when_closed()
        {
            return None;
        }
        match self.poll_write_out(worker, self.owner()?.outbox(), cx) {
            Poll::Ready(Ok(())) => Some(ConnectionEnd::Closed { code: self.peer_code.get() }),
            Poll::Ready(Err(error)) => Some(ConnectionEnd::Io(error)),
            Poll::Pending => None,
        }
    }

    /// Closes because of what the peer did: nothing that it sends behind that is looked at.
    pub(super) fn refuse(&self, worker: &Rc<Worker>, code: CloseCode) {
        self.close(worker, Some(code), "");
        self.set(Flag::PeerClosed, true);
        self.peer_code.set(Some(code));
    }

    /// Writes what is left and awaits the peer's close, until the peer takes too long, or the server cuts
    /// what is left.
    pub(super) async fn close_down(&self, worker: &Rc<Worker>) -> ConnectionEnd {
        let owner = self.owner();
        let timeout = owner.as_ref().and_then(|owner| owner.timeouts().close);
        let waits = || owner.as_ref().map_or(0, |owner| owner.outbox().bytes());
        self.skip_unread();
        let (mut shut, mut before) = (false, (waits(), false));
        let mut late = pin!(sleep(timeout.unwrap_or(Duration::MAX)));
        let closing = poll_fn(|cx| {
            if let Poll::Ready(end) = self.poll_closing(worker, &mut shut, cx) {
                return Poll::Ready(end);
            }
            // The peer's time begins anew with all that it takes, last with the close.
            let after = (waits(), shut);
            if after != before {
                let most = if shut { END_TIMEOUT } else { Duration::MAX };
                late.set(sleep(timeout.unwrap_or(most).min(most)));
            }
            before = after;
            late.as_mut().poll(cx).map(|()| {
                metrics::counter!("switchboard_websocket_close_timeouts_total").increment(1);
                ConnectionEnd::Closed { code: self.peer_code.get() }
            })
        });
        let cut = worker.extension::<Cut>();
        tokio::select! {
            end = closing => end,
            () = cut.0.notified() => ConnectionEnd::Closed { code: self.peer_code.get() },
        }
    }

    /// Writes what is left, and waits for the peer's close, or for the end of its stream. `shut`: whether our
    /// end of the stream is closed.
    fn poll_closing(
        &self,
        worker: &Rc<Worker>,
        shut: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionEnd> {
        let done = ConnectionEnd::Closed { code: self.peer_code.get() };
        if self.phase.get() == Phase::Ended {
            return Poll::Ready(done);
        }
        let Some(owner) = self.owner() else { return Poll::Ready(done) };
        match self.poll_write_out(worker, owner.outbox(), cx) {
            Poll::Ready(Ok(())) if self.is(Flag::PeerClosed) && !*shut => {
                // What a shutdown met, reading meets too.
                *shut = self.io.borrow_mut().poll_shutdown(cx).is_ready();
            }
            Poll::Ready(Err(error)) => return Poll::Ready(ConnectionEnd::Io(error)),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        self.poll_skip(worker, cx).map(|end| end.map_or_else(ConnectionEnd::Io, |()| done))
    }

    /// Reads and drops what the peer sends, up to its own end, so that the kernel has no unread bytes to
    /// answer with a reset, which could overtake our close frame. A peer that writes before it reads gets on
    /// with it.
    fn poll_skip(&self, worker: &Rc<Worker>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = worker.take_read_buffer();
        let mut left = TURN_BYTES;
        let end = loop {
            if left == 0 {
                break end_turn(cx);
            }
            let room = buffer.get_mut(..left).unwrap_or_default();
            let polled = self.io.borrow_mut().poll_read(cx, room);
            match polled {
                Poll::Ready(Ok(0)) => break Poll::Ready(Ok(())),
                Poll::Ready(Ok(n)) => {
                    self.look_for_close(room.get_mut(..n).unwrap_or_default());
                    left -= n;
                }
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        worker.put_read_buffer(buffer);
        end
    }

    /// Looks for the peer's answer to our close; anything before it is too late to be handled.
    pub(super) fn look_for_close(&self, bytes: &mut [u8]) {
        let mut at = 0;
        let mut decoder = self.decoder.borrow_mut();
        while !self.is(Flag::PeerClosed) {
            match decoder.decode(bytes, &mut at) {
                Ok(Some(Message::Close(frame))) => {
                    self.set(Flag::PeerClosed, true);
                    self.peer_code.set(frame.map(|frame| frame.code));
                    self.wake();
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => {
                    self.set(Flag::PeerClosed, true);
                    self.wake();
                }
            }
        }
    }
}
