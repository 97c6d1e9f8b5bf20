//! Sends what goes to whole rooms, from one thread of its own.
//!
//! Why a thread: each worker reaches its own sockets at once but those of the others through their inboxes, so that two messages of
//! one room, sent by two workers, could arrive in another order on each. Here a message gets its number and its place in one queue under one
//! lock, and this thread, which is no worker, sends what is in the queue through every inbox alike.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use switchboard::{Binary, BroadcastOperator, EmitError, Namespace, Socket};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::state::State;
use super::wire::{Message, Typing};

/// How long news of people coming and going are gathered.
const GATHER: Duration = Duration::from_millis(100);

/// How often something is sent again where a worker's inbox was full, and after which pause. Pages know each message by its
/// number, and each snapshot by its version: to get one twice does them no harm.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// What is to be sent.
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

/// The name that a room of the chat has in the hub: none that a socket's own room could have.
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
                tracing::debug!(%error, "that someone types was not told");
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
            Err(error) => return tracing::warn!(%error, what, "not everyone in the chat was told"),
        }
    }
}
