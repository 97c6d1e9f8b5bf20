//! The protocols before RFC 6455, rule by rule.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

mod common;

use http::{HeaderMap, HeaderValue, Request as HttpRequest, request::Parts};
use proptest::prelude::*;
use switchboard_websocket::{
    Decoder, Limits, Message, OwnedMessage, ProtocolError, Role,
    drafts::{
        AnyDecoder, Request,
        hixie::{self, Version},
        hybi, origin,
    },
    encode_frame_masked,
    handshake::{
        accept_key,
        head::{Head, HeadLimits},
        server::{HandshakeError, Upgrade},
    },
};

/// The keys, the body and the answer of the example in hixie-76 §1.2.
const KEY1: &str = "4 @1  46546xW%0l 1 5";
const KEY2: &str = "12998 5 Y3 1  .P00";
const BODY: [u8; 8] = *b"^n:ds[4U";
const ANSWER: [u8; 16] = *b"8jKS'y:G*Co,Wxa-";

fn parts(headers: &[(&'static str, &'static str)]) -> Parts {
    let mut request = HttpRequest::get("/demo?x=1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

const HIXIE_75: &[(&str, &str)] = &[
    ("Upgrade", "WebSocket"),
    ("Connection", "Upgrade"),
    ("Host", "example.com"),
    ("Origin", "http://example.com"),
    ("WebSocket-Protocol", "sample"),
];

const HIXIE_76: &[(&str, &str)] = &[
    ("Host", "example.com"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key2", KEY2),
    ("Sec-WebSocket-Protocol", "sample"),
    ("Upgrade", "WebSocket"),
    ("Sec-WebSocket-Key1", KEY1),
    ("Origin", "http://example.com"),
];

fn without(headers: &[(&'static str, &'static str)], name: &str) -> Parts {
    let kept: Vec<_> = headers.iter().copied().filter(|(other, _)| *other != name).collect();
    parts(&kept)
}

fn with_keys(first: &'static str, second: &'static str) -> Parts {
    let mut parts = parts(HIXIE_76);
    parts.headers.insert("sec-websocket-key1", HeaderValue::from_static(first));
    parts.headers.insert("sec-websocket-key2", HeaderValue::from_static(second));
    parts
}

fn hybi_request(version: &'static str) -> Parts {
    parts(&[
        ("Host", "example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Origin", "http://example.com"),
        ("Sec-WebSocket-Version", version),
    ])
}

fn hixie(parts: &Parts) -> hixie::Upgrade<'_> {
    match Request::check(parts) {
        Ok(Request::Hixie(upgrade)) => upgrade,
        other => panic!("{other:?}"),
    }
}

fn head(upgrade: &hixie::Upgrade<'_>) -> String {
    let mut out = Vec::new();
    upgrade.write_response(&mut out, &HeaderMap::new());
    String::from_utf8(out).unwrap()
}

#[test]
fn versions_7_and_8_are_answered_as_13_is_where_drafts_are_taken() {
    for version in ["7", "8", "13"] {
        let parts = hybi_request(version);
        let Ok(Request::Rfc6455(upgrade)) = Request::check(&parts) else { panic!("version {version}") };
        assert_eq!(
            upgrade.response().headers()["sec-websocket-accept"].as_bytes(),
            accept_key(b"dGhlIHNhbXBsZSBub25jZQ==")
        );
        assert_eq!(origin(&parts.headers).unwrap(), "http://example.com");
    }
}

#[test]
fn an_unknown_version_is_told_all_that_are_known() {
    for version in ["6", "9", "14", "+8", "8, 13", ""] {
        let error = hybi::check(&hybi_request(version)).unwrap_err();
        let answer = error.response();
        assert_eq!(answer.status(), 426, "{version}");
        assert_eq!(answer.headers()["sec-websocket-version"], "13, 8, 7");
        assert!(answer.body().contains("13, 8, 7"));
    }
}

#[test]
fn without_drafts_an_old_version_is_told_of_13_only() {
    for parts in [hybi_request("8"), hybi_request("7"), parts(HIXIE_75), parts(HIXIE_76)] {
        let answer = Upgrade::check(&parts).unwrap_err().response();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["sec-websocket-version"].as_bytes()),
            (426, &b"13"[..])
        );
    }
}

#[test]
fn the_standards_origin_counts_more_than_the_drafts() {
    let mut parts = hybi_request("13");
    parts.headers.insert("origin", HeaderValue::from_static("http://other.example"));
    assert_eq!(origin(&parts.headers).unwrap(), "http://other.example");
}

