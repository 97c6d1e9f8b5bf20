//! Socket.IO protocols 3 and 4 on the wire: what clients of Socket.IO 1 and 2 write and read otherwise.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use proptest::prelude::*;
use switchboard_protocol::socketio::v4::{
    self, AckForm, auth_of_query, error, write_ascii, write_counted_ack, write_typed_ack,
};
use switchboard_protocol::socketio::{DecodeError, Limits, Packet, PacketType, decode};

#[test]
fn a_packet_has_its_number_of_attachments_in_it_which_may_be_none() {
    let limits = Limits::default();
    let packet = |kind, namespace, ack, attachments, data| Packet { kind, namespace, ack, attachments, data };
    for (text, expected) in [
        (r#"30-7["x"]"#, packet(PacketType::Ack, "/", Some(7), 0, r#"["x"]"#)),
        (r#"30-/chat,7["x"]"#, packet(PacketType::Ack, "/chat", Some(7), 0, r#"["x"]"#)),
        ("32-0[{},{}]", packet(PacketType::BinaryAck, "/", Some(0), 2, "[{},{}]")),
        (r#"37["x"]"#, packet(PacketType::Ack, "/", Some(7), 0, r#"["x"]"#)),
        (r#"3/chat,7["x"]"#, packet(PacketType::Ack, "/chat", Some(7), 0, r#"["x"]"#)),
        ("61-7[{}]", packet(PacketType::BinaryAck, "/", Some(7), 1, "[{}]")),
        (r#"60-7["x"]"#, packet(PacketType::Ack, "/", Some(7), 0, r#"["x"]"#)),
        (r#"50-/a,["x"]"#, packet(PacketType::Event, "/a", None, 0, r#"["x"]"#)),
        (r#"51-["x",{}]"#, packet(PacketType::BinaryEvent, "/", None, 1, r#"["x",{}]"#)),
        (r#"2["x-y"]"#, packet(PacketType::Event, "/", None, 0, r#"["x-y"]"#)),
    ] {
        assert_eq!(v4::decode(text, &limits), Ok(expected), "{text}");
    }
    for (text, error) in [
        ("30-7{}", DecodeError::Payload),
        ("3-7[]", DecodeError::Payload),
        ("399-7[]", DecodeError::TooManyAttachments { got: 99, limit: 10 }),
        ("6-7[]", DecodeError::Attachments),
        ("5[]", DecodeError::Attachments),
        ("", DecodeError::UnknownType),
    ] {
        assert_eq!(v4::decode(text, &limits), Err(error), "{text}");
    }
}

#[test]
fn the_form_of_an_acknowledgement_is_told_by_its_text() {
    for (text, form) in [
        ("30-1[]", Some(AckForm::Counted)),
        ("312-/a,1[]", Some(AckForm::Counted)),
        ("31[]", Some(AckForm::Typed)),
        ("3[-1]", Some(AckForm::Typed)),
        ("3-1[]", Some(AckForm::Typed)),
        ("3", Some(AckForm::Typed)),
        ("61-1[]", Some(AckForm::Typed)),
        ("21-[]", None),
        ("", None),
    ] {
        assert_eq!(AckForm::of(text), form, "{text}");
    }
    let mut out = Vec::new();
    write_counted_ack(&mut out, 0, "/", Some(7));
    write_counted_ack(&mut out, 2, "/chat", Some(8));
    write_typed_ack(&mut out, 0, "/", Some(9));
    assert_eq!(out, b"30-732-/chat,860-9");
}

#[test]
fn an_error_is_any_value() {
    for (namespace, value, text) in [
        ("/", serde_json::json!("no"), r#"4"no""#),
        ("/chat", serde_json::json!({"code": 7}), r#"4/chat,{"code":7}"#),
        ("/chat", serde_json::json!("é"), r#"4/chat,"\u00e9""#),
    ] {
        let mut out = Vec::new();
        error(&mut out, namespace, &value);
        assert_eq!(out, text.as_bytes());
    }
}

#[test]
fn the_query_of_a_connect_becomes_auth() {
    for (query, auth) in [
        ("", ""),
        ("token=a%20b&empty=&flag", r#"{"empty":"","flag":"","token":"a b"}"#),
        ("a=1&a=2&b=3&a=4", r#"{"a":["1","2","4"],"b":"3"}"#),
        ("__proto__=1&=2", r#"{"":"2","__proto__":"1"}"#),
        ("%ff=%22", "{\"\u{fffd}\":\"\\\"\"}"),
    ] {
        assert_eq!(auth_of_query(query), auth, "{query}");
    }
}

proptest! {
    #[test]
    fn json_in_ascii_is_the_same_json(value: String, key: String) {
        let json = serde_json::json!({key: [value]});
        let mut out = b"x".to_vec();
        write_ascii(json.to_string().as_bytes(), &mut out);
        prop_assert!(out.is_ascii());
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&out[1..]).unwrap(), json);
    }

    #[test]
    fn a_packet_of_protocol_5_is_read_alike(text in r"[0-7]?[0-9]{0,2}-?(/[a-z]{0,3},?)?[0-9]{0,2}(\[[^-]{0,6}\])?") {
        let limits = Limits::default();
        if let Ok(packet) = decode(&text, &limits) {
            prop_assert_eq!(v4::decode(&text, &limits), Ok(packet));
        }
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = v4::decode(&text, &Limits::default());
        let _ = auth_of_query(&text);
    }
}
