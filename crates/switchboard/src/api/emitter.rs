//! An event on its way to one socket, and how it is sent.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use switchboard_hub::Key;
use switchboard_protocol::socketio::write_args;
use tokio::sync::oneshot;

use super::ack::{AckFuture, AckReply};
use super::carrier::Kind;
use super::local::Sending;
use super::socket::{Socket, with_local};
use crate::{AckError, EmitError};

/// How long an acknowledgement is awaited unless [`Socket::timeout`] says otherwise.
pub(super) const ACK_TIMEOUT: Duration = Duration::from_secs(60);

/// An event in the making: how it is sent to one socket. Made by [`Socket::timeout`], [`Socket::volatile`]
/// and [`Socket::compress`].
#[derive(Debug, Clone, Copy)]
#[must_use = "nothing is sent until `emit` is called"]
pub struct Emitter<'a> {
    socket: &'a Socket,
    sending: Sending,
    timeout: Duration,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(socket: &'a Socket) -> Self {
        Self { socket, sending: Sending::default(), timeout: ACK_TIMEOUT }
    }

    /// Another time-out for the acknowledgement.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// May be dropped where the transport does not take it at once.
    pub fn volatile(self) -> Self {
        Self { sending: Sending { volatile: true, ..self.sending }, ..self }
    }

    /// Whether it is compressed; see [`Socket::compress`].
    pub fn compress(self, compress: bool) -> Self {
        Self { sending: Sending { compress, ..self.sending }, ..self }
    }

    /// Takes the place of the event of the same key that waits; see [`Socket::conflate`].
    pub fn conflate(self, key: &'a str) -> ConflatedEmitter<'a> {
        ConflatedEmitter { emitter: self, key }
    }

    /// Sends an event; see [`Socket::emit`].
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn emit<T: Serialize>(self, event: &str, args: T) -> Result<(), EmitError> {
        let key = self.socket.key()?;
        let sending = self.sending;
        if self.socket.shared.namespace.recovery.get().is_some() && !sending.volatile {
            return self.socket.emit_kept(event, &args, None, sending.compress);
        }
        if let Some(worker) = self.socket.worker(key) {
            // The packet is written into the worker's scratch buffer, with nothing of the worker borrowed.
            return with_local(&worker, key, |local| {
                let head = local.head(Kind::Event, None);
                worker.with_scratch(|packet| {
                    local.carrier.begin(packet, head);
                    let (json_at, mut attachments) = (packet.len(), Vec::new());
                    write_args(packet, &mut attachments, Some(event), &args)?;
                    // What was serialised may have disconnected it.
                    if !local.is_here() {
                        return Err(EmitError::Disconnected);
                    }
                    Ok(local.send_packet(&worker, head, packet, json_at, &attachments, sending)?)
                })
            });
        }
        let (json, attachments) = write(event, &args)?;
        let bytes = held_bytes(&json, &attachments);
        self.socket.on_worker_holding(bytes, move |worker, local| {
            let head = local.head(Kind::Event, None);
            Ok(local.send_json(worker, head, &json, &attachments, sending)?)
        })
    }

    /// Sends an event and awaits its acknowledgement; see [`Socket::emit_with_ack`].
    ///
    /// # Errors
    /// The future's: [`AckError`].
    pub fn emit_with_ack<R: DeserializeOwned>(self, event: &str, args: impl Serialize) -> AckFuture<R> {
        let (reply, result) = oneshot::channel();
        let (timeout, compress) = (self.timeout, self.sending.compress);
        let sent = write(event, &args).and_then(|(json, attachments)| {
            let bytes = held_bytes(&json, &attachments);
            self.socket.on_worker_holding(bytes, move |worker, local| {
                local.send_with_ack(worker, &json, &attachments, compress, timeout, AckReply::One(reply));
                Ok(())
            })
        });
        AckFuture::new(sent.map(|()| result).map_err(AckError::from))
    }
}

/// An event in the making that tells the newest state of a subject. Made by [`Socket::conflate`].
#[derive(Debug, Clone, Copy)]
#[must_use = "nothing is sent until `emit` is called"]
pub struct ConflatedEmitter<'a> {
    emitter: Emitter<'a>,
    key: &'a str,
}

impl ConflatedEmitter<'_> {
    /// Whether it is compressed; see [`Socket::compress`].
    pub fn compress(self, compress: bool) -> Self {
        Self { emitter: self.emitter.compress(compress), ..self }
    }

    /// Sends the event; see [`Socket::conflate`].
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn emit<T: Serialize>(self, event: &str, args: T) -> Result<(), EmitError> {
        let Emitter { socket, sending, .. } = self.emitter;
        if socket.shared.namespace.recovery.get().is_some() {
            socket.key()?;
            return socket.emit_kept(event, &args, Some(self.key.into()), sending.compress);
        }
        let (json, attachments) = write(event, &args)?;
        let key = Key { scope: socket.shared.namespace.scope, name: self.key.into() };
        let bytes = held_bytes(&json, &attachments) + self.key.len();
        socket.on_worker_holding(bytes, move |worker, local| {
            Ok(local.send_conflated(worker, &key, &json, &attachments, sending.compress)?)
        })
    }
}

/// The bytes that an event on its way to another thread holds.
pub(super) fn held_bytes(text: &[u8], attachments: &[Bytes]) -> usize {
    text.len() + attachments.iter().map(Bytes::len).sum::<usize>()
}

fn write<T: Serialize>(event: &str, args: &T) -> Result<(Vec<u8>, Vec<Bytes>), EmitError> {
    let (mut json, mut attachments) = (Vec::new(), Vec::new());
    write_args(&mut json, &mut attachments, Some(event), args)?;
    Ok((json, attachments))
}
