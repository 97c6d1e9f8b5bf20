//! The memory that a peer can make the decoder hold, measured at the allocator. The program has one test,
//! because the allocator counts for all of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why")]
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

use switchboard_websocket::{Decoder, FrameHeader, Limits, Message, Opcode, Role, encode_frame_masked};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread runs the test. The main thread of the program allocates too.
    static IS_TEST: Cell<bool> = const { Cell::new(false) };
}

fn counts() -> bool {
    IS_TEST.try_with(Cell::get).unwrap_or(false)
}

// SAFETY: each call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if counts() {
            let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
            PEAK.fetch_max(held, Ordering::Relaxed);
            CALLS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if counts() {
            HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const KEY: [u8; 4] = [1, 2, 3, 4];

#[test]
fn memory_is_held_for_bytes_that_came_and_only_while_a_message_is_incomplete() {
    IS_TEST.set(true);
    a_whole_frame_allocates_nothing();
    a_length_in_a_header_reserves_nothing();
    empty_fragments_hold_nothing();
    tiny_fragments_hold_at_most_twice_their_bytes();
    a_message_that_waits_for_the_peer_holds_at_most_twice_its_bytes();
    the_buffer_of_a_message_in_pieces_is_freed();
}

fn decode(decoder: &mut Decoder, input: &mut [u8]) -> usize {
    let (mut pos, mut messages) = (0, 0);
    while decoder.decode(input, &mut pos).unwrap().is_some() {
        messages += 1;
    }
    messages
}

/// The most bytes that `work` held, and the number of its allocations.
fn measure(work: impl FnOnce()) -> (usize, usize) {
    let (held, calls) = (HELD.load(Ordering::Relaxed), CALLS.load(Ordering::Relaxed));
    PEAK.store(held, Ordering::Relaxed);
    work();
    (PEAK.load(Ordering::Relaxed) - held, CALLS.load(Ordering::Relaxed) - calls)
}

fn a_whole_frame_allocates_nothing() {
    let mut decoder = Decoder::new(Role::Server, Limits::default());
    let mut input = Vec::new();
    for (opcode, len) in [(Opcode::Text, 20), (Opcode::Ping, 125), (Opcode::Binary, 70_000)] {
        encode_frame_masked(&mut input, opcode, &vec![b'a'; len], KEY);
    }
    assert_eq!(measure(|| assert_eq!(decode(&mut decoder, &mut input), 3)), (0, 0));
}

fn a_length_in_a_header_reserves_nothing() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        let header = FrameHeader::new(opcode, 64 << 20).masked(KEY);
        let mut input = header.as_bytes().to_vec();
        let (held, _) = measure(|| assert_eq!(decode(&mut decoder, &mut input), 0));
        assert!(held < 512, "{held} bytes for a header that announces 64 MiB");
    }
}

fn empty_fragments_hold_nothing() {
    let mut decoder = Decoder::new(Role::Server, Limits::default());
    let mut input = FrameHeader::new(Opcode::Binary, 0).fin(false).masked(KEY).as_bytes().to_vec();
    for _ in 1..Limits::DEFAULT.max_fragments {
        input.extend_from_slice(FrameHeader::new(Opcode::Continuation, 0).fin(false).masked(KEY).as_bytes());
    }
    let (held, _) = measure(|| assert_eq!(decode(&mut decoder, &mut input), 0));
    assert!(held < 512, "{held} bytes for fragments without any");
}

fn tiny_fragments_hold_at_most_twice_their_bytes() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        let fragment = |opcode| {
            let mut bytes = FrameHeader::new(opcode, 1).fin(false).masked(KEY).as_bytes().to_vec();
            bytes.push(b'a' ^ KEY[0]);
            bytes
        };
        let (mut first, mut next) = (fragment(opcode), fragment(Opcode::Continuation));
        let before = HELD.load(Ordering::Relaxed);
        assert_eq!(decode(&mut decoder, &mut first), 0);
        for bytes in 2..=Limits::DEFAULT.max_fragments {
            next[6] = b'a' ^ KEY[0];
            assert_eq!(decode(&mut decoder, &mut next), 0);
            assert_eq!(decoder.unfinished_message(), Some(bytes));
            let held = HELD.load(Ordering::Relaxed) - before;
            assert!(held < 512 + 2 * bytes, "{held} bytes for {bytes} fragments of one byte");
            assert_eq!(held, decoder.held_bytes());
        }
    }
}

fn a_message_that_waits_for_the_peer_holds_at_most_twice_its_bytes() {
    // An earlier message leaves a large buffer, which later messages use.
    let mut decoder = Decoder::new(Role::Server, Limits::default());
    let mut large = Vec::new();
    encode_frame_masked(&mut large, Opcode::Binary, &vec![7; 4 << 20], KEY);
    let (start, rest) = large.split_at_mut(1 << 20);
    assert_eq!((decode(&mut decoder, start), decode(&mut decoder, rest)), (0, 1));

    let mut header = large.get(..14).unwrap().to_vec();
    assert_eq!(decode(&mut decoder, &mut header), 0);
    assert!(decoder.room().is_none(), "there is no room before bytes come");
    // As many as one read brings.
    let mut came = 0;
    for read in [1, 10, 1000, 40_000] {
        came += read;
        assert_eq!(decode(&mut decoder, &mut vec![7; read]), 0);
        assert!(decoder.held_bytes() < 512 + 2 * came, "{} bytes for {came}", decoder.held_bytes());
    }
    for read in [20_000, 40_000, 60_000, 1] {
        let room = decoder.room().unwrap();
        assert!((read..=came).contains(&room.len()), "{} bytes of room", room.len());
        decoder.fill(read);
        came += read;
        assert_eq!(decode(&mut decoder, &mut []), 0);
        assert_eq!(decoder.unfinished_message(), Some(came));
        decoder.shrink();
        assert!(decoder.held_bytes() < 512 + 2 * came, "{} bytes for {came}", decoder.held_bytes());
    }
}

fn the_buffer_of_a_message_in_pieces_is_freed() {
    let mut decoder = Decoder::new(Role::Server, Limits::default());
    let mut frame = Vec::new();
    encode_frame_masked(&mut frame, Opcode::Binary, &[7; 10_000], KEY);
    let held = HELD.load(Ordering::Relaxed);
    let (start, rest) = frame.split_at_mut(5_000);
    let (peak, _) = measure(|| {
        assert_eq!(decode(&mut decoder, start), 0);
        let mut pos = 0;
        assert!(
            matches!(decoder.decode(rest, &mut pos), Ok(Some(Message::Binary(bytes))) if bytes.len() == 10_000)
        );
        assert_eq!(decoder.decode(rest, &mut pos), Ok(None));
    });
    assert!((10_000..25_000).contains(&peak), "{peak} bytes for a message of 10 000");
    assert_eq!(HELD.load(Ordering::Relaxed), held);
    assert!(decoder.is_idle());
}
