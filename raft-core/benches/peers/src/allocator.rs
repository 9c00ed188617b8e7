//! An allocator that counts, but only when it is asked to: otherwise it costs two instructions, on both sides.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::harness::Meter;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(allocations: u64, bytes: usize, freed: usize) {
    if COUNTING.load(Relaxed) {
        ALLOCATIONS.fetch_add(allocations, Relaxed);
        LIVE_BYTES.fetch_add(bytes as i64 - freed as i64, Relaxed);
    }
}

// SAFETY: each call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size, layout.size());
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        count(0, 0, layout.size());
        unsafe { System.dealloc(old, layout) }
    }
}

/// Adds up allocations.
pub struct Allocations(pub u64);

impl Meter for Allocations {
    fn measure(&mut self, part: &mut dyn FnMut()) {
        let before = ALLOCATIONS.load(Relaxed);
        COUNTING.store(true, Relaxed);
        part();
        COUNTING.store(false, Relaxed);
        self.0 += ALLOCATIONS.load(Relaxed) - before;
    }
}

/// How many bytes are free after this that weren't before.
pub fn freed_by(part: &mut dyn FnMut()) -> u64 {
    let before = LIVE_BYTES.load(Relaxed);
    COUNTING.store(true, Relaxed);
    part();
    COUNTING.store(false, Relaxed);
    (before - LIVE_BYTES.load(Relaxed)).unsigned_abs()
}
