//! The pass of row losses over several prefixes of their rows: one prefix after the other, while the row and its gradient are in the cache.

use std::marker::PhantomData;

use ndarray::{ArrayViewMut, ArrayViewMut2, ArrayViewMut3, Axis, RemoveAxis};

use crate::blocks::Split;
use crate::kernels::Coming;
use crate::reduction::Reduction;
use crate::rows::{Out, Outcome, RowLoss};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::staging::Held;
use crate::store::Stores;

/// The gradient views of a row loss, for any lifetime.
pub(crate) trait Views<A> {
    /// The views of a block of rows.
    type Of<'g>: Split;

    /// Their first columns.
    fn within<'v>(views: &'v mut Self::Of<'_>, columns: usize) -> Self::Of<'v>;
}

/// Of two matrices.
pub(crate) enum PairViews {}

impl<A: Scalar> Views<A> for PairViews {
    type Of<'g> = (Option<ArrayViewMut2<'g, A>>, Option<ArrayViewMut2<'g, A>>);

    #[inline(always)]
    fn within<'v>((x, y): &'v mut Self::Of<'_>, columns: usize) -> Self::Of<'v> {
        (within(x, columns), within(y, columns))
    }
}

/// Of anchors, positives and negatives.
pub(crate) enum TripletViews {}

impl<A: Scalar> Views<A> for TripletViews {
    type Of<'g> = (
        Option<ArrayViewMut2<'g, A>>,
        Option<ArrayViewMut2<'g, A>>,
        Option<ArrayViewMut3<'g, A>>,
    );

    #[inline(always)]
    fn within<'v>((x, y, z): &'v mut Self::Of<'_>, columns: usize) -> Self::Of<'v> {
        (within(x, columns), within(y, columns), within(z, columns))
    }
}

#[inline(always)]
fn within<'v, A, D: RemoveAxis>(
    view: &'v mut Option<ArrayViewMut<'_, A, D>>,
    columns: usize,
) -> Option<ArrayViewMut<'v, A, D>> {
    let view = view.as_mut()?.view_mut();
    let axis = Axis(view.ndim() - 1);
    Some(view.split_at(axis, columns).0)
}

/// Whether prefixes of these lengths can be passed over together: if there are any, they get longer, and the divisor does not depend on their losses.
pub(crate) fn in_one_pass(reduction: Reduction, columns: &[usize]) -> bool {
    let rise = !columns.is_empty() && columns.is_sorted_by(|shorter, longer| shorter < longer);
    rise && reduction != Reduction::MeanActive
}

/// Makes the columns beyond the longest prefix zero.
pub(crate) fn clear_beyond<A: Scalar, D: RemoveAxis>(
    view: &mut Option<ArrayViewMut<'_, A, D>>,
    columns: usize,
) {
    if let Some(view) = view {
        let axis = Axis(view.ndim() - 1);
        view.view_mut().split_at(axis, columns).1.fill(A::zero());
    }
}

/// A row loss bound to a prefix of its input.
pub(crate) struct Prefix<L> {
    pub(crate) pass: L,
    pub(crate) columns: usize,
    pub(crate) weight: f64,
}

/// The weighted sum of a row loss over prefixes, which get longer: a row loss itself. Its tally is that of the longest.
pub(crate) struct Prefixes<L, V> {
    prefixes: Vec<Prefix<L>>,
    views: PhantomData<fn() -> V>,
}

impl<L, V> Prefixes<L, V> {
    /// `None` where they are not passed over [together](in_one_pass).
    pub(crate) fn new(
        reduction: Reduction,
        prefixes: impl Iterator<Item = Prefix<L>>,
    ) -> Option<Self> {
        let prefixes: Vec<_> = prefixes.collect();
        let columns: Vec<_> = prefixes.iter().map(|prefix| prefix.columns).collect();
        in_one_pass(reduction, &columns).then_some(Self {
            prefixes,
            views: PhantomData,
        })
    }

    /// The columns of the longest.
    pub(crate) fn columns(&self) -> usize {
        self.prefixes.last().map_or(0, |prefix| prefix.columns)
    }
}

impl<'g, A, L, V> RowLoss<A, V::Of<'g>> for Prefixes<L, V>
where
    A: Scalar,
    V: Views<A>,
    L: for<'v> RowLoss<A, V::Of<'v>>,
{
    #[inline(always)]
    fn row<I: Isa>(
        &self,
        row: usize,
        mut out: Option<Out<'_, V::Of<'g>>>,
        held: &mut Held<A>,
    ) -> Outcome {
        let mut sum = Outcome::default();
        for (index, prefix) in self.prefixes.iter().rev().enumerate() {
            let longest = index == 0;
            let place = out.as_ref().map(|out| (out.row, out.scale));
            let views = out.as_mut();
            let mut views = views.map(|out| V::within(out.views, prefix.columns));
            let out = place.zip(views.as_mut());
            let out = out.map(|((row, scale), views)| Out {
                views,
                row,
                scale: scale * prefix.weight,
                stores: if longest {
                    Stores::Cached
                } else {
                    Stores::Added
                },
                // Another prefix of this row comes first.
                coming: Coming::default(),
            });
            let outcome = I::call(RowOf {
                pass: &prefix.pass,
                row,
                out,
                held: &mut *held,
            });
            sum.loss += prefix.weight * outcome.loss;
            if longest {
                (sum.active, sum.tally) = (outcome.active, outcome.tally);
            }
        }
        sum
    }
}

/// A row of a prefix.
struct RowOf<'p, 'o, A, L, G> {
    pass: &'p L,
    row: usize,
    out: Option<Out<'o, G>>,
    held: &'p mut Held<A>,
}

impl<A: Scalar, G: Split, L: RowLoss<A, G>> Kernel for RowOf<'_, '_, A, L, G> {
    type Output = Outcome;

    #[inline(always)]
    fn run<I: Isa>(self) -> Outcome {
        self.pass.row::<I>(self.row, self.out, self.held)
    }
}
