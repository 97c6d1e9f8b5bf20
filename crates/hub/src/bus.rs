//! Nodes: hubs of several processes, connected by a bus. A request goes to the other nodes as it goes to the
//! other workers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use crate::hub::Hub;
use crate::question::{TakeAnswer, ToNode};
use crate::reply::{Replies, Reply, ReplySender};
use crate::request::{Request, ServerEvent};
use crate::{HubError, NodeId, Payload};

/// The address of a reply: the node that asked, and its request. It is plain data, and travels with the
/// request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplyTo {
    /// The node that asked.
    pub node: NodeId,
    /// The number of the request.
    pub request: u64,
}

/// The bus takes no more for now; the message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the bus is full")]
pub struct BusFull;

/// The connection to the other nodes. It is implemented for each kind of transport between machines, and
/// attached by [`Hub::attach`].
///
/// A bus carries messages in the order of the calls. It hands messages of other nodes to [`Hub::receive`] and
/// [`Hub::receive_reply`]. Its methods must not wait: they are called on workers' threads.
pub trait Bus: Send + Sync + 'static {
    /// How many other nodes will answer a request that is published now.
    fn nodes(&self) -> usize;

    /// Sends a request to all other nodes. A scope has a number in each process; between processes it has its
    /// name.
    ///
    /// # Errors
    /// [`BusFull`]: the request goes to no node.
    fn publish(&self, scope: &str, request: &Request, reply_to: Option<ReplyTo>) -> Result<(), BusFull>;

    /// Sends a reply to the node that asked.
    ///
    /// # Errors
    /// [`BusFull`]: the asker will wait until its time is over.
    fn reply(&self, to: ReplyTo, reply: &Reply) -> Result<(), BusFull>;
}

/// The application of a node, as requests of other nodes need it.
pub trait Remote: Send + Sync + 'static {
    /// Reads a payload that another node has [written](Payload::write). `None`: it is none.
    fn read_payload(&self, bytes: &[u8]) -> Option<Arc<dyn Payload>>;

    /// Another node's application has sent an event; `reply` is there if an answer is awaited. Called on the
    /// bus's thread.
    fn on_event(&self, event: ServerEvent, reply: Option<ReplySender>);
}

/// A bus, and the requests of this node that other nodes have not answered yet.
pub(crate) struct Attached {
    bus: Arc<dyn Bus>,
    remote: Arc<dyn Remote>,
    asked: Mutex<HashMap<u64, Asked>>,
    next: AtomicU64,
}

struct Asked {
    /// Nodes that have not answered.
    left: usize,
    /// `None`: all have.
    reply: Option<ReplySender>,
    /// Takes the answers of members, which come after their nodes' replies.
    answers: Option<Arc<dyn TakeAnswer>>,
}

/// A request that other nodes were asked. When it is dropped, their answers are not awaited any more.
pub(crate) struct AskedNodes {
    attached: Arc<Attached>,
    request: u64,
    pub(crate) nodes: usize,
}

impl Drop for AskedNodes {
    fn drop(&mut self) {
        let asked = self.attached.asked().remove(&self.request);
        // It may complete the replies: nothing is locked then.
        drop(asked);
    }
}

impl Attached {
    fn asked(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").finish_non_exhaustive()
    }
}

impl Hub {
    /// Connects this hub to other nodes. `false`: there is a bus already, which stays.
    pub fn attach(&self, bus: Arc<dyn Bus>, remote: Arc<dyn Remote>) -> bool {
        let attached = Attached { bus, remote, asked: Mutex::default(), next: AtomicU64::new(0) };
        self.attached.set(Arc::new(attached)).is_ok()
    }

    /// This node's number.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Sends a request to the other nodes, if there is a bus and the request is not local.
    pub(crate) fn publish(&self, request: &Request) -> Result<(), HubError> {
        match self.attached_for(request) {
            Some(attached) => self.publish_on(attached, request, None),
            None => Ok(()),
        }
    }

    /// Asks the other nodes, if there is a bus and the request is not local.
    pub(crate) fn ask_nodes(
        &self,
        request: &Request,
        reply: &ReplySender,
    ) -> Result<Option<AskedNodes>, HubError> {
        let Some(attached) = self.attached_for(request) else { return Ok(None) };
        let nodes = attached.bus.nodes();
        if nodes == 0 {
            return Ok(None);
        }
        let number = attached.next.fetch_add(1, Ordering::Relaxed);
        let asked = Asked { left: nodes, reply: Some(reply.clone()), answers: reply.answers() };
        attached.asked().insert(number, asked);
        let asked = AskedNodes { attached: Arc::clone(attached), request: number, nodes };
        self.publish_on(attached, request, Some(ReplyTo { node: self.node, request: number }))?;
        Ok(Some(asked))
    }

    fn attached_for(&self, request: &Request) -> Option<&Arc<Attached>> {
        self.attached.get().filter(|_| request.target().is_none_or(|target| !target.local))
    }

    fn publish_on(
        &self,
        attached: &Attached,
        request: &Request,
        reply_to: Option<ReplyTo>,
    ) -> Result<(), HubError> {
        let scope = self.scope_name(request.scope()).unwrap_or_default();
        attached.bus.publish(&scope, request, reply_to).map_err(|BusFull| {
            metrics::counter!("switchboard_bus_full_total").increment(1);
            HubError::BusFull
        })
    }

    /// Executes a request of another node on this node only. A request of this node itself, which some buses
    /// bring back, is dropped.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn receive(&self, from: NodeId, request: Request, reply_to: Option<ReplyTo>) -> Result<(), HubError> {
        let Some(attached) = self.attached.get().filter(|_| from != self.node) else { return Ok(()) };
        let expected = self.concerned(&request);
        let empty = request.empty_reply();
        let reply = reply_to.map(|to| {
            let bus = Arc::clone(&attached.bus);
            let answers = ToNode { bus: Arc::clone(&bus), to };
            let reply = ReplySender::new(move |replies: Replies| {
                // If a worker did not answer, the node does not: the asker gets an error when the time is
                // over.
                if let Some(reply) = replies.reply.or(empty).filter(|_| replies.count >= expected)
                    && bus.reply(to, &reply).is_err()
                {
                    metrics::counter!("switchboard_bus_full_total").increment(1);
                }
            });
            reply.with_answers(Arc::new(answers))
        });
        match request {
            Request::Emit(event) => {
                attached.remote.on_event(event, reply);
                Ok(())
            }
            request => self.request_workers(request, reply),
        }
    }

    /// Takes another node's reply to the request of this number. A reply that is not awaited any more is
    /// dropped.
    pub fn receive_reply(&self, request: u64, reply: Reply) {
        let Some(attached) = self.attached.get() else { return };
        if let Reply::Answers(answers) = reply {
            let taken_by = attached.asked().get(&request).and_then(|asked| asked.answers.clone());
            if let Some(taken_by) = taken_by {
                for answer in answers {
                    taken_by.take(answer);
                }
            }
            return;
        }
        let sender = {
            let mut all = attached.asked();
            let Some(asked) = all.get_mut(&request) else { return };
            asked.left = asked.left.saturating_sub(1);
            match (asked.left, &asked.answers) {
                (0, None) => all.remove(&request).and_then(|asked| asked.reply),
                (0, Some(_)) => asked.reply.take(),
                _ => asked.reply.clone(),
            }
        };
        if let Some(sender) = sender {
            sender.send(reply);
        }
    }

    /// Reads a payload that another node has written.
    pub(crate) fn read_payload(&self, bytes: &[u8]) -> Option<Arc<dyn Payload>> {
        self.attached.get()?.remote.read_payload(bytes)
    }
}
