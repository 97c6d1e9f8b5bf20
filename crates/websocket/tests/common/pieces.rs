//! A stream cut into reads, and the outcome of a decoder. The tests use this file, and so do the fuzz
//! targets.

use switchboard_websocket::{OwnedMessage, ProtocolError};

/// The messages, and the rule that the stream broke.
pub(crate) type Outcome = (Vec<OwnedMessage>, Option<ProtocolError>);

/// Decodes pieces one after another. Each piece must be used up.
pub(crate) fn collect<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    mut decode: impl FnMut(&mut [u8], &mut usize) -> Result<Option<OwnedMessage>, ProtocolError>,
) -> Outcome {
    let mut messages = Vec::new();
    for piece in pieces {
        let (mut input, mut pos) = (piece.to_vec(), 0);
        loop {
            match decode(&mut input, &mut pos) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert_eq!(pos, input.len(), "`None` means that all of the input was taken");
    }
    (messages, None)
}
