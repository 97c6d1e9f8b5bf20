//! Events between the servers of a cluster (`serverSideEmit` of Node): sent to the other nodes, and handled
//! there. An event of a namespace is handled on one worker, so the events of one node are handled in order.

use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use switchboard_hub::{Reply, ReplySender, Request, WorkerId};
use switchboard_protocol::socketio::{Args, event_name, write_args};

use super::answers::{NodeAnswers, read_args, read_parts, write_parts};
use super::extract::{Data, Event, FromSocket, Requirements, State};
use super::handler::{
    AnySocketHandler, Extracted, HandlerCall, HandlerContext, Outcome, SocketHandler, socket_handler,
};
use super::namespace::{Namespace, NamespaceInner};
use super::report::{HandlerKind, check_registration};
use crate::functions::{caught, caught_future};
use crate::{AckError, EmitError, Error};

/// An event that another node's server has sent, for extractors of [`Namespace::on_server_event`].
#[derive(Debug)]
pub struct ServerEvent {
    namespace: Namespace,
    event: String,
    args: Args,
    wants_reply: bool,
}

impl ServerEvent {
    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The event's name.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// Its arguments.
    pub fn args(&self) -> &Args {
        &self.args
    }
}

impl HandlerContext for ServerEvent {
    fn wants_reply(&self) -> bool {
        self.wants_reply
    }
}

impl Namespace {
    /// Sends an event to this namespace on the servers of all other nodes (`serverSideEmit` of Node), where
    /// [`on_server_event`](Self::on_server_event) handles it. A tuple is the argument list; anything else is
    /// one argument. Without a [bus](crate::Switchboard::attach_bus) there is no other node.
    ///
    /// # Errors
    /// [`EmitError::Arguments`]; [`EmitError::Hub`]: the bus is full. Nothing was sent.
    pub fn server_side_emit<T: Serialize>(&self, event: &str, args: T) -> Result<(), EmitError> {
        self.inner
            .members()
            .iter()
            .try_for_each(|namespace| Ok(namespace.hub.request(server_event(namespace, event, &args)?)?))
    }

    /// As [`server_side_emit`](Self::server_side_emit), and awaits the answers of the other nodes
    /// (`serverSideEmitWithAck` of Node), for 5 s. An answer is what the node's handler returned, read as an
    /// `R`: see [`Data`](crate::Data). Nodes without a handler for the event give no answer.
    ///
    /// A node that does not answer in time is counted in [`NodeAnswers::missing`], and the other nodes'
    /// answers are there all the same. Cancel safe.
    ///
    /// ```
    /// # async fn run(io: switchboard::Switchboard) -> switchboard::Result {
    /// let load = io.root().server_side_emit_with_ack::<f64>("load", ()).await?;
    /// for load in load.answers {
    ///     println!("another node has the load {}", load?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`server_side_emit`](Self::server_side_emit). An answer's: [`AckError::Arguments`] if it is not an
    /// `R`, [`AckError::Failed`] if the handler failed.
    pub async fn server_side_emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> Result<NodeAnswers<R>, EmitError> {
        let mut all = NodeAnswers { answers: Vec::new(), missing: 0 };
        for namespace in self.inner.members() {
            let request = server_event(&namespace, event, &args)?;
            let (reply, missing) = namespace.hub.ask_some(request).await?;
            if let Some(Reply::Values(values)) = reply {
                all.answers.extend(values.iter().map(read_value));
            }
            all.missing = all.missing.max(missing);
        }
        Ok(all)
    }

    /// Handles an event that another node's server has sent to this namespace with
    /// [`server_side_emit`](Self::server_side_emit). Registering another handler for the same event replaces
    /// the first.
    ///
    /// Its arguments are [`Data`](crate::Data), [`Args`](crate::Args), [`Event`](crate::Event),
    /// [`State`](crate::State), `Namespace` and [`Switchboard`](crate::Switchboard). Its return value is the
    /// answer. Events of one node are handled in their order; an async handler does not hold back later ones.
    ///
    /// ```
    /// use switchboard::{Data, Namespace, Switchboard};
    ///
    /// # fn main() -> switchboard::Result {
    /// let io = Switchboard::builder().workers(1).build()?;
    /// io.root().on_server_event("load", || 0.5);
    /// io.root().on_server_event("tell", |root: Namespace, Data(text): Data<String>| {
    ///     root.local().emit("told", text)
    /// });
    /// io.root().server_side_emit("tell", "hello, other nodes")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_server_event<M>(&self, event: &str, handler: impl SocketHandler<ServerEvent, M>) -> &Self {
        check_registration(&self.inner, HandlerKind::ServerEvent, None, &handler.requirements());
        let handler = socket_handler(handler);
        self.inner.change(|table| {
            table.server_events.insert(event.into(), handler);
        });
        self
    }

    /// Takes back the handler of an event of other nodes' servers.
    pub fn off_server_event(&self, event: &str) -> &Self {
        self.inner.change(|table| {
            table.server_events.remove(event);
        });
        self
    }
}

fn server_event<T: Serialize>(
    namespace: &NamespaceInner,
    event: &str,
    args: &T,
) -> Result<Request, EmitError> {
    let (mut json, mut attachments) = (Vec::new(), Vec::new());
    write_args(&mut json, &mut attachments, Some(event), args)?;
    let mut data = Vec::with_capacity(json.len() + 8);
    write_parts(&mut data, &json, &attachments);
    let scope = namespace.scope;
    Ok(Request::Emit(switchboard_hub::ServerEvent { scope, data: data.into() }))
}

const VALUE: u8 = 0;
const FAILED: u8 = 1;

