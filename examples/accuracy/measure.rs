//! How far an answer is from the exact one.

use crate::cases::Case;
use crate::inputs::Type;
use crate::ours::Found;
use crate::reference;
use crate::wide::Wide;

/// Relative errors over the rows of a batch. NaN if a result is, infinite if there is one where the exact is zero.
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
    number: Type,
    losses: Vec<Wide>,
    /// Row by row.
    gradient: Vec<Vec<Wide>>,
}

impl Exact {
    pub(crate) fn of(case: Case) -> Self {
        let exact = reference::exact(case.family, &case.parts());
        let rows = Wide::new(exact.losses.len() as f64);
        let mean = exact.losses.iter().copied().sum::<Wide>() / rows;
        let repeated = case.input.repeated().is_some();
        let mut losses = if repeated { Vec::new() } else { exact.losses };
        losses.push(mean);
        Self {
            number: case.number,
            losses,
            gradient: if repeated {
                Vec::new()
            } else {
                exact.gradient.into_iter().flatten().collect()
            },
        }
    }

    pub(crate) fn numbers(&self) -> [usize; 2] {
        [self.losses.len(), self.gradient.iter().map(Vec::len).sum()]
    }

    pub(crate) fn errors(&self, found: &Found) -> Errors {
        let losses = self.losses.iter().zip(&found.losses);
        let losses = losses.map(|(exact, &found)| self.relative(&[*exact], &[found]));
        let mut rest = &found.gradient[..];
        let rows = self.gradient.iter().filter_map(|exact| {
            let (row, behind) = rest.split_at(exact.len());
            rest = behind;
            // A gradient that is too large for its type, exactly.
            let fits = exact
                .iter()
                .all(|x| x.value().abs() <= self.number.largest());
            fits.then(|| self.relative(exact, row))
        });
        Errors {
            loss: Spread::of(losses.collect()).expect("a mean at least"),
            gradient: Spread::of(rows.collect()),
        }
    }

    fn relative(&self, exact: &[Wide], found: &[f64]) -> f64 {
        let smallest = 2_f64.powi(self.number.smallest() / 2)
            * 2_f64.powi(self.number.smallest() - self.number.smallest() / 2);
        // All in proportion to the largest number, so that no square under- or overflows.
        let scale = exact.iter().map(|x| x.value().abs()).fold(0.0, f64::max);
        let [mut off, mut all] = [0.0, 0.0];
        for (&exact, &found) in exact.iter().zip(found) {
            // A result that is as near as numbers of the type lie is right.
            let rest = (Wide::new(found) - exact).value().abs();
            let rest = if rest <= 0.5 * smallest { 0.0 } else { rest };
            if scale == 0.0 || rest.is_nan() {
                if rest != 0.0 {
                    return if rest.is_nan() { rest } else { f64::INFINITY };
                }
                continue;
            }
            off += (rest / scale) * (rest / scale);
            all += (exact.value() / scale) * (exact.value() / scale);
        }
        if off == 0.0 { 0.0 } else { (off / all).sqrt() }
    }
}

impl Spread {
    fn of(mut errors: Vec<f64>) -> Option<Self> {
        errors.sort_by(f64::total_cmp);
        Some(Self {
            largest: *errors.last()?,
            median: errors[errors.len() / 2],
        })
    }
}
