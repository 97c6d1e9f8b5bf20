//! Ids of nodes and members.

use std::fmt;

use crate::WorkerId;

/// The number of a process among those that a [`Bus`](crate::Bus) connects: see
/// [`HubOptions::node`](crate::HubOptions::node). Two nodes of one bus must not have the same number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The alphabet of ids: that of base64 for URLs ([RFC 4648, section
/// 5](https://www.rfc-editor.org/rfc/rfc4648#section-5)).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The characters of an id. The first of them name the node and the worker.
const LENGTH: usize = 20;
const NAMING: usize = 4;

/// The public id of a member: 20 ASCII characters, not a secret.
///
/// An id that was made by [`random`](Self::random) names its node and its worker in 4 characters. The other
/// 16 characters are 96 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId([u8; LENGTH]);

impl MemberId {
    /// An id for a new member of this worker on this node. `None` where the system has no randomness.
    pub fn random(node: NodeId, worker: WorkerId) -> Option<Self> {
        let mut random = [0; 12];
        getrandom::fill(&mut random).ok()?;
        Some(Self::with_random(node, worker, random))
    }

    /// The id of a member of this worker on this node, with these bytes as its random part.
    pub fn with_random(node: NodeId, worker: WorkerId, random: [u8; 12]) -> Self {
        let [high, low] = node.0.to_be_bytes();
        let groups = [[high, low, worker.0]].into_iter().chain(random.as_chunks().0.iter().copied());
        let mut characters = [0; LENGTH];
        for (four, [a, b, c]) in characters.chunks_exact_mut(4).zip(groups) {
            let bits = u32::from_be_bytes([0, a, b, c]);
            for (at, character) in four.iter_mut().enumerate() {
                let six = bits >> (18 - 6 * at) & 63;
                *character = ALPHABET.get(six as usize).copied().unwrap_or_default();
            }
        }
        Self(characters)
    }

    /// The id of these characters; `None` if one of them is not an ASCII letter, a digit, `-` or `_`.
    pub fn new(characters: [u8; LENGTH]) -> Option<Self> {
        let plain = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        characters.iter().all(plain).then_some(Self(characters))
    }

    /// Parses an id. (A room's name may be an id.)
    pub fn parse(text: &str) -> Option<Self> {
        Self::new(text.as_bytes().try_into().ok()?)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        // All characters were checked to be ASCII, so this does not fail.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The node and the worker of the id, if [`random`](Self::random) made it. An id of another server names
    /// any.
    pub fn home(&self) -> (NodeId, WorkerId) {
        let naming = self.0.iter().take(NAMING);
        let bits = naming.fold(0, |bits, &character| bits << 6 | u32::from(value(character)));
        let [_, high, low, worker] = bits.to_be_bytes();
        (NodeId(u16::from_be_bytes([high, low])), WorkerId(worker))
    }
}

/// The place of a character in the alphabet.
fn value(character: u8) -> u8 {
    match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' => 62,
        _ => 63,
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// As its text.
impl serde::Serialize for MemberId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for MemberId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a socket's id"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_names_its_node_and_its_worker(node: u16, worker: u8) {
            let [one, other] = [0, 1].map(|_| MemberId::random(NodeId(node), WorkerId(worker)).expect("randomness"));
            prop_assert_eq!(one.home(), (NodeId(node), WorkerId(worker)));
            prop_assert_eq!(MemberId::parse(one.as_str()), Some(one));
            prop_assert_eq!(one.as_str().get(..NAMING), other.as_str().get(..NAMING));
            prop_assert_ne!(one, other);
        }

        #[test]
        fn any_text_is_an_id_or_none(text: String, characters in "[A-Za-z0-9_-]{20}") {
            if let Some(id) = MemberId::parse(&text) {
                let _anything = id.home();
            }
            let id = MemberId::parse(&characters).expect("an id");
            prop_assert_eq!(id.as_str(), characters);
        }
    }
}
