//! One message to one packet, whose data becomes JSON. Nothing here calls itself, so that no nesting takes
//! stack.

use std::borrow::Cow;

use bytes::Bytes;

use super::MsgPackError;
use super::read::{Reader, Token};
use crate::socketio::date::iso_date;
use crate::socketio::packet::{DEFAULT_MAX_DEPTH, PacketType};
use crate::socketio::whole::WholePacket;
use crate::socketio::write::write_string;

/// The bounds on one packet. Its size is bounded by the message that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsgPackLimits {
    /// Levels of arrays and maps that an argument may nest. Default: [`DEFAULT_MAX_DEPTH`].
    pub max_depth: usize,
    /// Binary values in one packet. Default 1000. Node has no bound. Each is kept on its own, so many small
    /// ones take much more memory than the message did.
    pub max_binary_values: usize,
}

impl Default for MsgPackLimits {
    fn default() -> Self {
        Self { max_depth: DEFAULT_MAX_DEPTH, max_binary_values: 1000 }
    }
}

/// The greatest number up to which JavaScript has all integers.
const INTEGERS: f64 = 9_007_199_254_740_991.0;

/// Decodes one packet.
///
/// # Errors
/// [`MsgPackError`].
pub fn decode(bytes: &[u8], limits: &MsgPackLimits) -> Result<WholePacket<'static>, MsgPackError> {
    let mut reader = Reader(bytes);
    let Token::Map(entries) = reader.token()? else { return Err(MsgPackError::Part("type")) };
    let (mut kind, mut namespace, mut id, mut data) = (None, None, None, Data::default());
    for _ in 0..entries {
        match reader.token()? {
            Token::Text(key) => match &*key {
                "type" => kind = Some(packet_type(&reader.token()?)?),
                "nsp" => match reader.token()? {
                    Token::Text(name) => namespace = Some(name.into_owned()),
                    _ => return Err(MsgPackError::Part("nsp")),
                },
                "id" => match reader.token()? {
                    Token::Unsigned(number) => id = Some(number),
                    Token::Undefined => id = None,
                    _ => return Err(MsgPackError::Part("id")),
                },
                "data" => data = Data::read(&mut reader, limits)?,
                _ => reader.skip()?,
            },
            _ => return Err(MsgPackError::Key),
        }
    }
    if !reader.0.is_empty() {
        return Err(MsgPackError::Trailing(reader.0.len()));
    }
    let packet = WholePacket {
        kind: kind.ok_or(MsgPackError::Part("type"))?,
        namespace: namespace.map(Cow::Owned).ok_or(MsgPackError::Part("nsp"))?,
        id,
        // It was written here, as UTF-8.
        data: Cow::Owned(String::from_utf8(data.json).unwrap_or_default()),
        attachments: Cow::Owned(data.attachments),
    };
    packet.check()?;
    Ok(packet)
}

fn packet_type(token: &Token<'_>) -> Result<PacketType, MsgPackError> {
    Ok(match token {
        Token::Unsigned(0) => PacketType::Connect,
        Token::Unsigned(1) => PacketType::Disconnect,
        Token::Unsigned(2) => PacketType::Event,
        Token::Unsigned(3) => PacketType::Ack,
        Token::Unsigned(4) => PacketType::ConnectError,
        _ => return Err(MsgPackError::Part("type")),
    })
}

/// A value as JSON, and the binary values in it.
#[derive(Default)]
struct Data {
    json: Vec<u8>,
    attachments: Vec<Bytes>,
}

/// An array or a map that has begun.
struct Level {
    /// Elements or entries that are still to be read.
    left: u32,
    is_map: bool,
    /// Where its content begins in the JSON.
    content: usize,
    /// Where the last element or entry begins, the comma before it included.
    entry: usize,
}

