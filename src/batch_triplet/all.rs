//! All triplets of an anchor at once, without listing them.
//!
//! With the hinge, the loss Σ (margin + d⁺ − d⁻) over the active triplets needs of each distance only in how many of them it is: those counts are
//! also the gradient. A positive is in as many as there are negatives below margin + d⁺, and the other way round. With few positives the
//! counts come from comparing all pairs, sixteen at a time; with many the thresholds are sorted and every negative finds its place by bisection,
//! N log P instead of N·P.

use super::Triplet;
use super::select::Neighbours;
use crate::kernels::dot;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::wide::Real;

/// What all triplets of an anchor come to.
pub(super) struct AllTriplets<A> {
    pub(super) loss: f64,
    /// Triplets whose loss is not zero.
    pub(super) active: f64,
    /// ∂loss/∂d⁺ of each positive.
    pub(super) pulls: Vec<A>,
    /// −∂loss/∂d⁻ of each negative.
    pub(super) pushes: Vec<A>,
}

/// The hinge form.
pub(super) struct Hinge<'s, 'n, A> {
    pub(super) neighbours: &'s Neighbours<'n, A>,
    pub(super) margin: f64,
}

/// Up to here comparing all pairs is faster than bisection.
const FEW: usize = 48;

impl<A: Scalar> Kernel for Hinge<'_, '_, A> {
    type Output = AllTriplets<A>;

    #[inline(always)]
    fn run<I: Isa>(self) -> AllTriplets<A> {
        let Neighbours {
            positives,
            negatives,
            ..
        } = self.neighbours;
        let thresholds: Vec<A> = positives
            .iter()
            .map(|positive| A::narrow(positive.distance.wide() + self.margin))
            .collect();
        let (pulls, pushes) = if positives.len() <= FEW {
            compare(&thresholds, negatives)
        } else {
            bisect(&thresholds, negatives)
        };
        let near: f64 = pulls
            .iter()
            .zip(positives)
            .map(|(pull, positive)| pull.wide() * (positive.distance.wide() + self.margin))
            .filter(|term| *term != 0.0)
            .sum();
        let active: f64 = pulls.iter().map(|pull| pull.wide()).sum();
        let mut far = dot::<A, I>(&pushes, negatives).value();
        if !far.is_finite() {
            // A negative infinitely far away is in no active triplet, and none of infinity is not a number.
            let terms = pushes
                .iter()
                .zip(negatives)
                .filter(|(push, _)| !push.is_zero());
            far = terms.map(|(push, x)| push.wide() * x.wide()).sum();
        }
        AllTriplets {
            // Of triplets that are barely active nothing but rounding is left, perhaps below zero.
            loss: if near <= far { 0.0 } else { near - far },
            active,
            pulls,
            pushes,
        }
    }
}

#[inline(always)]
fn compare<A: Scalar>(thresholds: &[A], negatives: &[A]) -> (Vec<A>, Vec<A>) {
    let mut pushes = vec![A::zero(); negatives.len()];
    let pulls = thresholds
        .iter()
        .map(|&threshold| {
            let mut count = 0_u32;
            for (push, &x) in pushes.iter_mut().zip(negatives) {
                *push += if x < threshold { A::one() } else { A::zero() };
                count += u32::from(x < threshold);
            }
            A::narrow(f64::from(count))
        })
        .collect();
    (pulls, pushes)
}

fn bisect<A: Scalar>(thresholds: &[A], negatives: &[A]) -> (Vec<A>, Vec<A>) {
    let mut sorted: Vec<(A, usize)> = thresholds.iter().copied().zip(0..).collect();
    sorted.sort_unstable_by(|x, y| x.0.partial_cmp(&y.0).unwrap_or(x.1.cmp(&y.1)));
    let mut places = vec![0_u32; thresholds.len() + 1];
    let pushes = negatives
        .iter()
        .map(|&x| {
            let place = sorted.partition_point(|(threshold, _)| *threshold <= x);
            places[place] += 1;
            A::narrow((sorted.len() - place) as f64)
        })
        .collect();
    let mut pulls = vec![A::zero(); thresholds.len()];
    let mut below = 0.0;
    for (&(_, positive), &count) in sorted.iter().zip(&places) {
        below += f64::from(count);
        pulls[positive] = A::narrow(below);
    }
    (pulls, pushes)
}

