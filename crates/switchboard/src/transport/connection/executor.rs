//! The executor of a worker's connections: one task of the runtime polls all that are ready.
//!
//! A task of tokio's for each connection would take 256 bytes of the heap, and some 300 instructions each time
//! that it is woken. Here a connection has a place of 8 bytes in a table, and a waker of 32 that names it.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use switchboard_hub::Worker;
use tokio::task::unconstrained;

use super::task::Running;
use super::{Connection, ConnectionTask, end_turn};

/// Connections that are polled in one turn at most. Then the other tasks have their turn, and the reactor.
const CONNECTIONS_A_TURN: usize = 256;

/// The connections of a worker, an extension of it.
pub(crate) struct Executor {
    table: RefCell<Table>,
    worker: OnceCell<Weak<Worker>>,
    number: u32,
    afar: Arc<Afar>,
}

/// The connections by their places.
#[derive(Default)]
struct Table {
    places: Vec<Option<Running>>,
    free: Vec<u32>,
}

impl Table {
    fn insert(&mut self, connection: Running) -> u32 {
        if let Some(place) = self.free.pop()
            && let Some(slot) = self.places.get_mut(place as usize)
        {
            *slot = Some(connection);
            return place;
        }
        self.places.push(Some(connection));
        (self.places.len() - 1) as u32
    }

    fn remove(&mut self, place: u32) -> Option<Running> {
        let removed = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(removed)
    }
}

/// What other threads tell an executor.
#[derive(Default)]
struct Afar {
    /// The places that they have woken.
    woken: Mutex<Vec<u32>>,
    /// Whether there may be such places.
    any_woken: AtomicBool,
    /// Wakes the executor's task. Set in its first turn, which finds all that came before.
    waker: OnceLock<Waker>,
}

/// All executors of the process, by their numbers, which are given once. Locked when an executor begins or
/// ends, and when a thread wakes a connection of another one.
static EXECUTORS: Mutex<BTreeMap<u32, Arc<Afar>>> = Mutex::new(BTreeMap::new());
static LAST_NUMBER: AtomicU32 = AtomicU32::new(0);

/// The executor of this thread, and what this thread tells it. That needs no lock.
struct Here {
    /// The executor's number; 0: there is none.
    number: Cell<u32>,
    woken: RefCell<Vec<u32>>,
    /// Wakes the executor's task.
    waker: RefCell<Option<Waker>>,
}

thread_local! {
    static HERE: Here = const {
        Here { number: Cell::new(0), woken: RefCell::new(Vec::new()), waker: RefCell::new(None) }
    };
}

/// The waker of one place, which any thread may use. Each connection has one: it names its executor by a number
/// rather than a pointer, as the allocator has blocks of 24 bytes, and the next ones have 40.
struct PlaceWaker {
    executor: u32,
    place: u32,
}

impl Wake for PlaceWaker {
    #[inline]
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    #[inline]
    fn wake_by_ref(self: &Arc<Self>) {
        let Self { executor, place } = **self;
        let is_here = HERE.try_with(|here| {
            let is_here = here.number.get() == executor;
            if is_here {
                here.wake(place);
            }
            is_here
        });
        if !is_here.unwrap_or_default() {
            wake_afar(executor, place);
        }
    }
}

/// Wakes a place of another thread's executor, if that has not ended.
#[cold]
fn wake_afar(executor: u32, place: u32) {
    let executors = EXECUTORS.lock().unwrap_or_else(PoisonError::into_inner);
    let afar = executors.get(&executor).map(Arc::clone);
    drop(executors);
    if let Some(afar) = afar {
        afar.woken.lock().unwrap_or_else(PoisonError::into_inner).push(place);
        afar.any_woken.store(true, Ordering::Release);
        if let Some(waker) = afar.waker.get() {
            waker.wake_by_ref();
        }
    }
}

impl Here {
    #[inline]
    fn wake(&self, place: u32) {
        let mut woken = self.woken.borrow_mut();
        woken.push(place);
        if woken.len() == 1
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }
}

