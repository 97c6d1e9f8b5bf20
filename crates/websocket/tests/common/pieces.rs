//! A stream cut into reads, and what a decoder makes of them: for tests, and for the fuzz targets, which take this file as theirs.

use switchboard_websocket::{OwnedMessage, ProtocolError};

/// What came, and which rule the stream broke.
pub(crate) type Outcome = (Vec<OwnedMessage>, Option<ProtocolError>);

/// Decodes pieces one after another, each of which is taken in whole.
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
