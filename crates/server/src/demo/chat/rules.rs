//! The rules for requests: the shape and size of all that visitors send. Each check takes the received value
//! and returns the value to keep.

use std::sync::Arc;

use super::wire::{Picture, Refusal, RefusalCode, RoomName, SendImage};

/// The most characters of a message's text.
const TEXT: usize = 2000;
/// The most characters of a member's name.
const NAME: usize = 32;
/// The most characters of a room's name.
const ROOM: usize = 32;
/// The most characters of the id that a page gives its message.
const CLIENT_ID: usize = 64;
/// The most bytes of a picture.
const IMAGE: usize = 900_000;
/// The most characters of a picture's file name.
const IMAGE_NAME: usize = 100;
/// The most pixels of a picture's side.
const SIDE: std::ops::RangeInclusive<u32> = 1..=16_384;

pub(crate) const BAD_REQUEST: Refusal =
    Refusal::new(RefusalCode::BadRequest, "The server did not understand this.");
const BAD_ROOM: Refusal = Refusal::new(
    RefusalCode::BadRoom,
    "Rooms are named with 1 to 32 small letters a to z, digits and hyphens.",
);
const BAD_NAME: Refusal = Refusal::new(RefusalCode::BadName, "A name has 1 to 32 characters.");
const BAD_TEXT: Refusal = Refusal::new(RefusalCode::BadText, "A message has 1 to 2000 characters.");
const BAD_IMAGE: Refusal = Refusal::new(RefusalCode::BadImage, "Pictures are PNG, JPEG, GIF or WebP.");
const TOO_LARGE: Refusal = Refusal::new(RefusalCode::TooLarge, "A picture has 900 kB at most.");

/// The secret of a page, which identifies its visitor: 16 to 64 of `[A-Za-z0-9-]`.
pub(crate) fn is_visitor(secret: &str) -> bool {
    (16..=64).contains(&secret.len())
        && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A room's name, `[a-z0-9-]{1,32}`.
pub(crate) fn room(name: &str) -> Result<RoomName, Refusal> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (1..=ROOM).contains(&name.len()) && name.bytes().all(allowed);
    if good { Ok(name.into()) } else { Err(BAD_ROOM) }
}

/// A member's name, without the white space around it.
pub(crate) fn name(name: &str) -> Result<Arc<str>, Refusal> {
    let name = name.trim();
    let good = !name.is_empty() && at_most(name, NAME) && !name.chars().any(char::is_control);
    if good { Ok(name.into()) } else { Err(BAD_NAME) }
}

/// A message's text, unchanged.
pub(crate) fn text(text: &str) -> Result<String, Refusal> {
    if !text.trim().is_empty() && at_most(text, TEXT) { Ok(text.to_owned()) } else { Err(BAD_TEXT) }
}

/// The id that a page gave its message, `[A-Za-z0-9-]{1,64}`.
pub(crate) fn client_id(id: &str) -> Result<Arc<str>, Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let good = (1..=CLIENT_ID).contains(&id.len()) && id.bytes().all(allowed);
    if good { Ok(id.into()) } else { Err(BAD_REQUEST) }
}

/// A picture's description, checked against its bytes.
pub(crate) fn picture(image: &SendImage, data: &[u8]) -> Result<Picture, Refusal> {
    if data.len() > IMAGE {
        return Err(TOO_LARGE);
    }
    let kind = kind_of(data).filter(|kind| *kind == image.kind).ok_or(BAD_IMAGE)?;
    if !SIDE.contains(&image.width) || !SIDE.contains(&image.height) || !at_most(&image.name, IMAGE_NAME) {
        return Err(BAD_REQUEST);
    }
    Ok(Picture { kind, name: image.name.clone(), width: image.width, height: image.height, size: data.len() })
}

