//! Any bytes as Engine.IO protocol 3, in each form in which a POST brings packets. Decoding comes to an end,
//! packets encode to a payload that decodes to the same packets, and both forms agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard_protocol::engineio::v3::{self, TextDecoder, payload};
use switchboard_protocol::engineio::{Packet, jsonp};
use switchboard_protocol::socketio::{Limits, v4};

fuzz_target!(|bytes: &[u8]| {
    let _ = v3::decode_binary(bytes);
    let packets: Vec<_> = payload::decode_binary(bytes).collect();
    assert!(packets.len() <= bytes.len() + 1);
    again(&packets.into_iter().flatten().collect::<Vec<_>>());
    if let Some(form) = jsonp::decode_form(bytes) {
        text(&form);
    }
    if let Ok(body) = std::str::from_utf8(bytes) {
        text(body);
    }
});

fn text(body: &str) {
    let packets: Vec<_> = payload::decode(body).collect();
    assert!(packets.len() <= body.len() + 1);
    let packets: Vec<_> = packets.into_iter().flatten().collect();
    again(&packets);
    let mut texts = TextDecoder::default();
    for packet in &packets {
        if let Packet::Message(text) = packet {
            let own = texts.decode(text);
            let _ = v4::decode(&own, &Limits::default());
        }
    }
    let mut out = Vec::new();
    v4::write_ascii(body.as_bytes(), &mut out);
    assert!(out.is_ascii());
    let auth = v4::auth_of_query(body);
    assert!(auth.is_empty() || serde_json::from_str::<serde_json::Value>(&auth).is_ok());
}

/// The packets, written in both forms, are read as the same.
fn again(packets: &[Packet<'_>]) {
    if packets.is_empty() {
        return;
    }
    let (mut text, mut binary) = (Vec::new(), Vec::new());
    for packet in packets {
        let mut one = Vec::new();
        v3::encode_text(packet, &mut one);
        payload::encode(&one, &mut text);
        binary.push(0);
        binary.extend(one.len().to_string().bytes().map(|digit| digit - b'0'));
        binary.push(0xFF);
        binary.extend_from_slice(&one);
    }
    let text = String::from_utf8(text).expect("packets are text");
    let read: Result<Vec<_>, _> = payload::decode(&text).collect();
    assert_eq!(read.as_deref(), Ok(packets));
    let read: Result<Vec<_>, _> = payload::decode_binary(&binary).collect();
    assert_eq!(read.as_deref(), Ok(packets));
}
