//! What all parts of a server share, and its end.

pub(crate) mod flash_policy;
pub(crate) mod options;
pub(crate) mod socket_file;

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use switchboard_hub::{Command, Hub, Worker, WorkerId};
use tokio::sync::{oneshot, watch};

use self::options::ListenerOptions;
use self::socket_file::SocketFile;
use crate::http::body::Fallback;
use crate::http::mount::{Mount, Mounts};
use crate::proxies::TrustedProxies;
use crate::refusals::Refusals;
use crate::states::replace;
use crate::transport::connection::cut_closing;
use crate::transport::connection_limit::ConnectionLimit;

/// What all parts of a server share.
pub(crate) struct Server {
    pub(crate) hub: Arc<Hub>,
    pub(crate) mounts: ArcSwap<Mounts>,
    pub(crate) proxies: TrustedProxies,
    pub(crate) listener: ListenerOptions,
    /// Whether the drafts before RFC 6455 are spoken.
    pub(crate) drafts: bool,
    /// Is told of what is refused.
    pub(crate) refusals: Refusals,
    pub(crate) connections: Arc<ConnectionLimit>,
    pub(crate) fallback: OnceLock<Fallback>,
    /// Set when the server is shutting down: nothing new begins. Requests of sessions that linger are served.
    pub(crate) closing: AtomicBool,
    /// Set when the server is shutting down and no session lingers any more: no connection is accepted, and
    /// kept connections end when they are idle.
    pub(crate) idle_end: watch::Sender<bool>,
    /// Files of Unix-domain sockets, which are removed when it is.
    pub(crate) socket_files: Mutex<Vec<SocketFile>>,
}

impl Server {
    /// Removes the file when the server shuts down.
    pub(crate) fn keep_socket_file(&self, file: SocketFile) {
        let mut files = self.socket_files.lock().unwrap_or_else(PoisonError::into_inner);
        // One that came too late goes at once.
        if !self.ends_idle() {
            files.push(file);
        }
    }

    /// Begins nothing new.
    fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Accepts no more, and ends the connections that are idle.
    fn end_idle(&self) {
        self.idle_end.send_if_modified(|ended| !std::mem::replace(ended, true));
        self.socket_files.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether requests of sessions are refused, too, since none lingers.
    pub(crate) fn ends_idle(&self) -> bool {
        self.closing.load(Ordering::Acquire) && *self.idle_end.borrow()
    }

    /// Mounts protocols at a path, in place of those that were there.
    pub(crate) fn mount(&self, path: &str, protocols: &[Arc<dyn Mount>]) {
        replace(&self.mounts, |mounts| mounts.add(path, protocols));
    }
}

/// Stops the workers when the last handle to the server goes.
struct StopOnDrop(Arc<Server>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.close();
        self.0.end_idle();
        // A worker whose inbox is full this moment goes with the process.
        let _full = self.0.hub.send_all(|| Command::Stop);
    }
}

/// Keeps a server running: when the last one is dropped, its workers stop.
#[derive(Clone)]
pub(crate) struct KeepAlive(Arc<StopOnDrop>);

impl KeepAlive {
    pub(crate) fn new(server: Server) -> Self {
        Self(Arc::new(StopOnDrop(Arc::new(server))))
    }

    pub(crate) fn downgrade(&self) -> WeakKeepAlive {
        WeakKeepAlive(Arc::downgrade(&self.0))
    }
}

/// Knows a server that is kept running elsewhere.
pub(crate) struct WeakKeepAlive(Weak<StopOnDrop>);

impl WeakKeepAlive {
    pub(crate) fn upgrade(&self) -> Option<KeepAlive> {
        self.0.upgrade().map(KeepAlive)
    }
}

impl std::ops::Deref for KeepAlive {
    type Target = Arc<Server>;

    fn deref(&self) -> &Arc<Server> {
        &self.0.0
    }
}

impl std::fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeepAlive").finish_non_exhaustive()
    }
}

/// How often sessions are told of a shutdown: one that was being opened as the others were told is not
/// missed.
const TELL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a worker has to cut its connections by itself. One that is stuck in a handler takes longer; then
/// it is not waited for.
const CUT_TIME: Duration = Duration::from_secs(1);

pub(crate) async fn shut_down(server: Arc<Server>, deadline: Duration) -> bool {
    server.close();
    let ended = tokio::time::timeout(deadline, end_sessions(&server)).await.is_ok();
    server.end_idle();
    if !ended {
        let left = server.connections.open();
        metrics::counter!("switchboard_connections_cut_total").increment(left as u64);
        tracing::warn!(left, "connections are cut at the deadline");
        // Services are told of these ends, too: asked a second time, a worker has done what followed from the
        // first.
        let cut = async {
            for _ in 0..2 {
                on_each_worker(&server.hub, cut_closing).await;
            }
        };
        let _stuck = tokio::time::timeout(CUT_TIME, cut).await;
    }
    for number in 0..server.hub.workers() {
        let server = Arc::clone(&server);
        // In a task of its own: a worker that is stuck in a handler does not hold up the others, nor the
        // caller.
        tokio::spawn(async move { server.hub.send_when_room(WorkerId(number as u8), Command::Stop).await });
    }
    ended
}

/// Closes all sessions, and returns when no connection is open. While sessions linger, connections are
/// accepted and kept, since the clients of these sessions may come by any of them.
async fn end_sessions(server: &Server) {
    let mut again = tokio::time::interval(TELL_INTERVAL);
    loop {
        let lingers = on_each_worker(&server.hub, close_sessions).await.contains(&true);
        if !lingers {
            server.end_idle();
        }
        tokio::select! {
            () = server.connections.emptied(), if server.ends_idle() => return,
            _ = again.tick() => {}
        }
    }
}

/// Closes the sessions of a worker. Returns whether any of them lingers.
fn close_sessions(worker: &Rc<Worker>) -> bool {
    let mut lingers = false;
    for session in worker.sessions() {
        session.shut_down(worker);
        lingers |= session.lingers();
    }
    lingers
}

/// Runs `f` on all workers. Returns what it gave, when they have done so.
pub(crate) async fn on_each_worker<T: Send + 'static>(hub: &Hub, f: fn(&Rc<Worker>) -> T) -> Vec<T> {
    let mut all_done = Vec::with_capacity(hub.workers());
    for number in 0..hub.workers() {
        let (done, is_done) = oneshot::channel();
        let run = Command::run(move |worker| {
            let _cancelled = done.send(f(worker));
        });
        // A worker that has stopped has nothing left to do.
        let _stopped = hub.send_when_room(WorkerId(number as u8), run).await;
        all_done.push(is_done);
    }
    let mut given = Vec::with_capacity(all_done.len());
    for done in all_done {
        given.extend(done.await);
    }
    given
}
