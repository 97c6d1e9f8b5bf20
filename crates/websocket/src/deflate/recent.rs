//! The states of the connections that were busy last, among the connections that take context over.
//!
//! A state of zlib is mostly tables, which can be made again from the bytes that were compressed or inflated.
//! This is cheaper than to load 400 KiB that are not in the processor's caches: with 50 connections of 4
//! messages of 1 KiB each on the way, an echo takes 10 µs with 8 states, and 24 µs with a state for each
//! connection. So a thread keeps few states, and only the bytes of all other connections.

use std::sync::atomic::{AtomicU64, Ordering};

/// States that a thread keeps: one for each of the few connections that are busy at the same time.
const RECENT: usize = 8;

/// The number of the next connection, on all threads.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Finds a connection's state again, as long as the thread keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    connection: u64,
    /// Counts the messages. A state of a lower version, which another thread was left with, does not know all
    /// messages.
    version: u64,
    slot: usize,
}

impl Ticket {
    pub(super) fn new() -> Self {
        Self { connection: NEXT.fetch_add(1, Ordering::Relaxed), version: 0, slot: 0 }
    }
}

/// The states of one thread that remember earlier messages.
pub(super) struct Recent<S> {
    slots: Vec<Slot<S>>,
    /// Counts the uses.
    now: u64,
}

struct Slot<S> {
    connection: u64,
    version: u64,
    used: u64,
    /// `None` while it is in use.
    state: Option<S>,
}

impl<S> Recent<S> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), now: 0 }
    }

    /// The connection's state, if it is kept.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<S> {
        let slot = self.slots.get_mut(ticket.slot)?;
        let knows_all = (slot.connection, slot.version) == (ticket.connection, ticket.version);
        slot.state.take_if(|_| knows_all)
    }

    /// Keeps a connection's state. Returns the state that was kept in its place: that of the connection that
    /// was used the longest ago.
    pub(super) fn keep(&mut self, ticket: &mut Ticket, state: S) -> Option<S> {
        self.now += 1;
        let own = self.slots.get(ticket.slot).is_some_and(|slot| slot.connection == ticket.connection);
        if !own {
            ticket.slot = self.place();
        }
        ticket.version += 1;
        let Ticket { connection, version, .. } = *ticket;
        let slot = Slot { connection, version, used: self.now, state: Some(state) };
        if let Some(place) = self.slots.get_mut(ticket.slot) {
            return std::mem::replace(place, slot).state;
        }
        self.slots.push(slot);
        None
    }

    /// The place for the next state: a free one or a new one, or the place of the state that was used the
    /// longest ago.
    fn place(&self) -> usize {
        if self.slots.len() < RECENT {
            return self.slots.iter().position(|slot| slot.state.is_none()).unwrap_or(self.slots.len());
        }
        let least = self.slots.iter().enumerate().min_by_key(|(_, slot)| (slot.state.is_some(), slot.used));
        least.map_or(0, |(place, _)| place)
    }
}

/// The end of the text that was compressed or inflated, as far back as later messages may refer to.
#[derive(Debug, Default)]
pub(super) struct History(Vec<u8>);

impl History {
    /// Its last bytes, at most `length` of them.
    pub(super) fn last(&self, length: usize) -> &[u8] {
        self.0.get(self.0.len().saturating_sub(length)..).unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    /// Adds bytes, and forgets the bytes that are further back than `length`. It forgets a quarter of a long
    /// history at once, and not a little with each message.
    pub(super) fn push(&mut self, bytes: &[u8], length: usize) {
        let bytes = bytes.get(bytes.len().saturating_sub(length)..).unwrap_or_default();
        if self.0.len() + bytes.len() > length + length / 4 {
            let stay = length.saturating_sub(bytes.len());
            self.0.drain(..self.0.len().saturating_sub(stay));
        }
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            // It does not grow by half its size and more, because most connections send little.
            self.0.reserve_exact((needed + needed / 4).min(length + length / 4) - self.0.len());
        }
        self.0.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_of_those_that_were_busy_last_are_kept() {
        let mut recent = Recent::new();
        let mut tickets: Vec<_> = (0..=RECENT).map(|_| Ticket::new()).collect();
        for (state, ticket) in tickets.iter_mut().enumerate().take(RECENT) {
            assert_eq!(recent.keep(ticket, state), None);
        }
        // The first one is used again, so that the second one was used the longest ago.
        let first = recent.take(tickets[0]).unwrap();
        assert_eq!((first, recent.keep(&mut tickets[0], first)), (0, None));
        assert_eq!(recent.keep(&mut tickets[RECENT], RECENT), Some(1));
        assert_eq!(recent.take(tickets[1]), None);
        assert_eq!((recent.take(tickets[0]), recent.take(tickets[0])), (Some(0), None));
        // A state that was taken and not given back has left its place free.
        assert_eq!(recent.keep(&mut tickets[1], 1), None);
        assert_eq!(recent.slots.len(), RECENT);
        assert_eq!(recent.take(tickets[RECENT]), Some(RECENT));
    }

    #[test]
    fn history_is_the_end_of_all_messages() {
        let mut history = History::default();
        let mut said = Vec::new();
        for number in 0..300_u32 {
            let bytes = vec![number as u8; number as usize % 37];
            history.push(&bytes, 100);
            said.extend_from_slice(&bytes);
            assert_eq!(history.last(100), &said[said.len().saturating_sub(100)..]);
            assert!(history.0.capacity() <= 125);
        }
        history.push(&[7; 1000], 100);
        assert_eq!(history.0, [7; 100]);
    }
}
