//! Errors in packets, in received arguments, and in arguments to send.

/// The reason why a text is not a Socket.IO packet. Node closes the connection with `parse error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first character is missing, or is not a digit from 0 to 6.
    #[error("unknown packet type")]
    UnknownType,
    /// A binary packet without a number of attachments and `-`, or with the number zero.
    #[error("illegal number of attachments")]
    Attachments,
    /// A binary packet announces more attachments than allowed.
    #[error("{got} attachments announced, at most {limit} are allowed")]
    TooManyAttachments {
        /// The announced number.
        got: usize,
        /// The allowed number.
        limit: usize,
    },
    /// The acknowledgement id does not fit 64 bits.
    #[error("acknowledgement id does not fit 64 bits")]
    AckId,
    /// The payload does not have the form that the packet's type requires.
    #[error("invalid payload for a packet of this type")]
    Payload,
    /// An event with a name that is neither a string nor an integer.
    #[error("event name is not a string")]
    EventName,
    /// An event with a name that is reserved for the library's own events.
    #[error("event name is reserved")]
    ReservedEvent,
}

/// The reason why arguments could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// Malformed JSON, or JSON nested deeper than allowed. The peer is faulty; Node closes the connection
    /// with `parse error`.
    #[error("malformed arguments: {0}")]
    Syntax(String),
    /// Well-formed arguments that do not fit the requested type.
    #[error("arguments of another type: {0}")]
    Data(String),
    /// A placeholder that names no attachment, or that stands where the type holds no bytes. Node detects
    /// only the first case, and closes the connection with `parse error`.
    #[error("attachment: {0}")]
    Attachment(String),
}

/// The reason why arguments could not be written. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The event's name is reserved for the library's own events.
    #[error("{0:?} is a reserved event name")]
    ReservedEvent(String),
    /// The value's `Serialize` failed, or JSON cannot express it: a map key is not a string.
    #[error("arguments cannot be serialised: {0}")]
    Serialize(#[source] serde_json::Error),
}