impl Default for Executor {
    fn default() -> Self {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Self { table: RefCell::default(), worker: OnceCell::new(), number, afar: Arc::default() }
    }
}

impl Executor {
    /// Polls a connection for the first time, and then whenever it is woken, until it ends. Called on the
    /// worker's thread.
    pub(crate) fn run(self: &Rc<Self>, task: ConnectionTask) {
        let ConnectionTask { running, worker } = task;
        if self.worker.set(Rc::downgrade(&worker)).is_ok() {
            self.start();
        }
        let connection = running.connection();
        let place = self.table.borrow_mut().insert(running);
        let waker = Waker::from(Arc::new(PlaceWaker { executor: self.number, place }));
        self.poll(&worker, place, &connection, &waker);
    }

    fn start(self: &Rc<Self>) {
        EXECUTORS.lock().unwrap_or_else(PoisonError::into_inner).insert(self.number, Arc::clone(&self.afar));
        HERE.with(|here| {
            here.number.set(self.number);
            here.woken.take();
            here.waker.take();
        });
        // A connection has turns of its own. tokio's budget for a task would be one for all of them.
        tokio::task::spawn_local(unconstrained(Self::keep_running(Rc::downgrade(self))));
    }

    /// Moves the places that are woken to `places`, which is empty.
    fn take_woken(&self, places: &mut Vec<u32>) {
        HERE.with(|here| std::mem::swap(&mut *here.woken.borrow_mut(), places));
        if self.afar.any_woken.load(Ordering::Acquire) && self.afar.any_woken.swap(false, Ordering::AcqRel) {
            places.append(&mut self.afar.woken.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    async fn keep_running(executor: Weak<Self>) {
        let (mut places, mut next) = (Vec::new(), 0);
        std::future::poll_fn(|cx| {
            let Some(executor) = executor.upgrade() else { return Poll::Ready(()) };
            let Some(worker) = executor.worker.get().and_then(Weak::upgrade) else { return Poll::Ready(()) };
            if executor.afar.waker.get().is_none() {
                let _unset_before = executor.afar.waker.set(cx.waker().clone());
                HERE.with(|here| here.waker.replace(Some(cx.waker().clone())));
            }
            let takes = next == places.len();
            if takes {
                places.clear();
                next = 0;
                executor.take_woken(&mut places);
            }
            let turn = places.iter().skip(next).take(CONNECTIONS_A_TURN);
            next += turn.len();
            turn.for_each(|&place| executor.poll_again(&worker, place));
            // Only the first place that is woken after a take wakes this task.
            if next < places.len() || !takes {
                return end_turn(cx);
            }
            Poll::Pending
        })
        .await;
    }

    /// Polls the connection that has been woken. A place may be woken twice, or have another connection by now: a
    /// poll too many does no harm.
    fn poll_again(&self, worker: &Rc<Worker>, place: u32) {
        let connection = match self.table.borrow().places.get(place as usize) {
            Some(Some(running)) => running.connection(),
            _ => return,
        };
        if let Some(waker) = connection.waker.get() {
            self.poll(worker, place, &connection, waker);
        }
    }

    #[inline]
    fn poll(&self, worker: &Rc<Worker>, place: u32, connection: &Rc<Connection>, waker: &Waker) {
        if connection.poll_guarded(worker, &mut Context::from_waker(waker)).is_ready() {
            let ended = self.table.borrow_mut().remove(place);
            drop(ended);
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        EXECUTORS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
        let _thread_ends = HERE.try_with(|here| {
            if here.number.get() == self.number {
                here.number.set(0);
                here.woken.take();
                here.waker.take();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executors_part_of_an_idle_connection_is_small() {
        // Two counts stand before it, and the allocator takes 8 bytes of each block.
        assert!(size_of::<PlaceWaker>() + 16 <= 24, "{} bytes", size_of::<PlaceWaker>());
        assert!(size_of::<Option<Running>>() <= 8, "{} bytes", size_of::<Option<Running>>());
    }
}
