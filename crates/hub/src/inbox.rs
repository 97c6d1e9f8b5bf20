//! The inbox of a worker: a bounded queue of commands. What does not fit is refused, never dropped.

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{Command, HubError, WorkerId};

/// The sending end.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    id: WorkerId,
    sender: mpsc::Sender<Command>,
}

impl Inbox {
    pub(crate) fn new(id: WorkerId, capacity: usize) -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        (Self { id, sender }, receiver)
    }

    pub(crate) fn send(&self, command: Command) -> Result<(), HubError> {
        self.sender.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => {
                metrics::counter!("switchboard_inbox_full_total").increment(1);
                HubError::InboxFull(self.id)
            }
            TrySendError::Closed(_) => HubError::Stopped(self.id),
        })
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
