//! The options of compression: of WebSocket messages, and of answers to polls.

use std::str::FromStr;

use clap::Args;
use switchboard::{Builder, DeflateOptions};

const DEFAULT: DeflateOptions = DeflateOptions::DEFAULT;

/// Compression of WebSocket messages and of answers to polls.
#[derive(Debug, Clone, Args)]
pub struct Compression {
    /// Compress WebSocket messages for clients that offer it (permessage-deflate).
    #[arg(long, env = "SWITCHBOARD_DEFLATE")]
    pub deflate: bool,

    /// Let messages refer to earlier messages, in both directions. Small messages that resemble each other
    /// get much smaller. A connection that has sent and received compressed messages takes up to 50 KB more
    /// memory.
    #[arg(long, env = "SWITCHBOARD_DEFLATE_TAKEOVER", requires = "deflate")]
    pub deflate_takeover: bool,

    /// The size in bytes from which a WebSocket message is compressed.
    #[arg(long, env = "SWITCHBOARD_DEFLATE_THRESHOLD", value_name = "BYTES", requires = "deflate", default_value_t = DEFAULT.threshold)]
    pub deflate_threshold: usize,

    /// How hard to compress WebSocket messages, from 0 (not at all) and 1 (fast) to 9 (small).
    #[arg(long, env = "SWITCHBOARD_DEFLATE_LEVEL", value_name = "LEVEL", requires = "deflate", default_value_t = DEFAULT.level, value_parser = clap::value_parser!(u8).range(0..=9))]
    pub deflate_level: u8,

    /// How far back in the data a message may refer, in both directions, as a power of two, 9 to 15. A
    /// smaller value takes less memory and compresses less.
    #[arg(long, env = "SWITCHBOARD_DEFLATE_WINDOW_BITS", value_name = "BITS", requires = "deflate", default_value_t = DEFAULT.server_max_window_bits, value_parser = clap::value_parser!(u8).range(9..=15))]
    pub deflate_window_bits: u8,

    /// The size in bytes from which the answer to a long poll is compressed, for clients that take gzip or
    /// deflate; `off` for never.
    #[arg(long, env = "SWITCHBOARD_HTTP_COMPRESSION", value_name = "BYTES", default_value = "1024")]
    pub http_compression: Threshold,
}

/// The size in bytes from which data is compressed, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold(pub Option<usize>);

impl FromStr for Threshold {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse().map(|bytes| Self(Some(bytes))).map_err(|_| "neither `off` nor a number of bytes")
    }
}

impl Compression {
    /// The same builder with these options set.
    pub fn apply(&self, builder: Builder) -> Builder {
        let builder = builder.http_compression(self.http_compression.0);
        match self.deflate_options() {
            Some(options) => builder.per_message_deflate(options),
            None => builder,
        }
    }

    fn deflate_options(&self) -> Option<DeflateOptions> {
        let options = DEFAULT
            .context_takeover(self.deflate_takeover)
            .threshold(self.deflate_threshold)
            .level(self.deflate_level)
            .max_window_bits(self.deflate_window_bits);
        self.deflate.then_some(options)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Config;

    fn parse(arguments: &[&str]) -> Compression {
        let arguments = std::iter::once("switchboard").chain(arguments.iter().copied());
        Config::try_parse_from(arguments).expect("good").compression
    }

    #[test]
    fn websockets_are_compressed_if_asked_for() {
        assert_eq!(parse(&[]).deflate_options(), None);
        assert_eq!(parse(&["--deflate"]).deflate_options(), Some(DEFAULT));
        let all = [
            "--deflate",
            "--deflate-takeover",
            "--deflate-threshold=0",
            "--deflate-level=6",
            "--deflate-window-bits=12",
        ];
        let expected = DEFAULT.context_takeover(true).threshold(0).level(6).max_window_bits(12);
        assert_eq!(parse(&all).deflate_options(), Some(expected));
    }

    #[test]
    fn polls_are_compressed_unless_told_otherwise() {
        assert_eq!(parse(&[]).http_compression, Threshold(Some(1024)));
        assert_eq!(parse(&["--http-compression=0"]).http_compression, Threshold(Some(0)));
        assert_eq!(parse(&["--http-compression=off"]).http_compression, Threshold(None));
    }
}