#[test]
fn a_request_of_hixie_75_is_answered_byte_for_byte() {
    let parts = parts(HIXIE_75);
    let mut upgrade = hixie(&parts);
    assert_eq!((upgrade.version(), upgrade.challenge()), (Version::Hixie75, None));
    assert_eq!(upgrade.select(&["sample"]), Some("sample"));
    assert_eq!(
        head(&upgrade),
        "HTTP/1.1 101 Web Socket Protocol Handshake\r\n\
         Upgrade: WebSocket\r\n\
         Connection: Upgrade\r\n\
         WebSocket-Origin: http://example.com\r\n\
         WebSocket-Location: ws://example.com/demo?x=1\r\n\
         WebSocket-Protocol: sample\r\n\r\n"
    );
}

#[test]
fn a_request_of_hixie_76_is_answered_as_in_its_example() {
    let parts = parts(HIXIE_76);
    let mut upgrade = hixie(&parts);
    assert_eq!(upgrade.version(), Version::Hixie76);
    assert_eq!(upgrade.challenge().unwrap().answer(BODY), ANSWER);
    assert_eq!(upgrade.select(&["other"]), None);
    assert_eq!(upgrade.select(&["other", "sample"]), Some("sample"));
    assert_eq!(
        head(&upgrade),
        "HTTP/1.1 101 WebSocket Protocol Handshake\r\n\
         Upgrade: WebSocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Origin: http://example.com\r\n\
         Sec-WebSocket-Location: ws://example.com/demo?x=1\r\n\
         Sec-WebSocket-Protocol: sample\r\n\r\n"
    );
    let response = upgrade.response();
    assert_eq!(response.headers()["sec-websocket-location"], "ws://example.com/demo?x=1");
    assert_eq!(response.headers().len(), 5);
}

#[test]
fn the_answer_names_the_url_that_the_client_asked_for() {
    let parts = parts(HIXIE_76);
    let upgrade = hixie(&parts).secure(true).host("public.example:8443");
    assert!(head(&upgrade).contains("\r\nSec-WebSocket-Location: wss://public.example:8443/demo?x=1\r\n"));
}

#[test]
fn keys_give_their_digits_divided_by_their_spaces() {
    // The other examples of hixie-76 §5.2: 155712099 and 173347027, both computed as in their sections.
    let parts = with_keys("18x 6]8vM;54 *(5:  {   U1]8  z [  8", "1_ tx7X d  <  nw  334J702) 7]o}` 0");
    assert_eq!(&hixie(&parts).challenge().unwrap().answer(*b"Tm[K T2u"), b"fQJ,fN/4F4!~K~MH",);
}

#[test]
fn keys_that_are_none_are_refused() {
    let table = [
        (with_keys("12345", KEY2), "no spaces"),
        (with_keys("1 2 3 4 6", KEY2), "its spaces do not divide it"),
        (with_keys("42949672960 ", KEY2), "over 32 bits"),
        (with_keys("99999999999999999999999999 ", KEY2), "far over"),
        (with_keys("", KEY2), "empty"),
        (without(HIXIE_76, "Sec-WebSocket-Key1"), "only the second"),
        (without(HIXIE_76, "Sec-WebSocket-Key2"), "only the first"),
    ];
    for (parts, what) in table {
        let refused = Request::check(&parts).err();
        assert_eq!(refused, Some(HandshakeError::HixieKeys), "{what}");
    }
    let mut twice = parts(HIXIE_76);
    twice.headers.append("sec-websocket-key1", HeaderValue::from_static(KEY1));
    assert_eq!(Request::check(&twice).unwrap_err(), HandshakeError::HixieKeys);
}

#[test]
fn a_request_of_hixie_not_in_order_is_refused() {
    let mut post = parts(HIXIE_76);
    post.method = http::Method::POST;
    let mut body = parts(HIXIE_76);
    body.headers.insert("content-length", HeaderValue::from_static("8"));
    let mut protocol = parts(HIXIE_75);
    protocol.headers.insert("websocket-protocol", HeaderValue::from_static("a b"));
    let table = [
        (without(HIXIE_75, "Origin"), HandshakeError::NoOrigin),
        (without(HIXIE_76, "Origin"), HandshakeError::NoOrigin),
        (without(HIXIE_76, "Host"), HandshakeError::Host),
        (without(HIXIE_75, "Connection"), HandshakeError::Connection),
        (post, HandshakeError::Method { method: http::Method::POST }),
        (body, HandshakeError::Body),
        (protocol, HandshakeError::Protocol),
        // A request for no WebSocket is not taken for one of these.
        (without(HIXIE_75, "Upgrade"), HandshakeError::Upgrade),
    ];
    for (parts, error) in table {
        assert_eq!(Request::check(&parts).unwrap_err(), error);
    }
}

