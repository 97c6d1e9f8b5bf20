//! Bytes that are alike for many connections (their URL, the name of their browser) are kept once for all.
//!
//! Each thread has a table of 256 places. The hash of some bytes gives their place; other bytes with the same
//! place replace them. Bytes longer than 1 KiB are copied and not entered into the table. So there is no
//! search, and peers can fill no more than 256 KiB for each thread.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;

/// The entries of a thread's table, and the greatest length of one in bytes.
const PLACES: usize = 256;
const LENGTH_UP_TO: usize = 1024;

/// Some bytes, behind a pointer of one word. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Interned(Arc<Box<[u8]>>);

#[derive(Default)]
struct Seen {
    places: Vec<Option<Interned>>,
    scratch: Vec<u8>,
    hasher: foldhash::fast::RandomState,
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

impl Interned {
    /// Interns the bytes that `write` appends to an empty buffer. `write` must not intern anything itself.
    pub(crate) fn written(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        SEEN.with_borrow_mut(|seen| {
            seen.scratch.clear();
            write(&mut seen.scratch);
            seen.intern()
        })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Seen {
    /// Interns the content of the scratch buffer.
    fn intern(&mut self) -> Interned {
        let bytes = self.scratch.as_slice();
        let new = || Interned(Arc::new(bytes.into()));
        if bytes.len() > LENGTH_UP_TO {
            let long = new();
            self.scratch = Vec::new();
            return long;
        }
        self.places.resize(PLACES, None);
        let place = self.hasher.hash_one(bytes) as usize % PLACES;
        match self.places.get_mut(place) {
            Some(Some(seen)) if seen.as_bytes() == bytes => seen.clone(),
            Some(place) => place.insert(new()).clone(),
            None => new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interned(bytes: &[u8]) -> Interned {
        Interned::written(|out| out.extend_from_slice(bytes))
    }

    #[test]
    fn the_same_bytes_are_kept_once() {
        let (one, two) = (interned(b"the same"), interned(b"the same"));
        assert!(Arc::ptr_eq(&one.0, &two.0));
        assert_eq!(interned(b"").as_bytes(), b"");
    }

    #[test]
    fn values_of_peers_fill_a_bound_and_no_more() {
        let long = vec![b'x'; LENGTH_UP_TO + 1];
        assert!(!Arc::ptr_eq(&interned(&long).0, &interned(&long).0));
        for number in 0..10 * PLACES {
            assert_eq!(interned(&number.to_be_bytes()).as_bytes(), number.to_be_bytes());
        }
        SEEN.with_borrow(|seen| {
            assert_eq!(seen.places.len(), PLACES);
            assert!(seen.scratch.capacity() <= 2 * LENGTH_UP_TO);
            let held = seen.places.iter().flatten();
            assert!(held.clone().all(|seen| seen.as_bytes().len() <= LENGTH_UP_TO));
            // The evicted bytes have no other owner.
            assert!(held.clone().all(|seen| Arc::strong_count(&seen.0) == 1));
        });
    }
}
