//! The decoder of a connection: frames of WebSocket, or nothing at all.

use switchboard_websocket::drafts::hixie;
use switchboard_websocket::{Decoder, Message, ProtocolError};

/// Decodes the bytes of a peer. It is not larger than a [`Decoder`].
#[derive(Debug)]
pub(crate) enum Codec {
    /// The frames of RFC 6455.
    Rfc6455(Decoder),
    /// The frames of hixie-75 and -76.
    Hixie(Box<hixie::Decoder>),
    /// The peer has nothing to say: its bytes are dropped.
    Silent,
}

impl Codec {
    /// As [`Decoder::decode`].
    #[inline]
    pub(crate) fn decode<'a>(
        &'a mut self,
        input: &'a mut [u8],
        pos: &mut usize,
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        match self {
            Self::Rfc6455(decoder) => decoder.decode(input, pos),
            Self::Hixie(decoder) => decoder.decode(input, pos),
            Self::Silent => {
                *pos = input.len();
                Ok(None)
            }
        }
    }

    /// As [`Decoder::room`]. The frames of hixie do not announce their length.
    #[inline]
    pub(crate) fn room(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Rfc6455(decoder) => decoder.room(),
            Self::Hixie(_) | Self::Silent => None,
        }
    }

    /// As [`Decoder::fill`].
    pub(crate) fn fill(&mut self, n: usize) {
        if let Self::Rfc6455(decoder) = self {
            decoder.fill(n);
        }
    }

    /// As [`Decoder::is_idle`].
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::Rfc6455(decoder) => decoder.is_idle(),
            Self::Hixie(decoder) => decoder.is_idle(),
            Self::Silent => true,
        }
    }

    /// As [`Decoder::unfinished_message`].
    #[inline]
    pub(crate) fn unfinished_message(&self) -> Option<usize> {
        match self {
            Self::Rfc6455(decoder) => decoder.unfinished_message(),
            Self::Hixie(decoder) => decoder.unfinished_message(),
            Self::Silent => None,
        }
    }

    /// As [`Decoder::shrink`].
    pub(crate) fn shrink(&mut self) {
        match self {
            Self::Rfc6455(decoder) => decoder.shrink(),
            Self::Hixie(decoder) => decoder.shrink(),
            Self::Silent => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_codec_drops_all_bytes_and_takes_no_room() {
        let mut codec = Codec::Silent;
        let mut at = 1;
        assert!(matches!(codec.decode(&mut [0x81, 0xFF, 0], &mut at), Ok(None)));
        assert_eq!((at, codec.is_idle(), codec.unfinished_message()), (3, true, None));
        assert!(codec.room().is_none());
        assert_eq!(size_of::<Codec>(), size_of::<Decoder>());
    }
}
