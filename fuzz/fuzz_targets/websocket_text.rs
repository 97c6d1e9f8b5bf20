//! Texts of any bytes, in any fragments and reads: the outcome is that of the standard library, at the first
//! read that has a bad byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard_websocket::{Decoder, FrameHeader, Limits, Message, Opcode, ProtocolError, Role};

fuzz_target!(|data: &[u8]| {
    let [fragment, read, text @ ..] = data else { return };
    let fragment = usize::from(*fragment) * 8 + 1;
    let read = usize::from(*read) * 8 + 1;
    one_frame_in_reads(text, read);
    whole(text);
    fragments_in_reads(text, fragment, read);
});

/// The outcome of the standard library for the part of a text that has come: the place where it is bad.
fn bad(text: &[u8], is_all: bool) -> Option<usize> {
    let error = std::str::from_utf8(text).err()?;
    (is_all || error.error_len().is_some()).then(|| error.valid_up_to())
}

fn one_frame_in_reads(text: &[u8], read: usize) {
    let mut decoder = Decoder::new(Role::Client, Limits::default());
    let header = FrameHeader::new(Opcode::Text, text.len());
    assert!(decoder.decode(&mut header.as_bytes().to_vec(), &mut 0).is_ok());
    let mut come = 0;
    for piece in text.chunks(read) {
        come += piece.len();
        let (mut piece, mut pos) = (piece.to_vec(), 0);
        let outcome = decoder.decode(&mut piece, &mut pos);
        match bad(&text[..come], come == text.len()) {
            Some(offset) => return assert_eq!(outcome, Err(ProtocolError::InvalidUtf8 { offset })),
            None if come == text.len() => {
                assert_eq!(outcome, Ok(std::str::from_utf8(text).ok().map(Message::Text)));
            }
            None => assert_eq!(outcome, Ok(None)),
        }
    }
}

fn whole(text: &[u8]) {
    let mut stream = FrameHeader::new(Opcode::Text, text.len()).as_bytes().to_vec();
    stream.extend_from_slice(text);
    let mut decoder = Decoder::new(Role::Client, Limits::default());
    let outcome = decoder.decode(&mut stream, &mut 0);
    match bad(text, true) {
        Some(offset) => assert_eq!(outcome, Err(ProtocolError::InvalidUtf8 { offset })),
        None => assert_eq!(outcome, Ok(std::str::from_utf8(text).ok().map(Message::Text))),
    }
}

fn fragments_in_reads(text: &[u8], fragment: usize, read: usize) {
    let mut stream = Vec::new();
    let mut opcode = Opcode::Text;
    for piece in text.chunks(fragment).take(500) {
        stream.extend_from_slice(FrameHeader::new(opcode, piece.len()).fin(false).as_bytes());
        stream.extend_from_slice(piece);
        opcode = Opcode::Continuation;
    }
    stream.extend_from_slice(FrameHeader::new(opcode, 0).as_bytes());
    let text = &text[..text.len().min(fragment * 500)];
    let mut decoder = Decoder::new(Role::Client, Limits::default());
    for piece in stream.chunks(read) {
        let (mut piece, mut pos) = (piece.to_vec(), 0);
        match decoder.decode(&mut piece, &mut pos) {
            Ok(None) => assert_eq!(pos, piece.len()),
            Ok(Some(message)) => {
                return assert_eq!(Some(message), std::str::from_utf8(text).ok().map(Message::Text));
            }
            Err(error) => {
                let Some(offset) = bad(text, true) else { panic!("{error} of a good text") };
                return assert_eq!(error, ProtocolError::InvalidUtf8 { offset });
            }
        }
    }
    panic!("the message has come");
}
