//! Writes the application's types as a payload's JSON and its attachments.
//!
//! `serde_json` writes the values. JSON has no bytes, so the formatter here replaces them by placeholders.
//! This file writes only the outermost level: a tuple there is the argument list.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{self, Write};

use bytes::Bytes;
use serde::ser::{Serialize, Serializer};
use serde_json::ser::Formatter;

use super::args::{RAW_LIST, as_text};
use super::binary::receive;
use super::error::WriteError;
use super::event::is_reserved;
use super::json::is_plain;
use super::packet::PacketType;
use super::write::{write_head, write_string};

/// Appends a payload: `["event",argument,…]`, or `[argument,…]` if there is no event.
///
/// A tuple (a tuple struct, an array) is the argument list, and the unit is an empty list. Any other value is
/// one argument. A value that serialises as bytes becomes `{"_placeholder":true,"num":n}`, and the bytes are
/// appended to `attachments`; the first of this call has number 0. Numbers that are not finite are `null`, as
/// in JavaScript.
///
/// # Errors
/// [`WriteError`]. `out` and `attachments` then have their old content.
#[inline]
pub fn write_args<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
    event: Option<&str>,
    args: &T,
) -> Result<(), WriteError> {
    let (start, first) = (out.len(), attachments.len());
    out.push(b'[');
    if let Some(event) = event {
        if is_reserved(event) {
            out.truncate(start);
            return Err(WriteError::ReservedEvent(event.to_owned()));
        }
        write_string(out, event);
        out.push(b',');
    }
    let head = out.len();
    let list = Cell::new(Brackets::Ours);
    let mut json = serde_json::Serializer::with_formatter(
        &mut *out,
        Placeholders { attachments: &mut *attachments, first, list: &list },
    );
    let written = args.serialize(List { json: &mut json, list: &list });
    if let Err(error) = written {
        out.truncate(start);
        attachments.truncate(first);
        return Err(WriteError::Serialize(error));
    }
    if list.get() == Brackets::Json {
        // The list already has its closing bracket.
        out.pop();
    }
    if out.len() == head && event.is_some() {
        // No argument follows the comma.
        out.pop();
    }
    out.push(b']');
    Ok(())
}

/// Appends a whole packet, event or acknowledgement: first the head, then the arguments.
///
/// `kind` is [`PacketType::Event`] or [`PacketType::Ack`]. If the arguments have attachments, the packet gets
/// the binary type. The attachments are appended to `attachments`. They must be sent after the packet in that
/// order.
///
/// # Errors
/// The same as for [`write_args`]. `out` and `attachments` then have their old content.
#[inline]
pub fn write_packet<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
    kind: PacketType,
    namespace: &str,
    ack: Option<u64>,
    event: Option<&str>,
    args: &T,
) -> Result<(), WriteError> {
    let (start, first) = (out.len(), attachments.len());
    write_head(out, kind, 0, namespace, ack);
    if let Err(error) = write_args(out, attachments, event, args) {
        out.truncate(start);
        return Err(error);
    }
    if attachments.len() > first {
        // The number of attachments is known only now, but belongs into the head.
        let mut head = Vec::with_capacity(8);
        write_head(&mut head, kind.with_attachments(), attachments.len() - first, "/", None);
        out.splice(start..=start, head);
    }
    Ok(())
}

/// The writer of the argument list's brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Brackets {
    /// [`write_args`] writes them: there is one argument or none.
    Ours,
    /// `serde_json`: the next array is the list. [`write_args`] has written its opening bracket.
    Next,
    /// `serde_json`: the array has begun, and its closing bracket follows.
    Json,
    /// [`write_args`] writes them, and the next bytes are the list's text.
    Text,
    /// [`write_args`] writes them, and the next bytes are a string without escapes.
    Plain,
}

/// The formatter: compact JSON, except that bytes go to the attachments.
struct Placeholders<'a> {
    attachments: &'a mut Vec<Bytes>,
    /// The number of attachments before this call.
    first: usize,
    list: &'a Cell<Brackets>,
}

