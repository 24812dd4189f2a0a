//! Distances of an anchor from the rows themselves: those that a product can't tell, and those of chosen triplets.

use super::Side;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::staging::contiguous;

/// Measures the distances of an anchor that are NaN, but for that to itself.
pub(crate) struct Measure<'s, 'a, A> {
    pub(crate) anchors: &'s Side<'a, A>,
    pub(crate) candidates: &'s Side<'a, A>,
    pub(crate) anchor: usize,
    pub(crate) itself: Option<usize>,
    pub(crate) distances: &'s mut [A],
    /// Receives the candidates that were measured.
    pub(crate) near: &'s mut Vec<u32>,
}

impl<A: Scalar> Kernel for Measure<'_, '_, A> {
    /// A candidate whose distance is NaN in truth.
    type Output = Option<u32>;

    #[inline(always)]
    fn run<I: Isa>(self) -> Option<u32> {
        const STEP: usize = 64;
        let (mut spare, mut other_spare) = (Vec::new(), Vec::new());
        let x = contiguous(self.anchors.rows.row(self.anchor), &mut spare);
        let mut poison = None;
        for (index, distances) in self.distances.chunks_mut(STEP).enumerate() {
            if !distances.iter().fold(false, |any, d| any | d.is_nan()) {
                continue;
            }
            for (offset, distance) in distances.iter_mut().enumerate() {
                let candidate = index * STEP + offset;
                if !distance.is_nan() || self.itself == Some(candidate) {
                    continue;
                }
                let y = contiguous(self.candidates.rows.row(candidate), &mut other_spare);
                *distance = A::narrow(self.anchors.distance.measure::<A, I>(x, y).0);
                self.near.push(candidate as u32);
                if distance.is_nan() && poison.is_none() {
                    poison = Some(candidate as u32);
                }
            }
        }
        poison
    }
}

/// The distances of an anchor to some candidates, from their rows.
pub(crate) struct MeasureSome<'s, 'a, A> {
    pub(crate) anchors: &'s Side<'a, A>,
    pub(crate) candidates: &'s Side<'a, A>,
    pub(crate) anchor: usize,
    pub(crate) some: &'s [u32],
    pub(crate) out: &'s mut Vec<f64>,
}

impl<A: Scalar> Kernel for MeasureSome<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let (mut spare, mut other_spare) = (Vec::new(), Vec::new());
        let x = contiguous(self.anchors.rows.row(self.anchor), &mut spare);
        self.out.clear();
        for (index, &candidate) in self.some.iter().enumerate() {
            // One negative often serves several positives in a row.
            let before = index.checked_sub(2).map(|before| self.some[before]);
            let distance = if before == Some(candidate) {
                self.out[index - 2]
            } else {
                let y = contiguous(
                    self.candidates.rows.row(candidate as usize),
                    &mut other_spare,
                );
                self.anchors.distance.measure::<A, I>(x, y).0
            };
            self.out.push(distance);
        }
    }
}
