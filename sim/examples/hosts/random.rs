//! Where all that is random in this process comes from: the seed.
//!
//! The standard library and the crates `getrandom` and `rand` ask the C library's `getrandom`, and
//! this executable has one of its own. So the order of a `HashMap`, the branch that a
//! `tokio::select!` looks at first, the jitter of a pause and every nonce repeat with the seed.
#![allow(unsafe_code, reason = "a symbol of the C library is replaced, which no safe code can say")]

use std::sync::atomic::{AtomicU64, Ordering};

/// What the next number is made of.
static STATE: AtomicU64 = AtomicU64::new(0);

/// The odd number of SplitMix64, whose multiples visit every state.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Begins the numbers anew, for this seed.
pub(crate) fn seed(seed: u64) {
    STATE.store(seed.wrapping_mul(STEP).rotate_left(32), Ordering::Relaxed);
    chassis::backoff::seed(seed);
}

/// The next number of SplitMix64.
fn next() -> u64 {
    let mut number = STATE.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Fills a buffer as the C library's function of this name does, and is never short of bytes.
///
/// # Safety
///
/// `length` bytes at `buffer` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    for at in 0..length {
        // SAFETY: the caller says that `length` bytes can be written.
        unsafe { buffer.add(at).write(next().to_le_bytes()[0]) };
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}
