//! Stores past the caches.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::{Isa, LANES};
use crate::scalar::Scalar;

/// The bytes of a cache line.
pub(super) const LINE: usize = 64;
/// The bytes that every x86-64 can store past the caches, and the alignment that this takes.
pub(super) const PIECE: usize = 16;

/// Copies `source` past the caches where the target allows it: for results that nobody reads soon.
///
/// An ordinary store to memory that is not in a cache first reads the line that it overwrites; this one does not, which saves
/// a third of the traffic of a pass that writes as much as it reads. Call [`publish`] once after the last of a block.
#[inline(always)]
pub(crate) fn stream<A: Scalar, I: Isa>(target: &mut [A], source: &[A]) {
    let bytes = size_of_val(target);
    let to = target.as_mut_ptr().cast::<u8>();
    let aligned = (to as usize).is_multiple_of(PIECE) && bytes.is_multiple_of(PIECE);
    if !aligned || source.len() != target.len() {
        return target.copy_from_slice(source);
    }
    let from = source.as_ptr().cast::<u8>();
    let head = (LINE - to as usize % LINE) % LINE;
    let head = head.min(bytes);
    let lines = head + (bytes - head) / LINE * LINE;
    for at in (0..head).chain(lines..bytes).step_by(PIECE) {
        // SAFETY: a whole piece at `at` lies inside both slices, which have `bytes` bytes, since head, lines and bytes are multiples of
        // a piece; the target is aligned to pieces. f32 and f64 have no padding.
        unsafe { stream_piece(to.add(at), from.add(at)) };
    }
    for at in (head..lines).step_by(LINE) {
        // SAFETY: as above for a whole line, which begins at a multiple of 64 bytes of the target.
        unsafe { I::stream_line(to.add(at), from.add(at)) };
    }
}

/// # Safety
/// `from` is valid for a read and `to` for a write of [`PIECE`] bytes, which do not overlap; `to` is aligned to as many.
#[inline(always)]
pub(super) unsafe fn stream_piece(to: *mut u8, from: *const u8) {
    // SAFETY: valid and aligned as the caller vouches; the load needs no alignment. SSE2 is part of every x86-64.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        _mm_stream_si128(to.cast(), _mm_loadu_si128(from.cast()));
    }
    // SAFETY: as above.
    #[cfg(not(target_arch = "x86_64"))]
    unsafe {
        std::ptr::copy_nonoverlapping(from, to, PIECE);
    }
}

/// Asks for numbers to be brought into the second-level cache, where the target can be asked: for what is read next, while this waits for something else.
#[inline(always)]
pub(crate) fn prefetch<A: Scalar>(numbers: &[A]) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of_val(numbers)).step_by(LINE) {
        // SAFETY: inside the slice, and a hint that changes nothing; SSE is part of every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(numbers.as_ptr().cast::<i8>().add(at)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
}

/// Asks for the line of the first of sixteen numbers to be brought into the first-level cache: for a row that is read soon, a line at a time between other work.
#[inline(always)]
pub(crate) fn prefetch_group(numbers: &[f32; LANES]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that changes nothing; SSE is part of every x86-64.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(numbers.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
}

/// Orders the stores of [`stream`] before whatever the thread does next, so that other threads see them.
#[inline(always)]
fn publish() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of every x86-64; the fence reads and writes nothing.
    unsafe {
        _mm_sfence();
    }
}

/// Publishes when it goes, if stores may have been streamed until then: also when a panic of a caller's own distance passes.
pub(crate) struct Publishing(pub(crate) bool);

impl Drop for Publishing {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0 {
            publish();
        }
    }
}

/// A cache line of sixteen `f32`, at its place.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Line(pub(crate) [f32; LANES]);

/// The columns of a row up to the first cache line, the lines, and the rest.
pub(crate) type Lines<'r> = (&'r mut [f32], &'r mut [Line], &'r mut [f32]);

/// A row by cache lines.
#[inline(always)]
pub(crate) fn lines(row: &mut [f32]) -> Lines<'_> {
    // SAFETY: a line has sixteen f32 and nothing else, for which every bit pattern is valid.
    unsafe { row.align_to_mut() }
}
