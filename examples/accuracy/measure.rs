//! How far an answer is from the exact one.

use crate::cases::{Case, Family};
use crate::inputs::Type;
use crate::ours::Found;
use crate::reference::{self, Answer, Sizes, size};
use crate::wide::Wide;

/// Relative errors over the rows of a batch. Infinite or NaN if a result is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Errors {
    pub(crate) loss: Spread,
    /// ‖found − exact‖/‖exact‖ of gradient rows; nothing if there are none.
    pub(crate) gradient: Option<Spread>,
}

/// The largest of some errors, and the median.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) largest: f64,
    pub(crate) median: f64,
}

/// The exact answer to a case, in the form of what is found.
pub(crate) struct Exact {
    case: Case,
    losses: Vec<Answer>,
    /// Row by row.
    gradient: Vec<Answer>,
    scores: f64,
}

impl Exact {
    pub(crate) fn of(case: Case) -> Self {
        let exact = reference::exact(case.family, &case.parts(), case.number.smallest_normal());
        let mean = mean(&exact.losses);
        let repeated = case.input.repeated().is_some();
        let mut losses = if repeated { Vec::new() } else { exact.losses };
        losses.push(mean);
        Self {
            case,
            losses,
            gradient: if repeated {
                Vec::new()
            } else {
                exact.gradient.into_iter().flatten().collect()
            },
            scores: exact.scores,
        }
    }

    pub(crate) fn numbers(&self) -> [usize; 2] {
        let len = |answers: &[Answer]| answers.iter().map(|answer| answer.numbers.len()).sum();
        [len(&self.losses), len(&self.gradient)]
    }

    pub(crate) fn errors(&self, found: &Found) -> Errors {
        let relative = |exact: &Answer, _, off: f64| ratio(off, self.proportion(exact));
        let [losses, gradient] = self.judge(found, relative);
        Errors {
            loss: Spread::of(losses).expect("a mean at least"),
            gradient: Spread::of(gradient),
        }
    }

    /// The largest error of the losses and of the gradient rows, in roundings of what they are made from: an ε of [`Self::made_from`].
    pub(crate) fn roundings(&self, found: &Found) -> [f64; 2] {
        let epsilon = self.case.number.epsilon();
        let roundings = |exact: &Answer, what: What, off: f64| {
            ratio(off, epsilon * self.made_from(exact, what))
        };
        let largest = |errors| Spread::of(errors).map_or(0.0, |spread| spread.largest);
        self.judge(found, roundings).map(largest)
    }

    /// How far all losses and all gradient rows are off, in proportion.
    fn judge(
        &self,
        found: &Found,
        proportion: impl Fn(&Answer, What, f64) -> f64,
    ) -> [Vec<f64>; 2] {
        let largest = self.case.number.largest();
        let judge = |what: What, exact: &[Answer], mut found: &[f64]| {
            let each = exact.iter().filter_map(|exact| {
                let (row, behind) = found.split_at(exact.numbers.len());
                found = behind;
                // A gradient that is too large for its type, exactly.
                let mut numbers = exact.numbers.iter();
                let fits = numbers.all(|x| x.value().abs() <= largest);
                fits.then(|| proportion(exact, what, off(exact, row)))
            });
            each.collect()
        };
        [
            judge(What::Loss, &self.losses, &found.losses),
            judge(What::Gradient, &self.gradient, &found.gradient),
        ]
    }

    /// What a relative error is relative to: the exact result, each number of it counted as a normal one at least, because those below have fewer
    /// digits. Where it is zero, to all digits of the reference, what it was made from.
    fn proportion(&self, exact: &Answer) -> f64 {
        let norm = size(&exact.numbers);
        if norm <= 2_f64.powi(-90) * exact.sizes.rows {
            return exact.sizes.rows;
        }
        let normal = self.case.number.smallest_normal();
        let numbers = exact.numbers.iter();
        let counted: Vec<_> = numbers.map(|x| x.abs().max(Wide::new(normal))).collect();
        size(&counted)
    }

    /// What an ε of is a rounding: of the result itself, and of what it is added up from as far as that is kept to more digits or not.
    fn made_from(&self, exact: &Answer, what: What) -> f64 {
        let Sizes { terms, rows } = exact.sizes;
        // 1 − c is a square of what remains of a row, the gradient is the remainder itself.
        let in_rows = |rounding: f64| match what {
            What::Loss => rounding * rounding,
            What::Gradient => rounding,
        };
        let [of_terms, of_rows] = match (self.case.family, self.case.number) {
            // Scores, and products of probabilities and rows, are rounded to the type of the rows; a rounding of a score over the temperature is one
            // of its probability, relatively.
            (Family::InfoNce(..), _) => [0.0, 1.0 + self.scores],
            // Everything but the result is in f64.
            (_, Type::F32) => [2_f64.powi(-29), in_rows(2_f64.powi(-29))],
            // Cosines and their gradients come from double-double sums.
            (_, Type::F64) => [1.0, in_rows(f64::EPSILON)],
        };
        let columns = exact.numbers.len() as f64;
        let underflow = columns.sqrt() * self.case.number.smallest_normal();
        (size(&exact.numbers).max(of_terms * terms) + of_rows * rows).max(underflow)
    }
}

#[derive(Clone, Copy)]
enum What {
    Loss,
    Gradient,
}

/// The quotient, 0 where nothing is off.
fn ratio(off: f64, size: f64) -> f64 {
    if off == 0.0 { 0.0 } else { off / size }
}

/// ‖found − exact‖
fn off(exact: &Answer, found: &[f64]) -> f64 {
    if let Some(&lost) = found.iter().find(|x| !x.is_finite()) {
        return lost.abs();
    }
    let numbers = exact.numbers.iter().zip(found);
    let rest: Vec<_> = numbers.map(|(&x, &found)| Wide::new(found) - x).collect();
    size(&rest)
}

fn mean(losses: &[Answer]) -> Answer {
    let n = losses.len() as f64;
    let sum = losses.iter().map(|loss| loss.numbers[0]).sum::<Wide>();
    let of = |size: fn(&Sizes) -> f64| losses.iter().map(|loss| size(&loss.sizes)).sum::<f64>() / n;
    Answer {
        numbers: vec![sum / Wide::new(n)],
        sizes: Sizes {
            terms: of(|sizes| sizes.terms),
            rows: of(|sizes| sizes.rows),
        },
    }
}

impl Spread {
    fn of(mut errors: Vec<f64>) -> Option<Self> {
        // NaN above all, of either sign.
        errors.sort_by(|x, y| x.abs().total_cmp(&y.abs()));
        Some(Self {
            largest: *errors.last()?,
            median: errors[errors.len() / 2],
        })
    }
}
