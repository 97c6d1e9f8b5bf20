//! The reason for the end of a socket or a session, in Socket.IO's words.

use std::fmt;

/// The reason why a socket was disconnected. [`as_str`](Self::as_str) gives the words of Socket.IO's
/// `disconnect` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// `transport error`: the connection failed, or the peer broke the protocol of the connection.
    TransportError,
    /// `transport close`: the peer closed the connection, or it was lost.
    TransportClose,
    /// `forced close`: the session was closed by the server below Socket.IO.
    ForcedClose,
    /// `ping timeout`: the peer did not answer a ping in time.
    PingTimeout,
    /// `parse error`: the peer sent bytes that are not a packet.
    ParseError,
    /// `server shutting down`.
    ServerShuttingDown,
    /// `forced server close`: the client joined no namespace in time, used a namespace that it had not
    /// joined, or did not read the data sent to it.
    ForcedServerClose,
    /// `client namespace disconnect`: the client left the namespace.
    ClientNamespaceDisconnect,
    /// `server namespace disconnect`: the server's code disconnected the socket.
    ServerNamespaceDisconnect,
}

impl DisconnectReason {
    /// Whether a client may get its session back after this end: not if one side ended the socket on purpose,
    /// or the client broke the protocol. See [`RecoveryOptions`](crate::RecoveryOptions).
    pub const fn is_recoverable(self) -> bool {
        match self {
            Self::TransportError
            | Self::TransportClose
            | Self::ForcedClose
            | Self::PingTimeout
            | Self::ServerShuttingDown
            | Self::ForcedServerClose => true,
            Self::ParseError | Self::ClientNamespaceDisconnect | Self::ServerNamespaceDisconnect => false,
        }
    }

    /// The reason in Socket.IO's words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransportError => "transport error",
            Self::TransportClose => "transport close",
            Self::ForcedClose => "forced close",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ServerShuttingDown => "server shutting down",
            Self::ForcedServerClose => "forced server close",
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