#[test]
fn a_client_of_the_standard_that_lost_its_version_is_not_taken_for_hixie() {
    let mut parts = hybi_request("13");
    parts.headers.remove("sec-websocket-version");
    assert_eq!(
        Request::check(&parts).unwrap_err(),
        HandshakeError::WebSocketVersion { supported: hybi::VERSIONS }
    );
}

fn decode_pieces<'a>(
    mut decoder: AnyDecoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<OwnedMessage>, Option<ProtocolError>) {
    common::collect(pieces, |input, pos| Ok(decoder.decode(input, pos)?.map(Into::into)))
}

fn small() -> AnyDecoder {
    hixie::Decoder::new(Limits::default().max_message_bytes(10)).into()
}

#[test]
fn frames_are_read_however_they_come() {
    let text = |text: &str| OwnedMessage::Text(text.to_owned());
    let utf8 = |offset| Some(ProtocolError::InvalidUtf8 { offset });
    let unknown = |kind| Some(ProtocolError::UnknownFrame { kind });
    let too_large = Some(ProtocolError::MessageTooLarge { length: 11, limit: 10 });
    let close = OwnedMessage::Close(None);
    let table: [(&[u8], Vec<OwnedMessage>, Option<ProtocolError>); 15] = [
        (b"", vec![], None),
        (b"\x00hello\xFF\x00\xFF\x00you\xFF", vec![text("hello"), text(""), text("you")], None),
        (b"\x00\xC3\xA4\xE2\x82\xAC\xFF", vec![text("ä€")], None),
        (b"\x00a\x00b\xFF", vec![text("a\0b")], None),
        (b"\x000123456789\xFF", vec![text("0123456789")], None),
        (b"\x000123456789A\xFF", vec![], too_large),
        (b"\x000123456789A", vec![], too_large),
        (b"\x00a\xFF\x00ab\xC3\xFF", vec![text("a")], utf8(2)),
        (b"\x00ab\xF8zzzzzzzzzzzzzzzzzzzz\xFF", vec![], utf8(2)),
        (b"\xFF\x00", vec![close.clone()], None),
        (b"\x00x\xFF\xFF\x00\x00after\xFF", vec![text("x"), close], None),
        (b"\xFF\x01x", vec![], unknown(0xFF)),
        (b"\x80\x05hello", vec![], unknown(0x80)),
        (b"\x01hello\xFF", vec![], unknown(0x01)),
        (b"\x81\x85\x00\x00\x00\x00hello", vec![], unknown(0x81)),
    ];
    for (stream, messages, error) in table {
        let expected = (messages, error);
        assert_eq!(decode_pieces(small(), [stream]), expected, "{stream:?} at once");
        assert_eq!(decode_pieces(small(), stream.chunks(1)), expected, "{stream:?} byte by byte");
        for cut in 0..stream.len() {
            let (first, second) = stream.split_at(cut);
            assert_eq!(decode_pieces(small(), [first, second]), expected, "{stream:?} cut at {cut}");
        }
    }
}

#[test]
fn a_whole_text_is_a_slice_of_the_input_and_nothing_is_held() {
    let mut decoder = small();
    let (mut input, mut pos) = (*b"\x00hello\xFF", 0);
    let range = input.as_ptr_range();
    let Ok(Some(Message::Text(text))) = decoder.decode(&mut input, &mut pos) else { panic!("a text") };
    assert!(range.contains(&text.as_ptr()));
    assert!(decoder.is_idle());
}

#[test]
fn the_buffer_of_a_text_in_pieces_is_freed_with_the_next_call() {
    let mut decoder = small();
    assert_eq!(decoder.decode(&mut b"\x00hel".to_vec(), &mut 0).unwrap(), None);
    assert!(!decoder.is_idle());
    let (mut input, mut pos) = (*b"lo\xFF", 0);
    assert_eq!(decoder.decode(&mut input, &mut pos).unwrap(), Some(Message::Text("hello")));
    assert!(!decoder.is_idle());
    assert_eq!(decoder.decode(&mut input, &mut pos).unwrap(), None);
    assert!(decoder.is_idle());
}

#[test]
fn the_stream_behind_an_error_means_nothing() {
    let mut decoder = small();
    let (mut input, mut pos) = (*b"\x80\x00after\xFF", 0);
    decoder.decode(&mut input, &mut pos).unwrap_err();
    assert_eq!(decoder.decode(&mut input, &mut pos), Ok(None));
    assert_eq!(pos, input.len());
}

#[test]
fn a_length_of_endless_bytes_is_refused_at_its_frames_first_byte() {
    // A frame of the drafts, whose length in groups of 7 bits would have no end.
    for bytes in [vec![0x80; 100_000], vec![0xFF; 100_000]] {
        let mut decoder = small();
        let (mut input, mut pos) = (bytes, 0);
        let error = decoder.decode(&mut input, &mut pos).unwrap_err();
        assert!(matches!(error, ProtocolError::UnknownFrame { .. }), "{error}");
        assert_eq!(decoder.held_bytes(), 0);
    }
}

