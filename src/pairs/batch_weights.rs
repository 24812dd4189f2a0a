//! What the pairs of a labelled batch weigh, without listing them.

use ndarray::ArrayView1;

use crate::reduction::Sum;
use crate::scalar::Scalar;

/// The weight of all matches, and that of the others; weights must not be negative.
///
/// Class by class: a row matches those of its class before it, and a class makes other pairs with all classes before it. Nothing is subtracted, so a
/// kind that weighs little beside the other keeps its digits.
pub(super) fn weights_of_kinds<A: Scalar>(
    classes: ArrayView1<'_, u64>,
    weights: Option<ArrayView1<'_, A>>,
) -> [f64; 2] {
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row].wide());
    // Without rows of weight zero, which times a sum beyond all numbers would not be zero.
    let mut order: Vec<usize> = (0..classes.len())
        .filter(|&row| weight(row) != 0.0)
        .collect();
    order.sort_by_key(|&row| classes[row]);
    let (mut matches, mut others, mut before) = (Sum::ZERO, Sum::ZERO, Sum::ZERO);
    for class in order.chunk_by(|&i, &j| classes[i] == classes[j]) {
        let mut own = Sum::ZERO;
        for &row in class {
            matches = matches.plus(weight(row) * own.value());
            own = own.plus(weight(row));
        }
        others = others.plus(own.value() * before.value());
        before = before.merge(own);
    }
    [matches, others].map(Sum::value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn kinds_are_counted_and_weighed_as_in_a_list_of_the_pairs() {
        let classes = array![4, 7, 4, 4, 1, 7];
        // Matches: three of class 4 and one of class 7.
        let count = weights_of_kinds::<f64>(classes.view(), None);
        assert_eq!(count, [4.0, 11.0]);
        let weights = array![1.0, 2.0, 0.0, 3.0, 4.0, 5.0];
        // 1·3 + 2·5, and of (1 + 2 + 3 + 4 + 5)² / 2 less the squares' half what is left.
        let weighed = weights_of_kinds(classes.view(), Some(weights.view()));
        assert_eq!(weighed, [13.0, 72.0]);
    }

    #[test]
    fn kind_that_weighs_little_keeps_its_digits() {
        let (classes, weights) = (array![0, 0, 1], array![3e-9, 5e-9, 7e20]);
        let [matches, others] = weights_of_kinds(classes.view(), Some(weights.view()));
        assert!((matches / 15e-18 - 1.0).abs() < 1e-15);
        assert!((others / 56e11 - 1.0).abs() < 1e-15);
    }
}
