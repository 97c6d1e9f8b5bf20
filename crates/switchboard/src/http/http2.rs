//! What requests over HTTP/2 say in another way than those over HTTP/1.1.

use http::header::{COOKIE, HOST};
use http::request::Parts;
use http::{HeaderValue, Method};
use hyper::ext::Protocol;

/// Lays a request's parts as HTTP/1.1 has them: the host as a header, for those who look for it there, and
/// cookies in one line ([RFC 9113, 8.2.3](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3) and 8.3.1).
pub(crate) fn level(parts: &mut Parts) {
    // `:authority` is what the client asked for, whatever a `Host` beside it says.
    let authority = parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = authority {
        parts.headers.insert(HOST, host);
    }
    let mut crumbs = parts.headers.get_all(COOKIE).iter();
    if crumbs.by_ref().take(2).count() == 2 {
        let crumbs: Vec<_> = parts.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(cookies) = HeaderValue::from_bytes(&crumbs.join(b"; ".as_slice())) {
            parts.headers.insert(COOKIE, cookies);
        }
    }
}

/// The protocol that an extended CONNECT asks for
/// ([RFC 8441, 4](https://www.rfc-editor.org/rfc/rfc8441#section-4)).
pub(crate) fn connect_protocol(parts: &Parts) -> Option<&str> {
    let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
    protocol.filter(|_| parts.method == Method::CONNECT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_as_http_1_has_it() {
        for (cookies, laid) in [
            (vec![], None),
            (vec!["a=1"], Some("a=1")),
            (vec!["a=1", "b=2; c=3", "d=4"], Some("a=1; b=2; c=3; d=4")),
        ] {
            let mut request =
                http::Request::get("https://chat.example:3000/ws").header(HOST, "other.example");
            for crumb in cookies {
                request = request.header(COOKIE, crumb);
            }
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            level(&mut parts);
            assert_eq!(parts.headers.get_all(HOST).iter().collect::<Vec<_>>(), ["chat.example:3000"]);
            let all: Vec<_> = parts.headers.get_all(COOKIE).iter().collect();
            assert_eq!(all, laid.into_iter().collect::<Vec<_>>());
        }
    }
}
