//! The agreement on permessage-deflate (RFC 7692 §5 and §7.1). A client offers, a server answers the first
//! offer that it can keep, and the client checks the answer.

use std::fmt::Write;

use http::{HeaderMap, HeaderValue};

use super::{
    DeflateOptions, DeflateParameters, MAX_WINDOW_BITS, MIN_WINDOW_BITS,
    extensions::{Extension, extensions},
};

/// The extension's name.
const NAME: &str = "permessage-deflate";

/// The parameters of an offer or an answer.
#[derive(Clone, Copy, Debug, Default)]
struct Named {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: ClientWindow,
}

/// `client_max_window_bits`. In an offer it may have no value: the server may set one then (§7.1.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ClientWindow {
    #[default]
    Absent,
    Any,
    Bits(u8),
}

impl Named {
    /// Reads the parameters. `None` if one is unknown, comes twice, or has a value that is not allowed (§7).
    fn parse(extension: &Extension<'_>) -> Option<Self> {
        let mut named = Self::default();
        for parameter in extension.parameters() {
            let parameter = parameter.ok()?;
            let bits = parameter.number().filter(|bits| (8..=MAX_WINDOW_BITS).contains(bits));
            let doubled = match parameter.name {
                b"server_no_context_takeover" if parameter.value.is_none() => {
                    std::mem::replace(&mut named.server_no_context_takeover, true)
                }
                b"client_no_context_takeover" if parameter.value.is_none() => {
                    std::mem::replace(&mut named.client_no_context_takeover, true)
                }
                b"server_max_window_bits" => named.server_max_window_bits.replace(bits?).is_some(),
                b"client_max_window_bits" => {
                    let window =
                        if parameter.value.is_none() { ClientWindow::Any } else { ClientWindow::Bits(bits?) };
                    std::mem::replace(&mut named.client_max_window_bits, window) != ClientWindow::Absent
                }
                _ => return None,
            };
            if doubled {
                return None;
            }
        }
        Some(named)
    }
}

/// The answer of a server to an offer that it accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) parameters: DeflateParameters,
    /// The offer bounds the server's window, so that the answer must bound it too (§7.1.2.1).
    names_server_window: bool,
}

/// Accepts the first offer that is in order and that this end can keep. `None` declines all of them.
pub(crate) fn accept(headers: &HeaderMap, options: &DeflateOptions) -> Option<Answer> {
    let options = options.clamped();
    let offers = extensions(headers).filter(|extension| extension.name == NAME.as_bytes());
    offers.filter_map(|offer| Named::parse(&offer)).find_map(|offer| {
        let asked = offer.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
        // zlib has no compressor for so small a window, so that this end cannot keep the offer.
        if asked < MIN_WINDOW_BITS {
            return None;
        }
        // A client that does not send the parameter does not know it (§7.1.2.2). Its value is a hint. A hint
        // of 8 is not answered, because the client may use 9.
        let client_max_window_bits = match offer.client_max_window_bits {
            ClientWindow::Any => options.client_max_window_bits,
            ClientWindow::Bits(hint) if hint >= MIN_WINDOW_BITS => hint.min(options.client_max_window_bits),
            _ => MAX_WINDOW_BITS,
        };
        let parameters = DeflateParameters {
            server_no_context_takeover: options.server_no_context_takeover
                || offer.server_no_context_takeover,
            // No context is kept for a client that says it does not use it.
            client_no_context_takeover: options.client_no_context_takeover
                || offer.client_no_context_takeover,
            server_max_window_bits: asked.min(options.server_max_window_bits),
            client_max_window_bits,
        };
        let names_server_window =
            offer.server_max_window_bits.is_some() || parameters.server_max_window_bits < MAX_WINDOW_BITS;
        Some(Answer { parameters, names_server_window })
    })
}

impl Answer {
    /// The value of the answer's `Sec-WebSocket-Extensions`.
    pub(crate) fn header(self) -> HeaderValue {
        let parameters = self.parameters;
        let server_bits = self.names_server_window.then_some(parameters.server_max_window_bits);
        let client_window = match parameters.client_max_window_bits {
            MAX_WINDOW_BITS => ClientWindow::Absent,
            bits => ClientWindow::Bits(bits),
        };
        header(parameters, server_bits, client_window)
    }
}

/// The offer of a client.
pub(crate) fn offer(options: &DeflateOptions) -> HeaderValue {
    let options = options.clamped();
    let parameters = DeflateParameters {
        server_no_context_takeover: options.server_no_context_takeover,
        client_no_context_takeover: options.client_no_context_takeover,
        server_max_window_bits: options.server_max_window_bits,
        client_max_window_bits: options.client_max_window_bits,
    };
    let server_bits = Some(parameters.server_max_window_bits).filter(|&bits| bits < MAX_WINDOW_BITS);
    let client_window = match parameters.client_max_window_bits {
        MAX_WINDOW_BITS => ClientWindow::Any,
        bits => ClientWindow::Bits(bits),
    };
    header(parameters, server_bits, client_window)
}

/// Checks a server's answer to the [`offer`]. `Ok(None)`: the server declined. `Err`: the answer names a
/// parameter that was not offered, or a value that is not allowed, and the connection must be failed (§5.1
/// and §7).
pub(crate) fn check_answer(
    headers: &HeaderMap,
    offered: Option<&DeflateOptions>,
) -> Result<Option<DeflateParameters>, NotOffered> {
    let mut answers = extensions(headers);
    let Some(answer) = answers.next() else { return Ok(None) };
    let offered = offered.ok_or(NotOffered)?.clamped();
    if answers.next().is_some() || answer.name != NAME.as_bytes() {
        return Err(NotOffered);
    }
    let answer = Named::parse(&answer).ok_or(NotOffered)?;
    let client_max_window_bits = match answer.client_max_window_bits {
        ClientWindow::Absent => offered.client_max_window_bits,
        ClientWindow::Bits(bits) if bits <= offered.client_max_window_bits => bits,
        _ => return Err(NotOffered),
    };
    let server_max_window_bits = answer.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
    if answer.server_max_window_bits.is_some_and(|bits| bits > offered.server_max_window_bits) {
        return Err(NotOffered);
    }
    Ok(Some(DeflateParameters {
        server_no_context_takeover: answer.server_no_context_takeover,
        // This end keeps its promise, also where the server does not ask for it.
        client_no_context_takeover: answer.client_no_context_takeover || offered.client_no_context_takeover,
        server_max_window_bits,
        client_max_window_bits,
    }))
}

/// An answer that does not fit the offer.
#[derive(Debug)]
pub(crate) struct NotOffered;

fn header(
    parameters: DeflateParameters,
    server_bits: Option<u8>,
    client_window: ClientWindow,
) -> HeaderValue {
    let mut value = NAME.to_owned();
    if parameters.server_no_context_takeover {
        value.push_str("; server_no_context_takeover");
    }
    if parameters.client_no_context_takeover {
        value.push_str("; client_no_context_takeover");
    }
    // A write to a string cannot fail.
    let _ = server_bits.map(|bits| write!(value, "; server_max_window_bits={bits}"));
    let _ = match client_window {
        ClientWindow::Absent => Ok(()),
        ClientWindow::Any => value.write_str("; client_max_window_bits"),
        ClientWindow::Bits(bits) => write!(value, "; client_max_window_bits={bits}"),
    };
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(NAME))
}
