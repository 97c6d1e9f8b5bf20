//! The buffer of an unfinished message: the bytes that have come, and room for the next ones.

use std::{cell::RefCell, mem};

/// A buffer of at least so many bytes is kept for the next message when its message is done. The system gives
/// new pages to each new buffer of this size, and that costs more than all other work on its bytes.
const KEEP_FROM: usize = 64 << 10;

/// A thread keeps at most so many bytes, in at most so many buffers.
const KEEP_BYTES: usize = 8 << 20;
const KEEP: usize = 4;

/// A message goes on in a kept buffer of at most so many times the bytes that it needs, until
/// [`shrink`](Buffer::shrink). So a message of which 64 KiB have come takes at most 2 MiB.
const MAX_EXCESS: usize = 32;

/// The most bytes of room for one read.
const ROOM: usize = 256 << 10;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that grow with the bytes that come, and never by a length that is announced.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// The bytes that have come, then room.
    bytes: Vec<u8>,
    filled: usize,
}

impl Buffer {
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    /// Bytes of memory that are held.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        let end = self.filled + piece.len();
        self.reuse_for(end);
        if let Some(room) = self.bytes.get_mut(self.filled..end) {
            room.copy_from_slice(piece);
        } else {
            self.bytes.truncate(self.filled);
            self.bytes.extend_from_slice(piece);
        }
        self.filled = end;
    }

    /// Room for the next bytes, at most `most` of them. It is as large as the bytes that have come, so that
    /// at most twice their number is reserved; but it is at least 64 KiB and at most 256 KiB.
    pub(crate) fn room(&mut self, most: usize) -> &mut [u8] {
        let end = self.filled + self.filled.min(ROOM).min(most);
        self.reuse_for(end);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.filled..end).unwrap_or_default()
    }

    /// Takes the first `n` bytes of the [`room`](Self::room), and returns them.
    pub(crate) fn fill(&mut self, n: usize) -> &mut [u8] {
        let from = self.filled;
        self.filled = (from + n).min(self.bytes.len());
        self.bytes.get_mut(from..self.filled).unwrap_or_default()
    }

    /// Goes on in a large buffer that the thread has kept, where this one is short and has to grow to `end`
    /// bytes.
    fn reuse_for(&mut self, end: usize) {
        if end <= self.bytes.capacity() || end < KEEP_FROM || self.filled > ROOM {
            return;
        }
        let best = |kept: &mut Vec<Vec<u8>>| {
            let fits =
                |bytes: &Vec<u8>| bytes.len() >= end && bytes.capacity() <= end.saturating_mul(MAX_EXCESS);
            let fitting = kept.iter().enumerate().filter(|(_, bytes)| fits(bytes));
            let (at, _) = fitting.min_by_key(|(_, bytes)| bytes.len())?;
            Some(kept.swap_remove(at))
        };
        if let Some(mut large) = KEPT.with_borrow_mut(best)
            && let Some(beginning) = large.get_mut(..self.filled)
        {
            beginning.copy_from_slice(self.as_slice());
            keep(mem::replace(&mut self.bytes, large));
        }
    }

    /// Frees room where it is more than the bytes that have come.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.capacity() > self.filled * 2 {
            let bytes = self.as_slice().to_vec();
            keep(mem::replace(&mut self.bytes, bytes));
        }
    }

    /// The bytes, in a vector that takes at most twice their memory.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        self.shrink();
        let mut bytes = mem::take(&mut self.bytes);
        bytes.truncate(self.filled);
        bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        keep(mem::take(&mut self.bytes));
    }
}

