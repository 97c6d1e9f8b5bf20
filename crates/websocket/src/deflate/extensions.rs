//! `Sec-WebSocket-Extensions` (RFC 6455 §9.1): a list of extensions. An extension has parameters, a parameter
//! may have a value, and a value may be quoted.

use http::{HeaderMap, header::SEC_WEBSOCKET_EXTENSIONS};

use crate::handshake::is_token;

/// The extensions of a head, in their order, from all its lines.
pub(super) fn extensions(headers: &HeaderMap) -> impl Iterator<Item = Extension<'_>> {
    let lines = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).into_iter();
    lines
        .flat_map(|line| split(line.as_bytes(), b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .map(Extension::parse)
}

/// One extension of the list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extension<'a> {
    pub(super) name: &'a [u8],
    parameters: Option<&'a [u8]>,
}

impl<'a> Extension<'a> {
    fn parse(element: &'a [u8]) -> Self {
        let mut halves = element.splitn(2, |&byte| byte == b';');
        let name = halves.next().unwrap_or_default().trim_ascii();
        Self { name, parameters: halves.next() }
    }

    /// Its parameters. `Err` stands for a malformed parameter.
    pub(super) fn parameters(&self) -> impl Iterator<Item = Result<Parameter<'a>, Malformed>> + use<'a> {
        self.parameters.into_iter().flat_map(|all| split(all, b';')).map(Parameter::parse)
    }
}

/// A parameter that breaks the grammar.
#[derive(Debug)]
pub(super) struct Malformed;

/// A parameter of an extension.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter<'a> {
    pub(super) name: &'a [u8],
    /// Its value, with its quotes if it has any.
    pub(super) value: Option<&'a [u8]>,
}

impl<'a> Parameter<'a> {
    fn parse(parameter: &'a [u8]) -> Result<Self, Malformed> {
        let mut halves = parameter.splitn(2, |&byte| byte == b'=');
        let name = halves.next().unwrap_or_default().trim_ascii();
        let value = halves.next().map(<[u8]>::trim_ascii);
        let quoted =
            |value: &[u8]| value.len() >= 2 && value.first() == Some(&b'"') && value.last() == Some(&b'"');
        if is_token(name) && value.is_none_or(|value| is_token(value) || quoted(value)) {
            Ok(Self { name, value })
        } else {
            Err(Malformed)
        }
    }

    /// The value as a number of one or two digits, of which the first is not zero.
    pub(super) fn number(&self) -> Option<u8> {
        let value = self.value?;
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        match unquoted {
            [ones @ b'0'..=b'9'] => Some(ones - b'0'),
            [tens @ b'1'..=b'9', ones @ b'0'..=b'9'] => Some((tens - b'0') * 10 + (ones - b'0')),
            _ => None,
        }
    }
}

/// Splits at each separator that is not within quotes.
fn split(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    bytes.split(move |&byte| {
        let after_backslash = std::mem::take(&mut escaped);
        match byte {
            b'\\' if quoted && !after_backslash => escaped = true,
            b'"' if !after_backslash => quoted = !quoted,
            _ => return byte == separator && !quoted,
        }
        false
    })
}
