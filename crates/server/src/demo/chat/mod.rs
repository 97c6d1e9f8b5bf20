//! The chat on the first page: rooms, members, typing, history, pictures, and a return after a lost
//! connection.
//!
//! Its contract is `web/src/events.ts`; [`mount`] serves it in the namespace `/chat`. Read in this order: the
//! handlers here; `rules`, the checks of requests; `state` with `room`, `pictures` and `limits`, the effect
//! of each request; `sender`, which tells all members in one order.

mod limits;
mod pictures;
mod room;
mod rules;
mod sender;
mod state;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use serde::de::DeserializeOwned;
use sha2::Sha256;
use switchboard::{Args, Auth, Binary, Error, Namespace, Socket, Switchboard, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::hex::hex;
use sender::{Outgoing, hub_room};
use state::{Posted, State};
use wire::{
    Content, Enter, Entered, MemberId, Refusal, RefusalCode, Reply, RoomName, Said, Say, SendImage, Typing,
    WhichPicture,
};

/// The greatest number of messages and typing events that may wait to be sent. If the queue is full, visitors
/// are asked to try again.
const QUEUE: usize = 1024;

const BUSY: Refusal = Refusal::new(RefusalCode::TooFast, "The server is busy: try again in a second.");
const LEFT: Refusal = Refusal::new(RefusalCode::NotEntered, "The connection has ended.");

/// The chat of one server.
struct Chat {
    /// The lock is held briefly, and never across an emit or an await.
    state: Arc<Mutex<State<Socket>>>,
    queue: mpsc::UnboundedSender<Outgoing>,
    /// The free places in the queue.
    places: Arc<Semaphore>,
    /// The key that turns a visitor's secret into a member's id.
    key: Hmac<Sha256>,
}

/// The member that a socket belongs to; stored on the socket.
struct Visitor(MemberId);

/// Serves the chat in the namespace `/chat`, and starts its thread.
///
/// # Errors
/// Errors of the system's source of randomness, and of the start of a thread.
pub fn mount(io: &Switchboard) -> io::Result<()> {
    let chat = Arc::new(Chat::start()?);
    let namespace = io.of("/chat");
    namespace.middleware(|Auth(auth): Auth<Value>| visitor(&auth).map(drop));
    with(&namespace, &chat, "enter", Chat::enter);
    with(&namespace, &chat, "say", Chat::say);
    with(&namespace, &chat, "image", Chat::image);
    with(&namespace, &chat, "picture", Chat::picture);
    namespace.on("rtt", || ());
    let typing = Arc::clone(&chat);
    namespace.on("typing", move |socket: Socket, args: Args| {
        // An argument that is not a boolean is ignored.
        if let Ok(on) = args.get() {
            typing.typing(&socket, on);
        }
    });
    let connect = Arc::clone(&chat);
    namespace.on_connect(move |socket: Socket, Auth(auth): Auth<Value>| connect.connect(&socket, &auth));
    namespace.on_disconnect(move |socket: Socket| chat.disconnect(&socket));
    Ok(())
}

/// Handles an event with arguments of type `T`. The acknowledgement is an `R` or a refusal.
fn with<T: DeserializeOwned + 'static, R: serde::Serialize + 'static>(
    namespace: &Namespace,
    chat: &Arc<Chat>,
    event: &str,
    handler: fn(&Chat, &Socket, &MemberId, &T) -> Result<R, Refusal>,
) {
    let chat = Arc::clone(chat);
    namespace.on(event, move |socket: Socket, args: Args| -> Reply<R> {
        let Some(visitor) = socket.get::<Visitor>() else { return Reply::Refused(LEFT) };
        match args.get::<T>() {
            Ok(request) => handler(&chat, &socket, &visitor.0, &request).into(),
            Err(_malformed) => Reply::Refused(rules::BAD_REQUEST),
        }
    });
}

/// The secret in the page's `auth`.
fn visitor(auth: &Value) -> Result<&str, Error> {
    let secret = auth.get("visitor").and_then(Value::as_str).filter(|secret| rules::is_visitor(secret));
    secret.ok_or_else(|| Error::new("auth.visitor must be 16 to 64 letters, digits and hyphens"))
}

impl Chat {
    fn start() -> io::Result<Self> {
        let mut random = [0; 40];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let (key, run) = random.split_at(32);
        let run = run.iter().fold(0, |run, byte| run << 8 | u64::from(*byte));
        let state = Arc::new(Mutex::new(State::new(run, Instant::now())));
        let (queue, outgoing) = mpsc::unbounded_channel();
        sender::start(Arc::clone(&state), outgoing)?;
        let key = Hmac::new_from_slice(key).map_err(io::Error::other)?;
        Ok(Self { state, queue, places: Arc::new(Semaphore::new(QUEUE)), key })
    }

    fn member_id(&self, secret: &str) -> MemberId {
        let tag = self.key.clone().chain_update(secret).finalize().into_bytes();
        hex(tag.get(..12).unwrap_or(&tag)).into()
    }

    /// Changes the state, and sends any news that come of the change.
    fn change<T>(&self, namespace: &Namespace, change: impl FnOnce(&mut State<Socket>) -> T) -> T {
        let mut state = self.lock();
        let had_news = state.has_news();
        let result = change(&mut state);
        if state.has_news() && !had_news {
            self.send(Outgoing::News(namespace.clone()));
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State<Socket>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, outgoing: Outgoing) {
        if self.queue.send(outgoing).is_err() {
            tracing::error!("the chat's thread has ended");
        }
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    fn connect(&self, socket: &Socket, auth: &Value) -> switchboard::Result {
        let member = self.member_id(visitor(auth)?);
        socket.insert(Visitor(Arc::clone(&member)));
        let older = self.lock().connect(&member, socket.clone(), Instant::now());
        if let Some(older) = older {
            // The socket may have left by itself meanwhile.
            let _gone = older.emit("replaced", ()).and_then(|()| older.disconnect(false));
        }
        Ok(())
    }

    fn disconnect(&self, socket: &Socket) {
        if let Some(visitor) = socket.get::<Visitor>() {
            self.change(&socket.namespace(), |state| state.disconnect(&visitor.0, socket, Instant::now()));
        }
    }

    fn enter(&self, socket: &Socket, member: &MemberId, request: &Enter) -> Result<Entered, Refusal> {
        let room = rules::room(&request.room)?;
        let former = self.lock().entered(member, socket);
        // The socket joins the room before the snapshot is taken, so no message is lost between the two.
        socket.join(hub_room(&room)).map_err(|_gone| LEFT)?;
        let entry =
            self.change(&socket.namespace(), |state| state.enter(member, socket, request, Instant::now()));
        let left = match &entry {
            Ok(entry) => entry.left.clone(),
            Err(_) => Some(room).filter(|room| former.as_ref() != Some(room)),
        };
        if let Some(left) = left {
            socket.leave(hub_room(&left)).map_err(|_gone| LEFT)?;
        }
        entry.map(|entry| entry.reply)
    }

    fn say(&self, socket: &Socket, member: &MemberId, request: &Say) -> Result<Said, Refusal> {
        let content = Content::Text(rules::text(&request.text)?);
        self.post(socket, member, (&request.room, &request.client_id, content), None)
    }

    fn image(
        &self,
        socket: &Socket,
        member: &MemberId,
        request: &(SendImage, Binary),
    ) -> Result<Said, Refusal> {
        let (image, data) = request;
        let content = Content::Image(rules::picture(image, data)?);
        self.post(socket, member, (&image.room, &image.client_id, content), Some(data))
    }

    fn post(
        &self,
        socket: &Socket,
        member: &MemberId,
        (room, client_id, content): (&str, &str, Content),
        image: Option<&[u8]>,
    ) -> Result<Said, Refusal> {
        let (room, client_id) = (rules::room(room)?, rules::client_id(client_id)?);
        let to = socket.to(hub_room(&room));
        let place = self.place().ok_or(BUSY)?;
        let at = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
        // A message gets its number and its place in the queue under one lock, so the queue is in the order
        // of the numbers.
        let mut state = self.lock();
        match state.post(member, socket, (&room, client_id, content), image, (Instant::now(), at))? {
            Posted::Again(said) => Ok(said),
            Posted::New(message, picture) => {
                let said = Said { id: message.id, at };
                self.send(Outgoing::Message { to, message, picture, place });
                Ok(said)
            }
        }
    }

    fn picture(&self, socket: &Socket, member: &MemberId, which: &WhichPicture) -> Result<Binary, Refusal> {
        let room: RoomName = rules::room(&which.room)?;
        self.lock().picture(member, socket, &room, which.id)
    }

    fn typing(&self, socket: &Socket, on: bool) {
        let Some(visitor) = socket.get::<Visitor>() else { return };
        let typing = self.lock().typing(&visitor.0, socket, Instant::now());
        if let (Some((room, member)), Some(place)) = (typing, self.place()) {
            let to = socket.to(hub_room(&room));
            self.send(Outgoing::Typing { to, typing: Typing { room, member, on }, place });
        }
    }
}
