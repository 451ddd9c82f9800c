//! How much memory a piece of code takes: an allocator that counts, for each
//! thread by itself, so that tests that run side by side do not disturb.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The system's allocator, and a count of what this thread has taken from it.
struct Counting;

thread_local! {
    /// Bytes this thread has taken and not given back. Negative in a thread
    /// that frees what others allocated.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// The most there were since [`peak_of`] began.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // Fails only while the thread ends; what it frees then is of no interest.
    let _ = LIVE.try_with(|live| {
        live.set(live.get().saturating_add(change));
        PEAK.try_with(|peak| peak.set(peak.get().max(live.get())))
    });
}

// SAFETY: every request goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promises are those `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size().cast_signed().saturating_neg());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed().saturating_sub(layout.size().cast_signed()));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs `work` and tells the most bytes it held at once.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    (result, PEAK.get().saturating_sub(before).unsigned_abs())
}
