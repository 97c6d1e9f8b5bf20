//! The inbox of a worker: a queue of commands, bounded in count and in bytes. A command that does not fit is
//! refused, never dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{Command, HubError, HubOptions, WorkerId};

/// A command, and the bytes that it was counted with.
type Queued = (usize, Command);

/// The state that both ends share.
#[derive(Debug)]
struct Shared {
    /// The worker was told to stop when its inbox was full.
    stop: AtomicBool,
    /// Bytes of the commands that wait.
    bytes: AtomicUsize,
    limit: usize,
    /// Senders that wait until there are fewer bytes.
    waiting: AtomicUsize,
    fewer_bytes: Notify,
}

impl Shared {
    /// Counts the bytes of one command more. `false`: the inbox holds as many as it may. (One command may
    /// pass the bound, which is checked before a command is added.)
    fn add(&self, bytes: usize) -> bool {
        if bytes == 0 {
            return self.has_room();
        }
        let add = |before: usize| (before < self.limit).then(|| before.saturating_add(bytes));
        self.bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).is_ok()
    }

    fn has_room(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) < self.limit
    }

    fn subtract(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::SeqCst);
            if self.waiting.load(Ordering::SeqCst) > 0 {
                self.fewer_bytes.notify_waiters();
            }
        }
    }

    /// Returns when `attempt` has succeeded. It is called again whenever there are fewer bytes.
    async fn when_fewer_bytes(&self, mut attempt: impl FnMut() -> bool) {
        if attempt() {
            return;
        }
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let mut fewer = std::pin::pin!(self.fewer_bytes.notified());
            // From here on no notice is missed.
            fewer.as_mut().enable();
            if attempt() {
                return;
            }
            fewer.await;
        }
    }
}

/// Counts a sender that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Bytes that are counted for a command which is not in the inbox yet. When this is dropped, they are not
/// counted any more.
struct Reserved<'a> {
    shared: &'a Shared,
    bytes: usize,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.shared.subtract(self.bytes);
    }
}

/// The sending end.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    id: WorkerId,
    sender: mpsc::Sender<Queued>,
    shared: Arc<Shared>,
}

impl Inbox {
    pub(crate) fn new(id: WorkerId, options: &HubOptions) -> (Self, InboxReceiver) {
        let (sender, receiver) = mpsc::channel(options.inbox_capacity.max(1));
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            bytes: AtomicUsize::new(0),
            limit: options.inbox_bytes.max(1),
            waiting: AtomicUsize::new(0),
            fewer_bytes: Notify::new(),
        });
        (Self { id, sender, shared: Arc::clone(&shared) }, InboxReceiver { receiver, shared })
    }

    pub(crate) fn send(&self, command: Command) -> Result<(), HubError> {
        self.offer(command).map_err(|(error, _)| error)
    }

    /// Sends a command, or gives it back.
    pub(crate) fn offer(&self, command: Command) -> Result<(), (HubError, Option<Command>)> {
        let bytes = command.bytes();
        if !self.shared.add(bytes) {
            return self.refuse(command);
        }
        self.sender.try_send((bytes, command)).or_else(|error| {
            self.shared.subtract(bytes);
            match error {
                TrySendError::Full((_, command)) => self.refuse(command),
                TrySendError::Closed(_) => Err((HubError::Stopped(self.id), None)),
            }
        })
    }

    #[cold]
    fn refuse(&self, command: Command) -> Result<(), (HubError, Option<Command>)> {
        match command {
            _ if self.sender.is_closed() => Err((HubError::Stopped(self.id), None)),
            Command::Stop => {
                // A worker with a full inbox is awake: it looks at this flag after the commands that it takes
                // next.
                self.stop();
                Ok(())
            }
            command => {
                metrics::counter!("switchboard_inbox_full_total").increment(1);
                Err((HubError::InboxFull(self.id), Some(command)))
            }
        }
    }

    /// Tells the worker to stop when it has executed the commands in its inbox. The worker must be awake, or
    /// be woken.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
    }

    /// Whether the worker was told to stop by [`stop`](Self::stop).
    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    /// Sends as soon as there is room. Cancel safe: dropped before it is ready, nothing was sent.
    pub(crate) async fn send_when_room(&self, command: Command) -> Result<(), HubError> {
        let bytes = command.bytes();
        let mut reserved = Reserved { shared: &self.shared, bytes: 0 };
        let attempt = || {
            let fits = self.shared.add(bytes);
            if fits {
                reserved.bytes = bytes;
            }
            fits || self.sender.is_closed()
        };
        self.shared.when_fewer_bytes(attempt).await;
        let permit = self.sender.reserve().await.map_err(|_| HubError::Stopped(self.id))?;
        reserved.bytes = 0;
        permit.send((bytes, command));
        Ok(())
    }

    /// Returns when there is room for one more command, or the worker has stopped.
    pub(crate) async fn room(&self) {
        self.shared.when_fewer_bytes(|| self.shared.has_room() || self.sender.is_closed()).await;
        let _ = self.sender.reserve().await;
    }
}

/// The receiving end of a worker's inbox: see [`Hub::without_threads`](crate::Hub::without_threads).
#[derive(Debug)]
pub struct InboxReceiver {
    receiver: mpsc::Receiver<Queued>,
    shared: Arc<Shared>,
}

impl InboxReceiver {
    /// The next command; `None` when the inbox is closed and empty. Cancel safe.
    pub async fn recv(&mut self) -> Option<Command> {
        let queued = self.receiver.recv().await;
        queued.map(|queued| self.take(queued))
    }

    /// The next command, if one waits.
    pub fn try_recv(&mut self) -> Option<Command> {
        let queued = self.receiver.try_recv().ok();
        queued.map(|queued| self.take(queued))
    }

    /// How many commands wait.
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    fn take(&self, (bytes, command): Queued) -> Command {
        self.shared.subtract(bytes);
        command
    }

    /// Takes up to `most` commands, at least one. `false`: the inbox is closed and empty. Cancel safe.
    pub(crate) async fn recv_many(&mut self, commands: &mut Vec<Queued>, most: usize) -> bool {
        let taken = self.receiver.recv_many(commands, most).await;
        self.shared.subtract(commands.iter().map(|(bytes, _)| bytes).sum());
        taken > 0
    }

    /// Refuses further commands. Those that wait may still be taken.
    pub(crate) fn close(&mut self) {
        self.receiver.close();
        self.shared.fewer_bytes.notify_waiters();
    }
}

impl Drop for InboxReceiver {
    fn drop(&mut self) {
        self.close();
    }
}
