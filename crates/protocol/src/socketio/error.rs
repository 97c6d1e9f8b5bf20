//! What can be wrong with a packet, with arguments that came, and with arguments to send.

/// Why a text is not a Socket.IO packet. Node closes the connection with `parse error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first character is not a digit from 0 to 6, or there is none.
    #[error("unknown packet type")]
    UnknownType,
    /// A binary packet without a number of attachments and `-`, or with a number that is zero.
    #[error("illegal number of attachments")]
    Attachments,
    /// A binary packet announces more attachments than allowed.
    #[error("{got} attachments announced, at most {limit} are allowed")]
    TooManyAttachments {
        /// How many were announced.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The acknowledgement id does not fit 64 bits.
    #[error("acknowledgement id does not fit 64 bits")]
    AckId,
    /// The payload is not of the kind the packet's type asks for.
    #[error("invalid payload for a packet of this type")]
    Payload,
    /// An event whose name is neither a string nor an integer.
    #[error("event name is not a string")]
    EventName,
    /// An event with a name that is kept for the library's own events.
    #[error("event name is reserved")]
    ReservedEvent,
}

/// Why arguments could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// Malformed JSON, or JSON nested deeper than allowed: the peer is broken. Node closes the
    /// connection with `parse error`.
    #[error("malformed arguments: {0}")]
    Syntax(String),
    /// Well-formed arguments that do not fit the type they were asked as.
    #[error("arguments of another type: {0}")]
    Data(String),
    /// A placeholder that names no attachment, or stands where the type holds no bytes. Of these,
    /// Node notices the first alone, and closes the connection with `parse error`.
    #[error("attachment: {0}")]
    Attachment(String),
}

/// Why arguments could not be written. Nothing was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The event's name is kept for the library's own events.
    #[error("{0:?} is a reserved event name")]
    ReservedEvent(String),
    /// The value's `Serialize` failed, or it has what JSON cannot express: a map key that is no
    /// string.
    #[error("arguments cannot be serialised: {0}")]
    Serialize(#[source] serde_json::Error),
}
