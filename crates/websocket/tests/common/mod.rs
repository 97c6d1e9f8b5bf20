//! Functions that the tests of the codec share.
#![allow(dead_code, unused_imports, reason = "each test takes what it needs")]

mod pieces;

pub(crate) use pieces::{Outcome, collect};
use switchboard_websocket::{Decoder, Limits, OwnedMessage, ProtocolError, Role};

/// Feeds `pieces` one after another, as reads bring them, and collects the messages.
pub(crate) fn decode_pieces<'a>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    collect(pieces, |input, pos| Ok(decoder.decode(input, pos)?.map(Into::into)))
}

/// As [`decode_pieces`], with reads into the decoder's room where it has some.
pub(crate) fn decode_into_room<'a>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut messages = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            let (read, rest) = match decoder.room() {
                Some(room) => {
                    let (read, rest) = piece.split_at(piece.len().min(room.len()));
                    room[..read.len()].copy_from_slice(read);
                    decoder.fill(read.len());
                    (&[][..], rest)
                }
                None => (piece, &[][..]),
            };
            let (more, error) = decode_pieces(decoder, [read]);
            messages.extend(more);
            if error.is_some() {
                return (messages, error);
            }
            piece = rest;
        }
    }
    (messages, None)
}

/// Decodes bytes that come in one read.
pub(crate) fn decode(role: Role, limits: Limits, bytes: &[u8]) -> Outcome {
    decode_pieces(&mut Decoder::new(role, limits), [bytes])
}

/// Decodes bytes that come one by one.
pub(crate) fn decode_trickle(role: Role, limits: Limits, bytes: &[u8]) -> Outcome {
    decode_pieces(&mut Decoder::new(role, limits), bytes.chunks(1))
}
