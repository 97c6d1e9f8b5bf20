//! A handshake in the shape that Node gives it.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::Handshake;

/// In the shape that `socket.handshake` has in Node, without `auth`, which is the
/// [socket's](crate::Socket::auth): `headers` (the [kept](crate::KeepHeaders) ones), `time` and `issued`,
/// `address`, `xdomain`, `secure`, `url` and `query`.
///
/// Of a header that came more than once the values are joined, of a parameter they are a list.
impl Serialize for Handshake {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut headers: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for (name, value) in self.headers() {
            match headers.iter_mut().find(|(before, _)| *before == name) {
                Some((_, values)) => {
                    let values = values.to_mut();
                    values.push_str(if name == "cookie" { "; " } else { ", " });
                    values.push_str(value);
                }
                None => headers.push((name, value.into())),
            }
        }
        let mut query: Vec<(Cow<'_, str>, OneOrMore<'_>)> = Vec::new();
        for (name, value) in self.query_pairs() {
            match query.iter_mut().find(|(before, _)| *before == name) {
                Some((_, values)) => values.0.push(value),
                None => query.push((name, OneOrMore(vec![value]))),
            }
        }
        let mut object = serializer.serialize_struct("Handshake", 8)?;
        object.serialize_field("headers", &Object(&headers))?;
        object.serialize_field("time", &httpdate::fmt_http_date(self.time()))?;
        object.serialize_field("address", &self.address().map(|address| address.ip()))?;
        object.serialize_field("xdomain", &self.header("origin").is_some())?;
        object.serialize_field("secure", &self.peer().secure)?;
        object.serialize_field("issued", &(self.inner.time / 1_000_000))?;
        object.serialize_field("url", self.url())?;
        object.serialize_field("query", &Object(&query))?;
        object.end()
    }
}

/// Pairs, as an object.
struct Object<'a, K, V>(&'a [(K, V)]);

impl<K: Serialize, V: Serialize> Serialize for Object<'_, K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// One value as itself, several as a list.
struct OneOrMore<'a>(Vec<Cow<'a, str>>);

impl Serialize for OneOrMore<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}
