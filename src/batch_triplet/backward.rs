//! The gradient by the rows, from what each distance weighs.

use ndarray::ArrayViewMut2;

use super::BatchTripletGradient;
use super::forward::Pass;
use super::totals::Totals;
use crate::batch_distance::{Backward, Role, Side, Weights};
use crate::scalar::Scalar;
use crate::workspace::Buffer;

impl<'a, A: Scalar> Pass<'_, 'a, A> {
    /// From the matrix `[n, m]` and the list that [`run`](Self::run) has written.
    pub(super) fn backward(
        &self,
        gradient: BatchTripletGradient<'_, A>,
        matrix: Option<&[A]>,
        totals: &Totals,
        memory: &mut Buffer<A>,
    ) {
        let scale = totals.scale(self.loss.reduction);
        let mut write = |role, [own, other]: [&Side<'a, A>; 2], view| {
            let Some(view): Option<ArrayViewMut2<'_, A>> = view else {
                return;
            };
            let weights = matrix.map(|matrix| Weights {
                matrix,
                panels: other.panels(&mut *memory),
            });
            let backward = Backward {
                role,
                own,
                other,
                distance: self.loss.distance,
                weights,
                pulls: &totals.pulls,
                scale,
            };
            backward.run(view);
        };
        let (anchors, candidates) = (self.anchors, self.candidates);
        if self.groups.own {
            write(Role::Both, [anchors, anchors], gradient.anchors);
        } else {
            write(Role::Anchors, [anchors, candidates], gradient.anchors);
            write(Role::Candidates, [candidates, anchors], gradient.candidates);
        }
    }
}
