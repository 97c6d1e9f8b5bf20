//! The end of a connection: both ends' closes ([RFC 6455, 7](https://www.rfc-editor.org/rfc/rfc6455#section-7)).

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use switchboard_hub::Worker;
use switchboard_websocket::{CloseCode, CloseFrame, Message};
use tokio::sync::Notify;

use super::{Connection, ConnectionEnd, Phase};

/// How long a peer has to answer a close before its connection is cut.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Tells the connections of a worker that are closing to wait no more.
#[derive(Default)]
struct Cut(Notify);

/// Ends the connections of this worker that wait for their peers to close.
pub(crate) fn cut_closing(worker: &Rc<Worker>) {
    worker.extension::<Cut>().0.notify_waiters();
}

impl Connection {
    /// Queues a close frame behind what waits; the connection ends when the peer has answered, or after 5 seconds.
    pub(crate) fn close(&self, worker: &Rc<Worker>, code: Option<CloseCode>, reason: &str) {
        if self.phase.get() != Phase::Open {
            return;
        }
        let Some(owner) = self.owner() else { return };
        // It may pass the bound: a peer that is disconnected because it did not read as fast as it was sent to is told so, if it reads on.
        worker.write_more(&owner.as_session(), |out| self.wire.encode_close(out, code, reason));
        self.phase.set(Phase::Closing);
        if !self.wire.answers_closes() {
            self.peer_closed.set(true);
        }
        self.wake();
    }

    pub(super) fn on_close(&self, worker: &Rc<Worker>, frame: Option<&CloseFrame<'_>>) {
        self.peer_closed.set(true);
        self.peer_code.set(frame.map(|frame| frame.code));
        self.read_out.set(true);
        // The answer carries the peer's code, as RFC 6455 5.5.1 asks.
        self.close(worker, frame.map(|frame| frame.code), "");
    }

    /// The end of a connection whose peer has closed, if nothing is left to be read and what is left to be written goes out now: its socket is
    /// closed then, with no more ado. A peer may send nothing behind its close; of one that does not, there is nothing for the kernel to answer
    /// with a reset.
    pub(super) fn end_at_once(&self, worker: &Rc<Worker>, cx: &mut Context<'_>) -> Option<ConnectionEnd> {
        if !self.read_out.get() || self.phase.get() != Phase::Closing || !self.io.borrow().ends_when_closed()
        {
            return None;
        }
        match self.poll_write_out(worker, self.owner()?.outbox(), cx) {
            Poll::Ready(Ok(())) => Some(ConnectionEnd::Closed { code: self.peer_code.get() }),
            Poll::Ready(Err(error)) => Some(ConnectionEnd::Io(error)),
            Poll::Pending => None,
        }
    }

    /// Writes what is left and awaits the peer's close, for a while, or until the server cuts what is left.
    pub(super) async fn close_down(&self, worker: &Rc<Worker>) -> ConnectionEnd {
        let mut shut = false;
        let closing = poll_fn(|cx| self.poll_closing(worker, &mut shut, cx));
        let cut = worker.extension::<Cut>();
        tokio::select! {
            closed = tokio::time::timeout(CLOSE_TIMEOUT, closing) => closed.unwrap_or_else(|_late| {
                metrics::counter!("switchboard_websocket_close_timeouts_total").increment(1);
                ConnectionEnd::Closed { code: self.peer_code.get() }
            }),
            () = cut.0.notified() => ConnectionEnd::Closed { code: self.peer_code.get() },
        }
    }

    /// Writes what is left, then waits for the peer's close, or for the end of its stream. `shut`: whether our end of the stream is closed.
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
        if let Err(error) = ready!(self.poll_write_out(worker, owner.outbox(), cx)) {
            return Poll::Ready(ConnectionEnd::Io(error));
        }
        if self.peer_closed.get() && !*shut {
            // What a shutdown met, reading meets too.
            let _met = ready!(self.io.borrow_mut().poll_shutdown(cx));
            *shut = true;
        }
        // The rest of what the peer sends is read and dropped up to its own end, so that the kernel has no unread bytes
        // to answer with a reset, which could overtake our close frame.
        let mut buffer = worker.take_read_buffer();
        let end = loop {
            let polled = self.io.borrow_mut().poll_read(cx, &mut buffer);
            match polled {
                Poll::Ready(Ok(0)) => break Poll::Ready(done),
                Poll::Ready(Ok(n)) => self.look_for_close(buffer.get_mut(..n).unwrap_or_default()),
                Poll::Ready(Err(error)) => break Poll::Ready(ConnectionEnd::Io(error)),
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
        while !self.peer_closed.get() {
            match decoder.decode(bytes, &mut at) {
                Ok(Some(Message::Close(frame))) => {
                    self.peer_closed.set(true);
                    self.peer_code.set(frame.map(|frame| frame.code));
                    self.wake();
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => {
                    self.peer_closed.set(true);
                    self.wake();
                }
            }
        }
    }
}
