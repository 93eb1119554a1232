//! Memory that is fetched before it is read.

/// Weights that the processor is told of before they are multiplied by. While several groups of rows
/// are multiplied by the same weights it would not touch memory.
pub(super) struct Ahead {
    next: *const u8,
    bytes: usize,
}

impl Ahead {
    /// What follows `weights`, which so many groups of rows are multiplied by, in steps of so many
    /// bytes.
    pub(super) fn new<T>(weights: &[T], step: usize, groups: usize) -> Self {
        Self {
            next: weights.as_ptr_range().end.cast(),
            bytes: step.div_ceil(groups.max(1)).next_power_of_two(),
        }
    }

    /// Tells of the next part, of as many as there are steps.
    #[inline(always)]
    pub(super) fn step(&mut self) {
        /// Bytes that are fetched at a time.
        const LINE: usize = 64;

        prefetch(self.next);
        if self.bytes > LINE {
            prefetch(self.next.wrapping_add(LINE));
        }
        self.next = self.next.wrapping_add(self.bytes);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code, reason = "an instruction that takes a pointer")]
fn prefetch(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: every processor of this kind has the instruction, and it reads nothing: whatever the
    // address, it changes no more than what caches hold.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
}

/// Other processors are left to foresee it themselves.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn prefetch(_: *const u8) {}
