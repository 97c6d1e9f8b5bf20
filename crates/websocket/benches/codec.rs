//! Nanoseconds for each frame and gigabytes a second of the codec, on one core:
//! `cargo bench -p switchboard-websocket --bench codec`.
//!
//! Each figure is the fastest of some rounds: what the code costs when nothing else runs.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use switchboard_websocket::{
    Decoder, Limits, Message, Opcode, Role, encode_frame, encode_frame_masked, mask, mask_scalar,
};

const ROUNDS: usize = 200;

fn main() {
    println!("{:<44} {:>9} {:>9}", "", "ns/frame", "GB/s");
    for (name, opcode, payload) in [
        ("binary, 20 bytes", Opcode::Binary, vec![0xAB; 20]),
        ("text, 20 bytes, ASCII", Opcode::Text, vec![b'a'; 20]),
        ("text, 21 bytes, Korean", Opcode::Text, "가나다라마바사".as_bytes().to_vec()),
        ("text, 5 bytes, ASCII", Opcode::Text, vec![b'a'; 5]),
        ("text, 120 bytes, ASCII", Opcode::Text, vec![b'a'; 120]),
        ("text, 200 bytes, ASCII", Opcode::Text, vec![b'a'; 200]),
        ("text, 16 KiB, ASCII", Opcode::Text, vec![b'a'; 16 << 10]),
        ("binary, 16 KiB", Opcode::Binary, vec![b'a'; 16 << 10]),
    ] {
        for role in [Role::Server, Role::Client] {
            decode(&format!("decode, {role:?}: {name}"), role, opcode, &payload);
        }
    }
    encode("encode, 20 bytes", Opcode::Text, &[b'a'; 20]);
    for len in [5, 20, 64, 200, 1024, 16 << 10, 1 << 20] {
        let mut data = vec![0x5A; len];
        let times = ((1 << 18) / len).max(4);
        let fast = fastest(|| (0..times).for_each(|_| mask(black_box(&mut data), [1, 2, 3, 4], 0)));
        let slow = fastest(|| (0..times).for_each(|_| mask_scalar(black_box(&mut data), [1, 2, 3, 4], 0)));
        report(&format!("mask, {len} bytes"), fast, times, len);
        report(&format!("mask_scalar, {len} bytes"), slow, times, len);
    }
}

/// A read's worth of the same frame, decoded; then restored, which is not timed.
fn decode(name: &str, role: Role, opcode: Opcode, payload: &[u8]) {
    let frames = ((64 << 10) / (payload.len() + 8)).max(1);
    let mut pristine = Vec::new();
    for _ in 0..frames {
        match role {
            Role::Server => encode_frame_masked(&mut pristine, opcode, payload, [0x37, 0xFA, 0x21, 0x3D]),
            Role::Client => encode_frame(&mut pristine, opcode, payload),
        }
    }
    let mut decoder = Decoder::new(role, Limits::default());
    let mut input = pristine.clone();
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        input.copy_from_slice(&pristine);
        let start = Instant::now();
        let mut pos = 0;
        let mut bytes = 0;
        while let Some(message) = decoder.decode(&mut input, &mut pos).unwrap_or_default() {
            bytes += match message {
                Message::Text(text) => black_box(text).len(),
                Message::Binary(data) => black_box(data).len(),
                _ => 0,
            };
        }
        best = best.min(start.elapsed());
        assert_eq!(bytes, frames * payload.len());
    }
    report(name, best, frames, payload.len());
}

fn encode(name: &str, opcode: Opcode, payload: &[u8]) {
    let times = 2048;
    let mut out = Vec::with_capacity(times * (payload.len() + 14));
    let best = fastest(|| {
        out.clear();
        for _ in 0..times {
            encode_frame(&mut out, opcode, black_box(payload));
        }
    });
    report(name, best, times, payload.len());
}

fn fastest(mut work: impl FnMut()) -> Duration {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}

#[allow(clippy::cast_precision_loss, reason = "figures for a reader")]
fn report(name: &str, time: Duration, frames: usize, len: usize) {
    let nanos = time.as_nanos() as f64 / frames as f64;
    println!("{name:<44} {nanos:>9.1} {:>9.2}", len as f64 / nanos);
}