/// Reads a node's answer: a mark, then a value or the text of an error.
fn read_value<R: DeserializeOwned>(value: &Bytes) -> Result<R, AckError> {
    match value.first() {
        Some(&VALUE) => read_args(&value.slice(1..)),
        Some(&FAILED) => {
            Err(AckError::Failed(String::from_utf8_lossy(value.get(1..).unwrap_or_default()).into_owned()))
        }
        _ => read_args(&Bytes::new()),
    }
}

/// The answer of a node whose handler came to this.
fn write_value(outcome: &Result<Option<crate::Reply>, String>) -> Bytes {
    let mut value = Vec::new();
    match outcome {
        Ok(reply) => {
            value.push(VALUE);
            match reply.as_ref().map(crate::Reply::written) {
                Some(written) => write_parts(&mut value, &written.json, &written.attachments),
                None => write_parts(&mut value, b"[]", &[]),
            }
        }
        Err(error) => {
            value.push(FAILED);
            value.extend_from_slice(error.as_bytes());
        }
    }
    value.into()
}

/// Hands an event of another node to the namespace's handler, on a worker.
pub(super) fn receive(namespace: Option<Arc<NamespaceInner>>, data: Bytes, reply: Option<ReplySender>) {
    let Some(namespace) = namespace else { return unhandled(reply) };
    let hub = Arc::clone(&namespace.hub);
    let hash = foldhash::fast::FixedState::default().hash_one(&*namespace.name);
    let worker = WorkerId((hash % hub.workers() as u64) as u8);
    let sent = hub.run_holding(worker, data.len(), move |_| handle(namespace, &data, reply));
    if let Err(error) = sent {
        metrics::counter!("switchboard_server_events_dropped_total").increment(1);
        tracing::warn!(%error, "an event of another node was dropped");
    }
}

fn unhandled(reply: Option<ReplySender>) {
    metrics::counter!("switchboard_server_events_unhandled_total").increment(1);
    tracing::debug!("another node's event has no handler here");
    if let Some(reply) = reply {
        reply.send(Reply::Values(Vec::new()));
    }
}

fn handle(namespace: Arc<NamespaceInner>, data: &Bytes, reply: Option<ReplySender>) {
    let Some(context) = read(&namespace, data, reply.is_some()) else {
        metrics::counter!("switchboard_server_events_dropped_total").increment(1);
        tracing::warn!("an event of another node cannot be read");
        return;
    };
    let table = namespace.table.load_full();
    let Some(handler) = table.server_events.get(&*context.event) else { return unhandled(reply) };
    let called = match caught(|| handler.extract(&context)) {
        Some(Ok(Extracted(call))) => caught(call),
        Some(Err(error)) => Some(HandlerCall::Done(Err(error))),
        None => None,
    };
    let handler = Arc::clone(handler);
    match called {
        Some(HandlerCall::Done(outcome)) => {
            finish(&namespace, &context.event, &handler, Some(outcome), reply);
        }
        Some(HandlerCall::Waits(waiting)) => {
            tokio::task::spawn_local(async move {
                let outcome = caught_future(waiting).await;
                finish(&namespace, &context.event, &handler, outcome, reply);
            });
        }
        None => finish(&namespace, &context.event, &handler, None, reply),
    }
}

fn read(namespace: &Arc<NamespaceInner>, data: &Bytes, wants_reply: bool) -> Option<ServerEvent> {
    let (json, attachments) = read_parts(data)?;
    let (event, offset) = event_name(json).ok()?;
    // Other nodes are trusted as to how deep it nests.
    let args = Args::parse_within(json, offset, attachments, usize::MAX).ok()?;
    let namespace = Namespace { inner: Arc::clone(namespace) };
    Some(ServerEvent { namespace, event: event.into_owned(), args, wants_reply })
}

/// Answers with what a handler came to; `None`: it panicked.
fn finish(
    namespace: &NamespaceInner,
    event: &str,
    handler: &AnySocketHandler<ServerEvent>,
    outcome: Option<Outcome>,
    reply: Option<ReplySender>,
) {
    let outcome = outcome.unwrap_or_else(|| Err(Error::internal("a handler panicked")));
    let outcome = outcome.map_err(|error| {
        metrics::counter!("switchboard_handler_errors_total").increment(1);
        let error = error.to_string();
        if let Some(skipped) = namespace.log.admit() {
            let registered_by = HandlerKind::ServerEvent.as_str();
            tracing::warn!(
                namespace = &*namespace.name,
                event,
                registered_by,
                error,
                handler = handler.type_name(),
                skipped,
                "a handler failed"
            );
        }
        error
    });
    if let Some(reply) = reply {
        reply.send(Reply::Values(vec![write_value(&outcome)]));
    }
}

impl<T: DeserializeOwned> FromSocket<ServerEvent> for Data<T> {
    fn from_socket(context: &ServerEvent) -> Result<Self, Error> {
        match context.args.get() {
            Ok(data) => Ok(Self(data)),
            Err(error) => Err(Error::from(error).wanted_by::<T>()),
        }
    }
}

impl FromSocket<ServerEvent> for Args {
    fn from_socket(context: &ServerEvent) -> Result<Self, Error> {
        Ok(context.args.clone())
    }
}

impl FromSocket<ServerEvent> for Event {
    fn from_socket(context: &ServerEvent) -> Result<Self, Error> {
        Ok(Self(context.event.clone()))
    }
}

impl FromSocket<ServerEvent> for Namespace {
    fn from_socket(context: &ServerEvent) -> Result<Self, Error> {
        Ok(context.namespace.clone())
    }
}

impl<T: Send + Sync + 'static> FromSocket<ServerEvent> for State<T> {
    fn require(requirements: &mut Requirements) {
        Self::require(requirements);
    }

    fn from_socket(context: &ServerEvent) -> Result<Self, Error> {
        Self::of_namespace(&context.namespace.inner)
    }
}
