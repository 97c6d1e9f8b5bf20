//! Ordered broadcasts: the order of the calls holds at the members of all workers.
//!
//! A broadcast that is not ordered goes to this worker's own members at once. It overtakes the commands in
//! the worker's inbox. So two broadcasts of two workers may arrive in two orders, even if their callers took
//! turns. An ordered broadcast goes to the worker's own members by the inbox as well. So each inbox holds
//! ordered broadcasts in the order of the calls. And no worker delivers one before it is in all inboxes. So
//! an answer to it, which any worker may send, comes behind it everywhere.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::HubError;
use crate::command::Command;
use crate::hub::Hub;
use crate::request::Broadcast;
use crate::worker::{Worker, WorkerId};

/// An ordered broadcast, as the inboxes hold it.
pub struct Ordered {
    pub(crate) broadcast: Arc<Broadcast>,
    /// The worker that sent it.
    from: Option<WorkerId>,
    /// It is in all inboxes.
    sent: AtomicBool,
    sent_notice: Notify,
}

impl Ordered {
    /// Returns when the broadcast is in all inboxes. The sender waits for nobody until then, so this is soon.
    pub(crate) async fn sent(&self) {
        if self.sent.load(Ordering::Acquire) {
            return;
        }
        let mut notice = std::pin::pin!(self.sent_notice.notified());
        // From here on the notice is not missed.
        notice.as_mut().enable();
        if !self.sent.load(Ordering::SeqCst) {
            notice.await;
        }
    }
}

/// Marks a broadcast as sent when it is dropped, also by a panic.
struct Sending<'a>(&'a Ordered);

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.sent.store(true, Ordering::SeqCst);
        self.0.sent_notice.notify_waiters();
    }
}

impl Hub {
    /// Sends an ordered broadcast to the inbox of one worker, or of all.
    pub(crate) fn broadcast_in_order(
        &self,
        broadcast: Arc<Broadcast>,
        to: Option<WorkerId>,
    ) -> Result<(), HubError> {
        let here = self.here();
        let ordered = Arc::new(Ordered {
            broadcast,
            from: here.as_deref().map(Worker::id),
            sent: AtomicBool::new(false),
            sent_notice: Notify::new(),
        });
        let _sending = Sending(&ordered);
        let mut sent = Ok(());
        let all = (0..self.workers()).map(|number| WorkerId(number as u8));
        for to in all.filter(|worker| to.is_none_or(|to| to == *worker)) {
            let sent_there = self.send(to, Command::Ordered(Arc::clone(&ordered)));
            if let Some(worker) = here.as_ref().filter(|worker| worker.id() == to && sent_there.is_ok()) {
                worker.own_ordered.set(worker.own_ordered.get() + 1);
            }
            sent = sent.and(sent_there);
        }
        sent
    }

    /// As [`here`](Self::here), but `None` while ordered broadcasts of this thread wait in its worker's
    /// inbox. A message that comes after them must go by the inbox too.
    #[inline]
    pub fn here_in_order(&self) -> Option<Rc<Worker>> {
        self.here().filter(|worker| !worker.has_own_ordered())
    }
}

impl Worker {
    /// Whether ordered broadcasts that this thread sent wait in the worker's inbox.
    #[inline]
    pub fn has_own_ordered(&self) -> bool {
        self.own_ordered.get() > 0
    }

    pub(crate) fn deliver_ordered(&self, ordered: &Ordered) {
        if ordered.from == Some(self.id()) {
            self.own_ordered.set(self.own_ordered.get().saturating_sub(1));
        }
        self.broadcast(Arc::clone(&ordered.broadcast));
    }
}
