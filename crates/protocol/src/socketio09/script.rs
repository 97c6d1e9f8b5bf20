//! Packets within scripts: the answers of JSONP, and the endless page of htmlfile.

/// How the page of htmlfile begins. The spaces let a browser show it at once.
pub const HTMLFILE_HEAD: &str = concat!(
    "<html><body><script>var _ = function (msg) { parent.s._(msg, document); };</script>",
    "                                                                                ",
    "                                                                                ",
    "             "
);

/// Appends a text as a string of JavaScript, which is JSON but for two line ends of Unicode's that JavaScript
/// does not take within strings.
pub fn write_js_string(out: &mut Vec<u8>, text: &str) {
    let before = out.len();
    super::event::write_json_string(out, text);
    escape_line_ends(out, before);
}

/// Escapes the two line ends in JSON that JavaScript knows beside those of ASCII, from `from` on.
pub(super) fn escape_line_ends(out: &mut Vec<u8>, from: usize) {
    replace(out, from, |rest| match rest {
        [0xe2, 0x80, 0xa8, ..] => Some((3, b"\\u2028")),
        [0xe2, 0x80, 0xa9, ..] => Some((3, b"\\u2029")),
        _ => None,
    });
}

/// Appends the answer to a JSONP request: `io.j[<index>]("…");`.
pub fn write_jsonp(out: &mut Vec<u8>, index: &str, text: &str) {
    out.extend_from_slice(b"io.j[");
    out.extend_from_slice(index.as_bytes());
    out.extend_from_slice(b"](");
    write_js_string(out, text);
    out.extend_from_slice(b");");
}

/// Appends a packet, or a payload, as a script of htmlfile's page. Nothing in it ends the script, or is
/// markup: `/` is written `\/`, and `<` as its escape.
pub fn write_script(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"<script>_(");
    write_markup_safe(out, text);
    out.extend_from_slice(b");</script>");
}

/// Appends a text as a string of JavaScript that may stand in a page.
pub(crate) fn write_markup_safe(out: &mut Vec<u8>, text: &str) {
    let before = out.len();
    write_js_string(out, text);
    replace(out, before, |rest| match rest {
        [b'/', ..] => Some((1, b"\\/")),
        [b'<', ..] => Some((1, b"\\u003c")),
        _ => None,
    });
}

/// Replaces bytes from `from` on: `find` says of a rest how many bytes at its start are replaced, and by what.
fn replace(out: &mut Vec<u8>, from: usize, find: impl Fn(&[u8]) -> Option<(usize, &'static [u8])>) {
    let has_any = (from..out.len()).any(|at| out.get(at..).is_some_and(|rest| find(rest).is_some()));
    if !has_any {
        return;
    }
    let written = out.split_off(from);
    let mut rest = &*written;
    while let Some((byte, behind)) = rest.split_first() {
        if let Some((length, by)) = find(rest) {
            out.extend_from_slice(by);
            rest = rest.get(length..).unwrap_or_default();
        } else {
            out.push(*byte);
            rest = behind;
        }
    }
}
