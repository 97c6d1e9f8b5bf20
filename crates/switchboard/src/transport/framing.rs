//! The list of all framings. A framing says how packets follow one another in an outbox. The hub knows a
//! framing only as a number; this file gives each number its meaning.

use std::io::Write;
use std::sync::OnceLock;

use switchboard_hub::Framing;
use switchboard_protocol::engineio::payload::SEPARATOR;
use switchboard_protocol::engineio::{Packet, v3};
use switchboard_protocol::{socketio06, socketio09};
use switchboard_websocket::deflate::{DeflateOptions, DeflateParameters};
use switchboard_websocket::drafts::hixie;
use switchboard_websocket::{Opcode, encode_frame};

use super::deflate;

/// Frames of RFC 6455.
pub const WEBSOCKET: Framing = Framing { id: 0, separator: None };

/// The payload of Engine.IO's polling: packets as text, with a separator between them.
pub(crate) const PAYLOAD: Framing = Framing { id: 1, separator: Some(SEPARATOR) };

/// Frames of the drafts hixie-75 and -76, which are text only.
pub(crate) const HIXIE: Framing = Framing { id: 2, separator: None };

/// Messages one after another, with nothing added: for protocols that delimit their messages themselves.
pub const BYTES: Framing = Framing { id: 3, separator: None };

/// Messages as chunks of an HTTP/1.1 body ([RFC 9112,
/// 7.1](https://www.rfc-editor.org/rfc/rfc9112#section-7.1)).
pub(crate) const CHUNKS: Framing = Framing { id: 4, separator: None };

/// The end of a body in chunks.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The payload of polling in protocol 3 of Engine.IO: packets as text, each with its length before it.
pub(crate) const PAYLOAD_V3: Framing = Framing { id: 5, separator: None };

/// The payload of Socket.IO 0.9's polling: packets with their lengths before them.
pub(crate) const OLD_PAYLOAD: Framing = Framing { id: 32, separator: None };

/// The number of the first page; those of pages in chunks are greater by [`IN_CHUNKS`].
const FIRST_PAGE: u8 = 33;
const IN_CHUNKS: u8 = 4;

/// Streaming answers of Socket.IO 0.9 and 0.6, in which packets stand within something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    /// Scripts, as 0.9 has them.
    Htmlfile09,
    /// Scripts, as 0.6 has them.
    Htmlfile06,
    /// Parts, as 0.6 has them.
    Multipart06,
}

impl Page {
    const ALL: [Self; 3] = [Self::Htmlfile09, Self::Htmlfile06, Self::Multipart06];

    /// The framing of a page in a body of this framing: [`CHUNKS`] or [`BYTES`].
    pub(crate) fn framing(self, body: Framing) -> Framing {
        let id = FIRST_PAGE + self as u8 + if body == CHUNKS { IN_CHUNKS } else { 0 };
        Framing { id, separator: None }
    }

    fn write(self, out: &mut Vec<u8>, text: &[u8]) {
        let text = &*String::from_utf8_lossy(text);
        match self {
            Self::Htmlfile09 => socketio09::write_script(out, text),
            Self::Htmlfile06 => socketio06::write_script(out, text),
            Self::Multipart06 => socketio06::write_part(out, text),
        }
    }
}

/// The first number of compressed frames: one number for each form of compression.
const FIRST_DEFLATE: u8 = 64;

/// The greatest number of forms of compression. A connection that would need one more goes without
/// compression, which a metric counts.
const DEFLATE_FORMS: usize = 64;

/// The options of compression that change the frames.
pub(super) type Form = (DeflateParameters, DeflateOptions);

/// The forms of this process. All workers and servers share the list, because a connection may move from one
/// worker to another.
static FORMS: Forms = Forms::new();

/// Forms, each at its index. A form is never removed, because frames of it may be on their way between
/// workers. The client chooses nothing but the window (9 to 15 bits). So one set of the server's options has
/// 7 forms at most, and there is room for 9 sets.
struct Forms([OnceLock<Form>; DEFLATE_FORMS]);

impl Forms {
    const fn new() -> Self {
        Self([const { OnceLock::new() }; DEFLATE_FORMS])
    }

    /// The number of a form, which is added if it is new. `None`: the list is full.
    fn number(&self, form: Form) -> Option<u8> {
        let at = self.0.iter().position(|slot| *slot.get_or_init(|| form) == form)?;
        u8::try_from(at).ok()
    }
}

/// Frames of RFC 6455, compressed in one form.
pub(crate) fn deflate_form(form: u8) -> Framing {
    Framing { id: FIRST_DEFLATE + form, separator: None }
}

/// The form that a number stands for. `None`: nobody has agreed on it.
pub(super) fn form(number: u8) -> Option<&'static Form> {
    FORMS.0.get(usize::from(number))?.get()
}

/// The number of the form of what was agreed on. `None`: the list is full.
pub(super) fn number_of_form(parameters: DeflateParameters, options: &DeflateOptions) -> Option<u8> {
    FORMS.number(form_of(parameters, options))
}

