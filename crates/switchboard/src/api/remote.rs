//! Sockets of any worker and node, as they were when they were asked for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use switchboard_hub::{MemberId, RoomName, SocketInfo};
use switchboard_protocol::socketio::ArgsError;

use super::namespace::{Namespace, NamespaceInner};
use super::operator::BroadcastOperator;
use crate::EmitError;
use crate::handshake::Handshake;
use crate::rooms::Rooms;

/// A socket of any worker and node, as it was when it was asked for: see
/// [`fetch_sockets`](BroadcastOperator::fetch_sockets). What is asked of it goes to its worker.
///
/// ```
/// # async fn run(io: switchboard::Switchboard) -> switchboard::Result {
/// for socket in io.of("/chat").to("lobby").fetch_sockets().await? {
///     if socket.handshake().header("x-version") == Some("1") {
///         socket.emit("please reload", ())?;
///         socket.disconnect(true)?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RemoteSocket {
    namespace: Arc<NamespaceInner>,
    id: MemberId,
    rooms: Vec<RoomName>,
    handshake: RemoteHandshake,
    data: Option<Box<RawValue>>,
}

/// The request that a socket's session began with, as [`Handshake`] serialises.
#[derive(Debug, Clone, Deserialize)]
pub struct RemoteHandshake {
    headers: HashMap<String, String>,
    url: String,
    address: Option<IpAddr>,
    secure: bool,
    /// In milliseconds since 1970.
    issued: u64,
}

/// What one worker tells another of a socket.
#[derive(Serialize)]
struct Snapshot<'a> {
    handshake: &'a Handshake,
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OwnedSnapshot {
    handshake: RemoteHandshake,
    data: Option<Box<RawValue>>,
}

/// Appends what is told of a socket.
pub(super) fn write_snapshot(out: &mut Vec<u8>, handshake: &Handshake, data: Option<&RawValue>) {
    let start = out.len();
    if let Err(error) = serde_json::to_writer(&mut *out, &Snapshot { handshake, data }) {
        tracing::error!(%error, "a socket cannot be described");
        out.truncate(start);
    }
}

impl RemoteSocket {
    /// `None`: it is no socket, but a member that its protocol tells nothing of.
    pub(super) fn new(namespace: &Arc<NamespaceInner>, info: SocketInfo) -> Option<Self> {
        let OwnedSnapshot { handshake, data } = serde_json::from_slice(&info.snapshot).ok()?;
        Some(Self { namespace: Arc::clone(namespace), id: info.id, rooms: info.rooms, handshake, data })
    }

    /// Its id.
    pub fn id(&self) -> crate::SocketId {
        self.id
    }

    /// The namespace it was in.
    pub fn namespace(&self) -> Namespace {
        Namespace { inner: Arc::clone(&self.namespace) }
    }

    /// The rooms it was in, that of its own id not among them.
    pub fn rooms(&self) -> &[RoomName] {
        &self.rooms
    }

    /// The request that its session began with.
    pub fn handshake(&self) -> &RemoteHandshake {
        &self.handshake
    }

    /// What was kept on it with [`Socket::set_data`](crate::Socket::set_data); `null` where nothing was.
    ///
    /// # Errors
    /// [`ArgsError::Data`]: it is no `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        read_data(self.data.as_deref())
    }

    fn operator(&self) -> BroadcastOperator {
        BroadcastOperator::new(&self.namespace, None).to(self.id)
    }

    /// Sends it an event. A tuple is the argument list; anything else is one argument.
    ///
    /// # Errors
    /// As [`BroadcastOperator::emit`]. That it has gone meanwhile is no error.
    pub fn emit<T: Serialize>(&self, event: &str, args: T) -> Result<(), EmitError> {
        self.operator().emit(event, args)
    }

    /// Lets it join rooms.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn join(&self, rooms: impl Rooms) -> Result<(), EmitError> {
        self.operator().join(rooms)
    }

    /// Lets it leave rooms.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn leave(&self, rooms: impl Rooms) -> Result<(), EmitError> {
        self.operator().leave(rooms)
    }

    /// Disconnects it; `close` closes its connection too.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn disconnect(&self, close: bool) -> Result<(), EmitError> {
        self.operator().disconnect(close)
    }
}

/// Reads data that was kept; where there is none, as `null`.
pub(super) fn read_data<T: DeserializeOwned>(data: Option<&RawValue>) -> Result<T, ArgsError> {
    let json = data.map_or("null", RawValue::get);
    serde_json::from_str(json).map_err(|error| ArgsError::Data(error.to_string()))
}

impl RemoteHandshake {
    /// The shape that `socket.handshake` has in Node, without `auth`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let (_, query) = self.url.split_once('?').unwrap_or_default();
        let query: serde_json::Map<_, _> = form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
            .collect();
        serde_json::json!({
            "headers": self.headers,
            "time": httpdate::fmt_http_date(self.time()),
            "address": self.address,
            "xdomain": self.header("origin").is_some(),
            "secure": self.secure,
            "issued": self.issued,
            "url": self.url,
            "query": query,
        })
    }

    /// The path and query that were asked for.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value of a parameter of the query, decoded; the last where it is there more than once.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.url.split_once('?')?;
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.filter(|(key, _)| key == name).last().map(|(_, value)| value.into_owned())
    }

    /// The value of a header that was [kept](crate::KeepHeaders); several are joined, as in Node.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    /// The headers that were kept, in no order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The client's address.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Whether it came over TLS, or a trusted proxy said so.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// When it came, to the millisecond.
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.issued)
    }
}
