//! Parsed arguments with attachments. Each placeholder is replaced by its attachment.
//!
//! A placeholder looks like any other object until it has been read completely. So arguments with attachments
//! go through this tree. Arguments without attachments go straight to the handler's types.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{
    Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Number;

use super::binary::hand_over;
use super::error::ArgsError;
use super::value::Value;

/// A JSON value that may contain attachments.
#[derive(Debug, Clone)]
pub(super) enum Node<'de> {
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'de, str>),
    Array(Vec<Node<'de>>),
    Object(Vec<(Cow<'de, str>, Node<'de>)>),
    Binary(&'de Bytes),
}

impl<'de> Node<'de> {
    /// Replaces the placeholders. As in Node, an object whose `_placeholder` is `true` is a placeholder,
    /// whatever its other keys.
    pub(super) fn resolve(&mut self, attachments: &'de [Bytes]) -> Result<(), ArgsError> {
        match self {
            Self::Array(items) => items.iter_mut().try_for_each(|item| item.resolve(attachments)),
            Self::Object(entries) => {
                if matches!(last(entries, "_placeholder"), Some(Self::Bool(true))) {
                    *self = Self::Binary(attachment(last(entries, "num"), attachments)?);
                    return Ok(());
                }
                entries.iter_mut().try_for_each(|(_, value)| value.resolve(attachments))
            }
            _ => Ok(()),
        }
    }

    /// Refuses an attachment if the type asks for another value.
    fn text(self) -> Result<Self, ArgsError> {
        match self {
            Self::Binary(_) => Err(ArgsError::Attachment("the type holds no binary data here".into())),
            other => Ok(other),
        }
    }
}

impl<'a> From<&'a Value> for Node<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::String(Cow::Borrowed(text)),
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Object(entries) => Self::Object(
                entries.iter().map(|(key, value)| (Cow::Borrowed(key.as_str()), Self::from(value))).collect(),
            ),
            Value::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

impl From<Node<'_>> for Value {
    fn from(node: Node<'_>) -> Self {
        match node {
            Node::Null => Self::Null,
            Node::Bool(value) => Self::Bool(value),
            Node::Number(number) => Self::Number(number),
            Node::String(text) => Self::String(text.into_owned()),
            Node::Array(items) => items.into_iter().collect(),
            Node::Object(entries) => {
                entries.into_iter().map(|(key, value)| (key.into_owned(), value)).collect()
            }
            Node::Binary(bytes) => Self::Binary(bytes.clone()),
        }
    }
}

/// The value of `key`; the last one if there are several, as in JavaScript.
fn last<'a, 'de>(entries: &'a [(Cow<'de, str>, Node<'de>)], key: &str) -> Option<&'a Node<'de>> {
    entries.iter().rev().find_map(|(name, value)| (name == key).then_some(value))
}

/// The attachment with a placeholder's `num`.
fn attachment<'de>(num: Option<&Node<'de>>, attachments: &'de [Bytes]) -> Result<&'de Bytes, ArgsError> {
    let Some(Node::Number(number)) = num else {
        return Err(ArgsError::Attachment("a placeholder's num is not a number".into()));
    };
    number.as_u64().and_then(|index| attachments.get(usize::try_from(index).ok()?)).ok_or_else(|| {
        ArgsError::Attachment(format!("placeholder {number} of {} attachments", attachments.len()))
    })
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Number::from_f64(value).map_or(Node::Null, Node::Number))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some(Text(key)) = map.next_key()? {
            entries.push((key, map.next_value()?));
        }
        Ok(Node::Object(entries))
    }
}

/// A string that borrows if it can. serde's own `Cow` never borrows.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(NodeVisitor)? {
            Node::String(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("expected a string")),
        }
    }
}

/// Implements `Deserializer` methods that treat a node like any other, except for an attachment.
macro_rules! text_only {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, ArgsError> {
            self.text()?.deserialize_any(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = ArgsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Number(number) => number.deserialize_any(visitor).map_err(ArgsError::custom),
            Self::String(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Self::String(Cow::Owned(text)) => visitor.visit_string(text),
            Self::Array(items) => {
                let mut seq = SeqDeserializer::new(items.into_iter());
                let value = visitor.visit_seq(&mut seq)?;
                seq.end()?;
                Ok(value)
            }
            Self::Object(entries) => {
                let mut map = map_access(entries);
                let value = visitor.visit_map(&mut map)?;
                map.end()?;
                Ok(value)
            }
            Self::Binary(bytes) => hand_over(bytes, || visitor.visit_borrowed_bytes(bytes)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        match self {
            Self::Null => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        match self.text()? {
            Self::String(text) => visitor.visit_enum(text.into_deserializer()),
            Self::Object(entries) if entries.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(map_access(entries)))
            }
            _ => Err(ArgsError::invalid_type(
                Unexpected::Other("value"),
                &"a variant's name, or an object with it as the one key",
            )),
        }
    }

    forward_to_deserialize_any! { bytes byte_buf }

    text_only! {
        deserialize_bool(); deserialize_char(); deserialize_str(); deserialize_string();
        deserialize_i8(); deserialize_i16(); deserialize_i32(); deserialize_i64(); deserialize_i128();
        deserialize_u8(); deserialize_u16(); deserialize_u32(); deserialize_u64(); deserialize_u128();
        deserialize_f32(); deserialize_f64();
        deserialize_unit(); deserialize_unit_struct(_name: &'static str);
        deserialize_seq(); deserialize_tuple(_len: usize);
        deserialize_tuple_struct(_name: &'static str, _len: usize);
        deserialize_map(); deserialize_struct(_name: &'static str, _fields: &'static [&'static str]);
        deserialize_identifier();
    }
}

impl<'de> IntoDeserializer<'de, ArgsError> for Node<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

type Entry<'de> = (Key<'de>, Node<'de>);

fn map_access<'de>(
    entries: Vec<(Cow<'de, str>, Node<'de>)>,
) -> MapDeserializer<'de, impl Iterator<Item = Entry<'de>>, ArgsError> {
    MapDeserializer::new(entries.into_iter().map(|(key, value)| (Key(key), value)))
}

/// An object's key. As in `serde_json`, it can also be read as the number or boolean that it spells.
struct Key<'de>(Cow<'de, str>);

macro_rules! spelled {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
            match self.0.parse::<$type>() {
                Ok(value) => visitor.$visit(value),
                Err(_) => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = ArgsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        Node::String(self.0).deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        Node::String(self.0).deserialize_enum(name, variants, visitor)
    }

    spelled! {
        deserialize_bool visit_bool bool;
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_i128 visit_i128 i128;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_u128 visit_u128 u128;
        deserialize_f32 visit_f32 f32;
        deserialize_f64 visit_f64 f64;
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, ArgsError> for Key<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Error for ArgsError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Data(message.to_string())
    }
}
