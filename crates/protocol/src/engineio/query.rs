//! The query string of an Engine.IO request. Protocol 4, section "Transports".

use std::borrow::Cow;

use super::session::Version;

/// The parameters of Engine.IO. Other parameters are ignored.
///
/// They are read as by Node's `URLSearchParams`. Names and values are percent-decoded, `+` is a space, and
/// invalid UTF-8 becomes U+FFFD. If a name occurs several times, its last value counts. A parameter with an
/// empty value is `Some("")`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// `EIO`: the protocol version; see [`version`](Self::version).
    pub eio: Option<Cow<'a, str>>,
    /// `transport`: the transport that the client asks for.
    pub transport: Option<Cow<'a, str>>,
    /// `sid`: the session of the request. A handshake has none. Node treats an empty one as absent, see
    /// [`session`](Self::session).
    pub sid: Option<Cow<'a, str>>,
    /// `b64`: the client cannot take binary frames. Any value but the empty one is true.
    pub b64: bool,
    /// `j`: the response is JSONP with this index.
    pub j: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    /// Reads a raw query string, the part after `?` of the request target.
    pub fn parse(raw: &'a str) -> Self {
        let mut query = Self::default();
        if memchr::memchr2(b'%', b'+', raw.as_bytes()).is_some() {
            for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
                query.set(&name, value);
            }
        } else {
            // A value without `%` and `+` needs no decoding.
            for pair in raw.split('&') {
                if let Some((name, value)) = split_name(pair) {
                    query.set(name, Cow::Borrowed(value));
                }
            }
        }
        query
    }

    /// Whether a raw query names a [session](Self::session), told at a glance. `true` is certain; `false` is not:
    /// a query that is written in another way has to be [read](Self::parse).
    pub fn has_session(raw: &str) -> bool {
        let raw = raw.as_bytes();
        let mut found = memchr::memmem::find_iter(raw, b"sid");
        let (Some(at), None) = (found.next(), found.next()) else { return false };
        let before = at.checked_sub(1).and_then(|before| raw.get(before));
        let (equals, value) = (raw.get(at + 3), raw.get(at + 4));
        matches!(before, None | Some(b'&'))
            && equals == Some(&b'=')
            && !matches!(value, None | Some(b'&'))
            && memchr::memchr2(b'%', b'+', raw).is_none()
    }

    fn set(&mut self, name: &str, value: Cow<'a, str>) {
        match name {
            "EIO" => self.eio = Some(value),
            "transport" => self.transport = Some(value),
            "sid" => self.sid = Some(value),
            "b64" => self.b64 = !value.is_empty(),
            "j" => self.j = Some(value),
            _ => {}
        }
    }

    /// The version that Node would speak: 4 for `EIO=4`, otherwise 3.
    pub fn version(&self) -> Version {
        if self.eio.as_deref() == Some("4") { Version::V4 } else { Version::V3 }
    }

    /// The session of the request; `None` for a handshake.
    pub fn session(&self) -> Option<&str> {
        self.sid.as_deref().filter(|sid| !sid.is_empty())
    }
}

/// The name and the value of a pair. `None`: a name longer than those that are read.
fn split_name(pair: &str) -> Option<(&str, &str)> {
    let longest = "transport".len();
    let at = pair.bytes().take(longest + 1).position(|byte| byte == b'=');
    let at = at.or((pair.len() <= longest).then_some(pair.len()))?;
    Some((pair.get(..at)?, pair.get(at + 1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_a_session_at_a_glance_only_if_it_names_one() {
        for (raw, at_a_glance) in [
            ("EIO=4&transport=polling&t=abc&sid=lv_VI97HAXpY6yYWAAAC", true),
            ("sid=a", true),
            ("sid=a&t=b", true),
            ("sid=a&sid=", false),
            ("sid=a&sid", false),
            ("sid=a&%73id=", false),
            ("sid=a%20b", false),
            ("asid=a", false),
            ("sid=", false),
            ("sid=&t=a", false),
            ("", false),
        ] {
            assert_eq!(Query::has_session(raw), at_a_glance, "{raw}");
            assert!(Query::parse(raw).session().is_some() || !at_a_glance, "{raw}");
        }
    }

    #[test]
    fn a_query_without_escapes_is_read_as_one_with_escapes() {
        for raw in [
            "",
            "EIO=4&transport=polling&t=abc&sid=lv_VI97HAXpY6yYWAAAC",
            "&&sid=a&&sid=b&",
            "sid",
            "sid=",
            "sid=a=b&=c&j",
            "b64=1&EIO&transport==",
            "transport=\u{e9}&sid=;x",
        ] {
            let escaped = [raw, "&%74=+"].concat();
            assert_eq!(Query::parse(raw), Query::parse(&escaped), "{raw}");
        }
    }
}
