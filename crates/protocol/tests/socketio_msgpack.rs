//! Packets as MessagePack. The bytes are those that `notepack.io` 2 and `socket.io-msgpack-parser` 3 write.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::borrow::Cow;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use switchboard_protocol::socketio::msgpack::{MsgPackError, MsgPackLimits, decode, encode};
use switchboard_protocol::socketio::{Args, DecodeError, PacketType, Value, WholePacket};

/// `{type, nsp: "/", data}`: the map's head, and the bytes of the data behind it.
fn packet(kind: u8, data: &[u8]) -> Vec<u8> {
    [b"\x83\xa4type", &[kind][..], b"\xa3nsp\xa1/\xa4data", data].concat()
}

fn read(bytes: &[u8]) -> Result<WholePacket<'static>, MsgPackError> {
    decode(bytes, &MsgPackLimits::default())
}

/// The JSON of an event's only argument.
fn argument(value: &[u8]) -> Result<String, MsgPackError> {
    let whole = read(&packet(2, &[b"\x92\xa1e", value].concat()))?;
    Ok(whole.data.strip_prefix(r#"["e","#).and_then(|rest| rest.strip_suffix(']')).unwrap().to_owned())
}

#[test]
fn a_packet_has_a_type_a_namespace_an_id_and_data_in_any_order_and_other_keys_are_skipped() {
    let event =
        b"\x85\xa4type\x02\xa4data\x92\xa3sum\x2a\xa7options\x81\xa8compress\xc3\xa2id\x07\xa3nsp\xa5/chat";
    let whole = read(event).unwrap();
    assert_eq!((whole.kind, &*whole.namespace, whole.id), (PacketType::Event, "/chat", Some(7)));
    assert_eq!((&*whole.data, whole.attachments.len()), (r#"["sum",42]"#, 0));
    // The client's first packet: CONNECT without auth, which `notepack` writes as `undefined`.
    let whole =
        read(b"\x84\xa4type\x00\xa4data\xd4\x00\x00\xa7options\x81\xa8compress\xc3\xa3nsp\xa1/").unwrap();
    assert_eq!((whole.kind, &*whole.data, whole.id), (PacketType::Connect, "", None));
}

#[test]
fn each_type_takes_the_data_that_it_takes_in_the_default_parser() {
    let refused = Err(MsgPackError::Packet(DecodeError::Payload));
    for (kind, data, json) in [
        (0, &b"\x81\xa1a\x01"[..], Ok(r#"{"a":1}"#)),
        (0, b"\xd4\x00\x00", Ok("")),
        (0, b"\xc0", refused),
        (0, b"\x90", refused),
        (1, b"\xd4\x00\x00", Ok("")),
        (1, b"\xc0", refused),
        (2, b"\x91\xa1e", Ok(r#"["e"]"#)),
        (2, b"\xd4\x00\x00", refused),
        (2, b"\xa1e", refused),
        (3, b"\x90", Ok("[]")),
        (3, b"\x80", refused),
        (4, b"\x81\xa7message\xa1m", Ok(r#"{"message":"m"}"#)),
        (4, b"\xa1m", Ok(r#""m""#)),
        (4, b"\x01", refused),
    ] {
        assert_eq!(
            read(&packet(kind, data)).map(|whole| whole.data.into_owned()),
            json.map(String::from),
            "{kind} {data:?}"
        );
    }
}

#[test]
fn what_is_no_packet_is_refused() {
    let whole = packet(2, b"\x91\xa1e");
    for end in 0..whole.len() {
        assert_eq!(read(&whole[..end]), Err(MsgPackError::Truncated), "{end}");
    }
    for (bytes, error) in [
        (&[&whole[..], b"\x00\x00"].concat()[..], MsgPackError::Trailing(2)),
        (b"\xc1", MsgPackError::Reserved),
        (b"\x92\x02\xa1/", MsgPackError::Part("type")),
        (b"\x80", MsgPackError::Part("type")),
        (b"\x81\xa4type\x01", MsgPackError::Part("nsp")),
        (b"\x82\xa4type\x01\xa3nsp\x01", MsgPackError::Part("nsp")),
        (b"\x82\xa4type\x05\xa3nsp\xa1/", MsgPackError::Part("type")),
        (b"\x82\xa4type\xff\xa3nsp\xa1/", MsgPackError::Part("type")),
        (b"\x82\xa4type\xa11\xa3nsp\xa1/", MsgPackError::Part("type")),
        (b"\x81\xa2id\xff", MsgPackError::Part("id")),
        (b"\x81\xa2id\xc0", MsgPackError::Part("id")),
        (b"\x81\x01\x01", MsgPackError::Key),
        (&packet(2, b"\x92\xa1e\x81\xc0\x01"), MsgPackError::Key),
        (&packet(2, b"\x92\xa1e\x81\x90\x01"), MsgPackError::Key),
    ] {
        assert_eq!(read(bytes), Err(error), "{bytes:?}");
    }
}

#[test]
fn a_length_reserves_no_memory_before_its_bytes_are_there() {
    for head in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x00",
    ] {
        assert_eq!(argument(head), Err(MsgPackError::Truncated), "{head:?}");
        // The same within what is skipped.
        let skipped = [b"\x81\xa1x\x92\x01", head].concat();
        assert_eq!(read(&skipped), Err(MsgPackError::Truncated), "{head:?}");
    }
}

#[test]
fn a_value_is_the_json_that_javascript_makes_of_it() {
    for (bytes, json) in [
        (&b"\xc0"[..], "null"),
        (b"\xc2", "false"),
        (b"\xc3", "true"),
        (b"\x7f", "127"),
        (b"\xe0", "-32"),
        (b"\xcc\xff", "255"),
        (b"\xcd\x01\x00", "256"),
        (b"\xce\xff\xff\xff\xff", "4294967295"),
        (b"\xcf\x00\x20\x00\x00\x00\x00\x00\x00", "9007199254740992"),
        (b"\xd0\x80", "-128"),
        (b"\xd1\x80\x00", "-32768"),
        (b"\xd2\x80\x00\x00\x00", "-2147483648"),
        (b"\xd3\xff\xdf\xff\xff\xff\xff\xff\xff", "-9007199254740993"),
        (b"\xca\x3f\xc0\x00\x00", "1.5"),
        (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
        (b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", "1"),
        (b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "0"),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xcb\x54\xb2\x49\xad\x25\x94\xc3\x7d", "1e+100"),
        (b"\xa3a\"\n", r#""a\"\n""#),
        (b"\xd9\x04\xf0\x9f\x98\x80", "\"\u{1f600}\""),
        (b"\xda\x00\x01a", r#""a""#),
        (b"\xdb\x00\x00\x00\x01a", r#""a""#),
        // Half of an emoji, cut by JavaScript.
        (b"\xa3\xed\xa0\xbd", "\"\u{fffd}\u{fffd}\u{fffd}\""),
        (b"\x90", "[]"),
        (b"\xdc\x00\x02\x01\x02", "[1,2]"),
        (b"\xdd\x00\x00\x00\x01\x01", "[1]"),
        (b"\x80", "{}"),
        (b"\xde\x00\x01\xa1a\x01", r#"{"a":1}"#),
        (b"\xdf\x00\x00\x00\x01\x05\x01", r#"{"5":1}"#),
        (b"\x81\xff\x01", r#"{"-1":1}"#),
        // `undefined` in an array, and in an object, whose other entries stay.
        (b"\x92\xd4\x00\x00\x01", "[null,1]"),
        (b"\x81\xa1a\xd4\x00\x00", "{}"),
        (b"\x83\xa1a\xd4\x00\x00\xa1b\x01\xa1c\xd4\x00\x00", r#"{"b":1}"#),
        (b"\x82\xa1a\x01\xa1b\xd4\x00\x00", r#"{"a":1}"#),
        (b"\x92\x91\x90\x81\xa1a\x80", r#"[[[]],{"a":{}}]"#),
    ] {
        assert_eq!(argument(bytes).as_deref(), Ok(json), "{bytes:?}");
    }
}

#[test]
fn a_date_is_the_text_that_javascript_makes_of_it() {
    for (bytes, text) in [
        // notepack's own: milliseconds.
        (&b"\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x00"[..], Some("1970-01-01T00:00:00.000Z")),
        (b"\xd7\x00\x00\x00\x01\x8d\xf2\x29\x24\x1b", Some("2024-02-28T23:59:59.003Z")),
        (b"\xd7\x00\x00\x00\x01\x8d\xf4\xbc\x56\x00", Some("2024-02-29T12:00:00.000Z")),
        (b"\xd7\x00\x00\x00\x00\xdd\x9f\xcd\x3c\x00", Some("2000-03-01T00:00:00.000Z")),
        (b"\xd7\x00\xff\xff\xfd\xfe\xd8\xb2\xb4\x00", Some("1900-02-28T00:00:00.000Z")),
        (b"\xd7\x00\xff\xff\xff\xff\xff\xff\xff\xff", Some("1969-12-31T23:59:59.999Z")),
        (b"\xd7\x00\xff\xff\xc7\x75\x8b\xd5\x44\x00", Some("-000001-12-31T00:00:00.000Z")),
        (b"\xd7\x00\x00\x1e\xb2\x08\xc2\xdc\x00\x00", Some("+275760-09-13T00:00:00.000Z")),
        (b"\xd7\x00\xff\xe1\x4d\xf7\x3d\x24\x00\x00", Some("-271821-04-20T00:00:00.000Z")),
        (b"\xd7\x00\x00\x1e\xb2\x08\xc2\xdc\x00\x01", None),
        (b"\xd7\x00\x7f\xff\xff\xff\xff\xff\xff\xff", None),
        // Timestamps of 32, 64 and 96 bits.
        (b"\xd6\xff\x65\xdf\xc9\x80", Some("2024-02-29T00:02:08.000Z")),
        (b"\xd7\xff\x77\x35\x94\x00\x65\xdf\xc9\x80", Some("2024-02-29T00:02:08.500Z")),
        (b"\xc7\x0c\xff\x1d\xcd\x65\x00\xff\xff\xff\xff\xff\xff\xff\xff", Some("1969-12-31T23:59:59.500Z")),
        (b"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", None),
    ] {
        let expected = match text {
            Some(text) => format!("\"{text}\""),
            None if bytes.starts_with(b"\xd7") => "null".to_owned(),
            // It has no number of milliseconds: an extension like any other.
            None => r#"[-1,{"_placeholder":true,"num":0}]"#.to_owned(),
        };
        assert_eq!(argument(bytes), Ok(expected), "{bytes:?}");
    }
}

#[test]
fn a_binary_value_is_an_attachment_wherever_it_stands() {
    let whole =
        read(&packet(2, b"\x94\xa1e\xc4\x02ab\x81\xa1x\xc5\x00\x01c\x91\xc6\x00\x00\x00\x00")).unwrap();
    let placeholder = |num| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
    let json = format!(r#"["e",{},{{"x":{}}},[{}]]"#, placeholder(0), placeholder(1), placeholder(2));
    assert_eq!(whole.data, json);
    assert_eq!(*whole.attachments, [Bytes::from("ab"), Bytes::from("c"), Bytes::new()]);
    // An `ArrayBuffer` of Node, of any length, and other extensions.
    for (bytes, json, content) in [
        (&b"\xc7\x01\x00a"[..], placeholder(0), "a"),
        (b"\xc7\x08\x00abcdefgh", placeholder(0), "abcdefgh"),
        (b"\xc8\x00\x02\x00ab", placeholder(0), "ab"),
        (b"\xd5\x00ab", placeholder(0), "ab"),
        (b"\xd4\x05a", format!("[5,{}]", placeholder(0)), "a"),
        (b"\xd8\xf0abcdefghijklmnop", format!("[-16,{}]", placeholder(0)), "abcdefghijklmnop"),
    ] {
        let whole = read(&packet(2, &[b"\x92\xa1e", bytes].concat())).unwrap();
        assert_eq!(
            (&*whole.data, &whole.attachments[0][..]),
            (&*format!(r#"["e",{json}]"#), content.as_bytes()),
            "{bytes:?}"
        );
    }
}

#[test]
fn nesting_and_binary_values_are_bounded() {
    let limits = MsgPackLimits { max_depth: 3, max_binary_values: 2 };
    let nested = |levels: usize| packet(2, &[b"\x92\xa1e", &b"\x91".repeat(levels)[..], b"\xc0"].concat());
    assert!(decode(&nested(3), &limits).is_ok());
    assert_eq!(decode(&nested(4), &limits), Err(MsgPackError::TooDeep { limit: 3 }));
    let maps = packet(2, &[b"\x92\xa1e", &b"\x81\xa1k".repeat(4)[..], b"\xc0"].concat());
    assert_eq!(decode(&maps, &limits), Err(MsgPackError::TooDeep { limit: 3 }));
    let binaries = |count: u8| {
        packet(2, &[&[0x91 + count][..], b"\xa1e", &b"\xc4\x00".repeat(count.into())[..]].concat())
    };
    assert!(decode(&binaries(2), &limits).is_ok());
    assert_eq!(decode(&binaries(3), &limits), Err(MsgPackError::TooManyBinaryValues { limit: 2 }));
    // What is skipped takes no stack, and is kept nowhere.
    let deep = [&b"\x83\xa4type\x01\xa3nsp\xa1/\xa1x"[..], &b"\x91".repeat(1 << 20)[..], b"\xc0"].concat();
    assert!(decode(&deep, &limits).is_ok());
}

#[test]
fn a_packet_is_written_as_the_parser_of_javascript_reads_it() {
    let mut out = b"before".to_vec();
    let mut whole = WholePacket {
        kind: PacketType::BinaryEvent,
        namespace: Cow::Borrowed("/chat"),
        id: Some(300),
        data: Cow::Borrowed(r#"["e",-1,1.5,{"a":{"_placeholder":true,"num":0}},null,true]"#),
        attachments: Cow::Owned(vec![Bytes::from("ab")]),
    };
    encode(&whole, &mut out).unwrap();
    let event = b"before\x84\xa4type\x02\xa3nsp\xa5/chat\xa2id\xcd\x01\x2c\xa4data\x96\xa1e\xff\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\x81\xa1a\xc4\x02ab\xc0\xc3";
    assert_eq!(out, event);
    // A placeholder without its attachment: nothing is written.
    whole.data = Cow::Borrowed(r#"["e",{"_placeholder":true,"num":1}]"#);
    assert!(encode(&whole, &mut out).is_err());
    whole.data = Cow::Borrowed(r#"["e","#);
    assert!(encode(&whole, &mut out).is_err());
    assert_eq!(out, event);
    // DISCONNECT has no data, and its key is left out: the client takes `undefined` only.
    let disconnect = WholePacket {
        kind: PacketType::Disconnect,
        id: None,
        data: "".into(),
        attachments: Cow::default(),
        ..whole
    };
    out.clear();
    encode(&disconnect, &mut out).unwrap();
    assert_eq!(out, b"\x82\xa4type\x01\xa3nsp\xa5/chat");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("an integer comes back as one", |number| number.fract() != 0.0)
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        vec(any::<u8>(), 0..20).prop_map(|bytes| Value::from(Bytes::from(bytes))),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            vec((any::<String>(), inner), 0..6).prop_map(Value::Object),
        ]
    })
}

proptest! {
    #[test]
    fn any_arguments_survive(values in vec(value(), 0..4), namespace in "/[a-z]{0,5}", id in any::<Option<u64>>()) {
        let args = Args::from(values.clone());
        let whole = WholePacket {
            kind: PacketType::Ack,
            namespace: namespace.into(),
            id,
            data: args.as_json().into(),
            attachments: args.attachments().into(),
        };
        let mut out = Vec::new();
        encode(&whole, &mut out).unwrap();
        let again = decode(&out, &MsgPackLimits::default()).unwrap();
        prop_assert_eq!((&again.namespace, again.id), (&whole.namespace, whole.id));
        let args = Args::parse(&again.data, 0, again.attachments.into_owned()).unwrap();
        prop_assert_eq!(args.values(), Ok(values));
    }

    #[test]
    fn any_bytes_are_a_packet_or_an_error(bytes in vec(any::<u8>(), 0..200), data in any::<bool>()) {
        let bytes = if data { packet(2, &[b"\x92\xa1e", &bytes[..]].concat()) } else { bytes };
        if let Ok(whole) = read(&bytes) {
            // What was read can be read on, and written.
            let args = Args::parse(&whole.data, 0, whole.attachments.to_vec());
            prop_assert!(args.is_ok() || whole.kind != PacketType::Event);
            prop_assert!(encode(&whole, &mut Vec::new()).is_ok());
        }
    }
}
