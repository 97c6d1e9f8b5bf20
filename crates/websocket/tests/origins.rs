//! Origins: the ones that are let in, how they are written, and how they are compared.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

use http::{HeaderMap, HeaderValue, Request, header::HOST};
use proptest::prelude::*;
use switchboard_websocket::{
    OriginCheck,
    handshake::origin::{OriginFault, OriginPattern, OriginRequest, is_same_host},
};

fn headers(headers: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut request = Request::new(());
    for &(name, value) in headers {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    request.into_parts().0.headers
}

fn value(origin: &str) -> HeaderValue {
    HeaderValue::from_bytes(origin.as_bytes()).unwrap()
}

fn allows(check: &OriginCheck, origin: Option<&str>, lines: &[(&'static str, &'static str)]) -> bool {
    check.allows(origin.map(value).as_ref(), &OriginRequest::new(&headers(lines)))
}

#[test]
fn an_origin_is_let_in_by_its_rule() {
    let list = OriginCheck::list(["https://app.example"]).unwrap();
    let by = OriginCheck::listed_by(|origin| origin.ends_with(".example"));
    let alone = OriginCheck::new(|origin| origin.is_some_and(|origin| origin == "https://a.example"));
    let host: &[_] = &[("host", "chat.example:3000")];
    for (check, origin, expected) in [
        (OriginCheck::default(), None, true),
        (OriginCheck::default(), Some("http://chat.example:3000"), true),
        (OriginCheck::default(), Some("https://CHAT.example:3000"), true),
        (OriginCheck::default(), Some("http://chat.example"), false),
        (OriginCheck::default(), Some("http://chat.example:30"), false),
        (OriginCheck::default(), Some("http://chat.example:3000.evil.example"), false),
        (OriginCheck::default(), Some("http://chat.example:3000@evil.example"), false),
        (OriginCheck::default(), Some("http://evil.example"), false),
        (OriginCheck::default(), Some("file://"), false),
        (OriginCheck::default(), Some("null"), false),
        (OriginCheck::default(), Some(""), false),
        (OriginCheck::default(), Some("http://"), false),
        (OriginCheck::default(), Some("http://치즈.example"), false),
        (list.clone(), Some("HTTPS://APP.EXAMPLE"), true),
        (list.clone(), Some("https://app.example:443"), true),
        (list.clone(), Some("http://app.example"), false),
        (list.clone(), Some("http://chat.example:3000"), true),
        (list.clone(), None, true),
        (list, Some("https://app.example.evil"), false),
        (by.clone(), Some("https://a.example"), true),
        (by.clone(), Some("http://chat.example:3000"), true),
        (by.clone(), Some("https://a.test"), false),
        (by, None, true),
        (alone.clone(), Some("https://a.example"), true),
        (alone.clone(), Some("http://chat.example:3000"), false),
        (alone, None, false),
        (OriginCheck::any(), Some("null"), true),
    ] {
        assert_eq!(allows(&check, origin, host), expected, "{check:?} {origin:?}");
    }
    assert!(!allows(&OriginCheck::default(), Some("http://"), &[("host", "")]), "nowhere is no host");
}

#[test]
fn an_origin_is_listed_for_every_host() {
    let origin = value("https://app.example");
    assert!(!OriginCheck::default().is_listed(&origin));
    assert!(OriginCheck::any().is_listed(&origin) && OriginCheck::any().is_any());
    assert!(OriginCheck::list(["https://app.example"]).unwrap().is_listed(&origin));
    assert!(OriginCheck::listed_by(|origin| origin == "https://app.example").is_listed(&origin));
    assert!(OriginCheck::new(|origin| origin.is_some()).is_listed(&origin));
    assert!(!OriginCheck::listed_by(|_| true).is_listed(&HeaderValue::from_bytes(b"https://\xE9").unwrap()));
}

#[test]
fn an_origin_and_its_pattern_are_brought_to_one_form() {
    for (written, form) in [
        ("https://app.example", "https://app.example"),
        ("HTTPS://App.Example", "https://app.example"),
        (" https://app.example/ ", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("http://app.example:80", "http://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("http://app.example:0080", "http://app.example"),
        ("https://*.Example.org:443", "https://*.example.org"),
        ("http://localhost:*", "http://localhost:*"),
        ("http://[0:0::1]:8080", "http://[::1]:8080"),
        ("http://192.0.2.1", "http://192.0.2.1"),
        ("https://xn--xy1bt7g.example", "https://xn--xy1bt7g.example"),
        ("https://app.example.", "https://app.example."),
        ("null", "null"),
        ("file://", "file://"),
        ("file:///", "file://"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("app://.", "app://."),
        ("chrome-extension://AbC", "chrome-extension://abc"),
    ] {
        let pattern: OriginPattern = written.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(pattern.to_string(), form, "{written}");
        assert_eq!(form.parse(), Ok(pattern.clone()), "{written}: the form is one of itself");
        if !form.contains('*') {
            assert!(pattern.matches(form) && pattern.matches(written.trim()), "{written}");
        }
    }
}

#[test]
fn a_text_that_no_origin_can_match_is_an_error_that_says_why() {
    for (written, fault) in [
        ("*", OriginFault::Every),
        ("", OriginFault::NoScheme),
        ("app.example", OriginFault::NoScheme),
        ("app.example:443", OriginFault::NoScheme),
        ("//app.example", OriginFault::NoScheme),
        ("://app.example", OriginFault::Scheme),
        ("1http://app.example", OriginFault::Scheme),
        ("wss://app.example", OriginFault::WebSocketScheme),
        ("ws://app.example", OriginFault::WebSocketScheme),
        ("https://", OriginFault::NoHost),
        ("https://:443", OriginFault::NoHost),
        ("file://:80", OriginFault::NoHost),
        ("https://app example", OriginFault::Host),
        ("https://app..example", OriginFault::Host),
        ("https://.example", OriginFault::Host),
        ("http://127.1", OriginFault::Host),
        ("http://192.0.2.256", OriginFault::Host),
        ("http://[::1", OriginFault::Host),
        ("http://[::x]", OriginFault::Host),
        ("https://치즈.example", OriginFault::NotAscii),
        ("https://*", OriginFault::Wildcard),
        ("https://*.", OriginFault::Host),
        ("https://a*.example", OriginFault::Wildcard),
        ("https://a.*.example", OriginFault::Wildcard),
        ("*://app.example", OriginFault::Wildcard),
        ("https://app.example:", OriginFault::Port),
        ("https://app.example:65536", OriginFault::Port),
        ("https://app.example:+80", OriginFault::Port),
        ("https://app.example:80:*", OriginFault::Port),
        ("https://user@app.example", OriginFault::User),
        ("https://app.example/chat", OriginFault::Path),
        ("https://app.example//", OriginFault::Path),
        ("https://app.example?a", OriginFault::Path),
        ("https://app.example#a", OriginFault::Path),
        ("file:///home/index.html", OriginFault::Path),
    ] {
        let error = written.parse::<OriginPattern>().expect_err(written);
        assert_eq!(error.fault, fault, "{error}");
        assert_eq!(error.to_string(), format!("no origin can match {written:?}: {fault}"));
        assert_eq!(OriginCheck::list(["https://app.example", written]).unwrap_err(), error);
    }
}

#[test]
fn an_origin_matches_its_pattern_and_nothing_else() {
    for (pattern, origin, expected) in [
        ("https://app.example", "https://app.example/", true),
        ("https://app.example", "https://app.example:443", true),
        ("https://app.example", "https://app.example:444", false),
        ("https://app.example", "https://app.example/chat", false),
        ("https://app.example", "app.example", false),
        ("https://app.example", "null", false),
        ("https://*.example.org", "https://a.example.org", true),
        ("https://*.Example.org", "HTTPS://a.B-c.example.ORG", true),
        ("https://*.example.org", "https://a.example.org:443", true),
        ("https://*.example.org", "https://example.org", false),
        ("https://*.example.org", "https://.example.org", false),
        ("https://*.example.org", "https://a..example.org", false),
        ("https://*.example.org", "http://a.example.org", false),
        ("https://*.example.org", "https://a.example.org:8443", false),
        ("https://*.example.org", "https://evilexample.org", false),
        ("https://*.example.org", "https://a.example.org.evil", false),
        ("https://*.example.org", "https://evil/.example.org", false),
        ("https://*.example.org", "https://evil:1@x.example.org", false),
        ("https://*.example.org", "https://치.example.org", false),
        ("https://*.example.org:8443", "https://a.example.org:8443", true),
        ("https://*.example.org:*", "https://a.example.org:8443", true),
        ("https://*.example.org:*", "https://a.example.org", true),
        ("http://localhost:*", "http://localhost", true),
        ("http://localhost:*", "http://localhost:1", true),
        ("http://localhost:*", "http://localhost:", false),
        ("http://localhost:*", "http://localhost:1.evil", false),
        ("http://localhost:*", "http://localhost.evil:1", false),
        ("http://[::1]:*", "http://[::1]:80", true),
        ("http://[::1]:*", "http://[::1]", true),
        ("http://[::1]", "http://[0:0:0:0:0:0:0:1]", true),
        ("http://[::1]", "http://[::2]", false),
        ("null", "null", true),
        ("null", "NULL", false),
        ("null", "file://", false),
        ("file://", "file://", true),
        ("file://", "file:///", true),
        ("file://", "file://host", false),
        ("file://", "null", false),
        ("capacitor://localhost", "capacitor://localhost", true),
        ("capacitor://localhost", "ionic://localhost", false),
    ] {
        let parsed: OriginPattern = pattern.parse().unwrap();
        assert_eq!(parsed.matches(origin), expected, "{pattern} {origin}");
    }
}

#[test]
fn a_page_is_of_the_host_that_it_asks_if_host_and_port_are_the_same() {
    for (origin, host, expected) in [
        ("https://example.org", "example.org", true),
        ("https://Example.org", "example.ORG:443", true),
        ("http://example.org", "example.org:80", true),
        ("https://example.org", "example.org:80", false),
        ("https://example.org:8443", "example.org", false),
        ("https://example.org:8443", "example.org:8443", true),
        ("ws://example.org", "example.org", true),
        ("http://[::1]", "[0:0::1]", true),
        ("http://[::1]:3000", "[::1]:3000", true),
        // The page of an app does not come from the host that its origin names.
        ("capacitor://localhost", "localhost", false),
        ("https://example.org", "user@example.org", false),
        ("file://", "", false),
        ("null", "example.org", false),
    ] {
        assert_eq!(is_same_host(origin, host), expected, "{origin} {host}");
    }
}

#[test]
fn over_tls_a_page_of_the_other_default_port_is_anothers() {
    let check = OriginCheck::default();
    for (host, origin, over_tls, unknown) in [
        ("chat.example", "https://chat.example", true, true),
        ("chat.example:443", "https://chat.example", true, true),
        ("chat.example", "http://chat.example", false, true),
        ("chat.example", "http://chat.example:80", false, true),
        ("chat.example:80", "http://chat.example", false, true),
        ("chat.example:3000", "http://chat.example:3000", true, true),
        ("[::1]", "https://[::1]", true, true),
        ("[::1]", "HTTP://[::1]", false, true),
        ("[::1]:3000", "http://[::1]:3000", true, true),
    ] {
        let (headers, origin) = (headers(&[("host", host)]), value(origin));
        let request = OriginRequest::new(&headers);
        let secure = OriginRequest { secure: true, ..request };
        assert_eq!(check.allows(Some(&origin), &secure), over_tls, "{host} {origin:?}");
        assert_eq!(check.allows(Some(&origin), &request), unknown, "{host} {origin:?}");
    }
}

#[test]
fn a_page_that_the_browser_says_is_of_our_own_origin_is_let_in_behind_any_proxy() {
    let check = OriginCheck::default();
    for (site, expected) in
        [("same-origin", true), ("same-site", false), ("cross-site", false), ("none", false), ("", false)]
    {
        let headers = [("host", "127.0.0.1:3000"), ("sec-fetch-site", site)];
        assert_eq!(allows(&check, Some("https://public.example"), &headers), expected, "{site}");
    }
    let twice = [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")];
    assert!(!allows(&check, Some("https://public.example"), &twice));
}

#[test]
fn a_request_over_http_2_was_sent_to_its_authority() {
    let check = OriginCheck::default();
    let origin = value("https://chat.example");
    let mut headers = HeaderMap::new();
    let at = |headers: &HeaderMap, authority: &str| {
        let authority = Some(authority);
        check.allows(Some(&origin), &OriginRequest { authority, ..OriginRequest::new(headers) })
    };
    assert!(at(&headers, "chat.example"));
    headers.insert(HOST, HeaderValue::from_static("chat.example"));
    assert!(!at(&headers, "other.example"));
}

#[test]
fn a_host_that_was_forwarded_counts_where_it_is_trusted_only() {
    let trusting = OriginCheck::default().trust_forwarded_host();
    for forwarded in [
        ("x-forwarded-host", "public.example"),
        ("x-forwarded-host", "inner.example, public.example:443"),
        ("forwarded", "for=192.0.2.1;host=public.example;proto=https"),
        ("forwarded", "for=192.0.2.1, For=192.0.2.2; Host=\"public.example\""),
    ] {
        let lines = [("host", "10.0.0.1:3000"), forwarded];
        assert!(allows(&trusting, Some("https://public.example"), &lines), "{forwarded:?}");
        assert!(!allows(&trusting, Some("https://evil.example"), &lines), "{forwarded:?}");
        assert!(!allows(&OriginCheck::default(), Some("https://public.example"), &lines));
        let (headers, origin) = (headers(&lines), value("https://public.example"));
        let proxied = OriginRequest { proxied: true, ..OriginRequest::new(&headers) };
        assert!(OriginCheck::default().allows(Some(&origin), &proxied), "{forwarded:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_refused_or_is_of_one_form_that_it_matches(
        text in "(https?|file|app|wss)?(:/{0,3})?[a-zA-Z0-9.*\\[\\]:@é_-]{0,12}(:[0-9*]{0,6})?/?",
    ) {
        if let Ok(pattern) = text.parse::<OriginPattern>() {
            let form = pattern.to_string();
            prop_assert_eq!(form.parse(), Ok(pattern.clone()));
            if !form.contains('*') {
                prop_assert!(pattern.matches(&form) && pattern.matches(&text));
            }
        }
    }

    #[test]
    fn any_header_is_checked_without_a_panic(origin in "\\PC{0,30}", host in "\\PC{0,30}") {
        let _ = is_same_host(&origin, &host);
        let list = OriginCheck::list(["https://*.example.org:*", "null"]).unwrap();
        prop_assert!(!list.is_listed(&HeaderValue::from_bytes(origin.as_bytes()).unwrap()) || origin == "null");
    }
}
