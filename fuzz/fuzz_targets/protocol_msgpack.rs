//! Any bytes as a packet of MessagePack. Nothing panics, what is read stays within its bounds, and a packet
//! that was read can be written and is the same when it is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard_protocol::socketio::msgpack::{MsgPackLimits, decode, encode};

fuzz_target!(|bytes: &[u8]| {
    let limits = MsgPackLimits { max_depth: 16, max_binary_values: 4 };
    let Ok(packet) = decode(bytes, &limits) else {
        return;
    };
    assert!(packet.attachments.len() <= limits.max_binary_values);
    // Each byte becomes six characters at most; a binary value becomes a placeholder.
    assert!(packet.data.len() <= bytes.len() * 6 + packet.attachments.len() * 40);
    let mut out = Vec::new();
    // Only a peer that writes placeholders itself can name an attachment that is not there.
    if encode(&packet, &mut out).is_err() {
        assert!(packet.data.contains("_placeholder"));
        return;
    }
    let again = decode(&out, &limits).expect("what was written is a packet");
    assert_eq!((again.kind, &again.namespace, again.id), (packet.kind, &packet.namespace, packet.id));
    if !packet.data.contains("_placeholder") {
        assert_eq!(again.data, packet.data);
    }
});
