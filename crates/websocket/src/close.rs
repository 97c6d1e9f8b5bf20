//! Close codes and the body of a Close frame (RFC 6455 §5.5.1 and §7.4).

use std::fmt;

use crate::ProtocolError;

/// The reason for a close, as a number: the first two bytes of a Close frame's body (RFC 6455 §7.4.1).
///
/// A `CloseCode` holds any `u16`, so that numbers of other programs survive.
/// [`is_valid_on_wire`](Self::is_valid_on_wire) says whether a Close frame may carry it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

#[allow(non_upper_case_globals, reason = "the names of the standard, as the variants they read like")]
impl CloseCode {
    /// 1000: the connection has done its work.
    pub const Normal: Self = Self(1000);
    /// 1001: the server goes down, or the browser leaves the page.
    pub const GoingAway: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const ProtocolError: Self = Self(1002);
    /// 1003: a kind of data that this endpoint does not take.
    pub const UnsupportedData: Self = Self(1003);
    /// 1005: never sent; stands for a Close frame without a code.
    pub const NoStatusReceived: Self = Self(1005);
    /// 1006: never sent; stands for a connection that ended without a Close frame.
    pub const Abnormal: Self = Self(1006);
    /// 1007: data that does not fit its type, such as a text message that is not UTF-8.
    pub const InvalidPayload: Self = Self(1007);
    /// 1008: a message against this endpoint's policy.
    pub const PolicyViolation: Self = Self(1008);
    /// 1009: a message that is too big.
    pub const MessageTooBig: Self = Self(1009);
    /// 1010: the server did not negotiate an extension that the client needs.
    pub const MandatoryExtension: Self = Self(1010);
    /// 1011: the server failed.
    pub const InternalError: Self = Self(1011);
    /// 1012: the service restarts.
    pub const ServiceRestart: Self = Self(1012);
    /// 1013: the service is overloaded; come back later.
    pub const TryAgainLater: Self = Self(1013);
    /// 1014: a gateway got a bad answer from upstream.
    pub const BadGateway: Self = Self(1014);
    /// 1015: never sent; stands for a TLS handshake that failed.
    pub const TlsHandshake: Self = Self(1015);

    /// Whether a Close frame may carry this code: 1000–1003, 1007–1014 and 3000–4999.
    pub const fn is_valid_on_wire(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// The number itself.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

/// The body of a Close frame, where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// The code; valid on the wire.
    pub code: CloseCode,
    /// The peer's words; at most 123 bytes, and often empty.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// Reads the body of a Close frame: it is empty, or a code and a reason (RFC 6455 §5.5.1).
    pub(crate) fn parse(body: &'a [u8]) -> Result<Option<Self>, ProtocolError> {
        let Some((code, reason)) = body.split_first_chunk::<2>() else {
            return if body.is_empty() { Ok(None) } else { Err(ProtocolError::TruncatedCloseCode) };
        };
        let code = CloseCode(u16::from_be_bytes(*code));
        if !code.is_valid_on_wire() {
            return Err(ProtocolError::InvalidCloseCode { code: code.get() });
        }
        let reason = std::str::from_utf8(reason)
            .map_err(|error| ProtocolError::InvalidCloseReason { offset: error.valid_up_to() })?;
        Ok(Some(Self { code, reason }))
    }
}

/// A [`CloseFrame`] that owns its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedCloseFrame {
    /// The code. The code of a received frame is valid on the wire; the code of a frame to be sent must be.
    pub code: CloseCode,
    /// The words of the side that closes; often empty. A reason over 123 bytes is cut when it is sent.
    pub reason: String,
}

impl From<CloseFrame<'_>> for OwnedCloseFrame {
    fn from(CloseFrame { code, reason }: CloseFrame<'_>) -> Self {
        Self { code, reason: reason.to_owned() }
    }
}
