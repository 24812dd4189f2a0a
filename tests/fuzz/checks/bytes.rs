//! Choices and numbers from the bytes of the fuzzer.

use contrastive::{Reduction, Scalar};
use ndarray::{Array, ArrayD, Axis, Dimension, ShapeBuilder};

/// A source of choices: the bytes of the fuzzer, and when they are used up those of a generator that they have seeded.
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
    state: u64,
}

/// The element types, from their bits.
pub(crate) trait Bits: Scalar {
    fn from_bits(bits: u64) -> Self;
    fn from_wide(x: f64) -> Self;
}

impl Bits for f32 {
    fn from_bits(bits: u64) -> Self {
        Self::from_bits(bits as u32)
    }
    fn from_wide(x: f64) -> Self {
        x as Self
    }
}

impl Bits for f64 {
    fn from_bits(bits: u64) -> Self {
        Self::from_bits(bits)
    }
    fn from_wide(x: f64) -> Self {
        x
    }
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        // FNV-1a
        let state = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { rest: bytes, state }
    }

    pub(crate) fn byte(&mut self) -> u8 {
        if let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            return byte;
        }
        // xorshift64* (Vigna 2016)
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
    }

    pub(crate) fn word(&mut self) -> u64 {
        (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte()))
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// How many rows or columns: mostly few, sometimes beyond a lane, a panel or a block of them.
    pub(crate) fn length(&mut self) -> usize {
        match self.byte() {
            byte @ 0..200 => usize::from(byte) % 10,
            byte @ 200..248 => usize::from(byte) - 190,
            byte => usize::from(byte) - 180,
        }
    }

    /// `length`, or now and then another one that does not fit.
    pub(crate) fn about(&mut self, length: usize) -> usize {
        match self.byte() {
            254 => length + 1,
            255 => length.saturating_sub(1),
            _ => length,
        }
    }

    /// A hyper-parameter: mostly one that makes sense, or any bits at all.
    pub(crate) fn parameter(&mut self, usual: &[f64]) -> f64 {
        match self.byte() {
            byte @ 0..240 => usual[usize::from(byte) % usual.len()],
            _ => f64::from_bits(self.word()),
        }
    }

    /// A number with a meaning of its own, or any bits at all.
    fn special<A: Bits>(&mut self) -> A {
        let (tiny, small, large) = (
            A::min_positive_value() * A::epsilon(),
            A::min_positive_value(),
            A::max_value(),
        );
        match self.byte() {
            0 => A::zero(),
            1 => -A::zero(),
            2 => tiny,
            3 => -tiny,
            4 => small,
            5 => large,
            6 => -large,
            7 => large.sqrt(),
            8 => small.sqrt(),
            9 => A::one() + A::epsilon(),
            10 => A::infinity(),
            11 => A::neg_infinity(),
            12 => A::nan(),
            13..128 => Self::ordinary(self.byte()),
            _ => A::from_bits(self.word()),
        }
    }

    /// A multiple of 1/32 between −4 and 4.
    fn ordinary<A: Bits>(byte: u8) -> A {
        A::from_wide((f64::from(byte) - 128.0) / 32.0)
    }

    /// An array in one of several manners, which may take after `other`.
    pub(crate) fn array<A: Bits>(
        &mut self,
        shape: &[usize],
        other: Option<&ArrayD<A>>,
    ) -> ArrayD<A> {
        let manner = self.byte();
        let power = A::from_wide(2.0).powi(8 * i32::from(self.byte() as i8));
        match manner % 9 {
            0..4 => self.filled(shape, |bytes| Self::ordinary(bytes.byte())),
            4 => self.filled(shape, |bytes| power * Self::ordinary(bytes.byte())),
            5 => self.filled(shape, Self::special),
            6 => self.filled(shape, |bytes| {
                let bits = bytes.word();
                A::from_bits(if size_of::<A>() == 4 {
                    bits >> 32
                } else {
                    bits
                })
            }),
            7 => {
                let mut array = self.filled(shape, |bytes| Self::ordinary(bytes.byte()));
                if let Some(first) = array.axis_iter(Axis(0)).next() {
                    let first = first.to_owned();
                    array
                        .axis_iter_mut(Axis(0))
                        .for_each(|mut row| row.assign(&first));
                }
                array
            }
            _ => match other {
                // The same numbers, or numbers that differ in late digits.
                Some(other) if other.shape() == shape => {
                    let noise = A::epsilon().powf(A::from_wide(f64::from(self.byte()) / 255.0));
                    let mut array = other.clone();
                    array.mapv_inplace(|x| x + x * noise * Self::ordinary(self.byte()));
                    array
                }
                _ => self.filled(shape, |bytes| Self::ordinary(bytes.byte())),
            },
        }
    }

    /// Whether and of which shape each gradient is asked for.
    pub(crate) fn wanted(&mut self, shapes: &[Vec<usize>]) -> Vec<Option<Vec<usize>>> {
        let mut wanted = Vec::new();
        for shape in shapes {
            let asked = self.byte() < 200;
            wanted.push(asked.then(|| shape.iter().map(|&length| self.about(length)).collect()));
        }
        wanted
    }

    /// A reduction, with the divisor if it has one.
    pub(crate) fn reduction(&mut self) -> (Reduction, f64) {
        let divisor = self.parameter(&[1.0, 8.0, 0.125]);
        match self.below(4) {
            0 => (Reduction::Mean, 1.0),
            1 => (Reduction::Sum, 1.0),
            2 => (Reduction::MeanActive, 1.0),
            _ => (Reduction::Over(divisor), divisor),
        }
    }

    pub(crate) fn filled<T, D: Dimension, S: ShapeBuilder<Dim = D>>(
        &mut self,
        shape: S,
        mut of: impl FnMut(&mut Self) -> T,
    ) -> Array<T, D> {
        Array::from_shape_simple_fn(shape, || of(self))
    }
}

/// Whether the rows of an array are all the same, bit for bit.
pub(crate) fn repeats<A: Bits>(array: &ArrayD<A>) -> bool {
    let mut rows = array.axis_iter(Axis(0));
    let first = rows.next();
    first.is_some_and(|first| rows.all(|row| super::same(row.iter(), first.iter())))
}
