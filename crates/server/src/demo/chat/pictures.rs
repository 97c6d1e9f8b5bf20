//! The bytes of the sent pictures: 64 MiB in all; the oldest pictures are dropped first.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use switchboard::Binary;

/// The key of a picture: the room's `life`, and the number of the message.
type Key = (u64, u64);

#[derive(Debug)]
pub(crate) struct Pictures {
    limit: usize,
    size: usize,
    kept: HashMap<Key, Binary>,
    /// Keys in the order in which the pictures came.
    order: VecDeque<Key>,
}

impl Pictures {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, size: 0, kept: HashMap::new(), order: VecDeque::new() }
    }

    /// Keeps a copy, so that the memory of the larger message is freed.
    pub(crate) fn keep(&mut self, life: u64, id: u64, data: &[u8]) -> Binary {
        let picture = Binary(Bytes::copy_from_slice(data));
        self.size += data.len();
        self.order.push_back((life, id));
        self.kept.insert((life, id), picture.clone());
        while self.size > self.limit {
            let Some(oldest) = self.order.pop_front() else { break };
            self.drop_one(oldest);
        }
        picture
    }

    pub(crate) fn get(&self, life: u64, id: u64) -> Option<Binary> {
        self.kept.get(&(life, id)).cloned()
    }

    /// Forgets the pictures of a room.
    pub(crate) fn forget(&mut self, life: u64) {
        let Self { size, kept, order, .. } = self;
        order.retain(|key| {
            if key.0 == life
                && let Some(picture) = kept.remove(key)
            {
                *size -= picture.len();
            }
            key.0 != life
        });
    }

    fn drop_one(&mut self, key: Key) {
        if let Some(picture) = self.kept.remove(&key) {
            self.size -= picture.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_pictures_go_when_there_are_too_many_bytes() {
        let mut pictures = Pictures::new(10);
        for id in 1..=3 {
            pictures.keep(1, id, &[0; 4]);
        }
        let kept: Vec<_> = (1..=3).map(|id| pictures.get(1, id).is_some()).collect();
        assert_eq!((kept, pictures.size), (vec![false, true, true], 8));
    }

    #[test]
    fn pictures_go_with_their_room() {
        let mut pictures = Pictures::new(100);
        pictures.keep(1, 1, &[1; 4]);
        pictures.keep(2, 1, &[2; 4]);
        pictures.forget(1);
        assert_eq!((pictures.get(1, 1), pictures.size, pictures.order.len()), (None, 4, 1));
        assert_eq!(pictures.get(2, 1).as_deref().map(|bytes| &bytes[..]), Some(&[2; 4][..]));
    }
}
