//! Reads a payload's JSON as a handler's types.
//!
//! This file walks the list of arguments and passes each argument to `serde_json` in place. So the text is
//! read once, and only the types themselves allocate.

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::error::ArgsError;
use super::json::{SHALLOW, nests_within, plain_until, skip_space};
use super::packet::DEFAULT_MAX_DEPTH;
use super::tree::Node;

/// Reads the arguments of an event or an acknowledgement.
///
/// A tuple (a tuple struct, an array, the unit) is the argument list; any other value is one argument. A
/// missing argument at the end is `None` if its type is an `Option`. Surplus arguments are checked for syntax
/// and dropped, as in JavaScript. `&str` borrows from `data` if the text has no escapes.
/// [`Binary`](super::Binary) shares an attachment.
///
/// `data` is a payload's JSON, or empty for an acknowledgement without a payload. `offset` is the start of
/// the arguments: the result of [`event_name`](super::event_name) for an event, 0 for an acknowledgement.
///
/// # Errors
/// [`ArgsError`]. Malformed JSON anywhere in the list is [`ArgsError::Syntax`], even if earlier JSON does not
/// fit the type either.
#[inline]
pub fn from_args<'de, T: Deserialize<'de>>(
    data: &'de str,
    offset: usize,
    attachments: &'de [Bytes],
) -> Result<T, ArgsError> {
    from_args_within(data, offset, attachments, DEFAULT_MAX_DEPTH)
}

/// The same as [`from_args`], for arguments that nest at most `max_depth` levels each. [`from_args`] uses
/// [`DEFAULT_MAX_DEPTH`].
///
/// # Errors
/// The same as for [`from_args`]. Deeper arguments are [`ArgsError::Syntax`].
#[inline]
pub fn from_args_within<'de, T: Deserialize<'de>>(
    data: &'de str,
    offset: usize,
    attachments: &'de [Bytes],
    max_depth: usize,
) -> Result<T, ArgsError> {
    if !attachments.is_empty() {
        return from_nodes(data, offset, attachments, max_depth);
    }
    let mut cursor = Cursor::new(data, offset);
    // The type is read in one place of the code only, so that the compiler puts it there.
    loop {
        match read(&mut cursor) {
            Ok(value) if max_depth >= SHALLOW => return Ok(value),
            Ok(value) => return check_syntax(data, offset, max_depth).map(|()| value),
            Err(error) if cursor.is_deep => return Err(error),
            Err(error) => cursor = deep_cursor(error, data, offset, max_depth)?,
        }
    }
}

/// The arguments of a packet with attachments.
#[inline(never)]
fn from_nodes<'de, T: Deserialize<'de>>(
    data: &'de str,
    offset: usize,
    attachments: &'de [Bytes],
    max_depth: usize,
) -> Result<T, ArgsError> {
    read(&mut Nodes(nodes(data, offset, attachments, max_depth)?.into_iter()))
}

/// Checks arguments that nobody reads: their syntax, their nesting (at most [`DEFAULT_MAX_DEPTH`] levels in
/// one argument) and their placeholders.
///
/// `data` is a whole payload, or empty.
///
/// # Errors
/// [`ArgsError::Syntax`] and [`ArgsError::Attachment`]. With attachments also [`ArgsError::Data`] for JSON
/// that Rust cannot hold: a number beyond `f64`, or an unpaired surrogate.
pub fn validate(data: &str, attachments: &[Bytes]) -> Result<(), ArgsError> {
    validate_within(data, attachments, DEFAULT_MAX_DEPTH)
}

/// The same as [`validate`], for arguments that nest at most `max_depth` levels each.
///
/// # Errors
/// The same as for [`validate`].
pub fn validate_within(data: &str, attachments: &[Bytes], max_depth: usize) -> Result<(), ArgsError> {
    check_syntax(data, 0, max_depth)?;
    if !attachments.is_empty() {
        nodes(data, 0, attachments, max_depth)?;
    }
    Ok(())
}

/// The arguments from `offset` on, each with its attachments in place.
pub(super) fn nodes<'de>(
    data: &'de str,
    offset: usize,
    attachments: &'de [Bytes],
    max_depth: usize,
) -> Result<Vec<Node<'de>>, ArgsError> {
    let mut nodes = match Cursor::new(data, offset).nodes() {
        Ok(nodes) if max_depth >= SHALLOW => nodes,
        Ok(nodes) => check_syntax(data, offset, max_depth).map(|()| nodes)?,
        Err(error) => deep_cursor(error, data, offset, max_depth)?.nodes()?,
    };
    for node in &mut nodes {
        node.resolve(attachments)?;
    }
    Ok(nodes)
}