impl Formatter for Placeholders<'_> {
    #[inline]
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.list.get() == Brackets::Next {
            self.list.set(Brackets::Json);
            return Ok(());
        }
        writer.write_all(b"[")
    }

    #[inline]
    fn write_byte_array<W: ?Sized + Write>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        match self.list.get() {
            Brackets::Text => {
                self.list.set(Brackets::Ours);
                return writer.write_all(value);
            }
            Brackets::Plain => {
                self.list.set(Brackets::Ours);
                writer.write_all(b"\"")?;
                writer.write_all(value)?;
                return writer.write_all(b"\"");
            }
            Brackets::Ours | Brackets::Next | Brackets::Json => {}
        }
        writer.write_all(b"{\"_placeholder\":true,\"num\":")?;
        let number = self.attachments.len().saturating_sub(self.first);
        writer.write_all(itoa::Buffer::new().format(number).as_bytes())?;
        self.attachments.push(receive(value));
        writer.write_all(b"}")
    }
}

type Json<'a> = serde_json::Serializer<&'a mut Vec<u8>, Placeholders<'a>>;

/// The serializer for the arguments. It tells the argument list from a single argument.
struct List<'a, 'b> {
    json: &'b mut Json<'a>,
    list: &'a Cell<Brackets>,
}

/// Implements `Serializer` methods for values that are one argument.
macro_rules! one_argument {
    ($($method:ident($($name:ident: $type:ty),*) -> $result:ty;)*) => {$(
        #[inline]
        fn $method(self, $($name: $type),*) -> Result<$result, Self::Error> {
            self.json.$method($($name),*)
        }
    )*};
}

impl<'a, 'b> Serializer for List<'a, 'b> {
    type Ok = ();
    type Error = serde_json::Error;
    type SerializeSeq = <&'b mut Json<'a> as Serializer>::SerializeSeq;
    type SerializeTuple = <&'b mut Json<'a> as Serializer>::SerializeTuple;
    type SerializeTupleStruct = <&'b mut Json<'a> as Serializer>::SerializeTupleStruct;
    type SerializeTupleVariant = <&'b mut Json<'a> as Serializer>::SerializeTupleVariant;
    type SerializeMap = <&'b mut Json<'a> as Serializer>::SerializeMap;
    type SerializeStruct = <&'b mut Json<'a> as Serializer>::SerializeStruct;
    type SerializeStructVariant = <&'b mut Json<'a> as Serializer>::SerializeStructVariant;

    one_argument! {
        serialize_bool(value: bool) -> ();
        serialize_i8(value: i8) -> ();
        serialize_i16(value: i16) -> ();
        serialize_i32(value: i32) -> ();
        serialize_i64(value: i64) -> ();
        serialize_i128(value: i128) -> ();
        serialize_u8(value: u8) -> ();
        serialize_u16(value: u16) -> ();
        serialize_u32(value: u32) -> ();
        serialize_u64(value: u64) -> ();
        serialize_u128(value: u128) -> ();
        serialize_f32(value: f32) -> ();
        serialize_f64(value: f64) -> ();
        serialize_char(value: char) -> ();
        serialize_bytes(value: &[u8]) -> ();
        serialize_none() -> ();
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> ();
        serialize_seq(len: Option<usize>) -> Self::SerializeSeq;
        serialize_map(len: Option<usize>) -> Self::SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> Self::SerializeStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> Self::SerializeTupleVariant;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> Self::SerializeStructVariant;
    }

    /// `serde_json` checks a string byte by byte, but most strings need no escapes.
    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Self::Error> {
        if is_plain(value) {
            self.list.set(Brackets::Plain);
            return self.json.serialize_bytes(value.as_bytes());
        }
        self.json.serialize_str(value)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Self::Error> {
        value.serialize(self.json)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        self.json.serialize_newtype_variant(name, index, variant, value)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Self::Error> {
        self.json.collect_str(value)
    }

    fn serialize_unit(self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Self::Error> {
        Ok(())
    }

    /// A newtype is written like its content: as a list around a tuple, as one argument around any other
    /// value.
    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        if name == RAW_LIST {
            self.list.set(Brackets::Text);
            return as_text(|| value.serialize(self.json));
        }
        value.serialize(self)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, Self::Error> {
        self.list.set(Brackets::Next);
        self.json.serialize_tuple(len)
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, Self::Error> {
        self.list.set(Brackets::Next);
        self.json.serialize_tuple_struct(name, len)
    }
}
