//! The headers of a request that a handshake keeps.

use http::HeaderName;

/// Which request headers [`Handshake`](crate::Handshake) keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeepHeaders {
    /// All but those that only concern the connection or the encoding of the response: `Accept*`,
    /// `Cache-Control`, `Connection`, `Content-*`, `DNT`, `Keep-Alive`, `Pragma`, `Sec-*`, `TE`,
    /// `Transfer-Encoding`, `Upgrade*`.
    #[default]
    Default,
    /// All.
    All,
    /// None.
    None,
    /// These.
    Only(Vec<HeaderName>),
}

impl KeepHeaders {
    pub(super) fn keeps(&self, name: &HeaderName) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Only(names) => names.contains(name),
            Self::Default => !is_passing(name.as_str()),
        }
    }
}

/// Whether a header only concerns the connection or the encoding of the response.
fn is_passing(name: &str) -> bool {
    let begins = |names: &[&str]| names.iter().any(|passing| name.starts_with(passing));
    // Each header of each client is looked at: one letter tells most of them apart.
    match name.as_bytes().first() {
        Some(b'a') => begins(&["accept"]),
        Some(b'c') => begins(&["cache-control", "connection", "content-"]),
        Some(b'd') => begins(&["dnt"]),
        Some(b'k') => begins(&["keep-alive"]),
        Some(b'p') => begins(&["pragma"]),
        Some(b's') => begins(&["sec-"]),
        Some(b't') => name == "te" || begins(&["transfer-encoding"]),
        Some(b'u') => begins(&["upgrade"]),
        _ => false,
    }
}

/// Whether a header's value tells of a client's program, or of where it was sent, so that many clients send
/// the same. Of those that begin with `sec-` two are each connection's own: a subprotocol's name may be a
/// secret.
pub(super) fn is_common(name: &str) -> bool {
    match name {
        "host" | "user-agent" | "origin" | "accept" | "accept-encoding" | "accept-language"
        | "cache-control" | "connection" | "dnt" | "pragma" | "upgrade" | "via" | "x-forwarded-host"
        | "x-forwarded-proto" => true,
        "sec-websocket-key" | "sec-websocket-protocol" => false,
        _ => name.starts_with("sec-"),
    }
}
