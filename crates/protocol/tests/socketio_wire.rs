//! Socket.IO on the wire: the bytes that socket.io-parser 4.2.7 reads and writes, and the defined answers to
//! text that is not a packet.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use serde_json::json;
use switchboard_protocol::socketio::{
    DecodeError, Limits, Packet, PacketType, WriteError, connect, connect_error, connect_reply,
    connect_reply_with_pid, decode, disconnect, event_name, is_reserved, replace_unpaired_surrogates,
    write_head,
};

fn packet<'a>(kind: PacketType, namespace: &'a str, ack: Option<u64>, data: &'a str) -> Packet<'a> {
    Packet { kind, namespace, ack, attachments: 0, data }
}

fn with_attachments(attachments: usize, packet: Packet<'_>) -> Packet<'_> {
    Packet { attachments, ..packet }
}

fn encoded(packet: &Packet<'_>) -> String {
    let mut out = Vec::new();
    write_head(&mut out, packet.kind, packet.attachments, packet.namespace, packet.ack);
    out.extend_from_slice(packet.data.as_bytes());
    String::from_utf8(out).unwrap()
}

#[test]
fn packets_are_written_and_read_as_node_does() {
    use PacketType::{Ack, BinaryAck, BinaryEvent, Connect, ConnectError, Disconnect, Event};
    let blob = r#"["e",{"_placeholder":true,"num":0}]"#;
    for (text, packet) in [
        ("0", packet(Connect, "/", None, "")),
        ("0{}", packet(Connect, "/", None, "{}")),
        (r#"0{"sid":"abc"}"#, packet(Connect, "/", None, r#"{"sid":"abc"}"#)),
        ("0/admin,", packet(Connect, "/admin", None, "")),
        (r#"0/admin,{"token":"x"}"#, packet(Connect, "/admin", None, r#"{"token":"x"}"#)),
        ("0/admin?x=1,{}", packet(Connect, "/admin?x=1", None, "{}")),
        ("1", packet(Disconnect, "/", None, "")),
        ("1/admin,", packet(Disconnect, "/admin", None, "")),
        (r#"2["e"]"#, packet(Event, "/", None, r#"["e"]"#)),
        (
            r#"212["e",1,"a",null,{"x":[true]}]"#,
            packet(Event, "/", Some(12), r#"["e",1,"a",null,{"x":[true]}]"#),
        ),
        (r#"2/a,0["e"]"#, packet(Event, "/a", Some(0), r#"["e"]"#)),
        ("37[]", packet(Ack, "/", Some(7), "[]")),
        ("3/a,7[1]", packet(Ack, "/a", Some(7), "[1]")),
        ("31", packet(Ack, "/", Some(1), "")),
        (r#"4{"message":"no"}"#, packet(ConnectError, "/", None, r#"{"message":"no"}"#)),
        (r#"4"no""#, packet(ConnectError, "/", None, r#""no""#)),
        (&format!("51-{blob}"), with_attachments(1, packet(BinaryEvent, "/", None, blob))),
        (&format!("510-/a,3{blob}"), with_attachments(10, packet(BinaryEvent, "/a", Some(3), blob))),
        (
            r#"61-3[{"_placeholder":true,"num":0}]"#,
            with_attachments(1, packet(BinaryAck, "/", Some(3), r#"[{"_placeholder":true,"num":0}]"#)),
        ),
        (r#"218446744073709551615["e"]"#, packet(Event, "/", Some(u64::MAX), r#"["e"]"#)),
    ] {
        assert_eq!(decode(text, &Limits::default()), Ok(packet), "{text}");
        assert_eq!(encoded(&packet), text);
    }
}

#[test]
fn packets_nobody_writes_are_read_as_node_does() {
    use PacketType::{Ack, Connect, ConnectError, Disconnect, Event};
    for (text, packet) in [
        ("0/admin", packet(Connect, "/admin", None, "")),
        ("012", packet(Connect, "/", Some(12), "")),
        ("1/a,1", packet(Disconnect, "/a", Some(1), "")),
        (r#"2["e"] "#, packet(Event, "/", None, r#"["e"] "#)),
        ("3", packet(Ack, "/", None, "")),
        ("3[]", packet(Ack, "/", None, "[]")),
        ("4", packet(ConnectError, "/", None, "")),
        (r#"2/,1["e"]"#, packet(Event, "/", Some(1), r#"["e"]"#)),
        (r#"2001["e"]"#, packet(Event, "/", Some(1), r#"["e"]"#)),
    ] {
        assert_eq!(decode(text, &Limits::default()), Ok(packet), "{text}");
    }
}

#[test]
fn a_binary_packet_has_an_attachment() {
    for text in [r#"50-["e"]"#, r#"500-["e"]"#, "60-1[]", "60-/a,1[]"] {
        assert_eq!(decode(text, &Limits::default()), Err(DecodeError::Attachments), "{text}");
    }
    let packet = decode(r#"501-["e"]"#, &Limits::default()).unwrap();
    assert_eq!((packet.kind, packet.attachments), (PacketType::BinaryEvent, 1));
}

#[test]
fn bytes_that_are_no_packet_are_an_error() {
    use DecodeError::{AckId, Attachments, Payload, TooManyAttachments, UnknownType};
    for (text, error) in [
        ("", UnknownType),
        (" ", UnknownType),
        ("7", UnknownType),
        ("8[]", UnknownType),
        ("x", UnknownType),
        ("-1", UnknownType),
        (r#"a["e"]"#, UnknownType),
        ("é", UnknownType),
        ("0[]", Payload),
        (r#"0"a""#, Payload),
        ("0é", Payload),
        ("1{}", Payload),
        ("1/a,{}", Payload),
        ("2", Payload),
        ("212", Payload),
        ("2{}", Payload),
        (r#"2"e""#, Payload),
        (r#"2-1["e"]"#, Payload),
        (r#"2/a12["e"]"#, Payload),
        (r#"2/a,b,1["e"]"#, Payload),
        ("31{}", Payload),
        ("4[]", Payload),
        ("4null", Payload),
        ("51-", Payload),
        (r#"5["e"]"#, Attachments),
        (r#"5-["e"]"#, Attachments),
        (r#"5-1-["e"]"#, Attachments),
        (r#"51["e"]"#, Attachments),
        (r#"5 1-["e"]"#, Attachments),
        (r#"51.0-["e"]"#, Attachments),
        (r#"5+1-["e"]"#, Attachments),
        ("6", Attachments),
        ("61", Attachments),
        (r#"511-["e"]"#, TooManyAttachments { got: 11, limit: 10 }),
        (r#"599999999999999999999999-["e"]"#, TooManyAttachments { got: usize::MAX, limit: 10 }),
        (r#"218446744073709551616["e"]"#, AckId),
        (r#"299999999999999999999999["e"]"#, AckId),
    ] {
        assert_eq!(decode(text, &Limits::default()), Err(error), "{text}");
    }
}

#[test]
fn the_number_of_attachments_is_an_option() {
    let limits = Limits { max_attachments: 1000, ..Limits::default() };
    let text = r#"51000-["e"]"#;
    assert_eq!(decode(text, &limits).map(|packet| packet.attachments), Ok(1000));
}

#[test]
fn a_query_can_be_split_off_a_namespace() {
    let split = |text| decode(text, &Limits::default()).unwrap().split_query();
    assert_eq!(split("0/a?b=c?d"), ("/a", "b=c?d"));
    assert_eq!(split("0/a,"), ("/a", ""));
    assert_eq!(split("0"), ("/", ""));
}

#[test]
fn an_event_is_named_by_its_first_element() {
    for (data, name, rest) in [
        (r#"["e"]"#, "e", "]"),
        (r#"["echo",1]"#, "echo", ",1]"),
        (r#"[""]"#, "", "]"),
        (r#"["é€😀", 1]"#, "é€😀", ", 1]"),
        (r#" [ "e" , 1 ] "#, "e", " , 1 ] "),
        (r#"["a\"b\\\u0041",1]"#, "a\"b\\A", ",1]"),
        (r#"["message"]"#, "message", "]"),
        (r#"["Connect"]"#, "Connect", "]"),
        (r#"["__proto__"]"#, "__proto__", "]"),
        ("[1]", "1", "]"),
        ("[0,1]", "0", ",1]"),
        ("[-12 ,1]", "-12", " ,1]"),
    ] {
        let (got, offset) = event_name(data).unwrap();
        assert_eq!((&*got, &data[offset..]), (name, rest), "{data}");
    }
}

#[test]
fn a_name_that_is_neither_string_nor_integer_is_refused() {
    for data in [
        "",
        "[",
        "[]",
        "{}",
        "null",
        r#""e""#,
        "[null]",
        "[true]",
        "[[]]",
        r#"[["e"]]"#,
        "[{}]",
        r#"[{"_placeholder":true,"num":0}]"#,
        r#"["e"#,
        r#"["e\"]"#,
        r#"["\x"]"#,
        "[\"\n\"]",
        r#"["\ud800"]"#,
        "[1.5]",
        "[1e3]",
        "[01]",
        "[-0]",
        "[-]",
        "[1",
        "[1a]",
        "[12345678901234567890]",
    ] {
        assert_eq!(event_name(data), Err(DecodeError::EventName), "{data}");
    }
}

#[test]
fn reserved_names_are_refused_however_they_are_spelled() {
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        assert!(is_reserved(name));
        let data = format!(r#"["{name}",1]"#);
        assert_eq!(event_name(&data), Err(DecodeError::ReservedEvent));
    }
    assert_eq!(event_name(r#"["\u0063onnect"]"#), Err(DecodeError::ReservedEvent));
}

#[test]
fn packets_without_arguments_are_written_as_node_does() {
    let mut out = Vec::new();
    let mut written = |write: &dyn Fn(&mut Vec<u8>)| {
        out.clear();
        write(&mut out);
        String::from_utf8(out.clone()).unwrap()
    };
    let auth = json!({"token": "x"});
    assert_eq!(written(&|out| connect(out, "/", None::<&()>).unwrap()), "0");
    assert_eq!(written(&|out| connect(out, "/admin", Some(&auth)).unwrap()), r#"0/admin,{"token":"x"}"#);
    assert_eq!(written(&|out| connect_reply(out, "/", "abc")), r#"0{"sid":"abc"}"#);
    assert_eq!(written(&|out| connect_reply(out, "/admin", "abc")), r#"0/admin,{"sid":"abc"}"#);
    let with_pid = written(&|out| connect_reply_with_pid(out, "/admin", "abc", "def"));
    assert_eq!(with_pid, r#"0/admin,{"sid":"abc","pid":"def"}"#);
    assert_eq!(
        written(&|out| connect_error(out, "/", "Invalid namespace", None::<&()>).unwrap()),
        r#"4{"message":"Invalid namespace"}"#
    );
    assert_eq!(
        written(&|out| connect_error(out, "/a", "\"no\"", Some(&json!({"code": 1}))).unwrap()),
        r#"4/a,{"message":"\"no\"","data":{"code":1}}"#
    );
    assert_eq!(written(&|out| disconnect(out, "/")), "1");
    assert_eq!(written(&|out| disconnect(out, "/admin")), "1/admin,");
}

#[test]
fn nothing_stays_written_of_a_packet_that_fails() {
    let bad = std::collections::BTreeMap::from([((1, 2), 3)]);
    let mut out = b"before".to_vec();
    for result in [connect(&mut out, "/", Some(&bad)), connect_error(&mut out, "/", "no", Some(&bad))] {
        assert!(matches!(result, Err(WriteError::Serialize(_))));
    }
    assert_eq!(out, b"before");
}

#[test]
fn halves_of_surrogate_pairs_are_replaced_and_nothing_else() {
    for (text, expected) in [
        ("plain", "plain"),
        (r"\ud83d", r"\ufffd"),
        (r"\uDE00", r"\ufffd"),
        (r"\ud83d\ude00", r"\ud83d\ude00"),
        (r"\ud83d\ud83d\ude00", r"\ufffd\ud83d\ude00"),
        (r"\ude00\ud83d", r"\ufffd\ufffd"),
        (r"\\ud83d", r"\\ud83d"),
        (r"\\\ud83d", r"\\\ufffd"),
        (r"\ud83dx\ude00", r"\ufffdx\ufffd"),
        (r"\n\u00e9\t\ud800é", r"\n\u00e9\t\ufffdé"),
        (r"\ud83", r"\ud83"),
        (r"\ud83é", r"\ud83é"),
        (r"\u", r"\u"),
        (r"\", r"\"),
    ] {
        assert_eq!(replace_unpaired_surrogates(text), expected, "{text}");
    }
}