#[test]
fn holding_either_decoder_costs_no_more_than_the_standards() {
    assert_eq!(size_of::<AnyDecoder>(), size_of::<Decoder>());
}

#[test]
fn either_decoder_reads_its_own_framing() {
    let mut frame = Vec::new();
    encode_frame_masked(&mut frame, switchboard_websocket::Opcode::Text, b"hello", [1, 2, 3, 4]);
    let standard = AnyDecoder::from(Decoder::new(Role::Server, Limits::default()));
    let hello = vec![OwnedMessage::from("hello")];
    assert_eq!(decode_pieces(standard, [&frame[..]]), (hello.clone(), None));
    assert_eq!(decode_pieces(small(), [&b"\x00hello\xFF"[..]]), (hello, None));
}

/// Any key that a client may make: a number that its spaces divide, with other characters in between.
fn key() -> impl Strategy<Value = (u32, String)> {
    (1_u32..=12).prop_flat_map(|spaces| (0..=u32::MAX / spaces, Just(spaces))).prop_flat_map(
        |(part, spaces)| {
            let noise = prop::collection::vec((any::<prop::sample::Index>(), "[!-/:-~]"), 1..12);
            let blanks = prop::collection::vec(any::<prop::sample::Index>(), spaces as usize);
            (noise, blanks).prop_map(move |(noise, blanks)| {
                let mut digits: Vec<char> = (part * spaces).to_string().chars().collect();
                for (at, text) in noise {
                    digits.insert(at.index(digits.len() + 1), text.chars().next().unwrap_or('x'));
                }
                for at in blanks {
                    // Neither the first nor the last character, which a parser of headers would trim.
                    let inner = if digits.len() < 2 { 0 } else { 1 + at.index(digits.len() - 1) };
                    digits.insert(inner, ' ');
                }
                (part, format!("x{}x", digits.iter().collect::<String>()))
            })
        },
    )
}

proptest! {
    #[test]
    fn any_key_that_a_client_makes_gives_its_number((part, key) in key(), body in any::<[u8; 8]>()) {
        let mut parts = parts(HIXIE_76);
        for name in ["sec-websocket-key1", "sec-websocket-key2"] {
            parts.headers.insert(name, HeaderValue::from_str(&key).unwrap());
        }
        let mut plain = with_keys("0 ", "0 ");
        for name in ["sec-websocket-key1", "sec-websocket-key2"] {
            // The same number, over one space.
            plain.headers.insert(name, HeaderValue::from_str(&format!("a {part}")).unwrap());
        }
        prop_assert_eq!(hixie(&parts).challenge().unwrap().answer(body), hixie(&plain).challenge().unwrap().answer(body));
    }

    #[test]
    fn texts_come_out_as_they_went_in(texts in prop::collection::vec(".{0,40}", 0..20), cut in 1_usize..50) {
        let mut stream = Vec::new();
        for text in &texts {
            hixie::encode_text(&mut stream, text);
        }
        hixie::encode_close(&mut stream);
        let mut expected: Vec<_> = texts.into_iter().map(OwnedMessage::Text).collect();
        expected.push(OwnedMessage::Close(None));
        let decoder = || AnyDecoder::from(hixie::Decoder::new(Limits::default()));
        prop_assert_eq!(decode_pieces(decoder(), stream.chunks(cut)), (expected, None));
    }

    #[test]
    fn any_bytes_give_the_same_however_they_are_cut(
        stream in prop::collection::vec(prop_oneof![Just(0_u8), Just(0xFF), Just(0xC3), any::<u8>()], 0..60),
        cut in 1_usize..20,
    ) {
        prop_assert_eq!(decode_pieces(small(), stream.chunks(cut)), decode_pieces(small(), [&stream[..]]));
    }

    #[test]
    fn an_answer_is_one_head_for_any_request(host in "[ -~]{0,30}", origin in "[ -~]{0,30}", path in "[a-z?&=%2F]{0,20}") {
        let mut request = HttpRequest::get(format!("/{path}")).body(()).unwrap().into_parts().0;
        request.headers = parts(HIXIE_76).headers;
        request.headers.insert("host", HeaderValue::from_str(&host).unwrap());
        request.headers.insert("origin", HeaderValue::from_str(&origin).unwrap());
        let answer = head(&hixie(&request));
        let (_, len) = Head::new(HeadLimits::default()).response(answer.as_bytes()).unwrap().unwrap();
        prop_assert_eq!(len, answer.len());
    }
}
