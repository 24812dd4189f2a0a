//! The instruction set that the target has everywhere.

use super::Kernel;
use super::isa::{Isa, LANES};
use super::stream::Line;

/// What the target has everywhere.
pub(crate) struct Portable;

impl Isa for Portable {
    const FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
    const WHOLE_LINES: bool = false;
    type Wide = [f64; LANES];
    type Single = [f32; LANES];

    #[inline(never)]
    fn call<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Self>()
    }
    #[inline(always)]
    fn splat(x: f64) -> Self::Wide {
        [x; LANES]
    }
    #[inline(always)]
    fn from_f32(x: &[f32; LANES]) -> Self::Wide {
        x.map(f64::from)
    }
    #[inline(always)]
    fn from_f64(x: &[f64; LANES]) -> Self::Wide {
        *x
    }
    #[inline(always)]
    fn to_array(x: Self::Wide) -> [f64; LANES] {
        x
    }
    #[inline(always)]
    fn to_f32(x: Self::Wide, out: &mut [f32; LANES]) {
        *out = x.map(|x| x as f32);
    }
    #[inline(always)]
    fn add(x: Self::Wide, y: Self::Wide) -> Self::Wide {
        std::array::from_fn(|lane| x[lane] + y[lane])
    }
    #[inline(always)]
    fn sub(x: Self::Wide, y: Self::Wide) -> Self::Wide {
        std::array::from_fn(|lane| x[lane] - y[lane])
    }
    #[inline(always)]
    fn mul(x: Self::Wide, y: Self::Wide) -> Self::Wide {
        std::array::from_fn(|lane| x[lane] * y[lane])
    }
    #[inline(always)]
    fn fused(x: Self::Wide, y: Self::Wide, z: Self::Wide) -> Self::Wide {
        if Self::FMA {
            std::array::from_fn(|lane| x[lane].mul_add(y[lane], z[lane]))
        } else {
            fused_by_calls(&x, &y, &z)
        }
    }
    #[inline(always)]
    fn single(x: f32) -> Self::Single {
        [x; LANES]
    }
    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self::Single {
        *x
    }
    #[inline(always)]
    fn store(x: Self::Single, out: &mut [f32; LANES]) {
        *out = x;
    }
    #[inline(always)]
    fn stream(x: Self::Single, out: &mut Line) {
        out.0 = x;
    }
    #[inline(always)]
    fn single_sub(x: Self::Single, y: Self::Single) -> Self::Single {
        std::array::from_fn(|lane| x[lane] - y[lane])
    }
    #[inline(always)]
    fn single_mul(x: Self::Single, y: Self::Single) -> Self::Single {
        std::array::from_fn(|lane| x[lane] * y[lane])
    }
    #[inline(always)]
    fn single_fused(x: Self::Single, y: Self::Single, z: Self::Single) -> Self::Single {
        std::array::from_fn(|lane| x[lane].mul_add(y[lane], z[lane]))
    }
    #[inline(always)]
    fn zip(x: Self::Single, y: Self::Single) -> [Self::Single; 2] {
        let zipped = |at: usize| {
            if at.is_multiple_of(2) {
                x[at / 2]
            } else {
                y[at / 2]
            }
        };
        [0, LANES].map(|first| std::array::from_fn(|lane| zipped(first + lane)))
    }
}

/// Sixteen calls of the library's multiply-add, kept together: inlined they would be most of the code of each kernel.
#[inline(never)]
fn fused_by_calls(x: &[f64; LANES], y: &[f64; LANES], z: &[f64; LANES]) -> [f64; LANES] {
    std::array::from_fn(|lane| x[lane].mul_add(y[lane], z[lane]))
}
