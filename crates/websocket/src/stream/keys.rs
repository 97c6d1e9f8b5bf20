//! Masking keys, which nobody may guess (RFC 6455 §5.3 and §10.3). The system's generator makes many at a
//! time, because a call for each frame would cost more than the frame.

use std::{cell::RefCell, io};

const POOL: usize = 1024;

thread_local! {
    static KEYS: RefCell<(usize, [u8; POOL])> = const { RefCell::new((POOL, [0; POOL])) };
}

/// A new key.
pub(super) fn next() -> io::Result<[u8; 4]> {
    KEYS.with_borrow_mut(|(used, pool)| {
        if *used >= POOL {
            getrandom::fill(pool).map_err(io::Error::other)?;
            *used = 0;
        }
        let key = pool.as_chunks::<4>().0[*used / 4];
        *used += 4;
        Ok(key)
    })
}
