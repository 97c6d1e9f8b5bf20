//! An event on its way to many, written once; and how each protocol writes it for its members: its dialect.
//!
//! An [`Event`] is a name, arguments as JSON and attachments. A member of a namespace has a [`Variant`]: the
//! number of its protocol's [`Dialect`] in the server's table, and a view, which is the number of the one
//! event that the member sees, where its protocol shows but one. What a view means is looked up when an event
//! is written, so nothing about members is known where events are emitted.

use std::any::TypeId;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use switchboard_hub::{Framing, Payload, Position, Target, Variant, Worker};
use switchboard_protocol::socketio::{ArgsError, WriteError, event_name, from_args, write_args};

use crate::transport::framing::{Layout, uncompressed, write_binary, write_binary_v3, write_text};

/// How a protocol writes events for its members.
pub trait Dialect: Send + Sync + 'static {
    /// Writes the event as one packet, which may be several messages. `view`: the event that the member sees;
    /// see [`Event::is_shown_by`]. `false`: members of this view have no use for the event, and nothing that
    /// was written goes to them.
    ///
    /// Called once for each form that the recipients of a broadcast need, on each worker.
    fn write(&self, event: &Event, view: u16, out: &mut Messages<'_>) -> bool;
}

/// A dialect's number in the table of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DialectId(u16);

impl DialectId {
    /// The variant of members that see all events.
    pub fn variant(self) -> Variant {
        self.with_view(0)
    }

    fn with_view(self, view: u16) -> Variant {
        Variant(u32::from(self.0) << 16 | u32::from(view))
    }
}

/// The dialect and the view of a variant.
fn parts(variant: Variant) -> (usize, u16) {
    ((variant.0 >> 16) as usize, (variant.0 & 0xFFFF) as u16)
}

/// A row of the table: a dialect, and the type that it is known by, if there is but one of its type.
type Row = (Option<TypeId>, Arc<dyn Dialect>);

/// The dialects of a server. Rows are added, never taken away: a member's variant stays true.
#[derive(Default)]
pub(crate) struct Dialects {
    rows: ArcSwap<Vec<Row>>,
    /// Held while a row is added.
    adding: Mutex<()>,
}

impl Dialects {
    /// Adds a dialect, one of each type; returns its number.
    pub(crate) fn add<D: Dialect>(&self, dialect: D) -> DialectId {
        self.add_row(Some(TypeId::of::<D>()), dialect)
    }

    /// Adds a dialect beside others of its type; returns its number.
    pub(crate) fn add_another<D: Dialect>(&self, dialect: D) -> DialectId {
        self.add_row(None, dialect)
    }

    fn add_row<D: Dialect>(&self, key: Option<TypeId>, dialect: D) -> DialectId {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.rows.load();
        let at = rows.iter().position(|row| key.is_some() && row.0 == key).unwrap_or_else(|| {
            let mut more = Vec::clone(&rows);
            more.push((key, Arc::new(dialect)));
            self.rows.store(Arc::new(more));
            rows.len()
        });
        DialectId(at as u16)
    }
}

/// A namespace, as its events know it.
pub(crate) struct EventScope {
    pub(crate) name: Arc<str>,
    /// The hub's name of the namespace, which other nodes know it by.
    key: Box<str>,
    pub(crate) dialects: Arc<Dialects>,
    /// The events that views show; view 0 is none of them.
    views: ArcSwap<Vec<Box<str>>>,
    outgoing: OnceLock<Box<dyn Outgoing>>,
}

/// Is told of each event on each worker, before the event goes to the worker's members.
pub(crate) trait Outgoing: Send + Sync {
    fn sending(&self, worker: &Worker, target: &Target, event: &Event);
}

impl EventScope {
    pub(crate) fn new(name: &Arc<str>, key: &str, dialects: &Arc<Dialects>) -> Arc<Self> {
        Arc::new(Self {
            name: Arc::clone(name),
            key: key.into(),
            dialects: Arc::clone(dialects),
            views: ArcSwap::from_pointee(vec![Box::default()]),
            outgoing: OnceLock::new(),
        })
    }

    /// Tells of each event from now on; the first to be told stays.
    pub(crate) fn set_outgoing(&self, outgoing: Box<dyn Outgoing>) {
        let _unchanged = self.outgoing.set(outgoing);
    }

    /// The variant of members that see one event, in this dialect. A namespace has 65 535 views at most;
    /// members of further ones see no event.
    pub(crate) fn view(&self, dialect: DialectId, event: &str) -> Variant {
        let mut at = 0;
        self.views.rcu(|views| {
            let known = views.iter().skip(1).position(|shown| **shown == *event);
            let mut views = Vec::clone(views);
            at = known.map_or(views.len(), |known| known + 1);
            if known.is_none() && u16::try_from(at).is_ok() {
                views.push(event.into());
            }
            views
        });
        dialect.with_view(u16::try_from(at).unwrap_or(0))
    }
}

/// An event with its arguments, written once.
pub struct Event {
    scope: Arc<EventScope>,
    /// `["event",argument,…]`
    json: Vec<u8>,
    attachments: Vec<Bytes>,
    /// Its position in its namespace's history, if it has one.
    position: OnceLock<Position>,
    /// Whether connections that compress are to compress it.
    compress: bool,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("namespace", &self.scope.name)
            .field("json", &self.json())
            .finish_non_exhaustive()
    }
}

impl Event {
    pub(crate) fn new<T: Serialize + ?Sized>(
        scope: &Arc<EventScope>,
        event: &str,
        args: &T,
        compress: bool,
    ) -> Result<Self, WriteError> {
        let mut json = Vec::with_capacity(128);
        let mut attachments = Vec::new();
        write_args(&mut json, &mut attachments, Some(event), args)?;
        Ok(Self { scope: Arc::clone(scope), json, attachments, position: OnceLock::new(), compress })
    }

