//! Disconnects that tell the client why. Socket.IO's `DISCONNECT` packet has no place for a reason, so an event
//! goes out before it: every client shows it, and one that does not listen is disconnected as ever.

use serde::Serialize;

use super::operator::BroadcastOperator;
use super::remote::RemoteSocket;
use super::socket::Socket;
use crate::EmitError;

/// The name of the event that tells a client why the server disconnects it: see
/// [`Socket::disconnect_with`](crate::Socket::disconnect_with).
pub const DISCONNECT_REASON: &str = "disconnect_reason";

impl Socket {
    /// Disconnects the socket as [`disconnect`](Self::disconnect) does, and tells the client why: it gets the
    /// event [`disconnect_reason`](crate::DISCONNECT_REASON) with these arguments, and behind it the
    /// disconnect. A tuple is the argument list; anything else is one argument.
    ///
    /// A client listens with `socket.on("disconnect_reason", (reason) => …)`. One that does not listen sees the
    /// disconnect alone.
    ///
    /// ```
    /// use serde_json::json;
    /// use switchboard::{EmitError, Socket};
    ///
    /// fn ban(socket: &Socket) -> Result<(), EmitError> {
    ///     socket.disconnect_with(true, json!({"code": "banned", "until": "tomorrow"}))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`EmitError::Disconnected`] where it was so already. [`EmitError::Arguments`]: they do not serialise.
    /// [`EmitError::Hub`]: the client's outbox or the worker's inbox has no room for the event. In these last
    /// two cases the socket is disconnected all the same, if its worker can be told.
    pub fn disconnect_with<T: Serialize>(&self, close: bool, reason: T) -> Result<(), EmitError> {
        let told = self.emit(DISCONNECT_REASON, reason);
        self.disconnect(close).and(told)
    }
}

impl BroadcastOperator {
    /// Disconnects the sockets as [`disconnect`](Self::disconnect) does, and tells their clients why: see
    /// [`Socket::disconnect_with`](crate::Socket::disconnect_with).
    ///
    /// # Errors
    /// As [`emit`](Self::emit). The sockets are disconnected all the same, where their workers can be told.
    pub fn disconnect_with<T: Serialize>(self, close: bool, reason: T) -> Result<(), EmitError> {
        let told = self.clone().emit(DISCONNECT_REASON, reason);
        self.disconnect(close).and(told)
    }
}

impl RemoteSocket {
    /// Disconnects the socket as [`disconnect`](Self::disconnect) does, and tells its client why: see
    /// [`Socket::disconnect_with`](crate::Socket::disconnect_with).
    ///
    /// # Errors
    /// As [`emit`](Self::emit). The socket is disconnected all the same, if its worker can be told.
    pub fn disconnect_with<T: Serialize>(&self, close: bool, reason: T) -> Result<(), EmitError> {
        let told = self.emit(DISCONNECT_REASON, reason);
        self.disconnect(close).and(told)
    }
}
