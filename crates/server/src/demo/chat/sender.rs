//! Sends messages to whole rooms, from one thread.
//!
//! A single thread keeps the order. A worker reaches its own sockets at once, but the sockets of other
//! workers through their inboxes. So two messages of one room, sent by two workers, could arrive in a
//! different order on each. Here a message gets its number and its place in the queue under one lock. This
//! thread, which is not a worker, then sends it through every inbox alike.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use switchboard::{Binary, BroadcastOperator, EmitError, Namespace, Socket};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::state::State;
use super::wire::{Message, Typing};

/// How long the news of members who come and go are collected before they are sent.
const GATHER: Duration = Duration::from_millis(100);

/// The number of attempts while a worker's inbox is full, and the pause between two. A page recognises each
/// message by its number and each snapshot by its version, so it may safely get one twice.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// An entry of the queue.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Message {
        to: BroadcastOperator,
        message: Arc<Message>,
        picture: Option<Binary>,
        place: OwnedSemaphorePermit,
    },
    Typing {
        to: BroadcastOperator,
        typing: Typing,
        place: OwnedSemaphorePermit,
    },
    /// [`State::has_news`] has become true.
    News(Namespace),
}

/// The hub's name for a room of the chat. No socket's own room can have such a name.
pub(crate) fn hub_room(name: &str) -> String {
    format!("#{name}")
}

/// Starts the thread. It ends when the last sender of the queue is gone.
pub(crate) fn start(
    state: Arc<Mutex<State<Socket>>>,
    queue: mpsc::UnboundedReceiver<Outgoing>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let run = move || runtime.block_on(run(&state, queue));
    std::thread::Builder::new().name("switchboard-chat".to_owned()).spawn(run)?;
    Ok(())
}

async fn run(state: &Mutex<State<Socket>>, mut queue: mpsc::UnboundedReceiver<Outgoing>) {
    let mut due: Option<(Instant, Namespace)> = None;
    loop {
        if let Some((_, chat)) = due.take_if(|(at, _)| *at <= Instant::now()) {
            news(state, &chat).await;
        }
        let next = match &due {
            Some((at, _)) => tokio::time::timeout_at(*at, queue.recv()).await,
            None => Ok(queue.recv().await),
        };
        match next {
            Ok(Some(Outgoing::News(chat))) => due = due.or_else(|| Some((Instant::now() + GATHER, chat))),
            Ok(Some(outgoing)) => send(outgoing).await,
            Ok(None) => return,
            Err(_due) => {}
        }
    }
}

async fn send(outgoing: Outgoing) {
    match outgoing {
        Outgoing::Message { to, message, picture, place } => {
            insist("message", || match &picture {
                Some(picture) => to.clone().emit("message", (&*message, picture)),
                None => to.clone().emit("message", &*message),
            })
            .await;
            drop(place);
        }
        Outgoing::Typing { to, typing, place } => {
            if let Err(error) = to.volatile().emit("typing", &typing) {
                tracing::debug!(%error, "a typing event was not sent");
            }
            drop(place);
        }
        Outgoing::News(_) => {}
    }
}

async fn news(state: &Mutex<State<Socket>>, chat: &Namespace) {
    let news = state.lock().unwrap_or_else(PoisonError::into_inner).news();
    for snapshot in &news.members {
        insist("members", || chat.to(hub_room(&snapshot.room)).emit("members", snapshot)).await;
    }
    if let Some(rooms) = &news.rooms {
        insist("rooms", || chat.emit("rooms", rooms)).await;
    }
}

async fn insist(what: &str, emit: impl Fn() -> Result<(), EmitError>) {
    for attempt in 1..=ATTEMPTS {
        match emit() {
            Ok(()) => return,
            Err(EmitError::Hub(_)) if attempt < ATTEMPTS => tokio::time::sleep(PAUSE).await,
            Err(error) => return tracing::warn!(%error, what, "a message of the chat did not reach everyone"),
        }
    }
}
