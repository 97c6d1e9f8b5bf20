//! The inbox of a worker: a bounded queue of commands. What does not fit is refused, never dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{Command, HubError, WorkerId};

/// The sending end.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    id: WorkerId,
    sender: mpsc::Sender<Command>,
    /// The worker was told to stop when its inbox was full.
    stop: Arc<AtomicBool>,
}

impl Inbox {
    pub(crate) fn new(id: WorkerId, capacity: usize) -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        (Self { id, sender, stop: Arc::default() }, receiver)
    }

    pub(crate) fn send(&self, command: Command) -> Result<(), HubError> {
        self.sender.try_send(command).or_else(|error| match error {
            TrySendError::Full(Command::Stop) => {
                // A worker with a full inbox is awake: it looks at this behind what it takes next.
                self.stop();
                Ok(())
            }
            TrySendError::Full(_) => {
                metrics::counter!("switchboard_inbox_full_total").increment(1);
                Err(HubError::InboxFull(self.id))
            }
            TrySendError::Closed(_) => Err(HubError::Stopped(self.id)),
        })
    }

    /// Tells the worker to stop when it has executed what its inbox holds. It must be awake, or be woken.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether the worker was told to stop by other means than a command.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Sends as soon as there is room. Cancel safe: dropped before it is ready, nothing was sent.
    pub(crate) async fn send_when_room(&self, command: Command) -> Result<(), HubError> {
        self.sender.send(command).await.map_err(|_| HubError::Stopped(self.id))
    }

    /// Returns when there is room for one more command, or the worker has stopped.
    pub(crate) async fn room(&self) {
        let _ = self.sender.reserve().await;
    }
}