/// The media type that a picture's first bytes show.
fn kind_of(data: &[u8]) -> Option<&'static str> {
    match data {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// Whether a text has at most this many characters (Unicode scalar values).
fn at_most(text: &str, characters: usize) -> bool {
    text.len() <= characters || text.chars().nth(characters).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_named_with_small_letters_digits_and_hyphens() {
        let (longest, longer) = ("r".repeat(32), "r".repeat(33));
        for good in ["lobby", "a", "0", "-", "rust-2024", &longest] {
            assert_eq!(room(good).as_deref(), Ok(good));
        }
        for bad in ["", "Lobby", "a b", "a_b", "é", "a/b", &longer] {
            assert_eq!(room(bad), Err(BAD_ROOM), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_trimmed_and_has_1_to_32_characters_without_control_characters() {
        let (longest, longer) = ("日".repeat(32), "日".repeat(33));
        for (given, kept) in [("Ada", "Ada"), ("  Ada L. \n", "Ada L."), (&longest, &longest), ("🚆", "🚆")]
        {
            assert_eq!(name(given).as_deref(), Ok(kept));
        }
        for bad in ["", "   ", "a\nb", "a\u{0}b", "\u{85}a\u{7f}", &longer] {
            assert_eq!(name(bad), Err(BAD_NAME), "{bad:?}");
        }
    }

    #[test]
    fn a_text_is_not_blank_and_has_2000_characters_at_most() {
        let (longest, longer) = ("é".repeat(2000), "é".repeat(2001));
        for good in ["a", " a ", "two\nlines", &longest] {
            assert_eq!(text(good).as_deref(), Ok(good));
        }
        for bad in ["", "  \n\t\u{3000}", &longer] {
            assert_eq!(text(bad), Err(BAD_TEXT), "{} bytes", bad.len());
        }
    }

    #[test]
    fn a_visitor_is_known_by_16_to_64_letters_digits_and_hyphens() {
        assert!(is_visitor("0123456789abcDEF") && is_visitor(&"a-".repeat(32)));
        for bad in ["", "0123456789abcde", "0123456789abcde_", "0123456789abcdeé", &"a".repeat(65)] {
            assert!(!is_visitor(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_client_id_is_1_to_64_letters_digits_and_hyphens() {
        assert!(client_id("a").is_ok() && client_id(&"A-9".repeat(21)).is_ok());
        for bad in ["", "a b", "a_b", &"a".repeat(65)] {
            assert_eq!(client_id(bad), Err(BAD_REQUEST), "{bad:?}");
        }
    }

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n....";

    fn image(kind: &str, name: &str, width: u32, height: u32) -> SendImage {
        let (room, client_id) = (String::new(), String::new());
        SendImage { room, client_id, kind: kind.to_owned(), name: name.to_owned(), width, height }
    }

    #[test]
    fn the_type_of_a_picture_is_told_by_its_first_bytes() {
        let pictures: [(&str, &[u8]); 5] = [
            ("image/png", PNG),
            ("image/jpeg", b"\xff\xd8\xff\xe0"),
            ("image/gif", b"GIF89a"),
            ("image/gif", b"GIF87a"),
            ("image/webp", b"RIFF\x01\x02\x03\x04WEBPVP8 "),
        ];
        for (kind, data) in pictures {
            let kept = picture(&image(kind, "p", 1, 1), data).expect(kind);
            assert_eq!((kept.kind, kept.size), (kind, data.len()));
            let other = if kind == "image/png" { "image/gif" } else { "image/png" };
            assert_eq!(picture(&image(other, "p", 1, 1), data), Err(BAD_IMAGE));
        }
        for data in [&b""[..], b"<svg", b"GIF88a", b"RIFF....WAVE", b"\x89PNG\n"] {
            assert_eq!(picture(&image("image/png", "p", 1, 1), data), Err(BAD_IMAGE));
        }
        assert_eq!(picture(&image("image/svg+xml", "p", 1, 1), b"<svg"), Err(BAD_IMAGE));
    }

    #[test]
    fn a_picture_keeps_to_its_sizes() {
        let mut largest = PNG.to_vec();
        largest.resize(900_000, 0);
        assert!(picture(&image("image/png", &"n".repeat(100), 16_384, 16_384), &largest).is_ok());
        largest.push(0);
        assert_eq!(picture(&image("image/png", "n", 1, 1), &largest), Err(TOO_LARGE));
        for (name, width, height) in
            [("n", 0, 1), ("n", 1, 0), ("n", 16_385, 1), ("n", 1, 16_385), (&*"n".repeat(101), 1, 1)]
        {
            assert_eq!(picture(&image("image/png", name, width, height), PNG), Err(BAD_REQUEST));
        }
    }
}
