//! Whether a cache has a file already ([RFC 9110,
//! 13.1.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2)).

use http::header::IF_NONE_MATCH;
use http::{HeaderMap, HeaderValue};

/// Whether `If-None-Match` names a file's tag, or is `*`. Tags are compared weakly: a proxy that compresses
/// an answer makes its tag a weak one.
pub(crate) fn is_fresh(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let own = opaque(etag.as_bytes());
    request.get_all(IF_NONE_MATCH).iter().any(|value| {
        let value = value.as_bytes().trim_ascii();
        value == b"*" || Tags(value).any(|tag| tag == own)
    })
}

/// A tag without the mark of a weak one.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The tags of a list, without the marks of weak ones. What is no tag ends it.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let is_between = |byte: &&u8| matches!(byte, b' ' | b'\t' | b',');
        let between = self.0.iter().take_while(is_between).count();
        let rest = opaque(self.0.get(between..)?);
        // A comma within the quotes is the tag's own.
        let end = rest.strip_prefix(b"\"")?.iter().position(|byte| *byte == b'"')? + 2;
        let (tag, rest) = rest.split_at_checked(end)?;
        self.0 = rest;
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly_one_by_one() {
        for (asked, own, fresh) in [
            (&["\"a\""][..], "\"a\"", true),
            (&["W/\"a\""], "\"a\"", true),
            (&["\"a\""], "W/\"a\"", true),
            (&["\"b\", W/\"a\""], "\"a\"", true),
            (&["\"b\",\"a\""], "\"a\"", true),
            (&["\"b\"", "\"a\""], "\"a\"", true),
            (&[" * "], "\"a\"", true),
            (&["\"a,b\""], "\"a,b\"", true),
            (&["\"x\"y\", \"a\""], "\"a\"", false),
            (&["\"ab\""], "\"a\"", false),
            (&["\"A\""], "\"a\"", false),
            (&["a"], "\"a\"", false),
            (&["\"*\""], "\"a\"", false),
            (&["W/"], "\"a\"", false),
            (&["\""], "\"a\"", false),
            (&[""], "\"a\"", false),
            (&[], "\"a\"", false),
        ] {
            let mut request = HeaderMap::new();
            for value in asked {
                request.append(IF_NONE_MATCH, HeaderValue::from_static(value));
            }
            assert_eq!(is_fresh(&request, &HeaderValue::from_static(own)), fresh, "{asked:?} {own}");
        }
    }
}
