//! The WebSocket protocol (RFC 6455): a sans-I/O codec, and a stream over tokio, for both ends.
