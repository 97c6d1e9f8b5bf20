//! The buffer of an unfinished message: the bytes that have come, and room for the next ones.

use std::{cell::RefCell, mem};

/// A buffer of at least so many bytes is kept for the next message when its message is done. The system gives
/// new pages to each new buffer of this size, and that costs more than all other work on its bytes.
const KEEP_FROM: usize = 64 << 10;

/// A thread keeps at most so many bytes, in at most so many buffers.
const KEEP_BYTES: usize = 8 << 20;
const KEEP: usize = 4;

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
        let end = self.filled + self.filled.clamp(KEEP_FROM, ROOM).min(most);
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

    /// Moves a short buffer, which is to grow to `end` bytes, into a large buffer that the thread has kept.
    fn reuse_for(&mut self, end: usize) {
        if self.bytes.len() >= KEEP_FROM || end < KEEP_FROM {
            return;
        }
        if let Some(mut large) = KEPT.with_borrow_mut(Vec::pop)
            && let Some(beginning) = large.get_mut(..self.filled)
        {
            beginning.copy_from_slice(self.as_slice());
            self.bytes = large;
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

/// Keeps a large buffer for the thread's next message, if the thread does not keep enough yet.
fn keep(bytes: Vec<u8>) {
    if bytes.len() < KEEP_FROM {
        return;
    }
    // A thread that ends keeps nothing.
    let _ends = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        let held: usize = kept.iter().map(Vec::capacity).sum();
        if kept.len() < KEEP && held + bytes.capacity() <= KEEP_BYTES {
            kept.push(bytes);
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
        buffer.push(b"ab");
        buffer.room(3).copy_from_slice(b"cde");
        assert_eq!(buffer.fill(2), b"cd");
        buffer.push(b"fg");
        buffer.room(1).copy_from_slice(b"h");
        buffer.fill(1);
        assert_eq!(buffer.as_slice(), b"abcdfgh");
        assert_eq!(buffer.into_vec(), b"abcdfgh");
    }

    #[test]
    fn room_is_not_reserved_by_an_announced_length() {
        let mut buffer = Buffer::default();
        assert_eq!(buffer.room(usize::MAX).len(), KEEP_FROM);
        buffer.fill(KEEP_FROM);
        buffer.fill(KEEP_FROM);
        assert_eq!(buffer.len(), KEEP_FROM, "more than there was room for has not come");
        buffer.push(&vec![1; 1 << 20]);
        assert_eq!(buffer.room(usize::MAX).len(), ROOM);
        assert_eq!(buffer.room(10).len(), 10);
    }

    #[test]
    fn a_thread_keeps_a_bounded_number_of_large_buffers() {
        let buffers: Vec<Buffer> = (0..=KEEP).map(|_| holding(KEEP_BYTES / 3)).collect();
        drop(buffers);
        assert!(kept() > 0 && kept() <= KEEP_BYTES, "{}", kept());
        assert!(holding(KEEP_FROM - 1).capacity() < KEEP_BYTES / 3, "a short message has no use for one");
        let next = holding(KEEP_FROM);
        assert!(next.capacity() >= KEEP_BYTES / 3 && next.len() == KEEP_FROM);
    }

    #[test]
    fn bytes_that_wait_for_the_peer_take_at_most_twice_their_number() {
        drop(holding(KEEP_BYTES / 2));
        let before = kept();
        for bytes in [0, 1, 1000, KEEP_FROM - 1, KEEP_FROM, 5 * KEEP_FROM] {
            let mut buffer = holding(bytes);
            buffer.room(usize::MAX);
            assert!(buffer.capacity() > bytes * 2, "{bytes}");
            buffer.shrink();
            assert!(buffer.capacity() <= bytes * 2, "{bytes}: {}", buffer.capacity());
            assert_eq!(buffer.into_vec(), vec![1; bytes]);
            assert_eq!(kept(), before, "{bytes}: the large buffer is kept for the next");
        }
    }

    #[test]
    fn a_message_that_is_given_away_takes_at_most_twice_its_bytes() {
        drop(holding(KEEP_BYTES / 2));
        for bytes in [10, KEEP_FROM, 2 * KEEP_FROM] {
            let mut buffer = holding(bytes);
            buffer.room(usize::MAX);
            let vec = buffer.into_vec();
            assert!(vec.len() == bytes && vec.capacity() <= bytes * 2, "{bytes}: {}", vec.capacity());
        }
    }
}
