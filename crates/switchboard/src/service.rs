//! A service of plain messages, whatever protocol carries them: raw WebSockets and bare Engine.IO are two.
//! Users give it functions; a protocol says what a client is ([`ServiceSocket`]) and what a client's session
//! does for the functions ([`ServiceSession`]).

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arc_swap::{ArcSwap, Guard};
use switchboard_hub::Worker;

use crate::Result;
use crate::functions::{caught_future, guarded, poll_caught};
use crate::message::{IntoResult, Message, OwnedMessage};
use crate::states::replace;

/// A client of a service, as users hold it: [`WebSocket`](crate::WebSocket),
/// [`EngineSocket`](crate::EngineSocket).
pub trait ServiceSocket: Clone + Send + Sync + 'static {
    /// How its end is told.
    type End: 'static;
    /// What a service has besides its functions.
    #[doc(hidden)]
    type Settings: Clone + Send + Sync + 'static;
}

/// What a client's session does for the functions of its service, on its worker.
pub(crate) trait ServiceSession<S: ServiceSocket>: 'static {
    /// The client; `None` before it has begun.
    fn socket(&self) -> Option<&S>;
    /// Closes the session: a function failed.
    fn fail(&self, worker: &Rc<Worker>);
    /// Takes no input until [`resume`](Self::resume).
    fn pause(&self, worker: &Rc<Worker>);
    /// Takes input again, first what has waited.
    fn resume(self: Rc<Self>, worker: &Rc<Worker>);
}

type Waiting = Pin<Box<dyn Future<Output = Result> + Send>>;
type OnConnect<S> = Arc<dyn Fn(&S) -> Result + Send + Sync>;
type OnClose<S> = Arc<dyn Fn(&S, <S as ServiceSocket>::End) + Send + Sync>;

