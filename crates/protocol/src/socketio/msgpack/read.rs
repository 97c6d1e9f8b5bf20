//! MessagePack, one value after another. An array or a map is read as its number of elements; these follow.

use std::borrow::Cow;

use rmp::Marker;

use super::MsgPackError;
use super::date;

/// One value, or the beginning of an array or a map.
#[derive(Debug, PartialEq)]
pub(super) enum Token<'a> {
    Null,
    Undefined,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Binary(&'a [u8]),
    /// Milliseconds since 1970.
    Date(i64),
    Extension(i8, &'a [u8]),
    /// The number of elements.
    Array(u32),
    /// The number of entries: a key and a value each.
    Map(u32),
}

/// The bytes that are still to be read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], MsgPackError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(MsgPackError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], MsgPackError> {
        let length = usize::try_from(length).map_err(|_| MsgPackError::Truncated)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(MsgPackError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u32, MsgPackError> {
        self.array().map(|[byte]| u32::from(byte))
    }

    fn u16(&mut self) -> Result<u32, MsgPackError> {
        self.array().map(|bytes| u32::from(u16::from_be_bytes(bytes)))
    }

    fn u32(&mut self) -> Result<u32, MsgPackError> {
        self.array().map(u32::from_be_bytes)
    }

    fn text(&mut self, length: u32) -> Result<Token<'a>, MsgPackError> {
        self.take(length).map(|bytes| Token::Text(String::from_utf8_lossy(bytes)))
    }

    fn binary(&mut self, length: u32) -> Result<Token<'a>, MsgPackError> {
        self.take(length).map(Token::Binary)
    }

    /// An extension of a length that stands before its type. `notepack` writes the content of an
    /// `ArrayBuffer` so, as type 0.
    fn extension(&mut self, length: u32) -> Result<Token<'a>, MsgPackError> {
        let kind = self.array().map(i8::from_be_bytes)?;
        let bytes = self.take(length)?;
        Ok(match kind {
            0 => Token::Binary(bytes),
            -1 => date::timestamp(bytes).map_or(Token::Extension(kind, bytes), Token::Date),
            kind => Token::Extension(kind, bytes),
        })
    }

    /// An extension of a length that its marker tells. In one and eight bytes type 0 is `notepack`'s
    /// `undefined` and its date.
    fn fixed_extension(&mut self, length: u32) -> Result<Token<'a>, MsgPackError> {
        let before = self.0;
        let extension = self.extension(length)?;
        Ok(match (before.first(), &extension) {
            (Some(0), Token::Binary([_])) => Token::Undefined,
            (Some(0), Token::Binary(bytes)) => match bytes.first_chunk() {
                Some(millis) if bytes.len() == 8 => Token::Date(i64::from_be_bytes(*millis)),
                _ => extension,
            },
            _ => extension,
        })
    }

    /// The next value.
    pub(super) fn token(&mut self) -> Result<Token<'a>, MsgPackError> {
        let marker = self.array().map(|[byte]| Marker::from_u8(byte))?;
        Ok(match marker {
            Marker::Null => Token::Null,
            Marker::False => Token::Bool(false),
            Marker::True => Token::Bool(true),
            Marker::FixPos(value) => Token::Unsigned(value.into()),
            Marker::U8 => Token::Unsigned(self.u8()?.into()),
            Marker::U16 => Token::Unsigned(self.u16()?.into()),
            Marker::U32 => Token::Unsigned(self.u32()?.into()),
            Marker::U64 => Token::Unsigned(self.array().map(u64::from_be_bytes)?),
            Marker::FixNeg(value) => Token::Signed(value.into()),
            Marker::I8 => Token::Signed(self.array().map(i8::from_be_bytes)?.into()),
            Marker::I16 => Token::Signed(self.array().map(i16::from_be_bytes)?.into()),
            Marker::I32 => Token::Signed(self.array().map(i32::from_be_bytes)?.into()),
            Marker::I64 => Token::Signed(self.array().map(i64::from_be_bytes)?),
            Marker::F32 => Token::Float(self.array().map(f32::from_be_bytes)?.into()),
            Marker::F64 => Token::Float(self.array().map(f64::from_be_bytes)?),
            Marker::FixArray(length) => Token::Array(length.into()),
            Marker::Array16 => Token::Array(self.u16()?),
            Marker::Array32 => Token::Array(self.u32()?),
            Marker::FixMap(length) => Token::Map(length.into()),
            Marker::Map16 => Token::Map(self.u16()?),
            Marker::Map32 => Token::Map(self.u32()?),
            other => self.bytes(other)?,
        })
    }

    /// The next value, of a type that is bytes of a length.
    fn bytes(&mut self, marker: Marker) -> Result<Token<'a>, MsgPackError> {
        match marker {
            Marker::FixStr(length) => self.text(length.into()),
            Marker::Str8 => self.u8().and_then(|length| self.text(length)),
            Marker::Str16 => self.u16().and_then(|length| self.text(length)),
            Marker::Str32 => self.u32().and_then(|length| self.text(length)),
            Marker::Bin8 => self.u8().and_then(|length| self.binary(length)),
            Marker::Bin16 => self.u16().and_then(|length| self.binary(length)),
            Marker::Bin32 => self.u32().and_then(|length| self.binary(length)),
            Marker::Ext8 => self.u8().and_then(|length| self.extension(length)),
            Marker::Ext16 => self.u16().and_then(|length| self.extension(length)),
            Marker::Ext32 => self.u32().and_then(|length| self.extension(length)),
            Marker::FixExt1 => self.fixed_extension(1),
            Marker::FixExt2 => self.fixed_extension(2),
            Marker::FixExt4 => self.fixed_extension(4),
            Marker::FixExt8 => self.fixed_extension(8),
            Marker::FixExt16 => self.fixed_extension(16),
            _ => Err(MsgPackError::Reserved),
        }
    }

    /// Skips one value with all that is in it.
    pub(super) fn skip(&mut self) -> Result<(), MsgPackError> {
        let mut left = 1_u64;
        while left > 0 {
            left -= 1;
            left = left.saturating_add(match self.token()? {
                Token::Array(elements) => elements.into(),
                Token::Map(entries) => u64::from(entries) * 2,
                _ => 0,
            });
        }
        Ok(())
    }
}