    /// Reads an event that another node has [written](Payload::write). `None`: it is none, or its namespace
    /// is not known here.
    pub(crate) fn read(bytes: &[u8], scope: impl FnOnce(&str) -> Option<Arc<EventScope>>) -> Option<Self> {
        let (&compress, rest) = bytes.split_first()?;
        let (name, rest) = take_part(rest)?;
        let (json, mut rest) = take_part(rest)?;
        let mut attachments = Vec::new();
        while !rest.is_empty() {
            let attachment;
            (attachment, rest) = take_part(rest)?;
            attachments.push(Bytes::copy_from_slice(attachment));
        }
        event_name(std::str::from_utf8(json).ok()?).ok()?;
        let scope = scope(std::str::from_utf8(name).ok()?)?;
        let (json, position) = (json.to_vec(), OnceLock::new());
        Some(Self { scope, json, attachments, position, compress: compress != 0 })
    }

    /// The namespace that it was emitted to.
    pub fn namespace(&self) -> &str {
        &self.scope.name
    }

    /// Its name and arguments: `["event",argument,…]`, with no white space around it. Bytes in arguments are
    /// `{"_placeholder":true,"num":n}`, which names an [attachment](Self::attachments).
    pub fn json(&self) -> &str {
        // serde_json writes UTF-8 only.
        std::str::from_utf8(&self.json).unwrap_or_default()
    }

    pub(crate) fn json_bytes(&self) -> &[u8] {
        &self.json
    }

    /// Whether connections that compress are to compress it.
    pub(crate) fn compresses(&self) -> bool {
        self.compress
    }

    /// Its attachments.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Its position in the history of its namespace, which a client shows to get what came after it. `None`:
    /// the namespace has [none](crate::RecoveryOptions), or the event is volatile.
    pub fn position(&self) -> Option<Position> {
        self.position.get().copied()
    }

    /// Its name.
    pub fn name(&self) -> Cow<'_, str> {
        event_name(self.json()).map(|(name, _)| name).unwrap_or_default()
    }

    /// Its arguments, read as handlers' [`Data`](crate::Data) is.
    ///
    /// # Errors
    /// [`ArgsError`] where they do not fit the type.
    pub fn args<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ArgsError> {
        let json = self.json();
        let offset = event_name(json).map(|(_, offset)| offset).unwrap_or_default();
        from_args(json, offset, &self.attachments)
    }

    /// Whether it is the event that a view shows.
    pub fn is_shown_by(&self, view: u16) -> bool {
        self.scope.views.load().get(usize::from(view)).is_some_and(|shown| **shown == *self.name())
    }
}

impl Payload for Event {
    fn encode(&self, variant: Variant, framing: Framing, out: &mut Vec<u8>) -> bool {
        let framing = if self.compress { framing } else { uncompressed(framing) };
        let (dialect, view) = parts(variant);
        let rows = self.scope.dialects.rows.load();
        let Some((_, dialect)) = rows.get(dialect) else { return false };
        Layout::of(framing).is_some_and(|layout| {
            dialect.write(self, view, &mut Messages { framing, layout, out, any: false })
        })
    }

    fn sending(&self, worker: &Worker, target: &Target) {
        if let Some(outgoing) = self.scope.outgoing.get() {
            outgoing.sending(worker, target, self);
        }
    }

    fn is_plain(&self) -> bool {
        !self.compress
    }

    fn placed(&self, position: Position) {
        let _once = self.position.set(position);
    }

    fn bytes(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.compress));
        put_part(out, self.scope.key.as_bytes());
        put_part(out, &self.json);
        for attachment in &self.attachments {
            put_part(out, attachment);
        }
    }
}

/// Appends a part of an event between nodes: its length in 8 bytes, then its bytes.
pub(crate) fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    out.extend((part.len() as u64).to_le_bytes());
    out.extend_from_slice(part);
}

/// The first part, and the bytes behind it.
pub(crate) fn take_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

/// The messages of one packet, which are framed as the members' transport needs it.
pub struct Messages<'a> {
    framing: Framing,
    layout: Layout,
    out: &'a mut Vec<u8>,
    any: bool,
}

impl std::fmt::Debug for Messages<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages").field("framing", &self.framing).finish_non_exhaustive()
    }
}

impl<'a> Messages<'a> {
    /// Messages for an outbox of this framing. `None`: there is no such framing.
    pub fn new(framing: Framing, out: &'a mut Vec<u8>) -> Option<Self> {
        Some(Self { framing, layout: Layout::of(framing)?, out, any: false })
    }

    /// Adds a text message.
    pub fn text(&mut self, text: &str) {
        self.utf8(text.as_bytes());
    }

    /// Adds a text message, which is UTF-8.
    pub(crate) fn utf8(&mut self, text: &[u8]) {
        self.separate();
        write_text(self.framing, self.out, text);
    }

    /// Adds a binary message; where there is only text, as Engine.IO's base64.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.separate();
        write_binary(self.framing, self.out, bytes);
    }

    /// Adds a binary message of Engine.IO protocol 3.
    pub(crate) fn binary_v3(&mut self, bytes: &[u8]) {
        self.separate();
        write_binary_v3(self.framing, self.out, bytes);
    }

    /// Whether binary messages can be told from text. Those of the [drafts](crate::Builder::drafts) hixie-75
    /// and -76 cannot.
    pub fn takes_binary(&self) -> bool {
        self.layout.has_binary()
    }

    fn separate(&mut self) {
        if std::mem::replace(&mut self.any, true) {
            self.out.extend(self.framing.separator);
        }
    }
}
