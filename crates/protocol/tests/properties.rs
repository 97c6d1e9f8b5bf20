//! Properties of any packet, any value and any text.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use switchboard_protocol::engineio::{OpenPacket, Packet as EnginePacket, Query, SessionId, payload};
use switchboard_protocol::socketio::{
    Args, ArgsError, Assembler, Binary, Limits, Packet, PacketType, Started, Value, decode, event_name,
    from_args, is_reserved, replace_unpaired_surrogates, validate, write_args, write_head,
};

/// An owned Engine.IO packet, because strategies cannot borrow.
fn engine_packet() -> impl Strategy<Value = (u8, String, Vec<u8>)> {
    (0..8_u8, any::<String>(), vec(any::<u8>(), 0..100))
}

fn borrow((kind, text, bytes): &(u8, String, Vec<u8>)) -> EnginePacket<'_> {
    match kind {
        0 => EnginePacket::Open(text),
        1 => EnginePacket::Close,
        2 => EnginePacket::Ping(text),
        3 => EnginePacket::Pong(text),
        4 => EnginePacket::Message(text),
        5 => EnginePacket::Upgrade,
        6 => EnginePacket::Noop,
        _ => EnginePacket::Binary(Cow::Borrowed(bytes)),
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
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

/// Text that resembles a packet.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[0-9]{1,3}",
        "[-,/?\\[\\]{}:\" \\\\]",
        Just(r#"["e""#.to_owned()),
        Just(r#"{"_placeholder":true,"num":"#.to_owned()),
        Just(r"\ud83d".to_owned()),
        Just("\u{1e}".to_owned()),
        Just("null".to_owned()),
        Just("b".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_engine_packet_survives(packet in engine_packet()) {
        let packet = borrow(&packet);
        let mut out = Vec::new();
        packet.encode_text(&mut out);
        let text = String::from_utf8(out).unwrap();
        prop_assert_eq!(EnginePacket::decode_text(&text), Ok(packet));
    }

    #[test]
    fn any_payload_survives(packets in vec(engine_packet(), 1..20)) {
        let without_separator = |text: &str| text.replace('\u{1e}', "");
        let packets: Vec<_> = packets
            .into_iter()
            .map(|(kind, text, bytes)| (kind, without_separator(&text), bytes))
            .collect();
        let packets: Vec<_> = packets.iter().map(borrow).collect();
        let mut body = Vec::new();
        for packet in &packets {
            packet.encode_text(&mut body);
            body.push(payload::SEPARATOR);
        }
        body.pop();
        let body = String::from_utf8(body).unwrap();
        let decoded: Result<Vec<_>, _> = payload::decode(&body).collect();
        prop_assert_eq!(decoded, Ok(packets));
    }

    #[test]
    fn any_open_packet_survives(
        sid: String,
        upgrades in vec(any::<String>(), 0..3),
        times: (u32, u32),
        max_payload: u32,
    ) {
        let upgrades: Vec<_> = upgrades.iter().map(String::as_str).collect();
        let open = OpenPacket {
            sid: &sid,
            upgrades: &upgrades,
            ping_interval: Duration::from_millis(times.0.into()),
            ping_timeout: Duration::from_millis(times.1.into()),
            max_payload: max_payload as usize,
        };
        let mut out = Vec::new();
        open.encode(&mut out);
        let read = OpenPacket::decode(std::str::from_utf8(&out[1..]).unwrap()).unwrap();
        prop_assert_eq!(&read.sid, &sid);
        prop_assert_eq!(&read.upgrades, &upgrades);
        prop_assert_eq!(read.ping_interval, open.ping_interval);
        prop_assert_eq!(read.ping_timeout, open.ping_timeout);
        prop_assert_eq!(read.max_payload, Some(open.max_payload));
    }

    #[test]
    fn any_session_id_survives(worker: u8, random: [u8; 14]) {
        let id = SessionId::new(worker, random);
        prop_assert_eq!(SessionId::parse(id.as_str()), Some(id));
        prop_assert_eq!(id.worker(), worker);
    }

    #[test]
    fn any_event_survives(
        namespace in "/[^,]{0,10}",
        ack: Option<u64>,
        event: String,
        args in vec(value(), 0..4),
    ) {
        prop_assume!(!is_reserved(&event));
        let list = Args::from(args.clone());
        let values = list.values();
        prop_assert_eq!(values.as_ref(), Ok(&args));
        let (mut data, mut attachments) = (Vec::new(), Vec::new());
        write_args(&mut data, &mut attachments, Some(&event), &list).unwrap();

        let kind = match attachments.len() {
            0 => PacketType::Event,
            _ => PacketType::Event.with_attachments(),
        };
        let mut out = Vec::new();
        write_head(&mut out, kind, attachments.len(), &namespace, ack);
        out.extend_from_slice(&data);
        let (out, data) = (String::from_utf8(out).unwrap(), String::from_utf8(data).unwrap());
        let limits = Limits { max_attachments: 1000, ..Limits::default() };
        let packet = decode(&out, &limits).unwrap();
        let expected = Packet {
            kind,
            namespace: &namespace,
            ack,
            attachments: attachments.len(),
            data: &data,
        };
        prop_assert_eq!(packet, expected);

        let mut assembler = Assembler::new();
        let started = assembler.start(&packet).unwrap();
        prop_assert_eq!(started == Started::Complete, attachments.is_empty());
        let mut whole = None;
        for attachment in &attachments {
            prop_assert!(whole.is_none());
            whole = assembler.push(attachment.clone(), &limits).unwrap();
        }
        if let Some(whole) = whole {
            prop_assert_eq!(whole.packet.as_packet(), packet);
            prop_assert_eq!(&whole.attachments, &attachments);
        }
        let (name, offset) = event_name(packet.data).unwrap();
        prop_assert_eq!(&*name, event.as_str());
        let read = Args::parse(packet.data, offset, attachments).unwrap();
        prop_assert_eq!(read.values(), Ok(args));
    }

    #[test]
    fn any_value_survives_and_shares_its_memory(value in value()) {
        let (mut out, mut attachments) = (Vec::new(), Vec::new());
        write_args(&mut out, &mut attachments, Some("e"), &value).unwrap();
        let data = String::from_utf8(out).unwrap();
        prop_assert_eq!(validate(&data, &attachments), Ok(()));
        let read: Value = from_args(&data, 4, &attachments).unwrap();
        prop_assert_eq!(&read, &value);
        prop_assert_eq!(value.read::<Value>(), Ok(value));
        if let Value::Binary(bytes) = read {
            prop_assert_eq!(bytes.as_ptr(), attachments[0].as_ptr());
        }
    }

    #[test]
    fn types_survive(
        args: (String, Option<i64>, Vec<(bool, char)>, HashMap<u16, String>),
        bytes: Vec<u8>,
    ) {
        let (a, b, c, d) = args;
        let args = (a, b, c, d, Binary::from(bytes));
        let (mut out, mut attachments) = (Vec::new(), Vec::new());
        write_args(&mut out, &mut attachments, None, &args).unwrap();
        let data = String::from_utf8(out).unwrap();
        prop_assert_eq!(from_args(&data, 0, &attachments), Ok(args));
    }

    #[test]
    fn text_that_parses_as_json_is_taken_and_other_text_is_not(text in nearly()) {
        let data = format!(r#"["e",{text}]"#);
        let json = serde_json::from_str::<serde_json::Value>(&data);
        let read = from_args::<()>(&data, 4, &[]);
        match (&json, &read) {
            (Ok(_), read) => prop_assert!(read.is_ok(), "{data} {read:?}"),
            // Unpaired surrogates are valid JSON, but not valid in a Rust string.
            (Err(_), Ok(())) => prop_assert!(
                serde_json::from_str::<serde_json::Value>(&replace_unpaired_surrogates(&data)).is_ok(),
                "{data}"
            ),
            (Err(_), Err(error)) => prop_assert!(matches!(error, ArgsError::Syntax(_)), "{data}"),
        }
    }

    #[test]
    fn no_text_panics(text in prop_oneof![nearly(), any::<String>()], offset in 0..30_usize) {
        let limits = Limits::default();
        let attachments = [Bytes::from_static(b"x")];
        let _ = EnginePacket::decode_text(&text);
        let _ = payload::decode(&text).count();
        let _ = OpenPacket::decode(&text);
        let _ = Query::parse(&text);
        let _ = SessionId::parse(&text).map(|id| id.worker());
        let _ = replace_unpaired_surrogates(&text);
        let _ = event_name(&text);
        for data in [Some(text.as_str()), decode(&text, &limits).ok().map(|packet| packet.data)] {
            let Some(data) = data else { continue };
            let _ = from_args::<(Value, String)>(data, offset, &[]);
            let _ = from_args::<(Binary, Option<u8>)>(data, offset, &attachments);
            let _ = validate(data, &attachments);
            let _ = Args::parse(data, offset, attachments.to_vec());
        }
    }
}
