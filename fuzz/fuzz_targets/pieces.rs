//! A stream cut into reads, and what a decoder makes of them.

use switchboard_websocket::{OwnedMessage, ProtocolError};

/// What came, and which rule the stream broke.
pub type Outcome = (Vec<OwnedMessage>, Option<ProtocolError>);

/// Decodes pieces one after another, each of which is taken in whole.
pub fn collect(
    pieces: &[&[u8]],
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
        assert_eq!(pos, input.len());
    }
    (messages, None)
}
