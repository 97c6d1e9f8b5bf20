//! Answers as scripts (JSONP): a call of a function of the page, with the answer as its string.

use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, StatusCode};

use super::Answer;

/// The call around the string.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) head: String,
    pub(super) foot: &'static str,
}

impl Script {
    /// Makes a script of an answer that is a success. Others stay: the script's element has an error then.
    pub(super) fn wrap(self, answer: &mut Answer) {
        let Some(body) = answer.body().as_whole().filter(|_| answer.status() == StatusCode::OK) else {
            return;
        };
        let mut script = self.head.into_bytes();
        script.reserve(body.len() + body.len() / 8 + 8);
        write_string(&String::from_utf8_lossy(body), &mut script);
        script.extend_from_slice(self.foot.as_bytes());
        *answer.body_mut() = script.into();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=UTF-8"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Old browsers of Microsoft take the call for a reflected one.
        headers.insert(HeaderName::from_static("x-xss-protection"), HeaderValue::from_static("0"));
    }
}

/// Appends a text as a string of JavaScript. It is JSON, in which the two characters are escaped that end a line
/// in JavaScript, and the characters that could begin or end something in HTML.
fn write_string(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, text);
    let special = |text: &[u8]| memchr::memchr3(b'<', b'>', 0xE2, text).is_some();
    if !out.get(start..).is_some_and(special) {
        return;
    }
    let json = out.split_off(start);
    for char in String::from_utf8_lossy(&json).chars() {
        let escaped = match char {
            '<' => "\\u003c",
            '>' => "\\u003e",
            '\u{2028}' => "\\u2028",
            '\u{2029}' => "\\u2029",
            other => {
                out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        out.extend_from_slice(escaped.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::{plain, text};

    #[test]
    fn a_string_holds_nothing_that_ends_a_line_or_a_script() {
        for (text, string) in [
            ("", r#""""#),
            ("1:6", r#""1:6""#),
            (r#"4"\"#, r#""4\"\\""#),
            ("a\u{1e}b\n", r#""a\u001eb\n""#),
            ("é\u{2028}\u{2029}😀", "\"é\\u2028\\u2029😀\""),
            ("</script><!--", r#""\u003c/script\u003e\u003c!--""#),
        ] {
            let mut out = b"x".to_vec();
            write_string(text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{string}"));
        }
    }

    proptest! {
        #[test]
        fn a_string_is_its_text(text in r"([<>\u{2028}\u{2029}â]|\PC){0,20}") {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn a_success_is_a_script_and_an_error_stays() {
        let script = || Script { head: "f(".to_owned(), foot: ");" };
        let mut answer = text("1:6".into());
        script().wrap(&mut answer);
        assert_eq!(answer.body().as_whole().unwrap(), "f(\"1:6\");");
        assert_eq!(answer.headers()[CONTENT_TYPE], "text/javascript; charset=UTF-8");
        assert_eq!(answer.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        let mut answer = plain(StatusCode::BAD_REQUEST, "no");
        script().wrap(&mut answer);
        assert_eq!(answer.body().as_whole().unwrap(), "no");
    }
}
