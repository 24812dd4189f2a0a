//! The vectors that the product is written in, and the portable ones: arrays that the compiler maps onto what the target has (SSE2, NEON).

/// A vector register of numbers.
pub(super) trait Lanes<A>: Copy {
    const COUNT: usize;
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn splat(x: A) -> Self;
    /// # Safety
    /// `p` is valid for `COUNT` reads, and the CPU has the instructions.
    unsafe fn load(p: *const A) -> Self;
    /// # Safety
    /// `p` is valid for `COUNT` writes, and the CPU has the instructions.
    unsafe fn store(self, p: *mut A);
    /// self + other
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn add(self, other: Self) -> Self;
    /// self + x·y
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn add_product(self, x: Self, y: Self) -> Self;
}

macro_rules! portable_lanes {
    ($scalar:ty, $count:literal) => {
        impl Lanes<$scalar> for [$scalar; $count] {
            const COUNT: usize = $count;
            #[inline(always)]
            unsafe fn splat(x: $scalar) -> Self {
                [x; $count]
            }
            #[inline(always)]
            unsafe fn load(p: *const $scalar) -> Self {
                // SAFETY: valid for COUNT reads by the trait's contract; an array is as aligned as its element.
                unsafe { *p.cast() }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $scalar) {
                // SAFETY: valid for COUNT writes by the trait's contract.
                unsafe { *p.cast() = self }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                std::array::from_fn(|i| self[i] + other[i])
            }
            #[inline(always)]
            unsafe fn add_product(self, x: Self, y: Self) -> Self {
                const FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
                std::array::from_fn(|i| {
                    if FMA {
                        x[i].mul_add(y[i], self[i])
                    } else {
                        self[i] + x[i] * y[i]
                    }
                })
            }
        }
    };
}
portable_lanes!(f32, 4);
portable_lanes!(f64, 2);
