//! Rates of events and CONNECTs: a socket's input counts in rates of its own, of its address and of its
//! namespace.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use switchboard_hub::Worker;

use super::local::LocalSocket;
use super::namespace::{Namespace, NamespaceInner};
use super::queue::EventRef;
use super::report::{ErrorContext, HandlerKind};
use super::sockets::Sockets;
use crate::limits::meter::{Input, Meter, Scope};
use crate::limits::{OverLimit, RateLimits};
use crate::refusals::RefusedKind;
use crate::{DisconnectReason, Error};

/// How often a wait looks whether its client is still there.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What clients see of an input that passed a rate.
const EXCEEDED: &str = "rate limit exceeded";

/// The rates of a namespace.
#[derive(Debug, Clone, Default)]
pub(crate) struct NamespaceRates {
    /// Of each socket, in place of those of the server.
    sockets: Option<RateLimits>,
    /// Of all sockets together.
    all: Option<Arc<Meter>>,
}

impl Namespace {
    /// Limits what all sockets of the namespace send together, on this node. Default: no limit. To be set
    /// before clients come; what was set before is replaced. Of a parent, it limits all its children together.
    pub fn limit(&self, limits: RateLimits) -> &Self {
        let meter = Arc::new(Meter::new(Scope::Namespace, limits, Worker::clock()));
        for namespace in self.inner.members().iter().chain([&self.inner]) {
            change(&namespace.rates, |rates| rates.all = Some(Arc::clone(&meter)));
        }
        self
    }

    /// Limits what each socket of the namespace sends, in place of
    /// [`Builder::limit_sockets`](crate::Builder::limit_sockets). To be set before clients come. The rate of
    /// CONNECTs is the server's, as it is one for all namespaces of a client.
    pub fn limit_sockets(&self, limits: RateLimits) -> &Self {
        for namespace in self.inner.members().iter().chain([&self.inner]) {
            change(&namespace.rates, |rates| rates.sockets = Some(limits));
        }
        self
    }
}

fn change(rates: &ArcSwap<NamespaceRates>, change: impl Fn(&mut NamespaceRates)) {
    rates.rcu(|rates| {
        let mut rates = NamespaceRates::clone(rates);
        change(&mut rates);
        rates
    });
}

/// The rates of a client in all its namespaces.
#[derive(Clone, Default)]
pub(super) struct ClientMeters {
    own: Option<Arc<Meter>>,
    address: Option<Arc<Meter>>,
}

impl Sockets {
    fn client_meters(&self) -> ClientMeters {
        let options = self.options();
        if options.socket_limits.is_none() && options.address_limits.is_none() {
            return ClientMeters::default();
        }
        let load = self.load();
        let meters = load.meters.get_or_init(|| {
            let now = Worker::clock();
            let own = options.socket_limits.map(|limits| Arc::new(Meter::new(Scope::Socket, limits, now)));
            let address = self.carrier.handshake().address();
            let address = self.namespaces.address_meters.as_ref().zip(address);
            ClientMeters { own, address: address.map(|(meters, address)| meters.get(address.ip(), now)) }
        });
        meters.clone()
    }

    /// Lets the events of a socket that joins count in its rates, if there are any.
    pub(super) fn meter(&self, local: &LocalSocket) {
        let namespace = &local.socket.shared.namespace;
        let rates = namespace.rates.load();
        let limits = rates.sockets.or(self.options().socket_limits);
        let own = limits.map(|limits| Arc::new(Meter::new(Scope::Socket, limits, Worker::clock())));
        let address = self.client_meters().address;
        let meters = [own, address, rates.all.clone()];
        let meters: Vec<_> =
            meters.into_iter().flatten().filter(|meter| meter.limits.limits_events()).collect();
        if !meters.is_empty() {
            local.with_own(|own| own.meters = Some(meters.into()));
            local.queue.set_metered();
        }
    }

    /// Counts a CONNECT. Returns whether it is heard.
    ///
    /// `namespace` is `None` if it is still to be made: see [`admit_to_child`](Self::admit_to_child).
    pub(super) fn admit_connect(
        &self,
        worker: &Rc<Worker>,
        name: &str,
        namespace: Option<&NamespaceInner>,
    ) -> bool {
        let ClientMeters { own, address } = self.client_meters();
        let all = namespace.and_then(|namespace| namespace.rates.load().all.clone());
        self.admit_by(worker, name, [own, address, all])
    }

