//! What a request of an old client asks for, by its path and query.
//!
//! 0.9: `1/` is the handshake, `1/<transport>/<sid>` a request of a session. 0.6:
//! `<transport>/[<sid>]/<anything>`.

use std::borrow::Cow;

use switchboard_protocol::engineio::SessionId;

use super::Version;

/// Transports as paths name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// WebSocket, and Flash's.
    WebSocket,
    Htmlfile,
    XhrMultipart,
    XhrPolling,
    JsonpPolling,
}

impl Transport {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "websocket" | "flashsocket" => Self::WebSocket,
            "htmlfile" => Self::Htmlfile,
            "xhr-multipart" => Self::XhrMultipart,
            "xhr-polling" => Self::XhrPolling,
            "jsonp-polling" => Self::JsonpPolling,
            _ => return None,
        })
    }

    pub(super) fn is_polling(self) -> bool {
        matches!(self, Self::XhrPolling | Self::JsonpPolling)
    }
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// The bare path.
    Welcome,
    /// A protocol that there is not.
    OtherProtocol,
    /// The handshake of 0.9; by a script, if there is an index.
    Handshake { index: Option<Cow<'a, str>> },
    /// The end of a session of 0.9.
    Disconnect { sid: &'a str },
    /// The transport of a session. 0.6 opens one where there is no id.
    Transport { version: Version, transport: Option<Transport>, sid: &'a str, index: Cow<'a, str> },
}

/// Whether a request is one of an old client, by the path below the endpoint's.
pub(super) fn is_old(rest: &str, query: &str) -> bool {
    let first = rest.split('/').next().unwrap_or_default();
    // Engine.IO takes all that names its transports.
    !has(query, "EIO")
        && match first {
            "" => !has(query, "transport"),
            _ => is_number(first) || Transport::of(first).is_some(),
        }
}

/// Whether a request goes on with a session on polling, as far as its path tells.
pub(super) fn is_poll(path: &str) -> bool {
    path.contains("/xhr-polling/") || path.contains("/jsonp-polling/")
}

impl<'a> Asked<'a> {
    pub(super) fn of(rest: &'a str, query: &'a str) -> Self {
        let mut parts = rest.split('/');
        let first = parts.next().unwrap_or_default();
        let (second, third) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match first {
            "" => Self::Welcome,
            "1" if third.is_empty() => Self::Handshake { index: index(query, "jsonp") },
            "1" if has(query, "disconnect") => Self::Disconnect { sid: third },
            "1" => Self::Transport {
                version: Version::V09,
                transport: Transport::of(second).filter(|transport| *transport != Transport::XhrMultipart),
                sid: third,
                index: index(query, "i").unwrap_or(Cow::Borrowed("0")),
            },
            _ if is_number(first) => Self::OtherProtocol,
            _ => Self::Transport {
                version: Version::V06,
                transport: Transport::of(first),
                sid: second,
                index: Cow::Borrowed(rest.trim_end_matches('/').rsplit('/').next().unwrap_or_default())
                    .filter_index()
                    .unwrap_or(Cow::Borrowed("0")),
            },
        }
    }
}

trait FilterIndex: Sized {
    /// Itself, if it is an index: digits alone, which can call no other function.
    fn filter_index(self) -> Option<Self>;
}

impl FilterIndex for Cow<'_, str> {
    fn filter_index(self) -> Option<Self> {
        (is_number(&self) && self.len() <= 20).then_some(self)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
}

fn has(query: &str, name: &str) -> bool {
    query.contains(name) && parameter(query, name).is_some()
}

/// The index of a script among those of its page.
fn index<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    parameter(query, name)?.filter_index()
}

/// The id of a session as a client writes it. That of 0.6 is a number: its bytes behind a 1.
pub(super) fn read_id(version: Version, sid: &str) -> Option<SessionId> {
    match version {
        Version::V09 => SessionId::parse(sid),
        Version::V06 => {
            let number = Some(sid).filter(|sid| is_number(sid))?.parse::<u128>().ok()?;
            let bytes = number.to_be_bytes();
            let (first, rest) = bytes.split_first()?;
            let (worker, random) = rest.split_first_chunk::<1>()?;
            (*first == 1).then_some(SessionId::new(worker[0], *random.first_chunk()?))
        }
    }
}