/// Keeps a large buffer for the thread's next message. Where the thread keeps too much then, the smallest
/// ones go.
fn keep(bytes: Vec<u8>) {
    if bytes.len() < KEEP_FROM || bytes.capacity() > KEEP_BYTES {
        return;
    }
    // A thread that ends keeps nothing.
    let _ends = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        kept.push(bytes);
        while kept.len() > KEEP || kept.iter().map(Vec::capacity).sum::<usize>() > KEEP_BYTES {
            let smallest = kept.iter().enumerate().min_by_key(|(_, bytes)| bytes.capacity());
            let Some((at, _)) = smallest else { break };
            kept.swap_remove(at);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(bytes: usize) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.push(&vec![1; bytes]);
        buffer
    }

    fn kept() -> usize {
        KEPT.with_borrow(|kept| kept.iter().map(Vec::capacity).sum())
    }

    #[test]
    fn pushed_and_filled_bytes_stand_in_the_order_they_came() {
        let mut buffer = Buffer::default();
        buffer.push(b"abc");
        buffer.room(3).copy_from_slice(b"def");
        assert_eq!(buffer.fill(2), b"de");
        buffer.push(b"fg");
        buffer.room(1).copy_from_slice(b"h");
        buffer.fill(1);
        assert_eq!(buffer.as_slice(), b"abcdefgh");
        assert_eq!(buffer.into_vec(), b"abcdefgh");
    }

    #[test]
    fn room_is_as_large_as_the_bytes_that_have_come_and_not_as_an_announced_length() {
        let mut buffer = Buffer::default();
        assert_eq!(buffer.room(usize::MAX).len(), 0);
        buffer.push(&[1; 1000]);
        assert_eq!(buffer.room(usize::MAX).len(), 1000);
        assert_eq!(buffer.room(10).len(), 10);
        buffer.fill(1000);
        buffer.fill(1000);
        assert_eq!(buffer.len(), 2000, "more than there was room for has not come");
        buffer.push(&vec![1; 1 << 20]);
        assert_eq!(buffer.room(usize::MAX).len(), ROOM);
    }

    #[test]
    fn a_thread_keeps_a_bounded_number_of_large_buffers() {
        let buffers: Vec<Buffer> = (0..=KEEP).map(|_| holding(KEEP_BYTES / 3)).collect();
        drop(buffers);
        assert!(kept() > 0 && kept() <= KEEP_BYTES, "{}", kept());
        assert!(holding(KEEP_FROM - 1).capacity() < KEEP_BYTES / 3, "a short message has no use for one");
        let next = holding(4 * KEEP_FROM);
        assert!(next.capacity() >= KEEP_BYTES / 3 && next.len() == 4 * KEEP_FROM);
    }

    #[test]
    fn a_message_goes_on_in_the_smallest_kept_buffer_that_is_not_much_too_large() {
        let buffers = [40, 4, 2].map(|times| holding(times * KEEP_FROM));
        drop(buffers);
        let mut buffer = holding(KEEP_FROM);
        assert!((2 * KEEP_FROM..4 * KEEP_FROM).contains(&buffer.capacity()), "{}", buffer.capacity());
        buffer.push(&vec![1; 2 * KEEP_FROM]);
        assert!((4 * KEEP_FROM..8 * KEEP_FROM).contains(&buffer.capacity()), "{}", buffer.capacity());
        buffer.push(&vec![1; 2 * KEEP_FROM]);
        assert!(buffer.capacity() >= 40 * KEEP_FROM, "{}", buffer.capacity());
        assert_eq!(buffer.as_slice(), vec![1; 5 * KEEP_FROM]);
        assert!(holding(KEEP_FROM).capacity() <= MAX_EXCESS * KEEP_FROM);
    }

    #[test]
    fn bytes_that_wait_for_the_peer_take_at_most_twice_their_number() {
        for bytes in [0, 1, 1000, KEEP_FROM - 1, KEEP_FROM, 5 * KEEP_FROM] {
            drop(holding(KEEP_BYTES / 4));
            let before = kept();
            let mut buffer = holding(bytes);
            buffer.room(usize::MAX);
            buffer.shrink();
            assert!(buffer.capacity() <= bytes * 2, "{bytes}: {}", buffer.capacity());
            assert_eq!(buffer.into_vec(), vec![1; bytes]);
            assert_eq!(kept(), before, "{bytes}: the large buffer is kept for the next");
            KEPT.with_borrow_mut(Vec::clear);
        }
    }

    #[test]
    fn a_message_that_is_given_away_takes_at_most_twice_its_bytes() {
        for bytes in [10, KEEP_FROM, 2 * KEEP_FROM] {
            drop(holding(KEEP_BYTES / 4));
            let mut buffer = holding(bytes);
            buffer.room(usize::MAX);
            let vec = buffer.into_vec();
            assert!(vec.len() == bytes && vec.capacity() <= bytes * 2, "{bytes}: {}", vec.capacity());
        }
    }
}