/// The form of what was agreed on. Options that do not change the frames are set to one value.
fn form_of(parameters: DeflateParameters, options: &DeflateOptions) -> Form {
    let parameters = DeflateParameters {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        client_max_window_bits: 15,
        ..parameters
    };
    let mut same = DeflateOptions::DEFAULT;
    (same.threshold, same.level, same.memory_level) =
        (options.threshold, options.level, options.memory_level);
    (parameters, same)
}

/// A framing, found by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    WebSocket,
    Payload,
    Hixie,
    Bytes,
    Chunks,
    PayloadV3,
    OldPayload,
    Page(Page),
    PageInChunks(Page),
    Deflate(u8),
}

impl Layout {
    /// `None`: no framing has this number.
    #[inline]
    pub(crate) fn of(framing: Framing) -> Option<Self> {
        match framing.id {
            0 => Some(Layout::WebSocket),
            1 => Some(Layout::Payload),
            2 => Some(Layout::Hixie),
            3 => Some(Layout::Bytes),
            4 => Some(Layout::Chunks),
            5 => Some(Layout::PayloadV3),
            32 => Some(Layout::OldPayload),
            id @ 33..40 => {
                let page = id - FIRST_PAGE;
                let layout = if page < IN_CHUNKS { Layout::Page } else { Layout::PageInChunks };
                Page::ALL.get(usize::from(page % IN_CHUNKS)).copied().map(layout)
            }
            6..FIRST_DEFLATE => None,
            form @ FIRST_DEFLATE.. => Some(Layout::Deflate(form - FIRST_DEFLATE)),
        }
    }

    /// Whether the framing can carry binary messages, if need be as text.
    pub(crate) fn has_binary(self) -> bool {
        self != Layout::Hixie
    }
}

/// The uncompressed framing that belongs to this one. Compressed and uncompressed messages may follow each
/// other in any order.
pub(crate) fn uncompressed(framing: Framing) -> Framing {
    if framing.id >= FIRST_DEFLATE { WEBSOCKET } else { framing }
}

/// Appends a text message in a framing. The text must be UTF-8.
#[inline]
pub(crate) fn write_text(framing: Framing, out: &mut Vec<u8>, text: &[u8]) {
    match Layout::of(framing) {
        Some(Layout::WebSocket) => encode_frame(out, Opcode::Text, text),
        Some(Layout::Payload | Layout::Bytes) => out.extend_from_slice(text),
        Some(Layout::PayloadV3) => v3::payload::encode(text, out),
        // The text is UTF-8. In other bytes, a byte could be taken for the end of the frame.
        Some(Layout::Hixie) => hixie::encode_text(out, &String::from_utf8_lossy(text)),
        Some(Layout::Chunks) => write_chunk(text, out),
        Some(Layout::Deflate(form)) => deflate::write_frame(form, out, Opcode::Text, text),
        Some(layout) => write_old(layout, out, text),
        None => unknown(framing),
    }
}

/// Appends a packet of Socket.IO 0.9, or a frame of 0.6.
#[inline(never)]
fn write_old(layout: Layout, out: &mut Vec<u8>, text: &[u8]) {
    match layout {
        Layout::Page(page) => page.write(out, text),
        Layout::PageInChunks(page) => {
            let mut piece = Vec::with_capacity(text.len() + 64);
            page.write(&mut piece, text);
            write_chunk(&piece, out);
        }
        _ => socketio09::payload::write_packet(out, &String::from_utf8_lossy(text)),
    }
}

/// Appends a binary message of Engine.IO in a framing: as base64 if the framing carries only text.
pub(crate) fn write_binary(framing: Framing, out: &mut Vec<u8>, bytes: &[u8]) {
    match Layout::of(framing) {
        Some(Layout::WebSocket) => encode_frame(out, Opcode::Binary, bytes),
        Some(Layout::Payload) => Packet::Binary(bytes.into()).encode_text(out),
        Some(Layout::PayloadV3) => write_binary_v3(framing, out, bytes),
        Some(Layout::Hixie | Layout::OldPayload | Layout::Page(_) | Layout::PageInChunks(_)) => {
            let mut packet = Vec::new();
            Packet::Binary(bytes.into()).encode_text(&mut packet);
            write_text(framing, out, &packet);
        }
        Some(Layout::Bytes) => out.extend_from_slice(bytes),
        Some(Layout::Chunks) => write_chunk(bytes, out),
        Some(Layout::Deflate(form)) => deflate::write_frame(form, out, Opcode::Binary, bytes),
        None => unknown(framing),
    }
}

