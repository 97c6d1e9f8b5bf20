//! Outboxes by themselves.

use proptest::prelude::*;

use super::*;

const PLAIN: Framing = Framing { id: 0, separator: None };
const LINES: Framing = Framing { id: 1, separator: Some(b'|') };

#[test]
fn a_separator_stands_between_packets_only() {
    let pool = Pool::default();
    let outbox = Outbox::new(1000, LINES);
    let shared: Rc<[u8]> = Rc::from(*b"shared");
    outbox.push_shared(&pool, &shared);
    outbox.push_shared(&pool, &shared);
    outbox.write(&pool, Place::Kept, |buffer| buffer.extend_from_slice(b"own"));
    outbox.push_shared(&pool, &shared);
    assert_eq!(outbox.take(&pool), b"shared|shared|own|shared");
    outbox.write(&pool, Place::Kept, |buffer| buffer.extend_from_slice(b"first"));
    assert_eq!(outbox.take(&pool), b"first");
}

#[test]
fn an_outbox_at_its_limit_takes_no_more() {
    let pool = Pool::default();
    let outbox = Outbox::new(4, PLAIN);
    outbox.write(&pool, Place::Kept, |buffer| buffer.extend_from_slice(b"12345"));
    assert_eq!(outbox.check(), Err(Full { bytes: 5, limit: 4 }));
}

#[test]
fn an_idle_outbox_holds_no_memory() {
    let pool = Pool::default();
    let outbox = Outbox::new(1000, PLAIN);
    outbox.write(&pool, Place::Kept, |buffer| buffer.extend_from_slice(b"12345"));
    outbox.take(&pool);
    assert!(outbox.queue.take().is_none());
    assert!(size_of::<Outbox>() <= 32, "{} bytes", size_of::<Outbox>());
    assert_eq!(pool.buffers.borrow().len(), 1);
}

proptest! {
    #[test]
    fn any_writes_drained_in_any_steps_come_out_in_order(
        packets in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..1500)), 0..40),
        steps in prop::collection::vec(1usize..4000, 1..20),
        most in prop_oneof![1usize..4000, Just(usize::MAX)],
    ) {
        let pool = Pool::default();
        let outbox = Outbox::new(usize::MAX, PLAIN);
        let mut expected = Vec::new();
        for (shared, packet) in &packets {
            if *shared {
                outbox.push_shared(&pool, &Rc::from(packet.as_slice()));
            } else {
                outbox.write(&pool, Place::Kept, |buffer| buffer.extend_from_slice(packet));
            }
            expected.extend_from_slice(packet);
        }
        let mut seen = Vec::new();
        for step in steps.iter().cycle() {
            if outbox.is_empty() { break; }
            outbox.drain(&pool, most, |slices| {
                assert!(slices.iter().map(|slice| slice.len()).sum::<usize>() <= most);
                let mut left = *step;
                for slice in slices {
                    let n = slice.len().min(left);
                    seen.extend_from_slice(&slice[..n]);
                    left -= n;
                }
                Ok::<_, ()>(step - left)
            }).unwrap();
        }
        prop_assert_eq!(seen, expected);
    }
}
