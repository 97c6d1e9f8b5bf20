//! Polling by scripts (JSONP), for pages whose browsers cannot ask another origin in any other way. Protocol 3,
//! section "Transports", `j`.
//!
//! A GET is the `src` of a script, and its answer is a call that hands the payload over as a string. A POST is a
//! form in a hidden frame, with the payload as the field `d`.

/// The call before the payload's string, for the index of a request (`j`): `___eio[<j>](`. As in Node the index
/// keeps its digits alone, so a request cannot choose what is called; there are at most ten of them here.
pub fn head(index: &str) -> String {
    let digits: String = index.chars().filter(char::is_ascii_digit).take(10).collect();
    format!("___eio[{digits}](")
}

/// What stands behind the payload's string.
pub const FOOT: &str = ");";

/// The payload that a form brings. `None`: the form has no field `d`. If it has several, the first counts.
pub fn decode_form(body: &[u8]) -> Option<String> {
    let (_, data) = form_urlencoded::parse(body).find(|(name, _)| name == "d")?;
    Some(unescape_newlines(&data))
}

/// Undoes what clients do to newlines, which some browsers change in forms: a newline comes as the two characters
/// `\n`, and these two characters come as the three characters `\\n`.
fn unescape_newlines(data: &str) -> String {
    let mut out = String::with_capacity(data.len());
    let mut rest = data;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        rest = if let Some(rest) = after.strip_prefix("\\n") {
            out.push_str("\\n");
            rest
        } else if let Some(rest) = after.strip_prefix('n') {
            out.push('\n');
            rest
        } else {
            out.push('\\');
            after
        };
    }
    out.push_str(rest);
    out
}
