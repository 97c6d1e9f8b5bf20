//! Any bytes as a Socket.IO packet with attachments. Nothing panics, all ways to read the arguments agree,
//! and a decoded packet must encode to text that decodes to the same packet.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use switchboard_protocol::socketio::{
    Args, ArgsError, Assembler, Binary, Limits, Packet, Started, Value, decode, event_name, from_args,
    replace_unpaired_surrogates, validate, write_args, write_head,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let replaced = replace_unpaired_surrogates(text);
    assert_eq!(replace_unpaired_surrogates(&replaced), replaced);

    let limits = Limits::default();
    let Ok(packet) = decode(text, &limits) else {
        return;
    };
    head(&packet, &limits);
    let attachments = assemble(&packet, &limits);
    syntax(packet.data);
    let offset = match event_name(packet.data) {
        Ok((_, offset)) => offset,
        Err(_) => 0,
    };
    arguments(packet.data, offset, attachments);
});

/// The head and data of a packet, written again, decode to the same packet.
fn head(packet: &Packet<'_>, limits: &Limits) {
    let mut out = Vec::new();
    write_head(&mut out, packet.kind, packet.attachments, packet.namespace, packet.ack);
    out.extend_from_slice(packet.data.as_bytes());
    let out = String::from_utf8(out).expect("packets are text");
    assert_eq!(decode(&out, limits).as_ref(), Ok(packet));
}

/// Passes the announced attachments through the assembler.
fn assemble(packet: &Packet<'_>, limits: &Limits) -> Vec<Bytes> {
    let mut assembler = Assembler::new();
    if assembler.start(packet) == Ok(Started::Complete) {
        return Vec::new();
    }
    for number in 0_u8.. {
        let message = Bytes::from(vec![number; 3]);
        if let Some(whole) = assembler.push(message, limits).expect("awaited") {
            assert_eq!(&whole.packet.as_packet(), packet);
            assert_eq!(whole.attachments.len(), packet.attachments);
            return whole.attachments;
        }
    }
    unreachable!("at most ten attachments are announced");
}

/// Text that is valid here must be JSON. A JSON array within the depth must be valid here.
fn syntax(data: &str) {
    let valid = validate(data, &[]).is_ok();
    let json = serde_json::from_str::<&RawValue>(data).is_ok() && data.trim_start().starts_with('[');
    if valid && !data.is_empty() {
        assert!(json, "{data}");
    }
    if json && data.len() < 256 {
        assert!(valid, "{data}");
    }
}

/// All ways to read the arguments agree whether the text is malformed. Values survive a round trip.
fn arguments(data: &str, offset: usize, attachments: Vec<Bytes>) {
    let is_syntax = |error: &ArgsError| matches!(error, ArgsError::Syntax(_));
    let parsed = Args::parse(data, offset, attachments.clone());
    let malformed = parsed.as_ref().is_err_and(is_syntax);
    for error in [
        from_args::<(Value, Option<String>)>(data, offset, &attachments).err(),
        from_args::<(Option<Binary>, f64)>(data, offset, &attachments).err(),
        from_args::<(&str, Vec<Value>)>(data, offset, &attachments).err(),
        from_args::<Value>(data, offset, &attachments).err(),
    ] {
        assert_eq!(error.as_ref().is_some_and(is_syntax), malformed, "{data}");
    }
    let Ok(args) = parsed else {
        return;
    };
    let (mut out, mut written) = (Vec::new(), Vec::new());
    if write_args(&mut out, &mut written, Some("e"), &args).is_err() {
        // Only if attachments had to be numbered anew through a value that Rust cannot hold.
        assert!(args.values().is_err());
        return;
    }
    let out = String::from_utf8(out).expect("arguments are text");
    let (name, offset) = event_name(&out).expect("the name is there");
    assert_eq!(name, "e");
    let again = Args::parse(&out, offset, written).expect("what was written can be read");
    assert_eq!(again.values(), args.values());
    if let Ok(values) = args.values() {
        assert_eq!(Args::from(values.clone()).values(), Ok(values));
    }
}
