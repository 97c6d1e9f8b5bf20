//! The memory that compression holds, measured at the allocator: the figures in the documentation of
//! `deflate`. The program has one test, because the allocator counts for all of it.
//!
//! ```text
//! cargo test -p switchboard-websocket --test deflate_memory -- --nocapture
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

mod counting;

use std::{io::Write, sync::atomic::Ordering};

use counting::{PEAK, held};
use flate2::{Compression, write::DeflateEncoder};
use switchboard_websocket::{
    Decoder, FrameHeader, Limits, Opcode, ProtocolError, Role,
    deflate::{DeflateOptions, DeflateParameters, Deflater, Inflater},
};

const CONNECTIONS: usize = 16;

#[test]
fn compression_holds_the_memory_that_the_documentation_states() {
    a_bomb_takes_no_more_than_the_limit();
    memory_of_connections();
}

/// One end of a connection.
struct End {
    deflater: Deflater,
    decoder: Decoder,
}

impl End {
    fn talk(&mut self, text: &[u8], frame: &mut Vec<u8>) {
        frame.clear();
        self.deflater.encode_frame(frame, Opcode::Text, text, None);
        self.hear(frame);
    }

    fn hear(&mut self, frame: &[u8]) {
        let (mut input, mut pos) = (frame.to_vec(), 0);
        assert!(self.decoder.decode(&mut input, &mut pos).unwrap().is_some());
        assert!(self.decoder.decode(&mut input, &mut pos).unwrap().is_none());
    }
}

fn ends(count: usize, parameters: DeflateParameters, options: DeflateOptions) -> Vec<End> {
    let end = || End {
        deflater: Deflater::new(Role::Server, parameters, &options),
        decoder: Decoder::new(Role::Client, Limits::default())
            .with_inflater(Inflater::new(Role::Client, parameters)),
    };
    // The vector has the size that a decoder and a deflater have within a connection.
    let mut ends = Vec::with_capacity(count);
    ends.extend((0..count).map(|_| end()));
    ends
}

/// Bytes that each connection holds besides the decoder: after the agreement, after sending, after receiving
/// too, and after doing both often.
fn measure(parameters: DeflateParameters, options: DeflateOptions) -> [usize; 4] {
    let text = b"a message that is worth its compression ".repeat(30);
    let mut frame = Vec::with_capacity(4000);
    // The thread keeps their states, as many as it keeps at any time.
    let mut others = ends(12, parameters, options);
    for _ in 0..3 {
        for end in &mut others {
            end.talk(&text, &mut frame);
        }
    }
    let before = held();
    let mut ends = ends(CONNECTIONS, parameters, options);
    let each = |before: usize| (held() - before).saturating_sub(CONNECTIONS * size_of::<End>()) / CONNECTIONS;
    let agreed = each(before);
    for end in &mut ends {
        frame.clear();
        end.deflater.encode_frame(&mut frame, Opcode::Text, &text, None);
    }
    let sent = each(before);
    let before_receiving = held();
    for end in &mut ends {
        end.hear(&frame);
    }
    let received = (held() - before_receiving) / CONNECTIONS;
    for _ in 0..50 {
        for end in &mut ends {
            end.talk(&text, &mut frame);
        }
    }
    [agreed, sent - agreed, received, each(before) - agreed]
}

fn memory_of_connections() {
    let parameters = |takeover: bool, bits| DeflateParameters {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: !takeover,
        server_max_window_bits: bits,
        client_max_window_bits: bits,
    };
    let options = DeflateOptions::default().threshold(0);
    // Without context the first connection makes the states that all use. The second measurement counts
    // nothing for them.
    let pool = held();
    measure(parameters(false, 15), options);
    println!("a thread's pool, without context: {} bytes", held() - pool);
    let [agreed, sent, received, often] = measure(parameters(false, 15), options);
    println!(
        "without context: {agreed} bytes when agreed, {sent} more having sent, {received} having received"
    );
    assert!(agreed <= 64 && sent == 0 && received == 0 && often == 0, "{agreed}, {sent}, {received}");

    for (bits, memory, most_sent, most) in
        [(15, 8, 2048, 52 << 10), (12, 5, 2048, 11 << 10), (9, 1, 1024, 2 << 10)]
    {
        let [agreed, sent, received, often] = measure(parameters(true, bits), options.memory_level(memory));
        println!(
            "with context, {bits} bits, memory level {memory}: {agreed} bytes when agreed, {sent} more having sent, \
             {received} having received, {often} having done so often"
        );
        assert!(agreed <= 64, "{agreed} bytes before anything was compressed");
        assert!(sent <= most_sent, "{sent} bytes for a message compressed with {bits} bits, level {memory}");
        assert!(received <= 2048, "{received} bytes for a message inflated");
        assert!(often <= most, "{often} bytes for both with {bits} bits");
    }
}

fn a_bomb_takes_no_more_than_the_limit() {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    for _ in 0..200 << 10 {
        encoder.write_all(&[0; 1 << 10]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let mut input = FrameHeader::new(Opcode::Binary, bomb.len()).rsv1().as_bytes().to_vec();
    input.extend_from_slice(&bomb);
    let limit = 1 << 20;
    let parameters = DeflateParameters {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    let mut decoder = Decoder::new(Role::Client, Limits::default().max_message_bytes(limit))
        .with_inflater(Inflater::new(Role::Client, parameters));
    let before = held();
    PEAK.store(before, Ordering::Relaxed);
    let refused = decoder.decode(&mut input, &mut 0).map(|message| message.is_some());
    let length = limit as u64 + 1;
    assert_eq!(refused, Err(ProtocolError::MessageTooLarge { length, limit }));
    let peak = PEAK.load(Ordering::Relaxed) - before;
    println!("a bomb of 200 MiB at a limit of 1 MiB: {peak} bytes at most");
    assert!(peak <= limit + (52 << 10), "{peak} bytes for a limit of {limit}");
}