/// Checks the syntax and nesting of a list, from `offset` on.
pub(super) fn check_syntax(data: &str, offset: usize, max_depth: usize) -> Result<(), ArgsError> {
    // `serde_json` skips values without recursion.
    Cursor::new(data, offset).finish().map_err(|error| match error {
        ArgsError::Data(message) => ArgsError::Syntax(message),
        other => other,
    })?;
    if nests_within(data, max_depth) {
        Ok(())
    } else {
        Err(ArgsError::Syntax(format!("nested deeper than {max_depth} levels")))
    }
}

/// After `error`, returns a cursor that reads arguments nested deeper than `serde_json` reads by itself. If
/// nesting is not the cause, it returns the error. An error of the type becomes a syntax error if the text
/// has one anywhere.
#[cold]
fn deep_cursor(
    error: ArgsError,
    data: &str,
    offset: usize,
    max_depth: usize,
) -> Result<Cursor<'_>, ArgsError> {
    if matches!(error, ArgsError::Data(_)) {
        check_syntax(data, offset, max_depth)?;
        if !nests_within(data, SHALLOW) {
            return Ok(Cursor { is_deep: true, ..Cursor::new(data, offset) });
        }
    }
    Err(error)
}

// Inlined into each caller: one of them runs for every event, the others are rare.
#[inline(always)]
fn read<'de, T: Deserialize<'de>, S: Source<'de>>(source: &mut S) -> Result<T, ArgsError> {
    let value = T::deserialize(List { source, index: 0 })?;
    source.finish()?;
    Ok(value)
}

/// A list of arguments during reading.
trait Source<'de> {
    /// Whether another argument follows. It must be read before the next call.
    fn more(&mut self) -> Result<bool, ArgsError>;
    /// Reads the next argument.
    fn read<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ArgsError>;
    /// Reads the next argument, if it is a string that can be borrowed unchanged.
    fn plain_str(&mut self) -> Option<&'de str>;
    /// Checks the rest of the list.
    fn finish(&mut self) -> Result<(), ArgsError>;
}

/// Arguments as text.
struct Cursor<'de> {
    data: &'de str,
    at: usize,
    place: Place,
    /// Whether it nests deeper than `serde_json` reads by itself. The allowed depth was checked before.
    is_deep: bool,
}

/// The position of a [`Cursor`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Within,
    After,
}

impl<'de> Cursor<'de> {
    #[inline]
    fn new(data: &'de str, offset: usize) -> Self {
        let place = match offset {
            0 if data.is_empty() => Place::After,
            0 => Place::Before,
            _ => Place::Within,
        };
        Self { data, at: offset, place, is_deep: false }
    }

    /// Skips white space, and returns the byte at the cursor.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        self.at = skip_space(self.data.as_bytes(), self.at);
        self.data.as_bytes().get(self.at).copied()
    }

    #[cold]
    fn unexpected(&self) -> ArgsError {
        ArgsError::Syntax(format!("unexpected character or end at offset {}", self.at))
    }

    /// Checks what is left, arguments or white space.
    #[inline(never)]
    fn check_rest(&mut self) -> Result<(), ArgsError> {
        while self.more()? {
            let _: IgnoredAny = self.read(std::marker::PhantomData)?;
        }
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected()),
        }
    }

    /// Reads the rest of the list, with placeholders left as they are.
    fn nodes(&mut self) -> Result<Vec<Node<'de>>, ArgsError> {
        let mut nodes = Vec::new();
        while self.more()? {
            nodes.push(self.read(std::marker::PhantomData)?);
        }
        self.finish()?;
        Ok(nodes)
    }
}

impl<'de> Source<'de> for Cursor<'de> {
    #[inline]
    fn more(&mut self) -> Result<bool, ArgsError> {
        match self.place {
            Place::After => return Ok(false),
            Place::Within => match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    return Ok(true);
                }
                Some(b']') => {}
                _ => return Err(self.unexpected()),
            },
            Place::Before => {
                if self.peek() != Some(b'[') {
                    return Err(self.unexpected());
                }
                self.at += 1;
                self.place = Place::Within;
                if self.peek() != Some(b']') {
                    return Ok(true);
                }
            }
        }
        self.at += 1;
        self.place = Place::After;
        Ok(false)
    }

    #[inline]
    fn read<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ArgsError> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let mut json = serde_json::Deserializer::from_str(rest);
        if self.is_deep {
            json.disable_recursion_limit();
        }
        let value = seed.deserialize(&mut json).map_err(ArgsError::custom)?;
        self.at += json.into_iter::<IgnoredAny>().byte_offset();
        Ok(value)
    }

    #[inline]
    fn plain_str(&mut self) -> Option<&'de str> {
        let start = (self.peek()? == b'"').then_some(self.at + 1)?;
        let end = plain_until(self.data.as_bytes(), start);
        (self.data.as_bytes().get(end) == Some(&b'"')).then_some(())?;
        self.at = end + 1;
        self.data.get(start..end)
    }

    #[inline]
    fn finish(&mut self) -> Result<(), ArgsError> {
        // Most lists end where the last argument that was read does.
        if self.place == Place::Within && matches!(self.data.as_bytes().get(self.at..), Some([b']'])) {
            self.at += 1;
            self.place = Place::After;
            return Ok(());
        }
        self.check_rest()
    }
}

