//! The cost of one Socket.IO echo in the protocol: from a WebSocket frame's text to the text of the answer.
//! It prints nanoseconds, the median of many rounds.
//!
//! `cargo bench -p switchboard-protocol`

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use switchboard_protocol::engineio::Packet as EnginePacket;
use switchboard_protocol::socketio::{Limits, PacketType, decode, event_name, from_args, write_packet};

const ECHO: &str = r#"42["echo","hello world"]"#;

/// Prints the median time of one call of `work`.
fn measure<R>(name: &str, mut work: impl FnMut() -> R) {
    const ROUNDS: usize = 200;
    const CALLS: u32 = 20_000;
    let mut times: Vec<u128> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                black_box(work());
            }
            start.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    let tenths = times.get(ROUNDS / 2).copied().unwrap_or(0) * 10 / u128::from(CALLS);
    println!("{name:<44} {:>6}.{} ns", tenths / 10, tenths % 10);
}

fn inbound(frame: &str, limits: &Limits) -> String {
    let Ok(EnginePacket::Message(text)) = EnginePacket::decode_text(frame) else {
        return String::new();
    };
    let Ok(packet) = decode(text, limits) else {
        return String::new();
    };
    let Ok((name, offset)) = event_name(packet.data) else {
        return String::new();
    };
    black_box(&name);
    from_args(packet.data, offset, &[]).unwrap_or_default()
}

fn outbound(out: &mut Vec<u8>, attachments: &mut Vec<Bytes>, text: &str) {
    out.push(b'4');
    let event = PacketType::Event;
    let _ = write_packet(out, attachments, event, "/", None, Some("echo"), text);
}

fn main() {
    let limits = Limits::default();
    let mut out = Vec::with_capacity(256);
    let mut attachments = Vec::new();

    measure("echo, in and out", || {
        out.clear();
        let text = inbound(black_box(ECHO), &limits);
        outbound(&mut out, &mut attachments, &text);
        out.len()
    });
    measure("  Engine.IO decode", || EnginePacket::decode_text(black_box(ECHO)).is_ok());
    let text = &ECHO[1..];
    measure("  Socket.IO decode", || decode(black_box(text), &limits).is_ok());
    let data = &ECHO[2..];
    measure("  event_name", || event_name(black_box(data)).is_ok());
    measure("  from_args::<String>", || from_args::<String>(black_box(data), 7, &[]));
    measure("  from_args::<&str>", || from_args::<&str>(black_box(data), 7, &[]).is_ok());
    measure("  (serde_json's (IgnoredAny, String))", || {
        serde_json::from_str::<(serde::de::IgnoredAny, String)>(black_box(data))
    });
    measure("  write_packet::<str>", || {
        out.clear();
        outbound(&mut out, &mut attachments, black_box("hello world"));
        out.len()
    });
    measure("  (serde_json's (str, str))", || {
        out.clear();
        serde_json::to_writer(&mut out, black_box(&("echo", "hello world"))).is_ok()
    });
}
