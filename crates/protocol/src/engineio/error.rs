//! The errors with which an Engine.IO request is refused. Protocol 4, section "Error handling".

/// The reason for refusing a request. The answer is [`http_status`](Self::http_status) with
/// [`json_body`](Self::json_body) as `application/json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ErrorCode {
    /// The transport is unknown or not enabled.
    TransportUnknown = 0,
    /// No session has this id.
    SessionIdUnknown = 1,
    /// A handshake with a method other than GET.
    BadHandshakeMethod = 2,
    /// The request makes no sense for the session it names, or is malformed.
    BadRequest = 3,
    /// The application refused the handshake.
    Forbidden = 4,
    /// The server does not speak the client's protocol version.
    UnsupportedProtocolVersion = 5,
}

impl ErrorCode {
    /// The error code that clients see.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The text that Node sends with the code.
    pub const fn message(self) -> &'static str {
        match self {
            Self::TransportUnknown => "Transport unknown",
            Self::SessionIdUnknown => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedProtocolVersion => "Unsupported protocol version",
        }
    }

    /// The HTTP status of the answer: 403 for [`Forbidden`](Self::Forbidden), 400 for the others.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }

    /// The body of the answer.
    pub const fn json_body(self) -> &'static str {
        match self {
            Self::TransportUnknown => r#"{"code":0,"message":"Transport unknown"}"#,
            Self::SessionIdUnknown => r#"{"code":1,"message":"Session ID unknown"}"#,
            Self::BadHandshakeMethod => r#"{"code":2,"message":"Bad handshake method"}"#,
            Self::BadRequest => r#"{"code":3,"message":"Bad request"}"#,
            Self::Forbidden => r#"{"code":4,"message":"Forbidden"}"#,
            Self::UnsupportedProtocolVersion => r#"{"code":5,"message":"Unsupported protocol version"}"#,
        }
    }

    /// The body with a text of the application in place of [`message`](Self::message), as with Node's
    /// `allowRequest`.
    pub fn json_body_with(self, message: &str) -> String {
        format!(r#"{{"code":{},"message":{}}}"#, self.code(), serde_json::Value::from(message))
    }
}