/// The soft form: a logistic function of every pair of a positive and a negative. There is no way round the P·N of them, only round keeping
/// them.
pub(super) fn soft<A: Scalar>(neighbours: &Neighbours<'_, A>, margin: f64) -> AllTriplets<A> {
    let mut pushes = vec![0.0; neighbours.negatives.len()];
    let (mut loss, mut active) = (0.0, 0.0);
    let pulls = neighbours
        .positives
        .iter()
        .map(|positive| {
            let (mut sum, mut pull) = (0.0, 0.0);
            for (push, x) in pushes.iter_mut().zip(&neighbours.negatives) {
                let (softplus, slope) = softplus(margin + (positive.distance.wide() - x.wide()));
                sum += softplus;
                pull += slope;
                *push += slope;
                active += if softplus == 0.0 { 0.0 } else { 1.0 };
            }
            loss += sum;
            A::narrow(pull)
        })
        .collect();
    AllTriplets {
        loss,
        active,
        pulls,
        pushes: pushes.into_iter().map(A::narrow).collect(),
    }
}

/// log(1 + eˣ) and its slope, the logistic function, without overflow.
#[inline(always)]
pub(super) fn softplus(x: f64) -> (f64, f64) {
    let e = (-x.abs()).exp();
    let slope = if x >= 0.0 { 1.0 } else { e } / (1.0 + e);
    (x.max(0.0) + e.ln_1p(), slope)
}

/// The triplets of an anchor whose loss is not zero: all of them without a margin, which the soft form has none of in this sense.
pub(super) fn list_active<A: Scalar>(
    anchor: usize,
    neighbours: &Neighbours<'_, A>,
    margin: Option<f64>,
    list: &mut Vec<Triplet>,
) {
    for positive in &neighbours.positives {
        let threshold = margin.map(|margin| A::narrow(positive.distance.wide() + margin));
        for (index, &x) in neighbours.negatives.iter().enumerate() {
            if threshold.is_none_or(|threshold| x < threshold) {
                list.push(Triplet {
                    anchor,
                    positive: positive.row as usize,
                    negative: neighbours.negative(index).row as usize,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{available, dispatch_at};

    #[test]
    fn counts_by_comparison_and_by_bisection_are_those_of_the_listed_triplets() {
        let number = |i: usize| ((i * 37 % 101) as f64) / 16.0;
        let thresholds: Vec<f64> = (0..60).map(number).collect();
        let negatives: Vec<f64> = (60..200).map(number).collect();
        let pulls: Vec<f64> = thresholds
            .iter()
            .map(|t| negatives.iter().filter(|x| *x < t).count() as f64)
            .collect();
        let pushes: Vec<f64> = negatives
            .iter()
            .map(|x| thresholds.iter().filter(|t| x < *t).count() as f64)
            .collect();
        assert_eq!(
            compare(&thresholds, &negatives),
            (pulls.clone(), pushes.clone())
        );
        assert_eq!(bisect(&thresholds, &negatives), (pulls, pushes));
    }

    #[test]
    fn hinge_at_its_kink_is_inactive_on_every_instruction_set() {
        let distances = [1.0_f32, 1.5, 1.25];
        let neighbours = Neighbours::new(&distances, &[0], None);
        for level in available() {
            let all = dispatch_at(
                level,
                Hinge {
                    neighbours: &neighbours,
                    margin: 0.5,
                },
            );
            assert_eq!((all.loss, all.active), (0.25, 1.0));
            assert_eq!((all.pulls, all.pushes), (vec![1.0], vec![0.0, 1.0]));
        }
    }
}
