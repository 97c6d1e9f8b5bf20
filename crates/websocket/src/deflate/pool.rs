//! States and buffers that are needed for a short time only. Each thread keeps them for the next message.
//!
//! A state of zlib is large, and slow to make (a new compressor clears several hundred KiB), but cheap to
//! reset. So where no context is taken over, the connections of a thread use the same few states in turn, and
//! the same output buffers.

#![allow(
    clippy::unnecessary_box_returns,
    clippy::vec_box,
    reason = "who holds no state should hold the size of none either"
)]

use std::cell::RefCell;

use zlib_rs::{Deflate, DeflateConfig, Inflate};

use super::recent::{Recent, Ticket};

/// States of each kind that a thread keeps. A compressor is in use within one call only, an inflater while a
/// message comes in pieces.
const STATES: usize = 4;
/// Output buffers that a thread keeps.
const BUFFERS: usize = 4;
/// Larger buffers are freed.
const MAX_BUFFER: usize = 64 << 10;

/// Compressors of one kind can stand in for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeflateKind {
    pub(super) window_bits: u8,
    pub(super) level: u8,
    pub(super) memory_level: u8,
}

struct Pool {
    deflates: Vec<(DeflateKind, Box<Deflate>)>,
    inflates: Vec<Box<Inflate>>,
    buffers: Vec<Vec<u8>>,
    /// Compressors that remember the messages that a connection has sent.
    sending: Recent<(DeflateKind, Box<Deflate>)>,
    /// Inflaters that remember the messages that a connection has received.
    receiving: Recent<Box<Inflate>>,
}

thread_local! {
    static POOL: RefCell<Pool> = const {
        RefCell::new(Pool {
            deflates: Vec::new(),
            inflates: Vec::new(),
            buffers: Vec::new(),
            sending: Recent::new(),
            receiving: Recent::new(),
        })
    };
}

/// Runs `work` with the thread's pool. `None` while the thread ends, when the pool is gone.
fn with_pool<T>(work: impl FnOnce(&mut Pool) -> T) -> Option<T> {
    POOL.try_with(|pool| work(&mut pool.borrow_mut())).ok()
}

/// A compressor that remembers nothing.
pub(super) fn take_deflate(kind: DeflateKind) -> Box<Deflate> {
    let kept = with_pool(|pool| {
        let at = pool.deflates.iter().position(|(kept, _)| *kept == kind)?;
        Some(pool.deflates.remove(at).1)
    });
    kept.flatten().unwrap_or_else(|| {
        Box::new(Deflate::new_with_config(DeflateConfig {
            level: i32::from(kind.level),
            // A number below zero stands for no header of zlib's own.
            window_bits: -i32::from(kind.window_bits),
            mem_level: i32::from(kind.memory_level),
            ..DeflateConfig::default()
        }))
    })
}

/// The compressor that remembers the messages that a connection has sent, if it is kept.
pub(super) fn resume_deflate(ticket: Ticket) -> Option<Box<Deflate>> {
    with_pool(|pool| pool.sending.take(ticket)).flatten().map(|(_, state)| state)
}

/// Keeps a compressor that remembers the messages that a connection has sent.
pub(super) fn keep_deflate(ticket: &mut Ticket, kind: DeflateKind, state: Box<Deflate>) {
    if let Some(Some((kind, other))) = with_pool(|pool| pool.sending.keep(ticket, (kind, state))) {
        put_deflate(kind, other);
    }
}

/// Gives a compressor back.
pub(super) fn put_deflate(kind: DeflateKind, mut state: Box<Deflate>) {
    state.reset();
    with_pool(|pool| {
        if pool.deflates.len() >= STATES {
            // This one was used the longest ago.
            pool.deflates.remove(0);
        }
        pool.deflates.push((kind, state));
    });
}

/// An inflater that remembers nothing.
pub(super) fn take_inflate() -> Box<Inflate> {
    let kept = with_pool(|pool| pool.inflates.pop()).flatten();
    // The largest window inflates the output of any window. A smaller one would save no memory in zlib-rs.
    kept.unwrap_or_else(|| Box::new(Inflate::new(false, super::MAX_WINDOW_BITS)))
}

/// The inflater that remembers the messages that a connection has received, if it is kept.
pub(super) fn resume_inflate(ticket: Ticket) -> Option<Box<Inflate>> {
    with_pool(|pool| pool.receiving.take(ticket)).flatten()
}

/// Keeps an inflater that remembers the messages that a connection has received.
pub(super) fn keep_inflate(ticket: &mut Ticket, state: Box<Inflate>) {
    if let Some(Some(other)) = with_pool(|pool| pool.receiving.keep(ticket, state)) {
        put_inflate(other);
    }
}

/// Gives an inflater back.
pub(super) fn put_inflate(mut state: Box<Inflate>) {
    state.reset(false);
    with_pool(|pool| {
        if pool.inflates.len() < STATES {
            pool.inflates.push(state);
        }
    });
}

/// A buffer of any length. Its bytes have no meaning.
pub(super) fn take_buffer() -> Vec<u8> {
    with_pool(|pool| pool.buffers.pop()).flatten().unwrap_or_default()
}

/// Gives a buffer back.
pub(super) fn put_buffer(buffer: Vec<u8>) {
    if (1..=MAX_BUFFER).contains(&buffer.len()) {
        with_pool(|pool| {
            if pool.buffers.len() < BUFFERS {
                pool.buffers.push(buffer);
            }
        });
    }
}
