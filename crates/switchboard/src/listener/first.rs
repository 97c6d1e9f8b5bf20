//! What a connection speaks, told by its first bytes: the one place where that is decided, on a plain stream
//! and again inside TLS. Sans-I/O.
//!
//! TLS: a handshake record ([RFC 8446, 5.1](https://www.rfc-editor.org/rfc/rfc8446#section-5.1)); HTTP/2 by
//! prior knowledge: the client connection preface ([RFC 9113,
//! 3.4](https://www.rfc-editor.org/rfc/rfc9113#section-3.4)).

/// `ContentType` of a TLS handshake record, which a `ClientHello` comes in. No HTTP request begins so.
const TLS_HANDSHAKE: u8 = 0x16;

/// How the preface of HTTP/2 begins. No method of HTTP/1 is called so, as its registry says.
const HTTP2: &[u8] = b"PRI ";

/// What Flash players ask for before they open a socket.
pub(super) const FLASH_POLICY_REQUEST: &[u8] = b"<policy-file-request/>\0";

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Tls,
    Http2,
    FlashPolicy,
    /// HTTP/1, or what HTTP/1's parser is to refuse.
    Http1,
}

impl Speaks {
    /// Tells by the first bytes. `None`: there are too few to tell; no more than 23 ever are.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            // The common case first.
            [b'G', ..] => Some(Self::Http1),
            [TLS_HANDSHAKE, ..] => Some(Self::Tls),
            [b'P', ..] => whether(bytes, HTTP2, Self::Http2),
            [b'<', ..] => whether(bytes, FLASH_POLICY_REQUEST, Self::FlashPolicy),
            [] => None,
            _ => Some(Self::Http1),
        }
    }
}

/// `speaks` if the bytes begin `with` this, and HTTP/1 if they do not.
fn whether(bytes: &[u8], with: &[u8], speaks: Speaks) -> Option<Speaks> {
    match bytes.get(..with.len()) {
        Some(begin) if begin == with => Some(speaks),
        None if with.starts_with(bytes) => None,
        _ => Some(Speaks::Http1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_protocol_of_a_connection() {
        for (bytes, speaks) in [
            (&b""[..], None),
            (b"\x16", Some(Speaks::Tls)),
            (b"\x16\x03\x01\x02\x00\x01", Some(Speaks::Tls)),
            (b"GET / HTTP/1.1\r\n", Some(Speaks::Http1)),
            (b"G", Some(Speaks::Http1)),
            (b"P", None),
            (b"PR", None),
            (b"PRI", None),
            (b"PRI ", Some(Speaks::Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Speaks::Http2)),
            (b"PO", Some(Speaks::Http1)),
            (b"PUT / HTTP/1.1\r\n", Some(Speaks::Http1)),
            (b"PROPFIND / HTTP/1.1\r\n", Some(Speaks::Http1)),
            (b"PRI\r\n", Some(Speaks::Http1)),
            (b"<", None),
            (b"<policy-file-request/>", None),
            (b"<policy-file-request/>\0", Some(Speaks::FlashPolicy)),
            (b"<policy-file-request/>\0more", Some(Speaks::FlashPolicy)),
            (b"<policy-file-request />\0", Some(Speaks::Http1)),
            (b"<html>", Some(Speaks::Http1)),
            (b"\x00\x01", Some(Speaks::Http1)),
            (b"\x80\x2e\x01", Some(Speaks::Http1)),
        ] {
            assert_eq!(Speaks::of(bytes), speaks, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_bytes_behind_the_first_ones_change_nothing() {
        for bytes in [&b"PRI * HTTP/2.0"[..], FLASH_POLICY_REQUEST, b"POST / HTTP/1.1", b"<polite>"] {
            let told: Vec<_> = (0..=bytes.len()).filter_map(|at| Speaks::of(&bytes[..at])).collect();
            assert!(told.len() > 1 || bytes.len() == FLASH_POLICY_REQUEST.len());
            assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{}", bytes.escape_ascii());
        }
    }
}