/// Arguments with their attachments.
struct Nodes<'de>(std::vec::IntoIter<Node<'de>>);

impl<'de> Source<'de> for Nodes<'de> {
    fn more(&mut self) -> Result<bool, ArgsError> {
        Ok(self.0.len() > 0)
    }

    fn read<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ArgsError> {
        seed.deserialize(self.0.next().unwrap_or(Node::Null))
    }

    fn plain_str(&mut self) -> Option<&'de str> {
        None
    }

    fn finish(&mut self) -> Result<(), ArgsError> {
        Ok(())
    }
}

/// The deserializer for a handler's type. It tells the argument list from a single argument.
struct List<'a, S> {
    source: &'a mut S,
    index: usize,
}

impl<'de, S: Source<'de>> List<'_, S> {
    /// Reads the next argument, or the replacement for a missing one.
    #[inline]
    fn one<H: DeserializeSeed<'de>>(&mut self, seed: H) -> Result<H::Value, ArgsError> {
        if self.source.more()? {
            self.index += 1;
            self.source.read(seed)
        } else {
            seed.deserialize(Missing(self.index))
        }
    }
}

/// Implements `Deserializer` methods for types that take one argument.
macro_rules! one_argument {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(
            mut self,
            $($name: $type,)*
            visitor: V,
        ) -> Result<V::Value, ArgsError> {
            struct Hint<V>($($type,)* V);
            impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Hint<V> {
                type Value = V::Value;
                #[inline]
                fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
                    let Self($($name,)* visitor) = self;
                    inner.$method($($name,)* visitor)
                }
            }
            self.one(Hint($($name,)* visitor))
        }
    )*};
}

impl<'de, S: Source<'de>> Deserializer<'de> for List<'_, S> {
    type Error = ArgsError;

    one_argument! {
        deserialize_any(); deserialize_bool(); deserialize_char();
        deserialize_i8(); deserialize_i16(); deserialize_i32(); deserialize_i64();
        deserialize_i128(); deserialize_u8(); deserialize_u16(); deserialize_u32();
        deserialize_u64(); deserialize_u128(); deserialize_f32(); deserialize_f64();
        deserialize_bytes(); deserialize_byte_buf();
        deserialize_option(); deserialize_seq(); deserialize_map(); deserialize_identifier();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        self.deserialize_string(visitor)
    }

    /// The most frequent type of argument. It needs no `serde_json` if it has no escapes.
    #[inline]
    fn deserialize_string<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, ArgsError> {
        struct Escaped<V>(V);
        impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Escaped<V> {
            type Value = V::Value;
            fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
                inner.deserialize_str(self.0)
            }
        }
        if !self.source.more()? {
            return Missing(self.index).deserialize_str(visitor);
        }
        self.index += 1;
        match self.source.plain_str() {
            Some(text) => visitor.visit_borrowed_str(text),
            None => self.source.read(Escaped(visitor)),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }

    /// A newtype is read like its content: as a list around a tuple, as one argument around any other type.
    /// Newtypes with a special meaning for a format (`serde_json`'s `RawValue`) go to that format.
    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        struct Private<V>(&'static str, V);
        impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Private<V> {
            type Value = V::Value;
            fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
                inner.deserialize_newtype_struct(self.0, self.1)
            }
        }
        if name.starts_with('$') {
            return self.one(Private(name, visitor));
        }
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_seq(self)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        visitor.visit_seq(self)
    }
}

impl<'de, S: Source<'de>> SeqAccess<'de> for List<'_, S> {
    type Error = ArgsError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ArgsError> {
        self.one(seed).map(Some)
    }
}

/// The error of a missing argument, by its index.
struct Missing(usize);

impl<'de> Deserializer<'de> for Missing {
    type Error = ArgsError;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, ArgsError> {
        Err(ArgsError::Data(format!("argument {} is missing", self.0)))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit_struct seq tuple tuple_struct map struct enum identifier
    }
}
