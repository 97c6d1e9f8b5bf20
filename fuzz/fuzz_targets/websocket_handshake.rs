//! A head gives the same parts however it comes. Any request, of the standard's or of a draft's, has an
//! answer that is a head too.
#![no_main]

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use switchboard_websocket::{
    drafts::{Request, hybi},
    handshake::{
        client::Handshake,
        head::{Head, HeadLimits},
        server::{HandshakeError, Upgrade},
    },
};

fuzz_target!(|data: &[u8]| {
    let limits = HeadLimits::default().max_bytes(2048).max_headers(20);
    request(data, limits);
    let mut head = Head::new(limits);
    if let Ok(Some((parts, len))) = head.response(data) {
        assert!(len <= data.len().min(limits.max_bytes));
        if let Ok(handshake) = Handshake::with_nonce([7; 16], &["chat"]) {
            let _ = handshake.check(&parts);
        }
    }
});

fn request(data: &[u8], limits: HeadLimits) {
    let whole = Head::new(limits).request(data);
    let mut head = Head::new(limits);
    let trickled = (0..=data.len()).find_map(|len| head.request(&data[..len]).transpose());
    let mut answer = Vec::new();
    match (whole, trickled) {
        (Ok(None), None) => return,
        (Ok(Some((whole, len))), Some(Ok((trickled, trickled_len)))) => {
            assert_eq!(len, trickled_len);
            assert_eq!((&whole.method, &whole.uri), (&trickled.method, &trickled.uri));
            assert_eq!(whole.headers, trickled.headers);
            draft(&whole);
            match Upgrade::check(&whole) {
                Ok(mut upgrade) => {
                    upgrade.select(&["chat"]);
                    upgrade.write_response(&mut answer, &HeaderMap::new());
                }
                Err(error) => error.write_response(&mut answer),
            }
        }
        (Err(whole), Some(Err(trickled))) => {
            assert_eq!(whole, trickled);
            HandshakeError::from(whole).write_response(&mut answer);
        }
        (whole, trickled) => panic!("whole {whole:?}, in pieces {trickled:?}"),
    }
    check_answer(&answer);
}

/// With drafts, a request of the standard has the same result. A request that the standard refuses may be one
/// of a draft.
fn draft(parts: &http::request::Parts) {
    let mut answer = Vec::new();
    match Request::check(parts) {
        Ok(Request::Rfc6455(mut upgrade)) => {
            upgrade.select(&["chat"]);
            upgrade.write_response(&mut answer, &HeaderMap::new());
        }
        Ok(Request::Hixie(mut upgrade)) => {
            assert!(Upgrade::check(parts).is_err() && hybi::check(parts).is_err());
            if let Some(challenge) = upgrade.challenge() {
                challenge.answer(*b"12345678");
            }
            upgrade.select(&["chat"]);
            upgrade.write_response(&mut answer, &HeaderMap::new());
            assert_eq!(upgrade.response().status(), 101);
        }
        Err(error) => {
            assert!(Upgrade::check(parts).is_err());
            error.write_response(&mut answer);
        }
    }
    check_answer(&answer);
}

fn check_answer(answer: &[u8]) {
    let parsed = Head::new(HeadLimits::default()).response(answer);
    assert!(matches!(parsed, Ok(Some(_))), "{parsed:?}");
}