/// The id of a session as a client is told.
pub(super) fn write_id(version: Version, sid: &SessionId) -> String {
    match version {
        Version::V09 => sid.as_str().to_owned(),
        Version::V06 => {
            let bytes = sid.to_bytes();
            let number = bytes.iter().fold(1_u128, |number, byte| (number << 8) | u128::from(*byte));
            number.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_what_an_old_client_asks_for() {
        let transport = |version, transport, sid, index| Asked::Transport {
            version,
            transport,
            sid,
            index: Cow::Borrowed(index),
        };
        let (v09, v06) = (Version::V09, Version::V06);
        for (rest, query, asked) in [
            ("", "", Asked::Welcome),
            ("1", "t=1", Asked::Handshake { index: None }),
            ("1/", "t=1&jsonp=3", Asked::Handshake { index: Some(Cow::Borrowed("3")) }),
            ("1/", "jsonp=alert(1)", Asked::Handshake { index: None }),
            ("1/", "jsonp=", Asked::Handshake { index: None }),
            ("2/", "", Asked::OtherProtocol),
            ("0/websocket/abc", "", Asked::OtherProtocol),
            ("1/websocket/abc", "", transport(v09, Some(Transport::WebSocket), "abc", "0")),
            ("1/flashsocket/abc", "", transport(v09, Some(Transport::WebSocket), "abc", "0")),
            ("1/htmlfile/abc", "t=2", transport(v09, Some(Transport::Htmlfile), "abc", "0")),
            ("1/xhr-polling/abc", "t=2", transport(v09, Some(Transport::XhrPolling), "abc", "0")),
            ("1/jsonp-polling/abc", "t=2&i=7", transport(v09, Some(Transport::JsonpPolling), "abc", "7")),
            ("1/jsonp-polling/abc", "i=x", transport(v09, Some(Transport::JsonpPolling), "abc", "0")),
            ("1/jsonp-polling/abc", "i=1%20", transport(v09, Some(Transport::JsonpPolling), "abc", "0")),
            ("1/xhr-multipart/abc", "", transport(v09, None, "abc", "0")),
            ("1/toString/abc", "", transport(v09, None, "abc", "0")),
            ("1/websocket/abc", "disconnect", Asked::Disconnect { sid: "abc" }),
            ("1//abc/", "disconnect=1", Asked::Disconnect { sid: "abc" }),
            ("websocket", "", transport(v06, Some(Transport::WebSocket), "", "0")),
            ("xhr-polling//1300000000", "", transport(v06, Some(Transport::XhrPolling), "", "1300000000")),
            ("xhr-multipart/123/send", "", transport(v06, Some(Transport::XhrMultipart), "123", "0")),
            ("jsonp-polling/123/1300/4/", "", transport(v06, Some(Transport::JsonpPolling), "123", "4")),
            ("jsonp-polling//x;alert(1)", "", transport(v06, Some(Transport::JsonpPolling), "", "0")),
        ] {
            assert_eq!(Asked::of(rest, query), asked, "{rest} {query}");
            assert!(is_old(rest, query), "{rest} {query}");
        }
        for (rest, query) in [
            ("", "EIO=4&transport=polling"),
            ("", "transport=polling"),
            ("1/", "EIO=3&transport=polling"),
            ("socket.io.js", ""),
            ("any/thing", ""),
        ] {
            assert!(!is_old(rest, query), "{rest} {query}");
        }
    }

    #[test]
    fn an_id_is_read_as_it_was_written() {
        for (worker, random) in [(0, [0; 14]), (255, [255; 14]), (3, *b"abcdefghijklmn")] {
            let sid = SessionId::new(worker, random);
            for version in [Version::V09, Version::V06] {
                let text = write_id(version, &sid);
                assert_eq!(read_id(version, &text), Some(sid), "{text}");
            }
            assert!(is_number(&write_id(Version::V06, &sid)));
        }
        for text in ["", "1", "-1", "99999999999999999999999999999999999999999", "abc", "toString"] {
            assert_eq!(read_id(Version::V06, text), None, "{text}");
        }
    }
}
