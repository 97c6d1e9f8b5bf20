//! permessage-deflate on a worker's connections ([RFC 7692](https://www.rfc-editor.org/rfc/rfc7692)).
//!
//! Without context takeover a compressed frame depends only on the agreed options, its *form*. So each form
//! is a framing of the hub, and a broadcast is compressed once for all outboxes of that form.
//!
//! With context takeover a connection has a compressor of its own, for messages to that client alone.
//! Broadcasts are still compressed only once: a broadcast does not refer to earlier messages. The
//! connection's compressor then forgets its context, because the client's window has changed.

use std::cell::{Cell, RefCell};

use switchboard_hub::{Framing, Outbox};
use switchboard_websocket::deflate::{DeflateOptions, DeflateParameters, Deflater, Inflater};
use switchboard_websocket::handshake::server::Upgrade;
use switchboard_websocket::{Opcode, Role};

use super::framing::{self, deflate_form, number_of_form};

/// The options that server and client agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    form: u8,
    parameters: DeflateParameters,
}

impl Compression {
    /// Accepts an offer of the client and names it in the response. `None` if the server can keep none of the
    /// offers.
    pub(crate) fn accept(upgrade: &mut Upgrade<'_>, options: Option<&DeflateOptions>) -> Option<Self> {
        let options = options?;
        let before = *upgrade;
        let parameters = upgrade.accept_deflate(options)?;
        let form = number_of_form(parameters, options);
        if form.is_none() {
            metrics::counter!("switchboard_deflate_declined_total").increment(1);
            *upgrade = before;
        }
        Some(Self { form: form?, parameters })
    }

    #[cfg(test)]
    pub(crate) fn agreed(parameters: DeflateParameters, options: &DeflateOptions) -> Option<Self> {
        Some(Self { form: number_of_form(parameters, options)?, parameters })
    }

    /// The framing of packets in the connection's outbox.
    pub(crate) fn framing(self) -> Framing {
        deflate_form(self.form)
    }

    pub(crate) fn inflater(self) -> Inflater {
        Inflater::new(Role::Server, self.parameters)
    }

    /// The compressor for messages to this client alone, if the connection has a context.
    pub(crate) fn own(self) -> Option<Box<OwnDeflater>> {
        if self.parameters.server_no_context_takeover {
            return None;
        }
        let (_, options) = framing::form(self.form)?;
        let deflater = RefCell::new(Deflater::new(Role::Server, self.parameters, options));
        Some(Box::new(OwnDeflater { deflater, used: Cell::new(false) }))
    }
}

/// Appends a message as one frame, compressed in a form.
pub(crate) fn write_frame(form: u8, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    // No outbox has a form that nobody agreed on.
    if let Some((parameters, options)) = framing::form(form) {
        Deflater::new(Role::Server, *parameters, options).encode_frame(out, opcode, payload, None);
    }
}

/// The compressor of one connection, with its context.
pub(crate) struct OwnDeflater {
    deflater: RefCell<Deflater>,
    /// Whether anything was compressed since the last call of [`release_unused`](Self::release_unused).
    used: Cell<bool>,
}

impl OwnDeflater {
    /// Appends a message as one frame. `outbox` is the framing of the destination.
    pub(crate) fn encode_frame(&self, outbox: &Outbox, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
        let mut deflater = self.deflater.borrow_mut();
        if outbox.take_shared() {
            // The client's window has changed by messages that this compressor has not seen.
            deflater.forget();
        }
        deflater.encode_frame(out, opcode, payload, None);
        self.used.set(true);
    }

    /// Frees its memory if nothing was compressed since the last call.
    pub(crate) fn release_unused(&self) {
        if !self.used.replace(false) {
            self.deflater.borrow_mut().forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(takeover: bool, bits: u8) -> DeflateParameters {
        DeflateParameters {
            server_no_context_takeover: !takeover,
            client_no_context_takeover: !takeover,
            server_max_window_bits: bits,
            client_max_window_bits: bits,
        }
    }

    #[test]
    fn a_form_has_one_number_however_it_was_agreed_on() {
        let options = DeflateOptions::default().threshold(77);
        let form = number_of_form(parameters(false, 15), &options);
        assert!(form.is_some());
        assert_eq!(form, number_of_form(parameters(true, 15), &options.context_takeover(true)));
        assert_ne!(form, number_of_form(parameters(false, 12), &options));
        assert_ne!(form, number_of_form(parameters(false, 15), &options.threshold(78)));
    }

    #[test]
    fn clients_choose_among_seven_forms_of_one_set_of_options() {
        let options = DeflateOptions::default().threshold(91).context_takeover(true);
        let mut forms = std::collections::HashSet::new();
        for bits in 0..=16 {
            for offer in [
                String::new(),
                format!("; server_max_window_bits={bits}"),
                format!("; client_max_window_bits={bits}"),
                format!("; server_max_window_bits={bits}; client_max_window_bits={bits}"),
                format!("; server_max_window_bits={bits}; server_no_context_takeover"),
                format!("; server_max_window_bits={bits}; client_no_context_takeover"),
            ] {
                let request = http::Request::get("/")
                    .header("Host", "example.org")
                    .header("Upgrade", "websocket")
                    .header("Connection", "Upgrade")
                    .header("Sec-WebSocket-Version", "13")
                    .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
                    .header("Sec-WebSocket-Extensions", format!("permessage-deflate{offer}"));
                let (parts, ()) = request.body(()).unwrap().into_parts();
                let mut upgrade = Upgrade::check(&parts).unwrap();
                let accepted = Compression::accept(&mut upgrade, Some(&options));
                forms.extend(accepted.map(|compression| compression.form));
            }
        }
        assert_eq!(forms.len(), 7);
    }

    #[test]
    fn a_message_to_one_client_refers_to_nothing_before_a_broadcast() {
        let options = DeflateOptions::default().threshold(0).context_takeover(true);
        let agreed = parameters(true, 15);
        let compression = Compression::agreed(agreed, &options).unwrap();
        let own = compression.own().expect("a context");
        let outbox = Outbox::new(1000, compression.framing());
        let text = b"the same words, said to this client alone".repeat(4);
        let encode = || {
            let mut out = Vec::new();
            own.encode_frame(&outbox, &mut out, Opcode::Text, &text);
            out
        };
        let (first, second) = (encode(), encode());
        assert!(second.len() < first.len());
        outbox.note_shared();
        assert_eq!(encode(), first);
        assert_eq!(encode(), second);
        // An idle compressor forgets its context too.
        own.release_unused();
        assert!(own.deflater.borrow().holds_state());
        own.release_unused();
        assert!(!own.deflater.borrow().holds_state());
    }
}