/// Appends a piece of a body, as a chunk. An empty piece is not written: an empty chunk is the end of the
/// body.
pub(crate) fn write_chunk(piece: &[u8], out: &mut Vec<u8>) {
    if !piece.is_empty() {
        // Writing to a vector does not fail.
        let _written = write!(out, "{:x}\r\n", piece.len());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a binary message of Engine.IO protocol 3 in a framing: as `b4` and base64 if the framing carries only
/// text, else with the type's byte before it.
pub(crate) fn write_binary_v3(framing: Framing, out: &mut Vec<u8>, bytes: &[u8]) {
    let mut packet = Vec::new();
    if let Some(Layout::Payload | Layout::PayloadV3 | Layout::Hixie) = Layout::of(framing) {
        v3::encode_text(&Packet::Binary(bytes.into()), &mut packet);
        write_text(framing, out, &packet);
    } else {
        v3::encode_binary(bytes, &mut packet);
        write_binary(framing, out, &packet);
    }
}

/// Does not write a message in an unknown framing: a frame of another kind would break the peer's stream.
#[cold]
fn unknown(framing: Framing) {
    tracing::error!(?framing, "a message was not sent: there is no such framing");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_laid_as_its_framing_has_it() {
        for (framing, text, binary) in [
            (WEBSOCKET, &b"\x81\x02hi"[..], &b"\x82\x02\x00\xFF"[..]),
            (HIXIE, b"\x00hi\xFF", b"\x00bAP8=\xFF"),
            (PAYLOAD, b"hi", b"bAP8="),
            (BYTES, b"hi", b"\x00\xFF"),
            (CHUNKS, b"2\r\nhi\r\n", b"2\r\n\x00\xFF\r\n"),
            (PAYLOAD_V3, b"2:hi", b"6:b4AP8="),
            (OLD_PAYLOAD, "\u{fffd}2\u{fffd}hi".as_bytes(), "\u{fffd}5\u{fffd}bAP8=".as_bytes()),
            (
                Page::Htmlfile09.framing(BYTES),
                b"<script>_(\"hi\");</script>",
                b"<script>_(\"bAP8=\");</script>",
            ),
            (
                Page::Htmlfile06.framing(CHUNKS),
                b"2c\r\n<script>parent.s._(\"hi\", document);</script>\r\n",
                b"2f\r\n<script>parent.s._(\"bAP8=\", document);</script>\r\n",
            ),
            (
                Page::Multipart06.framing(BYTES),
                b"Content-Type: text/plain\n\nhi\n--socketio\n",
                b"Content-Type: text/plain\n\nbAP8=\n--socketio\n",
            ),
        ] {
            let (mut texts, mut binaries) = (Vec::new(), Vec::new());
            write_text(framing, &mut texts, b"hi");
            write_binary(framing, &mut binaries, &[0, 0xFF]);
            assert_eq!((&texts[..], &binaries[..]), (text, binary), "{framing:?}");
        }
    }

    #[test]
    fn a_binary_message_of_protocol_3_has_its_type() {
        for (framing, binary) in
            [(WEBSOCKET, &b"\x82\x03\x04\x00\xFF"[..]), (HIXIE, b"\x00b4AP8=\xFF"), (PAYLOAD_V3, b"6:b4AP8=")]
        {
            let mut out = Vec::new();
            write_binary_v3(framing, &mut out, &[0, 0xFF]);
            assert_eq!(out, binary, "{framing:?}");
        }
    }

    #[test]
    fn a_message_without_a_framing_is_not_written() {
        for id in [6, 63] {
            let mut out = Vec::new();
            write_text(Framing { id, separator: None }, &mut out, b"hi");
            write_binary(Framing { id, separator: Some(b'|') }, &mut out, b"hi");
            assert_eq!(out, b"");
        }
    }

    #[test]
    fn nine_sets_of_options_have_room_and_a_form_beyond_that_takes_no_other_ones_place() {
        let forms = Forms::new();
        let number = |threshold, server_max_window_bits| {
            let parameters = DeflateParameters {
                server_no_context_takeover: false,
                client_no_context_takeover: false,
                server_max_window_bits,
                client_max_window_bits: 15,
            };
            forms.number(form_of(parameters, &DeflateOptions::DEFAULT.threshold(threshold)))
        };
        let all: Vec<_> = (0..9).flat_map(|threshold| (9..=15).map(move |bits| (threshold, bits))).collect();
        let numbers: Vec<_> = all.iter().map(|&(threshold, bits)| number(threshold, bits)).collect();
        assert_eq!(numbers, (0..63).map(Some).collect::<Vec<_>>());
        assert_eq!([number(9, 9), number(9, 10), number(10, 9)], [Some(63), None, None]);
        assert_eq!(numbers, all.iter().map(|&(threshold, bits)| number(threshold, bits)).collect::<Vec<_>>());
    }

    #[test]
    fn each_framing_has_its_number() {
        let all = [
            WEBSOCKET,
            PAYLOAD,
            HIXIE,
            BYTES,
            CHUNKS,
            PAYLOAD_V3,
            OLD_PAYLOAD,
            Page::Htmlfile09.framing(BYTES),
            Page::Htmlfile06.framing(BYTES),
            Page::Multipart06.framing(BYTES),
            Page::Htmlfile09.framing(CHUNKS),
            Page::Htmlfile06.framing(CHUNKS),
            Page::Multipart06.framing(CHUNKS),
            deflate_form(0),
            deflate_form(DEFLATE_FORMS as u8 - 1),
        ];
        let ids: std::collections::HashSet<_> = all.iter().map(|framing| framing.id).collect();
        assert_eq!(ids.len(), all.len());
        assert!(all.iter().all(|&framing| Layout::of(framing).is_some()));
    }
}
