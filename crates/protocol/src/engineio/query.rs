//! The query string of an Engine.IO request. Protocol 4, section "Transports".

use std::borrow::Cow;

/// The parameters Engine.IO knows; others are ignored.
///
/// They are read as Node's `URLSearchParams` reads them: names and values are percent-decoded, `+`
/// is a space, invalid UTF-8 becomes U+FFFD, and the last of several with one name counts. A
/// parameter that is there but empty is `Some("")`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// `EIO`: the protocol version; see [`protocol`](Self::protocol).
    pub eio: Option<Cow<'a, str>>,
    /// `transport`: how the client wants to talk.
    pub transport: Option<Cow<'a, str>>,
    /// `sid`: the session the request belongs to; none in a handshake. Node takes an empty one for
    /// none, see [`session`](Self::session).
    pub sid: Option<Cow<'a, str>>,
    /// `b64`: the client cannot take binary frames. True when given any value but the empty one.
    pub b64: bool,
    /// `j`: the response is wrapped for JSONP with this index.
    pub j: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    /// Reads a raw query string: what stands after `?` in the request target.
    pub fn parse(raw: &'a str) -> Self {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
            match &*name {
                "EIO" => query.eio = Some(value),
                "transport" => query.transport = Some(value),
                "sid" => query.sid = Some(value),
                "b64" => query.b64 = !value.is_empty(),
                "j" => query.j = Some(value),
                _ => {}
            }
        }
        query
    }

    /// The protocol version Node would speak: 4 for `EIO=4`, else 3.
    pub fn protocol(&self) -> u8 {
        if self.eio.as_deref() == Some("4") { 4 } else { 3 }
    }

    /// The session the request names; `None` for a handshake.
    pub fn session(&self) -> Option<&str> {
        self.sid.as_deref().filter(|sid| !sid.is_empty())
    }
}
