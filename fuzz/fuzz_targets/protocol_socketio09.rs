//! Any bytes as Socket.IO 0.9 and 0.6. What was decoded must encode to text that decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard_protocol::{socketio06, socketio09};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for packet in socketio09::payload::decode(text).flatten() {
        let _ = packet.split_query();
        let _ = socketio09::acknowledged(&packet);
        let mut json = Vec::new();
        if socketio09::event_json(&packet, &mut json).is_ok() {
            both_ways(&String::from_utf8(json).expect("events are text"));
        }
    }
    for message in socketio06::decode(text).flatten() {
        let mut json = Vec::new();
        if socketio06::event_json(&message, &mut json).is_ok() {
            both_ways(&String::from_utf8(json).expect("events are text"));
        }
    }
    let mut script = Vec::new();
    socketio09::write_script(&mut script, text);
    let inner = script.strip_prefix(b"<script>_(").and_then(|rest| rest.strip_suffix(b");</script>"));
    let inner = inner.expect("a script");
    assert!(!inner.contains(&b'<'));
    assert_eq!(serde_json::from_slice::<String>(inner).expect("a string"), text);
});

fn both_ways(json: &str) {
    let values: Vec<Box<serde_json::value::RawValue>> =
        serde_json::from_str(json).expect("an event is a list");
    assert!(!values.is_empty());
    let mut out = Vec::new();
    if !socketio09::write_event(&mut out, "/a", Some(1), json, &[]) {
        // Its name is reserved.
        return;
    }
    let text = std::str::from_utf8(&out).expect("packets are text");
    let packet = socketio09::decode(text).expect("a packet");
    assert_eq!((packet.id, packet.endpoint), (Some(1), "/a"));
    let mut again = Vec::new();
    socketio09::event_json(&packet, &mut again).expect("an event");

    let mut payload = Vec::new();
    socketio09::payload::write_packet(&mut payload, text);
    socketio09::payload::write_packet(&mut payload, text);
    let payload = std::str::from_utf8(&payload).expect("payloads are text");
    assert_eq!(socketio09::payload::decode(payload).flatten().collect::<Vec<_>>(), [packet, packet]);

    let mut frames = Vec::new();
    assert!(socketio06::write_event(&mut frames, json, &[]));
    let frames = std::str::from_utf8(&frames).expect("frames are text");
    assert_eq!(socketio06::decode(frames).filter(Result::is_ok).count(), 1);
}
