//! The errors of a connection.

use std::{io, time::Duration};

use thiserror::Error;

use crate::{
    CloseCode, OwnedMessage, ProtocolError,
    client::{ConnectError, Rejection},
    handshake::{client::ClientError, head::HeadError, server::HandshakeError},
};

/// The reason why an operation on a connection failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or writing failed; the connection is over.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer broke the protocol or a limit. A Close frame told the peer; the connection is over.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// A server refused a request, and sent the answer.
    #[error(transparent)]
    Refused(#[from] HandshakeError),
    /// A client's handshake failed.
    #[error(transparent)]
    Handshake(#[from] ClientError),
    /// A client could not ask for a WebSocket, or got no answer.
    #[error(transparent)]
    Connect(Box<ConnectError>),
    /// A server answered a client's request with another status than 101. It has no WebSocket there, or wants
    /// authorization, or redirects.
    #[error("the server answered {0}")]
    Rejected(Box<Rejection>),
    /// The handshake took longer than [`Config::handshake_timeout`](crate::Config::handshake_timeout).
    #[error("the handshake took too long")]
    HandshakeTimeout,
    /// The peer ended the connection without a Close frame. Close code 1006 stands for this.
    #[error("the connection ended without a close frame")]
    ConnectionLost,
    /// The peer did not answer a close within [`Config::close_timeout`](crate::Config::close_timeout).
    #[error("the peer did not answer the close in time")]
    CloseTimeout,
    /// A message was not whole within [`Config::message_timeout`](crate::Config::message_timeout). A Close
    /// frame told the peer; the connection is over.
    #[error("the peer did not complete a message within {limit:?}")]
    MessageTimeout {
        /// The time that the message had.
        limit: Duration,
    },
    /// The peer sends pings and does not read the pongs:
    /// [`Config::max_pending_pongs`](crate::Config::max_pending_pongs) of them wait to be written. The
    /// connection is cut without a Close frame, because the peer would not read that either.
    #[error("the peer sends pings and does not read: {limit} pongs wait to be written")]
    TooManyPongs {
        /// The limit that a further pong would go over.
        limit: usize,
    },
    /// A Close frame was sent, or the connection is over: nothing can be sent any more.
    #[error("the connection is closed")]
    Closed,
    /// The bytes that wait to be written would go over
    /// [`Config::max_write_buffer_bytes`](crate::Config::max_write_buffer_bytes). Flush, then feed the
    /// message again.
    #[error("{pending} bytes wait to be written, at a limit of {limit}")]
    WriteBufferFull {
        /// The message, unchanged.
        message: Box<OwnedMessage>,
        /// Bytes that wait.
        pending: usize,
        /// The limit that the message would go over.
        limit: usize,
    },
    /// The bytes that wait to be written would have gone over
    /// [`Config::max_write_buffer_bytes`](crate::Config::max_write_buffer_bytes), and
    /// [`WhenFull::Close`](crate::WhenFull::Close) is set. The connection is closed.
    #[error("the peer is too slow: {pending} bytes wait to be written, at a limit of {limit}")]
    TooSlow {
        /// Bytes that wait.
        pending: usize,
        /// The limit that a message would have gone over.
        limit: usize,
    },
    /// A ping or pong to be sent has more than 125 bytes.
    #[error("a control frame of {length} bytes is over the limit of 125")]
    ControlTooLong {
        /// Bytes of its payload.
        length: usize,
    },
    /// A Close frame to be sent has a code that may not be sent.
    #[error("close code {code} may not be sent")]
    InvalidCloseCode {
        /// The code.
        code: CloseCode,
    },
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Box::new(error))
    }
}

impl From<HeadError> for Error {
    fn from(error: HeadError) -> Self {
        Self::Handshake(ClientError::Head(error))
    }
}
