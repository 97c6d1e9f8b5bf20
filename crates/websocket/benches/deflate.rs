//! The microseconds to compress and to inflate a message, and the size that is left of it, on one core:
//! `cargo bench -p switchboard-websocket --bench deflate`.
//!
//! Each figure is the fastest of several rounds, which is the time of the code when nothing else runs.

#![allow(clippy::cast_precision_loss, reason = "figures for reading")]

use std::{
    fmt::Write,
    hint::black_box,
    time::{Duration, Instant},
};

use switchboard_websocket::{
    Decoder, Limits, Opcode, Role,
    deflate::{DeflateOptions, DeflateParameters, Deflater, Inflater},
};

const ROUNDS: usize = 60;
const MESSAGES: usize = 32;

fn main() {
    println!("{:<46} {:>10} {:>10} {:>8}", "", "deflate", "inflate", "left");
    for len in [200, 1 << 10, 16 << 10] {
        let messages: Vec<_> = (0..MESSAGES).map(|seed| json(len, seed as u64)).collect();
        for takeover in [false, true] {
            for level in [1, 2, 3, 4, 6, 9] {
                let (deflate, inflate, left) = measure(&messages, takeover, level);
                let context = if takeover { "with" } else { "without" };
                println!(
                    "{:<46} {:>7.2} µs {:>7.2} µs {:>6.1} %",
                    format!("JSON of {len} bytes, {context} context, level {level}"),
                    deflate,
                    inflate,
                    left * 100.0
                );
            }
        }
    }
}

fn measure(messages: &[String], takeover: bool, level: u8) -> (f64, f64, f64) {
    let parameters = DeflateParameters {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: !takeover,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    let options = DeflateOptions::default().threshold(0).level(level);
    let mut deflater = Deflater::new(Role::Server, parameters, &options);
    let mut decoder =
        Decoder::new(Role::Client, Limits::default()).with_inflater(Inflater::new(Role::Client, parameters));
    let (mut deflating, mut inflating) = (Duration::MAX, Duration::MAX);
    let mut frames = Vec::new();
    for _ in 0..ROUNDS {
        frames.clear();
        let start = Instant::now();
        for message in messages {
            deflater.encode_frame(&mut frames, Opcode::Text, black_box(message.as_bytes()), None);
        }
        deflating = deflating.min(start.elapsed());
        let mut pos = 0;
        let start = Instant::now();
        while let Ok(Some(message)) = decoder.decode(&mut frames, &mut pos) {
            black_box(message);
        }
        inflating = inflating.min(start.elapsed());
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / messages.len() as f64;
    let bytes: usize = messages.iter().map(String::len).sum();
    (each(deflating), each(inflating), frames.len() as f64 / bytes as f64)
}

/// An array of records of about this length, such as services send.
fn json(len: usize, seed: u64) -> String {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let names = ["Ada", "Grace", "Edsger", "Barbara", "Donald", "Niklaus", "Tony", "Leslie"];
    let mut text = String::from("[");
    while text.len() < len {
        let (id, name, price) = (next() % 1_000_000, names[(next() % 8) as usize], next() % 100_000);
        let _ = write!(
            text,
            r#"{{"id":{id},"name":"{name}","price":{}.{:02},"online":{},"tags":["new","sale"]}},"#,
            price / 100,
            price % 100,
            id % 2 == 0
        );
    }
    text.truncate(len - 1);
    text.push(']');
    text
}
