//! Numbers for inputs: reproducible, and off the kinks where it can be arranged.

use ndarray::ArrayD;

/// SplitMix64 (Steele et al. 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in [−1, 1).
    pub(crate) fn signed(&mut self) -> f64 {
        2.0 * self.unit() - 1.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn sign(&mut self) -> f64 {
        if self.next() & 1 == 0 { 1.0 } else { -1.0 }
    }

    /// Rows of input `part`: multiples of 1/4 up to ±1, moved by an amount of the part's own and by a jitter. So no number is near 0, no two
    /// parts are near each other in any coordinate (|x|ᵖ has a kink there for p below 2), and the first column keeps rows off zero.
    pub(crate) fn rows(&mut self, shape: &[usize], part: usize) -> ArrayD<f64> {
        let offset = 0.04 + 0.0625 * part as f64;
        let dim = shape.last().copied().unwrap_or(1).max(1);
        let mut array = ArrayD::zeros(shape);
        for (i, x) in array.iter_mut().enumerate() {
            let step = if i % dim == 0 {
                self.sign() * (3 + self.below(2)) as f64
            } else {
                self.below(9) as f64 - 4.0
            };
            *x = 0.25 * step + offset + 0.015 * self.signed();
        }
        array
    }

    /// Adds a coordinate of about 3 to each row, which the norm with p = ∞ then picks clear of ties.
    pub(crate) fn plant_peaks(&mut self, rows: &mut ArrayD<f64>) {
        let dim = rows.shape().last().copied().unwrap_or(0);
        if dim == 0 {
            return;
        }
        let numbers = rows.as_slice_mut().expect("a new array is contiguous");
        for row in numbers.chunks_exact_mut(dim) {
            row[self.below(dim)] += self.sign() * (3.0 + self.unit());
        }
    }
}
