//! What the admin page is told of sockets, rooms and events.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value as Json;
use switchboard_protocol::socketio::iso_date;

use crate::api::namespace::NamespaceInner;
use crate::{
    Args, DisconnectReason, EmitError, Event, Handshake, Namespace, RoomEvent, Socket, SocketId, Switchboard,
    Value,
};

/// Tells the page, on this node and on others.
pub(super) struct Feed {
    /// Namespaces keep the functions that keep the feed.
    admin: Weak<NamespaceInner>,
    /// Sockets that were on polling when they were told of.
    polling: Mutex<Vec<Socket>>,
}

/// A socket as the page shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    id: SocketId,
    /// The same for all sockets of a client.
    client_id: String,
    transport: Option<&'static str>,
    nsp: String,
    data: Json,
    handshake: Json,
    /// The room of its own id is among them, as in Node.
    rooms: Vec<String>,
}

/// The time as `JSON.stringify` writes a `Date` of JavaScript.
fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).ok().and_then(iso_date).unwrap_or_default()
}

impl Feed {
    pub(super) fn new(admin: &Namespace) -> Self {
        Self { admin: Arc::downgrade(&admin.inner), polling: Mutex::default() }
    }

    /// Sends the page an event. A page that misses one shows it when it asks for all sockets again.
    pub(super) fn tell<T: Serialize>(&self, event: &str, args: T) {
        let Some(inner) = self.admin.upgrade() else { return };
        if let Err(error) = (Namespace { inner }).emit(event, args) {
            tracing::debug!(event, %error, "the admin page was not told");
        }
    }

    fn is_of_page(&self, namespace: &Namespace) -> bool {
        std::ptr::eq(self.admin.as_ptr(), Arc::as_ptr(&namespace.inner))
    }

    /// Tells of all that happens in the namespaces of a server.
    pub(super) fn follow(self: &Arc<Self>, io: &Switchboard) {
        let feed = Arc::clone(self);
        io.on_new_namespace(move |namespace| feed.follow_namespace(namespace));
        for namespace in io.namespaces() {
            self.follow_namespace(&namespace);
        }
    }

    fn follow_namespace(self: &Arc<Self>, namespace: &Namespace) {
        let feed = Arc::clone(self);
        namespace.on_connect(async move |socket: Socket| feed.connected(&socket).await);
        let feed = Arc::clone(self);
        namespace.on_disconnect(move |socket: Socket, reason: DisconnectReason| {
            let namespace = socket.namespace();
            feed.tell("socket_disconnected", (namespace.name(), socket.id(), reason.as_str(), now()));
        });
        let feed = Arc::clone(self);
        namespace.on_room_event(move |namespace, event| match event {
            RoomEvent::Joined { room, socket } => {
                feed.tell("room_joined", (namespace.name(), room, socket, now()));
            }
            RoomEvent::Left { room, socket } => {
                feed.tell("room_left", (namespace.name(), room, socket, now()));
            }
            _ => {}
        });
        if self.is_of_page(namespace) {
            // The page would be told of what it is told.
            return;
        }
        let feed = Arc::clone(self);
        namespace.on_any(move |socket: Socket, event: Event, args: Args| {
            feed.event("event_received", &socket, event, &args);
        });
        let feed = Arc::clone(self);
        namespace.on_any_outgoing(move |socket: Socket, event: Event, args: Args| {
            feed.event("event_sent", &socket, event, &args);
        });
    }

    async fn connected(&self, socket: &Socket) -> Result<(), EmitError> {
        let shown = Shown::local(socket).await?;
        if shown.transport == Some("polling") {
            self.polling.lock().unwrap_or_else(PoisonError::into_inner).push(socket.clone());
        }
        self.tell("socket_connected", (shown, now()));
        Ok(())
    }

    fn event(&self, direction: &str, socket: &Socket, Event(name): Event, args: &Args) {
        // JSON that Rust's types cannot hold is not shown.
        let Ok(values) = args.values() else { return };
        let args: Vec<_> = std::iter::once(Value::from(&*name)).chain(values).collect();
        self.tell(direction, (socket.namespace().name(), socket.id(), args, now()));
    }

    /// Tells of sockets that have gone from polling to WebSocket since the last call.
    pub(super) fn tell_upgrades(&self) {
        let mut polling = self.polling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut upgraded = Vec::new();
        polling.retain(|socket| match socket.transport() {
            Some("polling") => true,
            Some(transport) => {
                upgraded.push((socket.id(), socket.namespace(), transport));
                false
            }
            None => false,
        });
        drop(polling);
        for (id, namespace, transport) in upgraded {
            let nsp = namespace.name();
            self.tell("socket_updated", serde_json::json!({ "id": id, "nsp": nsp, "transport": transport }));
        }
    }

    /// All sockets of all namespaces, those of other nodes too.
    pub(super) async fn all_sockets(&self, io: &Switchboard) -> Result<Vec<Shown>, EmitError> {
        let mut all = Vec::new();
        for namespace in io.namespaces() {
            let local = namespace.local_sockets().await?;
            for socket in namespace.fetch_sockets().await? {
                // Of those of this node more is known.
                let here = local.iter().find(|here| here.id() == socket.id());
                let rooms = socket.rooms().iter().map(ToString::to_string);
                all.push(Shown {
                    id: socket.id(),
                    client_id: here.map_or_else(|| socket.id().to_string(), client_id),
                    transport: here.and_then(Socket::transport),
                    nsp: namespace.name().to_owned(),
                    data: socket.data().unwrap_or_default(),
                    handshake: socket.handshake().to_json(),
                    rooms: std::iter::once(socket.id().to_string()).chain(rooms).collect(),
                });
            }
        }
        Ok(all)
    }
}

impl Shown {
    /// A socket of this node.
    async fn local(socket: &Socket) -> Result<Self, EmitError> {
        let rooms = socket.rooms().await?;
        let rooms = rooms.iter().map(ToString::to_string);
        Ok(Self {
            id: socket.id(),
            client_id: client_id(socket),
            transport: socket.transport(),
            nsp: socket.namespace().name().to_owned(),
            data: socket.data().unwrap_or_default(),
            // A handshake always serialises.
            handshake: serde_json::to_value(socket.handshake()).unwrap_or_default(),
            rooms: std::iter::once(socket.id().to_string()).chain(rooms).collect(),
        })
    }
}

/// A name for the session of a socket. It tells nothing of the session's id, which is a secret.
fn client_id(socket: &Socket) -> String {
    Handshake::tag(socket.handshake())
}