impl Data {
    /// Reads one value. `undefined` is no data at all.
    fn read(reader: &mut Reader<'_>, limits: &MsgPackLimits) -> Result<Self, MsgPackError> {
        let mut data = Self::default();
        let mut levels: Vec<Level> = Vec::new();
        loop {
            match (reader.token()?, levels.last()) {
                (Token::Undefined, None) => {}
                (Token::Undefined, Some(level)) if level.is_map => data.json.truncate(level.entry),
                (Token::Array(left), _) => levels.push(data.open(b'[', left)),
                (Token::Map(left), _) => levels.push(data.open(b'{', left)),
                (token, _) => data.write(&token, limits)?,
            }
            // The list of arguments itself is no level of an argument.
            if levels.len() > limits.max_depth.saturating_add(1) {
                return Err(MsgPackError::TooDeep { limit: limits.max_depth });
            }
            if !data.next(reader, &mut levels)? {
                return Ok(data);
            }
        }
    }

    fn open(&mut self, bracket: u8, left: u32) -> Level {
        self.json.push(bracket);
        let content = self.json.len();
        Level { left, is_map: bracket == b'{', content, entry: content }
    }

    /// Ends what is complete, and writes what stands before the next value. `false`: there is none.
    fn next(&mut self, reader: &mut Reader<'_>, levels: &mut Vec<Level>) -> Result<bool, MsgPackError> {
        while let Some(level) = levels.last_mut() {
            if level.left == 0 {
                self.json.push(if level.is_map { b'}' } else { b']' });
                levels.pop();
                continue;
            }
            level.left -= 1;
            level.entry = self.json.len();
            if level.entry > level.content {
                self.json.push(b',');
            }
            if level.is_map {
                self.write_key(&reader.token()?)?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn write_key(&mut self, key: &Token<'_>) -> Result<(), MsgPackError> {
        match key {
            Token::Text(text) => write_string(&mut self.json, text),
            Token::Unsigned(number) => self.write_key_number(*number),
            Token::Signed(number) => self.write_key_number(*number),
            _ => return Err(MsgPackError::Key),
        }
        self.json.push(b':');
        Ok(())
    }

    fn write_key_number(&mut self, number: impl itoa::Integer) {
        write_string(&mut self.json, itoa::Buffer::new().format(number));
    }

    fn write_number(&mut self, number: impl itoa::Integer) {
        self.json.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn write_float(&mut self, number: f64) {
        if number.fract() == 0.0 && number.abs() <= INTEGERS {
            #[expect(clippy::cast_possible_truncation, reason = "it is an integer that fits")]
            return self.write_number(number as i64);
        }
        // Numbers that are not finite are written as `null`. A write to memory does not fail.
        let _ = serde_json::to_writer(&mut self.json, &number);
    }

    fn write(&mut self, token: &Token<'_>, limits: &MsgPackLimits) -> Result<(), MsgPackError> {
        match token {
            Token::Bool(true) => self.json.extend_from_slice(b"true"),
            Token::Bool(false) => self.json.extend_from_slice(b"false"),
            Token::Unsigned(number) => self.write_number(*number),
            Token::Signed(number) => self.write_number(*number),
            Token::Float(number) => self.write_float(*number),
            Token::Text(text) => write_string(&mut self.json, text),
            Token::Binary(bytes) => self.attach(bytes, limits)?,
            Token::Date(millis) => match iso_date(*millis) {
                Some(date) => write_string(&mut self.json, &date),
                None => self.json.extend_from_slice(b"null"),
            },
            Token::Extension(kind, bytes) => {
                self.json.push(b'[');
                self.write_number(*kind);
                self.json.push(b',');
                self.attach(bytes, limits)?;
                self.json.push(b']');
            }
            // An array or a map is not written as a whole.
            Token::Null | Token::Undefined | Token::Array(_) | Token::Map(_) => {
                self.json.extend_from_slice(b"null");
            }
        }
        Ok(())
    }

    fn attach(&mut self, bytes: &[u8], limits: &MsgPackLimits) -> Result<(), MsgPackError> {
        if self.attachments.len() >= limits.max_binary_values {
            return Err(MsgPackError::TooManyBinaryValues { limit: limits.max_binary_values });
        }
        self.json.extend_from_slice(b"{\"_placeholder\":true,\"num\":");
        self.write_number(self.attachments.len());
        self.json.push(b'}');
        self.attachments.push(Bytes::copy_from_slice(bytes));
        Ok(())
    }
}
