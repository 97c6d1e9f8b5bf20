//! Binary arguments, and their way through serde without a copy.
//!
//! serde's data model knows bytes only as a slice. If a `Bytes` passes through serde between two parts of
//! this crate, the giver keeps a reference to it in a thread-local cell during the call. The taker uses that
//! reference if it belongs to the same slice. Between other parts the slice is copied as usual.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// A binary argument, or a binary value anywhere inside one.
///
/// It is written as an attachment and read from one. It shares the memory of the message it came in. Other
/// types that serialise as bytes (`serde_bytes`, `bytes::Bytes`) work too, but copy.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Binary(pub Bytes);

impl Deref for Binary {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<Bytes> for Binary {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Binary {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&'static [u8]> for Binary {
    fn from(bytes: &'static [u8]) -> Self {
        Self(Bytes::from_static(bytes))
    }
}

impl<const N: usize> From<&'static [u8; N]> for Binary {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self(Bytes::from_static(bytes))
    }
}

impl<const N: usize> From<[u8; N]> for Binary {
    fn from(bytes: [u8; N]) -> Self {
        Self(Bytes::copy_from_slice(&bytes))
    }
}

impl From<Binary> for Bytes {
    fn from(binary: Binary) -> Self {
        binary.0
    }
}

impl AsRef<[u8]> for Binary {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hand_over(&self.0, || serializer.serialize_bytes(&self.0))
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `deserialize_bytes`: serde_json would then accept a string as bytes.
        deserializer.deserialize_any(BinaryVisitor)
    }
}

struct BinaryVisitor;

impl Visitor<'_> for BinaryVisitor {
    type Value = Binary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("binary data")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Binary, E> {
        Ok(Binary(receive(bytes)))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Binary, E> {
        Ok(Binary(bytes.into()))
    }
}

thread_local! {
    static HANDED: Cell<Option<Bytes>> = const { Cell::new(None) };
}

/// Calls `pass`, which gives the slice of `bytes` to serde. Meanwhile [`receive`] of that slice returns
/// `bytes` itself.
pub(super) fn hand_over<R>(bytes: &Bytes, pass: impl FnOnce() -> R) -> R {
    let _ = HANDED.try_with(|cell| cell.set(Some(bytes.clone())));
    let result = pass();
    let _ = HANDED.try_with(Cell::take);
    result
}

/// The slice as `Bytes`: the handed-over `Bytes` if the slice belongs to it, otherwise a copy.
pub(super) fn receive(slice: &[u8]) -> Bytes {
    HANDED
        .try_with(Cell::take)
        .ok()
        .flatten()
        .filter(|bytes| std::ptr::eq(bytes.as_ref(), slice))
        .unwrap_or_else(|| Bytes::copy_from_slice(slice))
}
