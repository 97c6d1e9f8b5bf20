//! The contexts of more connections than a thread keeps states for. Each connection goes on with its context,
//! which is made again from its bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use switchboard_websocket::{
    Decoder, FrameHeader, Limits, Message, Opcode, Role,
    deflate::{DeflateOptions, DeflateParameters, Deflater, Inflater},
};

/// More connections than a thread keeps states for.
const CONNECTIONS: usize = 20;
const ROUNDS: usize = 16;

fn parameters(bits: u8) -> DeflateParameters {
    DeflateParameters {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: bits,
        client_max_window_bits: bits,
    }
}

/// The messages of a connection: words of its own that come again and again, and sometimes a longer message.
fn message(connection: usize, round: usize) -> Vec<u8> {
    let words =
        [format!("connection {connection} says "), format!("in round {round} "), "as always, ".into()];
    let times = if (connection + round).is_multiple_of(7) { 2000 } else { 10 + connection % 50 };
    (0..times)
        .flat_map(|number| format!("{}{}", words[number % 3], number * connection).into_bytes())
        .collect()
}

/// The payload of a server's frame, and whether it is compressed.
fn payload(frame: &[u8]) -> (&[u8], bool) {
    let start = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    (&frame[start..], frame[0] & 0x40 != 0)
}

/// zlib's own inflater, with the whole stream of one connection.
fn inflate(inflater: &mut Decompress, compressed: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(1 << 18);
    let input = [compressed, &[0, 0, 0xFF, 0xFF]].concat();
    inflater.decompress_vec(&input, &mut message, FlushDecompress::Sync).unwrap();
    message
}

#[test]
fn messages_that_many_connections_send_in_turn_are_one_stream_for_each() {
    for (bits, level) in [(15, 1), (15, 6), (12, 9), (9, 1), (9, 6)] {
        let options = DeflateOptions::default().threshold(0).level(level);
        let deflater = || Deflater::new(Role::Server, parameters(bits), &options);
        let inflater = || Decompress::new_with_window_bits(false, bits);
        let mut ends: Vec<_> = (0..CONNECTIONS).map(|_| (deflater(), inflater())).collect();
        let mut sent = [0; 2];
        for round in 0..ROUNDS {
            for (connection, (deflater, inflater)) in ends.iter_mut().enumerate() {
                let (said, mut frame) = (message(connection, round), Vec::new());
                deflater.encode_frame(&mut frame, Opcode::Text, &said, None);
                let (compressed, is_compressed) = payload(&frame);
                assert!(is_compressed && deflater.holds_state());
                assert_eq!(
                    inflate(inflater, compressed),
                    said,
                    "{bits} bits, level {level}, {connection}, {round}"
                );
                if said.len() < 1000 {
                    sent[usize::from(round > 0)] += compressed.len() * if round > 0 { 1 } else { ROUNDS - 1 };
                }
            }
        }
        // A message refers to the connection's earlier messages, though its state was given away.
        assert!(sent[1] * 3 < sent[0] * 2 || bits == 9, "{sent:?} with {bits} bits, level {level}");
    }
}

#[test]
fn a_state_that_a_thread_was_left_with_is_not_taken_up_again() {
    let options = DeflateOptions::default().threshold(0);
    let mut deflater = Deflater::new(Role::Server, parameters(15), &options);
    let mut inflater = Decompress::new(false);
    let mut say = |deflater: &mut Deflater, round| {
        let (said, mut frame) = (message(3, round), Vec::new());
        deflater.encode_frame(&mut frame, Opcode::Text, &said, None);
        assert_eq!(inflate(&mut inflater, payload(&frame).0), said, "{round}");
    };
    for round in 0..6 {
        if round % 2 == 0 {
            say(&mut deflater, round);
        } else {
            std::thread::scope(|scope| scope.spawn(|| say(&mut deflater, round)).join().unwrap());
        }
    }
}

#[test]
fn messages_that_many_connections_receive_in_turn_are_one_stream_for_each() {
    let decoder = || {
        let inflater = Inflater::new(Role::Client, parameters(15));
        Decoder::new(Role::Client, Limits::default()).with_inflater(inflater)
    };
    let mut ends: Vec<_> =
        (0..CONNECTIONS).map(|_| (Compress::new(Compression::best(), false), decoder())).collect();
    for round in 0..ROUNDS {
        for (connection, (compressor, decoder)) in ends.iter_mut().enumerate() {
            let said = message(connection, round);
            let mut compressed = Vec::with_capacity(1 << 18);
            // Sometimes a peer ends its stream with a last block, and begins another one (RFC 7692, 7.2.3.4).
            let ends_stream = (connection + round) % 5 == 0;
            let flush = if ends_stream { FlushCompress::Finish } else { FlushCompress::Sync };
            compressor.compress_vec(&said, &mut compressed, flush).unwrap();
            if ends_stream {
                compressor.reset();
                compressed.push(0);
            } else {
                assert_eq!(compressed.split_off(compressed.len() - 4), [0, 0, 0xFF, 0xFF]);
            }
            let header = FrameHeader::new(Opcode::Text, compressed.len()).rsv1();
            let mut frame = [header.as_bytes(), &compressed].concat();
            // It comes in two pieces. Other connections use their states in between.
            let (first, second) = frame.split_at_mut(header.as_bytes().len() + compressed.len() / 2);
            let _incomplete = decoder.decode(first, &mut 0).unwrap();
            let message = decoder.decode(second, &mut 0).unwrap().unwrap();
            assert_eq!(message, Message::Text(std::str::from_utf8(&said).unwrap()), "{connection}, {round}");
        }
    }
}
