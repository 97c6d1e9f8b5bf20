//! Any bytes as Engine.IO. A decoded packet must encode to text that decodes to the same packet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard_protocol::engineio::{OpenPacket, Packet, Query, SessionId, payload};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = Query::parse(text);
    if let Some(id) = SessionId::parse(text) {
        assert_eq!(id.as_str(), text);
        let _ = id.worker();
    }
    if let Ok(open) = OpenPacket::decode(text) {
        reencode_open(&open);
    }

    let packets: Vec<_> = payload::decode(text).collect();
    let mut body = Vec::new();
    for (number, packet) in packets.iter().flatten().enumerate() {
        if number > 0 {
            body.push(payload::SEPARATOR);
        }
        packet.encode_text(&mut body);
    }
    if let Some(Err(_)) = packets.last() {
        return;
    }
    let body = String::from_utf8(body).expect("packets are text");
    let again: Vec<_> = payload::decode(&body).collect();
    assert_eq!(packets, again);
    if let [Ok(packet)] = packets.as_slice() {
        assert_eq!(Packet::decode_text(text).as_ref(), Ok(packet));
    }
});

fn reencode_open(open: &switchboard_protocol::engineio::ReceivedOpen) {
    let Some(max_payload) = open.max_payload else {
        return;
    };
    let upgrades: Vec<_> = open.upgrades.iter().map(String::as_str).collect();
    let mut out = Vec::new();
    OpenPacket {
        sid: &open.sid,
        upgrades: &upgrades,
        ping_interval: open.ping_interval,
        ping_timeout: open.ping_timeout,
        max_payload,
    }
    .encode(&mut out);
    let out = String::from_utf8(out).expect("the open packet is text");
    let Ok(Packet::Open(json)) = Packet::decode_text(&out) else {
        panic!("not an open packet: {out}");
    };
    assert_eq!(OpenPacket::decode(json).as_ref(), Ok(open));
}
