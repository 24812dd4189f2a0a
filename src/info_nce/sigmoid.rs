//! The sigmoid loss: every candidate for itself, a match or not, without a softmax.

use super::softmax::Score;
use super::tile_rules::Undo;
use crate::exponential::exp;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};

/// Sums over the candidates of a query that are no positives.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sigmoids {
    /// Σ log(1 + eᶻ)
    pub(super) loss: f64,
    /// Σ σ(z)
    pub(super) share: f64,
    /// Σ σ(z)·u
    pub(super) moment: f64,
}

impl Sigmoids {
    pub(super) const ZERO: Self = Self {
        loss: 0.0,
        share: 0.0,
        moment: 0.0,
    };

    pub(super) fn add(&mut self, score: Score, bias: f64) {
        let share = sigmoid(score.z + bias);
        self.loss += softplus(score.z + bias);
        self.share += share;
        self.moment += if share == 0.0 { 0.0 } else { share * score.u };
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.loss += other.loss;
        self.share += other.share;
        self.moment += other.moment;
    }
}

/// log(1 + eᶻ), without overflow and to its own digits where it is small.
pub(super) fn softplus(z: f64) -> f64 {
    if z.is_nan() {
        z
    } else {
        z.max(0.0) + (-z.abs()).exp().ln_1p()
    }
}

/// 1/(1 + e⁻ᶻ)
pub(super) fn sigmoid(z: f64) -> f64 {
    let small = (-z.abs()).exp();
    if z > 0.0 {
        1.0 / (1.0 + small)
    } else {
        small / (1.0 + small)
    }
}

/// 1/(1 + e⁻ᶻ); 0 for −∞.
#[inline(always)]
pub(super) fn logistic<A: Scalar, I: Isa>(z: A) -> A {
    let small = exp::<A, I>(-z.abs());
    let top = if z > A::zero() { A::one() } else { small };
    top / (A::one() + small)
}

/// The sums of a tile, lane by lane.
pub(super) struct SigmoidSums<'a, A> {
    pub(super) tile: &'a [A],
    /// For tiles that a rule changed.
    pub(super) undo: Option<Undo<'a, A>>,
    /// What is added to every similarity to make it a score.
    pub(super) bias: A,
    /// Scores above which a candidate is counted in `above`.
    pub(super) positives: &'a [A],
    /// Σ log(1 + eᶻ), Σ σ(z), Σ σ(z)·u, and the number of candidates above the positive, of each lane.
    pub(super) out: &'a mut [f64],
}

impl<A: Scalar> Kernel for SigmoidSums<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        // Logarithms of products instead of sums of logarithms: Π (1 + e) − 1 is kept, to its own digits, and its logarithm is taken once a run.
        // 2⁶⁴ is far from the largest f64.
        const RUN: usize = 64;
        self.out[..4 * A::PANEL].fill(0.0);
        let mut lanes = self.out.chunks_exact_mut(A::PANEL);
        let [loss, share, moment, above] =
            [(); 4].map(|()| lanes.next().expect("four sums a lane"));
        let mut products = [0.0; 32];
        let products = &mut products[..A::PANEL];
        for (index, row) in self.tile.chunks_exact(A::PANEL).enumerate() {
            let undo = Undo::of_row(self.undo, index);
            for lane in 0..A::PANEL {
                let z = row[lane] + self.bias;
                let small = exp::<A, I>(-z.abs()).wide();
                products[lane] += small * (1.0 + products[lane]);
                let top = if z > A::zero() { 1.0 } else { small };
                let sigma = top / (1.0 + small);
                let u = undo.of(row[lane]);
                loss[lane] += if z > A::zero() { z.wide() } else { 0.0 };
                share[lane] += sigma;
                // Where σ is 0 the score may be −∞, and the product NaN.
                moment[lane] += if sigma > 0.0 { sigma * u.wide() } else { sigma };
                above[lane] += if row[lane] > self.positives[lane] {
                    1.0
                } else {
                    0.0
                };
            }
            if (index + 1) % RUN == 0 {
                drain(products, loss);
            }
        }
        drain(products, loss);
    }
}

#[inline(always)]
fn drain(products: &mut [f64], loss: &mut [f64]) {
    for (product, loss) in products.iter_mut().zip(loss) {
        *loss += product.ln_1p();
        *product = 0.0;
    }
}
