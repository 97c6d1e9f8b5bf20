//! An argument list in its received form, for code that passes it on.

use std::cell::Cell;

use bytes::Bytes;
use serde::de::Deserialize;
use serde::ser::{Serialize, SerializeTuple, Serializer};

use super::args_read::{check_syntax, from_args_within, nodes};
use super::args_write::write_args;
use super::error::{ArgsError, WriteError};
use super::json::skip_space;
use super::packet::DEFAULT_MAX_DEPTH;
use super::value::Value;

/// An argument list with its attachments, checked but not read.
///
/// If it has no attachments, it is emitted again as the same text. If it has, they are numbered anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// `[argument,…]`: well-formed, with no white space around it.
    list: Box<str>,
    /// Each placeholder in `list` names one of these.
    attachments: Vec<Bytes>,
}

impl Default for Args {
    /// No arguments.
    fn default() -> Self {
        Self { list: "[]".into(), attachments: Vec::new() }
    }
}

impl Args {
    /// Takes the arguments out of a payload. `data` and `offset` are as for
    /// [`from_args`](super::from_args).
    ///
    /// # Errors
    /// The same as for [`validate`](super::validate).
    pub fn parse(data: &str, offset: usize, attachments: Vec<Bytes>) -> Result<Self, ArgsError> {
        Self::parse_within(data, offset, attachments, DEFAULT_MAX_DEPTH)
    }

    /// The same as [`parse`](Self::parse), for arguments that nest at most `max_depth` levels each.
    ///
    /// # Errors
    /// The same as for [`parse`](Self::parse).
    pub fn parse_within(
        data: &str,
        offset: usize,
        attachments: Vec<Bytes>,
        max_depth: usize,
    ) -> Result<Self, ArgsError> {
        check_syntax(data, offset, max_depth)?;
        if !attachments.is_empty() {
            nodes(data, offset, &attachments, max_depth)?;
        }
        let list = if offset == 0 {
            match data.trim_ascii() {
                "" => "[]".into(),
                list => list.into(),
            }
        } else {
            let next = skip_space(data.as_bytes(), offset);
            match data.as_bytes().get(next) {
                Some(b',') => ["[", data.get(next + 1..).unwrap_or_default().trim_ascii()].concat().into(),
                _ => "[]".into(),
            }
        };
        Ok(Self { list, attachments })
    }

    /// The list for a value: a tuple's fields, or any other value as the one argument.
    ///
    /// # Errors
    /// [`WriteError::Serialize`].
    pub fn of<T: Serialize + ?Sized>(args: &T) -> Result<Self, WriteError> {
        let (mut list, mut attachments) = (Vec::new(), Vec::new());
        write_args(&mut list, &mut attachments, None, args)?;
        // serde_json writes only UTF-8.
        let list = String::from_utf8(list).unwrap_or_default();
        Ok(Self { list: list.into(), attachments })
    }

    /// Reads the arguments, like [`from_args`](super::from_args).
    ///
    /// # Errors
    /// [`ArgsError::Data`] and [`ArgsError::Attachment`].
    pub fn get<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ArgsError> {
        // Its nesting was checked on arrival.
        from_args_within(&self.list, 0, &self.attachments, usize::MAX)
    }

    /// The arguments one by one.
    ///
    /// # Errors
    /// [`ArgsError::Data`] for JSON that a [`Value`] cannot hold: a number beyond `f64`, or an unpaired
    /// surrogate.
    pub fn values(&self) -> Result<Vec<Value>, ArgsError> {
        Ok(nodes(&self.list, 0, &self.attachments, usize::MAX)?.into_iter().map(Value::from).collect())
    }

    /// The list as JSON, with placeholders for attachments.
    pub fn as_json(&self) -> &str {
        &self.list
    }

    /// The attachments.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Whether there are no arguments.
    pub fn is_empty(&self) -> bool {
        self.inner().trim_ascii().is_empty()
    }

    /// The text between the brackets.
    fn inner(&self) -> &str {
        self.list.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or_default()
    }
}

impl From<Vec<Value>> for Args {
    /// The list of these arguments.
    fn from(args: Vec<Value>) -> Self {
        // Every `Value` can be written.
        Self::of(&Tuple(&args)).unwrap_or_default()
    }
}

/// Arguments as a tuple of any length.
struct Tuple<'a>(&'a [Value]);

impl Serialize for Tuple<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_tuple(self.0.len())?;
        for value in self.0 {
            list.serialize_element(value)?;
        }
        list.end()
    }
}

/// The type name by which [`write_args`] recognises an [`Args`] without attachments.
pub(super) const RAW_LIST: &str = "$switchboard::Args";

thread_local! {
    /// Set by [`write_args`] while it asks the value for its text.
    static AS_TEXT: Cell<bool> = const { Cell::new(false) };
}

/// Calls `serialize`. Meanwhile a value named [`RAW_LIST`] serialises as its text in bytes.
pub(super) fn as_text<R>(serialize: impl FnOnce() -> R) -> R {
    let _ = AS_TEXT.try_with(|asked| asked.set(true));
    let result = serialize();
    let _ = AS_TEXT.try_with(|asked| asked.set(false));
    result
}

impl Serialize for Args {
    /// In [`write_args`] this is the argument list; within another value it is an array.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.attachments.is_empty() {
            return serializer.serialize_newtype_struct(RAW_LIST, &RawList(self));
        }
        let values = self.values().map_err(serde::ser::Error::custom)?;
        Tuple(&values).serialize(serializer)
    }
}

struct RawList<'a>(&'a Args);

impl Serialize for RawList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if AS_TEXT.try_with(Cell::take).unwrap_or(false) {
            return serializer.serialize_bytes(self.0.inner().trim_ascii().as_bytes());
        }
        self.0.values().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}