    /// Counts a CONNECT, which its client's rates have admitted, in those of a namespace that was made for it.
    pub(super) fn admit_to_child(&self, worker: &Rc<Worker>, namespace: &NamespaceInner) -> bool {
        let all = namespace.rates.load().all.clone();
        self.admit_by(worker, &namespace.name, [None, None, all])
    }

    fn admit_by(&self, worker: &Rc<Worker>, name: &str, meters: [Option<Arc<Meter>>; 3]) -> bool {
        let meters = meters.into_iter().flatten();
        for meter in meters.filter(|meter| meter.limits.connects.is_some()) {
            match meter.admit(Input::Connect, Worker::clock()) {
                Some(wait) if wait.is_zero() => {}
                Some(_) => self.hold_back_by(worker, &meter),
                None => {
                    count(&meter, "connect refused");
                    self.refuse(worker, name, &Error::new(EXCEEDED));
                    if meter.limits.over == OverLimit::Disconnect {
                        self.close(worker, DisconnectReason::ForcedServerClose);
                    }
                    return false;
                }
            }
        }
        true
    }

    /// Does not read the client until a rate allows for more.
    fn hold_back_by(&self, worker: &Rc<Worker>, meter: &Arc<Meter>) {
        let load = self.load();
        let waits_already = {
            let mut waits = load.rate_waits.borrow_mut();
            let waits_already = !waits.is_empty();
            if !waits.iter().any(|waiting| Arc::ptr_eq(waiting, meter)) {
                waits.push(Arc::clone(meter));
            }
            waits_already
        };
        if waits_already {
            return;
        }
        count(meter, "held back");
        self.hold_back();
        let (me, worker) = (Weak::clone(&self.me), Rc::clone(worker));
        tokio::task::spawn_local(async move {
            loop {
                let now = Worker::clock();
                let wait = load.rate_waits.borrow().iter().map(|meter| meter.wait(now)).max();
                match wait {
                    Some(wait) if !wait.is_zero() => tokio::time::sleep(wait.min(LOOK_EVERY)).await,
                    _ => break,
                }
                // A client that has gone waits for nothing.
                if me.strong_count() == 0 {
                    return;
                }
            }
            load.rate_waits.borrow_mut().clear();
            if let Some(me) = me.upgrade() {
                me.let_go(&worker);
            }
        });
    }
}

impl LocalSocket {
    /// Counts an event. Returns whether it is handled.
    pub(super) fn admit(&self, worker: &Rc<Worker>, event: &EventRef<'_>) -> bool {
        let meters = self.own.borrow().as_ref().and_then(|own| own.meters.clone());
        let (now, bytes) = (Worker::clock(), event.bytes());
        for meter in meters.iter().flat_map(|meters| meters.iter()) {
            match meter.admit(Input::Event { bytes }, now) {
                Some(wait) if wait.is_zero() => {}
                Some(_) => {
                    if let Some(sockets) = self.sockets.upgrade() {
                        sockets.hold_back_by(worker, meter);
                    }
                }
                None => {
                    self.refuse_event(worker, event, meter);
                    return false;
                }
            }
        }
        true
    }

    #[cold]
    fn refuse_event(&self, worker: &Rc<Worker>, event: &EventRef<'_>, meter: &Meter) {
        count(meter, "event dropped");
        self.tell_refused(RefusedKind::Event, meter.scope.as_str(), 1);
        if meter.limits.over == OverLimit::Disconnect {
            if let Some(sockets) = self.sockets.upgrade() {
                sockets.disconnect_all(worker);
            }
            return;
        }
        let Some(id) = event.ack.filter(|_| self.is_here()) else { return };
        let kind = HandlerKind::Event;
        let context = ErrorContext { socket: &self.socket, kind, event: Some(event.name), handler: "" };
        let mut error = Error::new(EXCEEDED);
        if self.socket.shared.namespace.table.load().error_reply.is_none() {
            error = error.with_reply(serde_json::json!({ "error": EXCEEDED }));
        }
        self.send_error_reply(worker, id, &context, &mut error);
    }
}

fn count(meter: &Meter, outcome: &'static str) {
    metrics::counter!("switchboard_rate_limited_total", "rate" => meter.scope.as_str(), "outcome" => outcome)
        .increment(1);
}
