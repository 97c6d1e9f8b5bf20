//! The agreement on permessage-deflate (RFC 7692 §5 and §7.1), rule by rule, at both ends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

use http::{HeaderMap, HeaderValue, Request, Response, header::SEC_WEBSOCKET_EXTENSIONS};
use switchboard_websocket::{
    deflate::{DeflateOptions, DeflateParameters},
    handshake::{
        accept_key,
        client::{ClientError, Handshake},
        server::Upgrade,
    },
};

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// Options without bounds, so that every bound comes from the offer.
fn takeover() -> DeflateOptions {
    DeflateOptions::default().context_takeover(true)
}

/// The answer of a server to these lines of offers: the header's value, and the parameters of the agreement.
fn answer(options: &DeflateOptions, offers: &[&str]) -> Option<(String, DeflateParameters)> {
    let mut request = Request::get("/")
        .header("host", "example.org")
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", KEY);
    for offer in offers {
        request = request.header(SEC_WEBSOCKET_EXTENSIONS, *offer);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let mut upgrade = Upgrade::check(&parts).unwrap();
    let agreed = upgrade.accept_deflate(options);
    let response = upgrade.response();
    let value =
        response.headers().get(SEC_WEBSOCKET_EXTENSIONS).map(|value| value.to_str().unwrap().to_owned());
    let mut written = Vec::new();
    upgrade.write_response(&mut written, &HeaderMap::new());
    let written = String::from_utf8(written).unwrap();
    match &value {
        Some(value) => {
            assert!(written.contains(&format!("\r\nSec-WebSocket-Extensions: {value}\r\n")), "{written}");
        }
        None => assert!(!written.contains("Extensions"), "{written}"),
    }
    assert_eq!(value.is_some(), agreed.is_some());
    value.zip(agreed)
}

/// The offer of a client, and the result of an answer.
fn ask(
    options: Option<DeflateOptions>,
    answer: &[&str],
) -> (String, Result<Option<DeflateParameters>, ClientError>) {
    let mut handshake = Handshake::with_nonce([0; 16], &[] as &[&str]).unwrap();
    if let Some(options) = options {
        handshake = handshake.offer_deflate(options);
    }
    let mut request = Vec::new();
    handshake.write_request(&mut request, &"ws://example.org/".parse().unwrap(), &HeaderMap::new()).unwrap();
    let request = String::from_utf8(request).unwrap();
    let offer = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    let mut response = Response::builder()
        .status(101)
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .header("sec-websocket-accept", HeaderValue::from_bytes(&accept_key(KEY.as_bytes())).unwrap());
    for value in answer {
        response = response.header(SEC_WEBSOCKET_EXTENSIONS, *value);
    }
    let (parts, ()) = response.body(()).unwrap().into_parts();
    let checked = handshake.check(&parts).map(drop);
    let agreed = handshake.deflate(&parts);
    assert_eq!(checked.is_ok(), agreed.is_ok(), "`check` refuses what `deflate` does");
    (offer.unwrap_or_default().to_owned(), agreed)
}

#[test]
fn a_server_answers_the_first_offer_that_it_can_keep() {
    let cases: &[(&[&str], &str)] = &[
        (&["permessage-deflate"], "permessage-deflate"),
        (&["permessage-deflate; client_max_window_bits"], "permessage-deflate"),
        // Other extensions are ignored.
        (&["x-webkit-deflate-frame, permessage-deflate"], "permessage-deflate"),
        (&["bbf-usp-protocol; a=\"1, 2; permessage-deflate\"", "permessage-deflate"], "permessage-deflate"),
        // The answer repeats the bound for the server, and that it needs no context.
        (
            &["permessage-deflate; server_no_context_takeover"],
            "permessage-deflate; server_no_context_takeover",
        ),
        (
            &["permessage-deflate; client_no_context_takeover"],
            "permessage-deflate; client_no_context_takeover",
        ),
        (&["permessage-deflate; server_max_window_bits=9"], "permessage-deflate; server_max_window_bits=9"),
        (&["permessage-deflate; server_max_window_bits=15"], "permessage-deflate; server_max_window_bits=15"),
        (
            &["permessage-deflate ; server_max_window_bits = \"10\" ; server_no_context_takeover"],
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
        ),
        // zlib cannot compress with a window of 8 bits. As a client's hint it does no harm.
        (
            &["permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=11"],
            "permessage-deflate; server_max_window_bits=11",
        ),
        (&["permessage-deflate; client_max_window_bits=8"], "permessage-deflate"),
        (&["permessage-deflate; client_max_window_bits=9"], "permessage-deflate; client_max_window_bits=9"),
        // An offer that is not in order is skipped.
        (
            &["permessage-deflate; unknown, permessage-deflate; server_no_context_takeover"],
            "permessage-deflate; server_no_context_takeover",
        ),
        (
            &[
                "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
                "permessage-deflate",
            ],
            "permessage-deflate",
        ),
    ];
    for (offers, expected) in cases {
        let (value, _) = answer(&takeover(), offers).expect(expected);
        assert_eq!(&value, expected, "{offers:?}");
    }
}

#[test]
fn a_server_declines_offers_that_it_cannot_keep() {
    for offer in [
        "",
        "permessage-bzip2",
        "permessage-deflate; unknown",
        "permessage-deflate; unknown=1",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=\"\"",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; server_max_window_bits=9999999999999999999999",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=abc",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate;",
        "permessage-deflate; ;",
        "permessage-deflate; client max",
        "permessage-deflate; client_max_window_bits=\"1",
        "permessage-deflate; client_max_window_bits=\"10\\\"",
        "\"permessage-deflate\"",
    ] {
        assert_eq!(answer(&takeover(), &[offer]), None, "{offer:?}");
    }
}

#[test]
fn the_answer_of_a_server_is_bounded_by_its_own_options() {
    let small = takeover().max_window_bits(10);
    let cases: &[(DeflateOptions, &str, &str)] = &[
        (
            DeflateOptions::default(),
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
        (
            small,
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=10",
        ),
        // A server cannot bound the window of a client that does not offer the parameter.
        (small, "permessage-deflate", "permessage-deflate; server_max_window_bits=10"),
        (
            small,
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=12",
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
        ),
        // A client may bound its own window more narrowly.
        (
            small,
            "permessage-deflate; client_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
        ),
        (
            takeover().max_window_bits(3),
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
        ),
    ];
    for (options, offer, expected) in cases {
        let (value, agreed) = answer(options, &[offer]).expect(offer);
        assert_eq!(&value, expected, "{offer}");
        assert_eq!(agreed.server_no_context_takeover, value.contains("server_no_context_takeover"));
        assert_eq!(agreed.client_no_context_takeover, value.contains("client_no_context_takeover"));
    }
}

#[test]
fn the_offer_of_a_client_follows_its_options() {
    for (options, expected) in [
        (takeover(), "permessage-deflate; client_max_window_bits"),
        (
            DeflateOptions::default(),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
        ),
        (
            takeover().max_window_bits(11),
            "permessage-deflate; server_max_window_bits=11; client_max_window_bits=11",
        ),
    ] {
        assert_eq!(ask(Some(options), &[]), (expected.to_owned(), Ok(None)));
    }
    assert_eq!(ask(None, &[]), (String::new(), Ok(None)));
}

#[test]
fn a_client_takes_an_answer_that_goes_with_its_offer() {
    let agreed = |options, answer: &str| ask(Some(options), &[answer]).1.unwrap().expect(answer);
    let plain = agreed(takeover(), "permessage-deflate");
    assert!(!plain.server_no_context_takeover && !plain.client_no_context_takeover);
    assert_eq!((plain.server_max_window_bits, plain.client_max_window_bits), (15, 15));
    // A server may bound its own window and the client's without an offer of bounds.
    let bounded = agreed(
        takeover(),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8; \
         client_max_window_bits=\"9\"",
    );
    assert!(bounded.server_no_context_takeover && bounded.client_no_context_takeover);
    assert_eq!((bounded.server_max_window_bits, bounded.client_max_window_bits), (8, 9));
    // A client keeps its promise. It goes on without the bounds that it asked for and did not get.
    let promised = agreed(DeflateOptions::default().max_window_bits(10), "permessage-deflate");
    assert!(!promised.server_no_context_takeover && promised.client_no_context_takeover);
    assert_eq!((promised.server_max_window_bits, promised.client_max_window_bits), (15, 10));
}

#[test]
fn a_client_fails_the_connection_over_an_answer_that_does_not_go_with_its_offer() {
    let bounded = takeover().max_window_bits(10);
    for (options, answer) in [
        (None, &["permessage-deflate"][..]),
        (Some(takeover()), &["permessage-bzip2"]),
        (Some(takeover()), &["permessage-deflate, permessage-deflate"]),
        (Some(takeover()), &["permessage-deflate", "x-other"]),
        (Some(takeover()), &["permessage-deflate; unknown"]),
        (Some(takeover()), &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"]),
        (Some(takeover()), &["permessage-deflate; server_no_context_takeover=yes"]),
        (Some(takeover()), &["permessage-deflate; server_max_window_bits=7"]),
        (Some(takeover()), &["permessage-deflate; client_max_window_bits=16"]),
        // Without a value the parameter is for offers only.
        (Some(takeover()), &["permessage-deflate; client_max_window_bits"]),
        (Some(bounded), &["permessage-deflate; client_max_window_bits=11"]),
        (Some(bounded), &["permessage-deflate; server_max_window_bits=11"]),
    ] {
        assert_eq!(ask(options, answer).1, Err(ClientError::Extension), "{answer:?}");
    }
}
