//! The frames of hixie-75 and -76 give the same messages and the same error however they are cut into reads,
//! borrowed or owned. They never give more than the limit allows. The messages, written again, are read as
//! the same.
#![no_main]

#[path = "../../crates/websocket/tests/common/pieces.rs"]
mod pieces;

use libfuzzer_sys::fuzz_target;
use pieces::{Outcome, collect};
use switchboard_websocket::{Limits, OwnedMessage, drafts::hixie};

const MAX_MESSAGE: usize = 100;

fuzz_target!(|data: &[u8]| {
    // The first byte chooses the cut of the stream. The rest is the stream.
    let [cut, stream @ ..] = data else { return };
    let whole = decode(&[stream]);
    let pieces: Vec<&[u8]> = stream.chunks(usize::from(*cut).max(1)).collect();
    assert_eq!(whole, decode(&pieces));
    assert_eq!(whole, decode_owned(&pieces));
    let mut again = Vec::new();
    for message in &whole.0 {
        match message {
            OwnedMessage::Text(text) => {
                assert!(text.len() <= MAX_MESSAGE);
                hixie::encode_text(&mut again, text);
            }
            OwnedMessage::Close(None) => hixie::encode_close(&mut again),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(decode(&[&again]), (whole.0, None));
});

fn decoder() -> hixie::Decoder {
    hixie::Decoder::new(Limits::default().max_message_bytes(MAX_MESSAGE))
}

fn decode(pieces: &[&[u8]]) -> Outcome {
    let mut decoder = decoder();
    collect(pieces.iter().copied(), |input, pos| Ok(decoder.decode(input, pos)?.map(Into::into)))
}

fn decode_owned(pieces: &[&[u8]]) -> Outcome {
    let mut decoder = decoder();
    collect(pieces.iter().copied(), |input, pos| decoder.decode_owned(input, pos))
}
