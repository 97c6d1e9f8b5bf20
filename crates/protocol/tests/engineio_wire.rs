//! Engine.IO on the wire: the bytes that engine.io-parser 5.2.3 and engine.io 6.6 read and write, and the
//! defined answers to bytes that are not a packet.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use switchboard_protocol::engineio::{
    DecodeError, ErrorCode, OpenPacket, Packet, Query, ReceivedOpen, SessionId, Version, payload,
};

fn binary(bytes: &'static [u8]) -> Packet<'static> {
    Packet::Binary(Cow::Borrowed(bytes))
}

fn encoded(packet: &Packet<'_>) -> String {
    let mut out = Vec::new();
    packet.encode_text(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn packets_are_written_and_read_as_node_does() {
    for (text, packet) in [
        ("0{}", Packet::Open("{}")),
        ("1", Packet::Close),
        ("2", Packet::Ping("")),
        ("2probe", Packet::Ping("probe")),
        ("3", Packet::Pong("")),
        ("3probe", Packet::Pong("probe")),
        ("4", Packet::Message("")),
        ("4hello", Packet::Message("hello")),
        ("4€", Packet::Message("€")),
        ("5", Packet::Upgrade),
        ("6", Packet::Noop),
        ("b", binary(b"")),
        ("bAQID", binary(&[1, 2, 3])),
        ("bAQIDBA==", binary(&[1, 2, 3, 4])),
    ] {
        assert_eq!(Packet::decode_text(text).as_ref(), Ok(&packet), "{text}");
        assert_eq!(encoded(&packet), text);
    }
}

#[test]
fn packets_nobody_writes_are_read_as_node_does() {
    for (text, packet) in [
        ("1x", Packet::Close),
        ("5x", Packet::Upgrade),
        ("6x", Packet::Noop),
        ("bAQIDBA", binary(&[1, 2, 3, 4])),
        ("bAQIDBA=", binary(&[1, 2, 3, 4])),
        ("bAQIDBB==", binary(&[1, 2, 3, 4])),
        ("bAQ ID\r\n", binary(&[1, 2, 3])),
        ("b-_8=", binary(&[0xfb, 0xff])),
    ] {
        assert_eq!(Packet::decode_text(text), Ok(packet), "{text}");
    }
}

#[test]
fn bytes_that_are_no_packet_are_an_error() {
    for (text, error) in [
        ("", DecodeError::Empty),
        ("7", DecodeError::UnknownType(b'7')),
        ("x", DecodeError::UnknownType(b'x')),
        ("é", DecodeError::UnknownType(0xc3)),
        ("B", DecodeError::UnknownType(b'B')),
        // Node skips the characters that it does not know, and reads the rest of these two.
        ("bA*QID", DecodeError::Base64),
        ("bA", DecodeError::Base64),
        ("bAQID=BA", DecodeError::Base64),
    ] {
        assert_eq!(Packet::decode_text(text), Err(error), "{text}");
    }
}

#[test]
fn a_payload_is_its_packets_with_separators_between() {
    let text = "0{}\u{1e}4a\u{1e}bAQIDBA==\u{1e}6\u{1e}2probe";
    let packets: Result<Vec<_>, _> = payload::decode(text).collect();
    assert_eq!(
        packets.unwrap(),
        [
            Packet::Open("{}"),
            Packet::Message("a"),
            binary(&[1, 2, 3, 4]),
            Packet::Noop,
            Packet::Ping("probe"),
        ]
    );
}

#[test]
fn a_payload_ends_with_its_first_error() {
    let decode = |text| payload::decode(text).collect::<Vec<_>>();
    let a = Ok(Packet::Message("a"));
    assert_eq!(decode(""), [Err(DecodeError::Empty)]);
    assert_eq!(decode("\u{1e}4a"), [Err(DecodeError::Empty)]);
    assert_eq!(decode("4a\u{1e}"), [a.clone(), Err(DecodeError::Empty)]);
    assert_eq!(decode("4a\u{1e}x\u{1e}4b"), [a, Err(DecodeError::UnknownType(b'x'))]);
}

#[test]
fn a_payload_holds_as_many_packets_as_its_length_allows() {
    let body = vec!["4"; 20_000].join("\u{1e}");
    assert_eq!(payload::decode(&body).flatten().count(), 20_000);
}

#[test]
fn the_open_packet_has_nodes_fields_in_nodes_order() {
    let open = OpenPacket {
        sid: "lv_VI97HAXpY6yYWAAAC",
        upgrades: &["websocket"],
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(20),
        max_payload: 1_000_000,
    };
    let mut out = Vec::new();
    open.encode(&mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"#,
            r#""pingTimeout":20000,"maxPayload":1000000}"#
        )
    );
    let Ok(Packet::Open(json)) = Packet::decode_text(&text) else {
        panic!("{text}");
    };
    assert_eq!(
        OpenPacket::decode(json).unwrap(),
        ReceivedOpen {
            sid: open.sid.to_owned(),
            upgrades: vec!["websocket".to_owned()],
            ping_interval: open.ping_interval,
            ping_timeout: open.ping_timeout,
            max_payload: Some(1_000_000),
        }
    );
}

#[test]
fn an_open_packet_may_lack_max_payload_and_nothing_else() {
    let old = r#"{"sid":"x","upgrades":[],"pingInterval":1,"pingTimeout":2,"extra":[]}"#;
    assert_eq!(OpenPacket::decode(old).unwrap().max_payload, None);
    for json in [
        "",
        "{}",
        "[]",
        r#"{"sid":1,"upgrades":[],"pingInterval":1,"pingTimeout":2}"#,
        r#"{"sid":"x","upgrades":[],"pingInterval":-1,"pingTimeout":2}"#,
        r#"{"upgrades":[],"pingInterval":1,"pingTimeout":2}"#,
    ] {
        assert_eq!(OpenPacket::decode(json), Err(DecodeError::Open), "{json}");
    }
}

#[test]
fn errors_have_nodes_numbers_texts_and_statuses() {
    for (error, code, status, message) in [
        (ErrorCode::TransportUnknown, 0, 400, "Transport unknown"),
        (ErrorCode::SessionIdUnknown, 1, 400, "Session ID unknown"),
        (ErrorCode::BadHandshakeMethod, 2, 400, "Bad handshake method"),
        (ErrorCode::BadRequest, 3, 400, "Bad request"),
        (ErrorCode::Forbidden, 4, 403, "Forbidden"),
        (ErrorCode::UnsupportedProtocolVersion, 5, 400, "Unsupported protocol version"),
    ] {
        assert_eq!((error.code(), error.http_status()), (code, status));
        assert_eq!(error.message(), message);
        let body = format!(r#"{{"code":{code},"message":"{message}"}}"#);
        assert_eq!(error.json_body(), body);
        assert_eq!(error.json_body_with(message), body);
    }
    assert_eq!(ErrorCode::Forbidden.json_body_with("no \"entry\""), r#"{"code":4,"message":"no \"entry\""}"#);
}

#[test]
fn a_session_id_is_twenty_characters_and_names_its_worker() {
    for worker in 0..=u8::MAX {
        let id = SessionId::new(worker, [worker ^ 0xa5; 14]);
        assert_eq!(id.worker(), worker);
        assert_eq!(id.as_str().len(), 20);
        assert_eq!(SessionId::parse(id.as_str()), Some(id));
        assert_eq!(id.to_bytes().split_first(), Some((&worker, &[worker ^ 0xa5; 14][..])));
        assert_eq!(id.to_string(), id.as_str());
    }
    let ids: HashSet<_> = (0..100).map(|i| SessionId::new(0, [i; 14])).collect();
    assert_eq!(ids.len(), 100);
}

#[test]
fn only_base64url_of_the_right_length_is_a_session_id() {
    for text in [
        "",
        "__proto__",
        "constructor",
        "hasOwnProperty",
        "lv_VI97HAXpY6yYWAAA",
        "lv_VI97HAXpY6yYWAAACC",
        "lv_VI97HAXpY6yYWAAA=",
        "lv/VI97HAXpY6yYWAAAC",
        "lv+VI97HAXpY6yYWAAAC",
        "lv VI97HAXpY6yYWAAAC",
        "lv_VI97HAXpY6yYWAAé",
        "lv_VI97HAXpY6yYWAA\0C",
    ] {
        assert_eq!(SessionId::parse(text), None, "{text}");
    }
    assert!(SessionId::parse("lv_VI97HAX-Y6yYWAAAC").is_some());
}

#[test]
fn debug_does_not_give_a_session_id_away() {
    let id = SessionId::parse("lv_VI97HAXpY6yYWAAAC").unwrap();
    assert_eq!(format!("{id:?}"), "SessionId(lv_V…)");
}

#[test]
fn a_query_is_read_as_node_reads_it() {
    fn query<'a>(eio: &'a str, transport: &'a str, sid: &'a str) -> Query<'a> {
        let some = |text: &'a str| (text != "-").then_some(Cow::Borrowed(text));
        Query { eio: some(eio), transport: some(transport), sid: some(sid), ..Query::default() }
    }
    for (raw, expected) in [
        ("", query("-", "-", "-")),
        ("EIO=4&transport=polling&t=abc", query("4", "polling", "-")),
        ("EIO=3&EIO=4", query("4", "-", "-")),
        ("EIO=4&EIO=3", query("3", "-", "-")),
        ("%45IO=4", query("4", "-", "-")),
        ("&&=&EIO=4&", query("4", "-", "-")),
        ("eio=4", query("-", "-", "-")),
        ("transport=a%20b+c", query("-", "a b c", "-")),
        ("transport", query("-", "", "-")),
        ("sid=", query("-", "-", "")),
        ("sid=__proto__", query("-", "-", "__proto__")),
        ("__proto__=1&constructor=2&EIO=4", query("4", "-", "-")),
        ("sid=%ff", query("-", "-", "\u{fffd}")),
        ("sid=a%2&EIO=%", query("%", "-", "a%2")),
        ("sid=%00é", query("-", "-", "\0é")),
    ] {
        assert_eq!(Query::parse(raw), expected, "{raw}");
    }
}

#[test]
fn a_query_is_read() {
    assert_eq!(Query::parse("EIO=4").version(), Version::V4);
    for raw in ["", "EIO=", "EIO=3", "EIO=5", "EIO=04", "EIO=4x"] {
        assert_eq!(Query::parse(raw).version(), Version::V3, "{raw}");
    }
    assert_eq!(Query::parse("sid=abc").session(), Some("abc"));
    assert_eq!(Query::parse("sid=").session(), None);
    assert_eq!(Query::parse("").session(), None);
    assert!(Query::parse("b64=1").b64);
    assert!(Query::parse("b64=0").b64);
    assert!(!Query::parse("b64").b64);
    assert!(!Query::parse("b64=1&b64=").b64);
    assert_eq!(Query::parse("j=0").j.as_deref(), Some("0"));
}
