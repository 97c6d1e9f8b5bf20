//! The name of an event: the first element of an event packet's payload.

use std::borrow::Cow;

use super::error::DecodeError;
use super::json::{plain_until, skip_space};

/// Whether Node reserves this name for its own events. Peers may not send it, and users may not emit it.
#[inline]
pub fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "connect" | "connect_error" | "disconnect" | "disconnecting" | "newListener" | "removeListener"
    )
}

/// Reads the name of an event from its payload. It also returns the offset of the arguments in `data`, just
/// after the name, for [`from_args`](super::from_args).
///
/// The name borrows from `data` unless it has escapes. An integer is read as its decimal text, as in Node.
///
/// # Errors
/// [`DecodeError::EventName`] if the first element is missing or has another type,
/// [`DecodeError::ReservedEvent`] if the name [is reserved](is_reserved).
#[inline]
pub fn event_name(data: &str) -> Result<(Cow<'_, str>, usize), DecodeError> {
    let bytes = data.as_bytes();
    let open = skip_space(bytes, 0);
    if bytes.get(open) != Some(&b'[') {
        return Err(DecodeError::EventName);
    }
    let start = skip_space(bytes, open + 1);
    let (name, end) = match bytes.get(start) {
        Some(b'"') => string(data, start)?,
        Some(b'-' | b'0'..=b'9') => integer(data, start)?,
        _ => return Err(DecodeError::EventName),
    };
    if is_reserved(&name) {
        return Err(DecodeError::ReservedEvent);
    }
    Ok((name, end))
}

/// The string at `start`, and the offset after its closing quote.
#[inline]
fn string(data: &str, start: usize) -> Result<(Cow<'_, str>, usize), DecodeError> {
    let at = plain_until(data.as_bytes(), start + 1);
    match data.as_bytes().get(at) {
        Some(b'"') => {}
        Some(b'\\') => return escaped(data, start, at),
        _ => return Err(DecodeError::EventName),
    }
    let name = data.get(start + 1..at).ok_or(DecodeError::EventName)?;
    Ok((Cow::Borrowed(name), at + 1))
}

/// The rest of [`string`], for a name whose first escape is at `escape`.
#[cold]
fn escaped(data: &str, start: usize, escape: usize) -> Result<(Cow<'_, str>, usize), DecodeError> {
    let bytes = data.as_bytes();
    let mut at = escape;
    loop {
        match bytes.get(at) {
            Some(b'"') => break,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return Err(DecodeError::EventName),
        }
    }
    let quoted = data.get(start..=at).ok_or(DecodeError::EventName)?;
    let name: String = serde_json::from_str(quoted).map_err(|_| DecodeError::EventName)?;
    Ok((Cow::Owned(name), at + 1))
}

/// The integer at `start`. Other numbers have no single text that both ends would use.
#[cold]
fn integer(data: &str, start: usize) -> Result<(Cow<'_, str>, usize), DecodeError> {
    let text = data.get(start..).unwrap_or_default();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let end = start + (text.len() - digits.len()) + length;
    let ends = matches!(data.as_bytes().get(end), Some(b',' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
    // JavaScript never writes an integer as -0, with leading zeros, or beyond 2^53.
    let plain = text == digits && digits.starts_with('0');
    if !ends || length == 0 || length > 15 || (digits.starts_with('0') && !(plain && length == 1)) {
        return Err(DecodeError::EventName);
    }
    let name = data.get(start..end).ok_or(DecodeError::EventName)?;
    Ok((Cow::Borrowed(name), end))
}
