//! Socket.IO protocol 1 (clients of 0.7 to 0.9): packets, payloads and scripts as the shipped clients have them.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use bytes::Bytes;
use proptest::prelude::*;
use switchboard_protocol::socketio09::{
    Advice, DecodeError, HTMLFILE_HEAD, Packet, PacketType, Reason, acknowledged, decode, event_json,
    payload, write_ack, write_connect, write_disconnect, write_error, write_event, write_js_string,
    write_jsonp, write_script,
};

fn packet<'a>(kind: PacketType, endpoint: &'a str, data: &'a str) -> Packet<'a> {
    Packet { kind, id: None, data_ack: false, endpoint, data }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

fn event(json: &str, id: Option<u64>, attachments: &[Bytes]) -> String {
    written(|out| assert!(write_event(out, "/chat", id, json, attachments), "{json}"))
}

fn read(text: &str) -> Result<String, DecodeError> {
    let packet = decode(text)?;
    let mut out = Vec::new();
    let read = event_json(&packet, &mut out);
    assert!(read.is_ok() || out.is_empty(), "{text}");
    read.map(|()| String::from_utf8(out).unwrap())
}

#[test]
fn a_packet_is_a_type_an_id_an_endpoint_and_data() {
    let ask = |id, data_ack, packet| Packet { id: Some(id), data_ack, ..packet };
    for (text, expected) in [
        ("0::", packet(PacketType::Disconnect, "", "")),
        ("0", packet(PacketType::Disconnect, "", "")),
        ("0::/chat", packet(PacketType::Disconnect, "/chat", "")),
        ("1::", packet(PacketType::Connect, "", "")),
        ("1::/chat", packet(PacketType::Connect, "/chat", "")),
        ("2::", packet(PacketType::Heartbeat, "", "")),
        ("2:::", packet(PacketType::Heartbeat, "", "")),
        ("3::", packet(PacketType::Message, "", "")),
        ("3:::", packet(PacketType::Message, "", "")),
        ("3:::a:b\nc", packet(PacketType::Message, "", "a:b\nc")),
        ("3:1::hello", ask(1, false, packet(PacketType::Message, "", "hello"))),
        ("3:1+:/chat:hello", ask(1, true, packet(PacketType::Message, "/chat", "hello"))),
        ("4:1::{\"a\":\"b\"}", ask(1, false, packet(PacketType::Json, "", "{\"a\":\"b\"}"))),
        ("5:12+::{\"name\":\"x\"}", ask(12, true, packet(PacketType::Event, "", "{\"name\":\"x\"}"))),
        ("5:+::{}", packet(PacketType::Event, "", "{}")),
        ("6:::4", packet(PacketType::Ack, "", "4")),
        ("6::/chat:4+[\"a\"]", packet(PacketType::Ack, "/chat", "4+[\"a\"]")),
        ("7:::1+0", packet(PacketType::Error, "", "1+0")),
        ("8::", packet(PacketType::Noop, "", "")),
    ] {
        assert_eq!(decode(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_text_that_is_no_packet_is_refused_with_the_reason() {
    for (text, error) in [
        ("", DecodeError::UnknownType),
        ("9::", DecodeError::UnknownType),
        ("a::", DecodeError::UnknownType),
        ("\u{fffd}3\u{fffd}2::", DecodeError::UnknownType),
        ("1", DecodeError::Colon),
        ("1:", DecodeError::Colon),
        ("55::", DecodeError::Colon),
        ("5:x::{}", DecodeError::Id),
        ("5:-1::{}", DecodeError::Id),
        ("5:99999999999999999999::{}", DecodeError::Id),
    ] {
        assert_eq!(decode(text), Err(error), "{text}");
    }
}

#[test]
fn a_connect_may_have_a_query_behind_its_endpoint() {
    for (text, endpoint, query) in [
        ("1::/chat", "/chat", ""),
        ("1::/chat?x=1&y", "/chat", "x=1&y"),
        ("1::/chat:?x=1", "/chat", "x=1"),
        ("1::?x=1", "", "x=1"),
    ] {
        assert_eq!(decode(text).unwrap().split_query(), (endpoint, query), "{text}");
    }
}

#[test]
fn messages_and_events_are_one_kind_of_thing() {
    for (text, json) in [
        ("3:::hello \"you\"", r#"["message","hello \"you\""]"#),
        ("3::", r#"["message",""]"#),
        ("4:::{\"a\": [1]}", r#"["message",{"a": [1]}]"#),
        ("4:::null", r#"["message",null]"#),
        (r#"5:::{"name":"say","args":[1,"two"]}"#, r#"["say",1,"two"]"#),
        (r#"5:::{"args":[ ],"name":"say"}"#, r#"["say"]"#),
        (r#"5:::{"name":"say"}"#, r#"["say"]"#),
        (r#"5:::{"name":"say","args":null}"#, r#"["say"]"#),
        (r#"5:::{"name":"a\"b","args":[[]],"more":1}"#, r#"["a\"b",[]]"#),
    ] {
        assert_eq!(read(text).as_deref(), Ok(json), "{text}");
    }
    for text in [
        "4:::",
        "4:::{",
        "5:::",
        "5:::[]",
        r#"5:::{"args":[1]}"#,
        r#"5:::{"name":5}"#,
        r#"5:::{"name":"a","args":{}}"#,
        r#"5:::{"name":"a","args":"b"}"#,
        r#"5:::{"name":"a"} "#,
        "2::",
    ] {
        let is_space = text.ends_with(' ');
        assert_eq!(read(text).is_err(), !is_space, "{text}");
    }
}

#[test]
fn an_acknowledgement_names_an_id_and_may_have_arguments() {
    for (text, acknowledges) in [
        ("6:::4", Ok((4, ""))),
        ("6:::4+", Ok((4, ""))),
        ("6::/chat:4+[\"a\",1]", Ok((4, "[\"a\",1]"))),
        ("6:::", Err(DecodeError::Id)),
        ("6:::x", Err(DecodeError::Id)),
        ("6:::4+{}", Err(DecodeError::Data)),
        ("6:::4+\"a\"", Err(DecodeError::Data)),
    ] {
        assert_eq!(acknowledged(&decode(text).unwrap()), acknowledges, "{text}");
    }
}

#[test]
fn packets_are_written_as_node_writes_them() {
    for (text, expected) in [
        (written(|out| write_connect(out, "/")), "1::"),
        (written(|out| write_connect(out, "/chat")), "1::/chat"),
        (written(|out| write_disconnect(out, "/")), "0::"),
        (written(|out| write_disconnect(out, "/chat")), "0::/chat"),
        (written(|out| write_error(out, "/chat", Reason::Unauthorized, Advice::None)), "7::/chat:2"),
        (written(|out| write_error(out, "/", Reason::ClientNotHandshaken, Advice::Reconnect)), "7:::1+0"),
        (written(|out| write_error(out, "/", Reason::Other, Advice::Reconnect)), "7:::+0"),
        (written(|out| write_error(out, "/", Reason::TransportNotSupported, Advice::None)), "7:::0"),
        (written(|out| write_ack(out, "/", 4, b"", &[])), "6:::4"),
        (written(|out| write_ack(out, "/", 4, b"[]", &[])), "6:::4"),
        (written(|out| write_ack(out, "/chat", 4, b"[\"a\"]", &[])), "6::/chat:4+[\"a\"]"),
        // The client reads the arguments up to the end of a line.
        (
            written(|out| write_ack(out, "/", 4, "[\"\u{2028}\u{2029}\"]".as_bytes(), &[])),
            r#"6:::4+["\u2028\u2029"]"#,
        ),
        (event(r#"["say"]"#, None, &[]), r#"5::/chat:{"name":"say"}"#),
        (event(r#"["say",1,"two"]"#, Some(3), &[]), r#"5:3+:/chat:{"name":"say","args":[1,"two"]}"#),
        (event(r#"["message","a\"b"]"#, None, &[]), r#"3::/chat:a"b"#),
        (event(r#"["message",""]"#, None, &[]), "3::/chat:"),
        (event(r#"["message",{"a":1}]"#, Some(1), &[]), r#"4:1+:/chat:{"a":1}"#),
        (event(r#"["message",[1,2]]"#, None, &[]), "4::/chat:[1,2]"),
        (event(r#"["message",1,2]"#, None, &[]), r#"5::/chat:{"name":"message","args":[1,2]}"#),
        (event(r#"["message"]"#, None, &[]), r#"5::/chat:{"name":"message"}"#),
    ] {
        assert_eq!(text, expected);
    }
}

#[test]
fn bytes_are_objects_with_base64() {
    let attachments = [Bytes::from_static(b"\x00\xff"), Bytes::from_static(b"hi")];
    let json = r#"["pic",{"a":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":0}]"#;
    let expected = r#"5::/chat:{"name":"pic","args":[{"a":{"base64":"aGk="}},{"base64":"AP8="}]}"#;
    assert_eq!(event(json, None, &attachments), expected);
    let json = r#"["message",{"_placeholder":true,"num":1}]"#;
    assert_eq!(event(json, None, &attachments), r#"4::/chat:{"base64":"aGk="}"#);
    let ack = written(|out| write_ack(out, "/", 1, br#"[{"_placeholder":true,"num":0}]"#, &attachments));
    assert_eq!(ack, r#"6:::1+[{"base64":"AP8="}]"#);
    // Texts that look like it, and numbers of nothing, stay as they are.
    let json = r#"["x","{\"_placeholder\":true,\"num\":0}",{"_placeholder":true,"num":7}]"#;
    let expected =
        r#"5::/chat:{"name":"x","args":["{\"_placeholder\":true,\"num\":0}",{"_placeholder":true,"num":7}]}"#;
    assert_eq!(event(json, None, &attachments), expected);
}

#[test]
fn a_payload_counts_utf16_and_a_single_packet_stands_alone() {
    let several = written(|out| {
        for packet in ["3:::a", "3:::\u{1f600}\u{e9}\u{20ac}"] {
            payload::write_packet(out, packet);
        }
    });
    assert_eq!(several, "\u{fffd}5\u{fffd}3:::a\u{fffd}8\u{fffd}3:::\u{1f600}\u{e9}\u{20ac}");
    assert_eq!(payload::unwrap_single(&several), several);
    let single = written(|out| payload::write_packet(out, "3:::\u{fffd}2\u{fffd}"));
    assert_eq!(payload::unwrap_single(&single), "3:::\u{fffd}2\u{fffd}");
    assert_eq!(payload::unwrap_single(""), "");
    let data: Vec<_> = payload::decode(&several).map(|packet| packet.unwrap().data).collect();
    assert_eq!(data, ["a", "\u{1f600}\u{e9}\u{20ac}"]);
    assert_eq!(payload::decode("3:::a").collect::<Vec<_>>(), [decode("3:::a")]);
    assert_eq!(payload::decode("").count(), 0);
}

#[test]
fn a_payload_whose_lengths_do_not_fit_is_refused() {
    for body in [
        "\u{fffd}",
        "\u{fffd}3",
        "\u{fffd}\u{fffd}2::",
        "\u{fffd}4\u{fffd}2::",
        "\u{fffd}-3\u{fffd}2::",
        "\u{fffd}99999999999999999999\u{fffd}2::",
        "\u{fffd}2\u{fffd}2::",
        "\u{fffd}3\u{fffd}2::2::",
        // A length that ends within a character.
        "\u{fffd}5\u{fffd}3:::\u{1f600}",
    ] {
        let packets: Vec<_> = payload::decode(body).collect();
        assert!(packets.last().is_some_and(Result::is_err), "{body}: {packets:?}");
    }
}

#[test]
fn nothing_in_a_packet_ends_a_script() {
    let text = "5:::{\"a\":\"</script><!--\u{2028}\u{2029}\"}";
    assert_eq!(
        written(|out| write_jsonp(out, "3", text)),
        r#"io.j[3]("5:::{\"a\":\"</script><!--\u2028\u2029\"}");"#
    );
    assert_eq!(
        written(|out| write_script(out, text)),
        r#"<script>_("5:::{\"a\":\"\u003c\/script>\u003c!--\u2028\u2029\"}");</script>"#
    );
    assert_eq!(written(|out| write_js_string(out, "")), "\"\"");
    let page = HTMLFILE_HEAD.strip_suffix(&" ".repeat(173));
    assert!(page.is_some_and(|page| page.ends_with("</script>")), "{HTMLFILE_HEAD:?}");
}

/// Text that resembles packets and payloads.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[0-9]{1,3}",
        "[:+/?\\[\\]{}\" \\\\,]",
        Just("\u{fffd}".to_owned()),
        Just(r#"{"name":"e","args":["#.to_owned()),
        Just(r#"{"_placeholder":true,"num":"#.to_owned()),
        Just("message".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_payload_survives(texts in proptest::collection::vec(any::<String>(), 1..8)) {
        let packets: Vec<_> = texts.iter().map(|text| format!("3:::{text}")).collect();
        let body = written(|out| packets.iter().for_each(|packet| payload::write_packet(out, packet)));
        for body in [&body, payload::unwrap_single(&body)] {
            let read: Result<Vec<_>, _> = payload::decode(body).map(|packet| Ok(packet?.data)).collect();
            let read: Result<_, DecodeError> = read;
            prop_assert_eq!(read.as_deref(), Ok(&texts.iter().map(String::as_str).collect::<Vec<_>>()[..]));
        }
        prop_assert_eq!(payload::unwrap_single(&body) == body, packets.len() > 1);
    }

    #[test]
    fn any_event_survives(name in any::<String>(), texts in proptest::collection::vec(any::<String>(), 0..4)) {
        prop_assume!(!switchboard_protocol::socketio::is_reserved(&name));
        let mut list = vec![name];
        list.extend(texts);
        let json = serde_json::to_string(&list).unwrap();
        let text = written(|out| assert!(write_event(out, "/chat", Some(7), &json, &[])));
        let packet = decode(&text).unwrap();
        prop_assert_eq!((packet.id, packet.data_ack, packet.endpoint), (Some(7), true, "/chat"));
        prop_assert_eq!(read(&text), Ok(json));
    }

    #[test]
    fn no_text_is_too_strange(text in nearly(), bytes in proptest::collection::vec(any::<u8>(), 0..5)) {
        for packet in payload::decode(&text).flatten() {
            let _ = packet.split_query();
            let _ = acknowledged(&packet);
            let mut json = Vec::new();
            if event_json(&packet, &mut json).is_ok() {
                let json = String::from_utf8(json).unwrap();
                prop_assert!(serde_json::from_str::<Vec<serde_json::Value>>(&json).is_ok(), "{}", json);
                let mut out = Vec::new();
                let _ = write_event(&mut out, "/", None, &json, &[Bytes::from(bytes.clone())]);
            }
        }
        let string = written(|out| write_js_string(out, &text));
        prop_assert_eq!(serde_json::from_str::<String>(&string).unwrap(), text.clone());
        let script = written(|out| write_script(out, &text));
        let inner = script.strip_prefix("<script>_(").unwrap().strip_suffix(");</script>").unwrap();
        prop_assert!(!inner.contains('<'));
        prop_assert_eq!(serde_json::from_str::<String>(inner).unwrap(), text);
    }
}
