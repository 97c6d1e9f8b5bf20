//! The id of an Engine.IO session. It is a secret: anyone who knows it can act as the session's client.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 20 characters of base64url over 15 bytes: one byte names the worker that owns the session, and 14 are
/// random.
///
/// `Debug` shows only the first four characters, enough to follow a session in a log. `Display` and
/// [`as_str`](Self::as_str) show all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; 20]);

impl SessionId {
    /// Makes an id. `random` must come from a cryptographically secure generator.
    pub fn new(worker: u8, random: [u8; 14]) -> Self {
        let mut bytes = [0; 15];
        let (first, rest) = bytes.split_at_mut(1);
        first.copy_from_slice(&[worker]);
        rest.copy_from_slice(&random);
        let mut text = [b'A'; 20];
        // 15 bytes are exactly 20 characters, so this cannot fail.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        Self(text)
    }

    /// Reads an id that a client sent. `None` if it is not 20 characters of base64url.
    pub fn parse(text: &str) -> Option<Self> {
        let text: [u8; 20] = text.as_bytes().try_into().ok()?;
        text.iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            .then_some(Self(text))
    }

    /// The worker in the id. It is a hint, because a client may have made the id up.
    pub fn worker(&self) -> u8 {
        let [first, second, ..] = self.0;
        (sextet(first) << 2) | (sextet(second) >> 4)
    }

    /// The worker and the random bytes, as [`new`](Self::new) takes them, one behind the other.
    pub fn to_bytes(self) -> [u8; 15] {
        let mut bytes = [0; 15];
        // 20 characters of base64url are exactly 15 bytes, so this cannot fail.
        let _ = URL_SAFE_NO_PAD.decode_slice(self.0, &mut bytes);
        bytes
    }

    /// The id as it goes over the wire.
    pub fn as_str(&self) -> &str {
        // The bytes are always ASCII; the fallback is never used.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The value of a base64url character. No other byte can be in a [`SessionId`].
const fn sextet(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        _ => 63,
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}…)", self.as_str().get(..4).unwrap_or(""))
    }
}

impl AsRef<str> for SessionId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}
