//! Positions in a history, and how they are written as text.

use std::fmt;
use std::str::FromStr;

/// A place in the history of a scope: an event's own number, or the number of the last event before a moment.
///
/// Positions are ordered. An epoch is one life of the history's server: a later life has a higher epoch, and
/// counts its events from 1 again. So a position of an earlier life stays true, even if that life ended
/// before its last events were stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The life of the server that gave the number.
    pub epoch: u64,
    /// The number of the event, from 1. 0: before the first event of the epoch.
    pub number: u64,
}

impl Position {
    /// The position of the next event.
    pub(crate) fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }
}

/// As clients get it: both numbers in hexadecimal digits, with `-` between them.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.epoch, self.number)
    }
}

/// The text is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position in a history")]
pub struct NotAPosition;

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let (epoch, number) = text.split_once('-').ok_or(NotAPosition)?;
        let read = |digits: &str| {
            // `from_str_radix` takes a sign too.
            let plain = digits.bytes().all(|c| c.is_ascii_hexdigit());
            u64::from_str_radix(digits, 16).ok().filter(|_| plain).ok_or(NotAPosition)
        };
        Ok(Self { epoch: read(epoch)?, number: read(number)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_is_read_as_it_was_written(epoch: u64, number: u64) {
            let position = Position { epoch, number };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn text_of_any_kind_is_a_position_or_an_error(text in "[0-9a-fx+-]{0,40}|.*") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string().parse(), Ok(position));
            }
        }
    }

    #[test]
    fn a_sign_or_a_missing_number_is_no_position() {
        for text in ["", "-", "1", "1-", "-1", "+1-1", "1-+1", "1-1-1", "g-1", "1-10000000000000000"] {
            assert_eq!(text.parse::<Position>(), Err(NotAPosition), "{text}");
        }
    }
}