type PlainFunction<S> = dyn Fn(&S, Message<'_>) -> Result + Send + Sync;
type AsyncFunction<S> = dyn Fn(S, OwnedMessage) -> Waiting + Send + Sync;

#[derive(Clone)]
enum OnMessage<S> {
    Plain(Arc<PlainFunction<S>>),
    Async(Arc<AsyncFunction<S>>),
}

/// The functions of a service, and what else is set of it. A value of it never changes: it is replaced as a
/// whole.
#[derive(Clone)]
pub(crate) struct Functions<S: ServiceSocket> {
    connect: Option<OnConnect<S>>,
    message: Option<OnMessage<S>>,
    close: Option<OnClose<S>>,
    pub(crate) settings: S::Settings,
}

impl<S: ServiceSocket> Functions<S> {
    /// Calls the function for clients that have connected.
    pub(crate) fn on_connect(&self, session: &impl ServiceSession<S>, worker: &Rc<Worker>) {
        if let (Some(connect), Some(socket)) = (&self.connect, session.socket()) {
            settle(session, worker, guarded(|| connect(socket)));
        }
    }

    /// Whether there is a function for messages.
    #[inline]
    pub(crate) fn takes_messages(&self) -> bool {
        self.message.is_some()
    }

    /// Calls the function for messages. `true`: it waits, and the session is [paused](ServiceSession::pause)
    /// meanwhile.
    #[inline]
    pub(crate) fn on_message<T: ServiceSession<S>>(
        &self,
        session: &Rc<T>,
        worker: &Rc<Worker>,
        message: Message<'_>,
    ) -> bool {
        let Some(socket) = session.socket() else { return false };
        match &self.message {
            Some(OnMessage::Plain(function)) => {
                settle(&**session, worker, guarded(|| function(socket, message)));
                false
            }
            Some(OnMessage::Async(function)) => {
                let Some(waiting) = guarded(|| function(socket.clone(), message.into())) else {
                    settle(&**session, worker, None);
                    return false;
                };
                wait(session, worker, waiting)
            }
            None => false,
        }
    }

    /// Calls the function for clients that have gone.
    pub(crate) fn on_close(&self, socket: &S, end: S::End) {
        if let Some(close) = &self.close {
            let _panicked = guarded(|| close(socket, end));
        }
    }
}

/// Does what an outcome asks for; `None`: the function panicked.
#[inline]
pub(crate) fn settle<S: ServiceSocket>(
    session: &impl ServiceSession<S>,
    worker: &Rc<Worker>,
    outcome: Option<Result>,
) {
    if !matches!(outcome, Some(Ok(()))) {
        failed(session, worker, outcome);
    }
}

#[cold]
fn failed<S: ServiceSocket>(session: &impl ServiceSession<S>, worker: &Rc<Worker>, outcome: Option<Result>) {
    if let Some(Err(error)) = outcome {
        metrics::counter!("switchboard_handler_errors_total").increment(1);
        tracing::warn!(%error, "a function of a service failed: its client is disconnected");
    }
    session.fail(worker);
}

/// Awaits a function. `true`: it is not done yet, and the session is paused. Most are ready at once; only one
/// that is not costs a task.
fn wait<S: ServiceSocket, T: ServiceSession<S>>(
    session: &Rc<T>,
    worker: &Rc<Worker>,
    mut waiting: Waiting,
) -> bool {
    if let Poll::Ready(outcome) = poll_caught(&mut waiting, &mut Context::from_waker(Waker::noop())) {
        settle(&**session, worker, outcome);
        return false;
    }
    session.pause(worker);
    let (session, worker) = (Rc::clone(session), Rc::clone(worker));
    tokio::task::spawn_local(async move {
        let outcome = caught_future(waiting).await;
        settle(&*session, &worker, outcome);
        session.resume(&worker);
    });
    true
}

/// A service of plain messages, to be given its functions. Each of them replaces an earlier one of its kind.
///
/// [`WebSocketService`](crate::WebSocketService) and [`EngineService`](crate::EngineService) are its two
/// kinds. Functions are called in order for each client, on the client's worker, in place: one that computes
/// for long or blocks holds up all clients of its worker.
pub struct Service<S: ServiceSocket> {
    functions: Arc<ArcSwap<Functions<S>>>,
}

impl<S: ServiceSocket> Clone for Service<S> {
    fn clone(&self) -> Self {
        Self { functions: Arc::clone(&self.functions) }
    }
}

impl<S: ServiceSocket> fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl<S: ServiceSocket> Service<S> {
    pub(crate) fn new(settings: S::Settings) -> Self {
        let functions = Functions { connect: None, message: None, close: None, settings };
        Self { functions: Arc::new(ArcSwap::from_pointee(functions)) }
    }

    /// The functions as they are set now.
    pub(crate) fn functions(&self) -> Guard<Arc<Functions<S>>> {
        self.functions.load()
    }

    pub(crate) fn change(&self, change: impl Fn(&mut Functions<S>)) -> &Self {
        replace(&self.functions, change);
        self
    }

    /// Calls the function for each client that has connected. Its error disconnects the client.
    pub fn on_connect<R: IntoResult>(&self, function: impl Fn(&S) -> R + Send + Sync + 'static) -> &Self {
        let function: OnConnect<S> = Arc::new(move |socket| function(socket).into_result());
        self.change(|functions| functions.connect = Some(Arc::clone(&function)))
    }

    /// Calls the function for each message. The message is borrowed from the buffer that it was read into. An
    /// error disconnects the client, a raw WebSocket with 1011. What has to wait is for
    /// [`on_message_async`](Self::on_message_async).
    pub fn on_message<R: IntoResult>(
        &self,
        function: impl Fn(&S, Message<'_>) -> R + Send + Sync + 'static,
    ) -> &Self {
        let function = OnMessage::Plain(Arc::new(move |socket: &S, message: Message<'_>| {
            function(socket, message).into_result()
        }));
        self.change(|functions| functions.message = Some(function.clone()))
    }

    /// As [`on_message`](Self::on_message), with a function that waits. While it waits for one message, its
    /// client is not read, and no other message of the client is handled; messages of other clients are. Each
    /// message is copied.
    ///
    /// ```
    /// # fn docs(io: &switchboard::Switchboard) {
    /// use switchboard::{OwnedMessage, WebSocket};
    ///
    /// io.websocket("/slow").on_message_async(async |socket: WebSocket, message: OwnedMessage| {
    ///     tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    ///     socket.send(message)
    /// });
    /// # }
    /// ```
    pub fn on_message_async<R: IntoResult, F: Future<Output = R> + Send + 'static>(
        &self,
        function: impl Fn(S, OwnedMessage) -> F + Send + Sync + 'static,
    ) -> &Self {
        let function = OnMessage::Async(Arc::new(move |socket, message| {
            let waiting = function(socket, message);
            Box::pin(async move { waiting.await.into_result() })
        }));
        self.change(|functions| functions.message = Some(function.clone()))
    }

    /// Calls the function when a client has gone, with its end: of a raw WebSocket the code that the peer
    /// closed it with, if it did; of an Engine.IO session the reason. A function that
    /// [waits](Self::on_message_async) for a message of the client may not be done yet.
    pub fn on_close(&self, function: impl Fn(&S, S::End) + Send + Sync + 'static) -> &Self {
        let function: OnClose<S> = Arc::new(function);
        self.change(|functions| functions.close = Some(Arc::clone(&function)))
    }
}
