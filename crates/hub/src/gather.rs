//! Copies several small chunks end to end, so that they are one write rather than slices of a vectored one.
//!
//! Recipients of the same broadcasts in the same turn hold the same chunks: one copy serves all of them.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::outbox::Chunk;

/// Chunks are copied end to end up to this many bytes in all. More bytes cost more to copy than to write in
/// slices.
const BYTES_UP_TO: usize = 64 * 1024;

/// The average size of chunks up to which they are copied.
const CHUNK_UP_TO: usize = 2048;

/// Chunks copied end to end, and the broadcasts that they are.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    bytes: Vec<u8>,
    /// Kept, so that no other chunk gets the address of one of them. Empty if not all chunks are broadcasts.
    broadcasts: Vec<Rc<[u8]>>,
}

impl Gathered {
    /// The chunks end to end; `None` if they are better written as slices. `bytes`: their length in all.
    pub(crate) fn concat(&mut self, chunks: &VecDeque<Chunk>, bytes: usize) -> Option<&[u8]> {
        if chunks.len() < 2 || bytes > BYTES_UP_TO || bytes > chunks.len() * CHUNK_UP_TO {
            return None;
        }
        if !self.holds(chunks) {
            self.fill(chunks);
        }
        Some(&self.bytes)
    }

    /// Drops the references to broadcasts: the turn is over.
    pub(crate) fn clear(&mut self) {
        self.broadcasts.clear();
    }

    fn holds(&self, chunks: &VecDeque<Chunk>) -> bool {
        self.broadcasts.len() == chunks.len()
            && self.broadcasts.iter().zip(chunks).all(|(held, chunk)| match chunk {
                Chunk::Shared(shared) => Rc::ptr_eq(held, shared),
                Chunk::Owned(_) | Chunk::Backlog(_) => false,
            })
    }

    fn fill(&mut self, chunks: &VecDeque<Chunk>) {
        self.bytes.clear();
        self.broadcasts.clear();
        for chunk in chunks {
            self.bytes.extend_from_slice(chunk.as_slice());
            if let Chunk::Shared(shared) = chunk {
                self.broadcasts.push(Rc::clone(shared));
            }
        }
        if self.broadcasts.len() != chunks.len() {
            self.broadcasts.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(bytes: &[u8]) -> Rc<[u8]> {
        Rc::from(bytes)
    }

    #[test]
    fn a_copy_serves_outboxes_with_the_same_chunks_only() {
        let (a, b, like_a) = (shared(b"aa"), shared(b"bb"), shared(b"xx"));
        let chunks =
            |list: &[&Rc<[u8]>]| list.iter().map(|rc| Chunk::Shared(Rc::clone(rc))).collect::<VecDeque<_>>();
        let mut gathered = Gathered::default();
        assert_eq!(gathered.concat(&chunks(&[&a, &b]), 4), Some(&b"aabb"[..]));
        assert_eq!(gathered.concat(&chunks(&[&a, &b]), 4), Some(&b"aabb"[..]));
        assert_eq!(gathered.concat(&chunks(&[&like_a, &b]), 4), Some(&b"xxbb"[..]));
        assert_eq!(gathered.concat(&chunks(&[&b, &a]), 4), Some(&b"bbaa"[..]));
        let mut mixed = chunks(&[&b, &a]);
        mixed.push_back(Chunk::Owned(b"own".to_vec()));
        assert_eq!(gathered.concat(&mixed, 7), Some(&b"bbaaown"[..]));
        assert!(gathered.broadcasts.is_empty());
        assert_eq!(Rc::strong_count(&a), 1 + 1, "held by the mixed queue alone");
    }

    #[test]
    fn one_chunk_or_large_ones_are_written_as_they_are() {
        let mut gathered = Gathered::default();
        let one = VecDeque::from([Chunk::Shared(shared(b"a"))]);
        assert_eq!(gathered.concat(&one, 1), None);
        let large = Chunk::Owned(vec![0; 3 * CHUNK_UP_TO]);
        assert_eq!(
            gathered.concat(&VecDeque::from([large, Chunk::Owned(vec![1])]), 3 * CHUNK_UP_TO + 1),
            None
        );
    }
}
