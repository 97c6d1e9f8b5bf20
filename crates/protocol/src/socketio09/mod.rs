//! Socket.IO protocol 1, which the clients of 0.7 to 0.9 speak: packets, payloads of several packets, and the
//! scripts of JSONP and htmlfile.
//!
//! Sources: the document of the protocol in `LearnBoost/socket.io-spec`, and the sources of socket.io 0.9.19
//! and socket.io-client 0.9.17. Where the document and the shipped clients disagree, the clients decide.
//!
//! An event has two forms. On the wire it is `{"name":"event","args":[argument,…]}`. In the rest of this crate
//! it is `["event",argument,…]`, as protocol 5 has it; [`event_json`] and [`write_event`] go from one form to
//! the other.

mod event;
mod packet;
pub mod payload;
mod rules;
mod script;
mod write;

pub(crate) use event::single_message;
pub(crate) use script::write_markup_safe;

pub use event::{acknowledged, event_json};
pub use packet::{DecodeError, Packet, PacketType, decode};
pub use rules::{Action, Lost, Rules, Times, Transport};
pub use script::{HTMLFILE_HEAD, write_js_string, write_jsonp, write_script};
pub use write::{
    Advice, HEARTBEAT, NOOP, Reason, endpoint, namespace, write_ack, write_connect, write_disconnect,
    write_error, write_event,
};
