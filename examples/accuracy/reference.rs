//! Row losses and the gradient of their sum, from the formulas, in thirty-one digits.
//!
//! Similarities near ±1 are taken from the difference or the sum of the normalised rows, and probabilities near 1 from the others, so that the
//! digits that cancellation takes are not missed.

use crate::cases::{Distance, Family, Form, SMOOTHING, Similarity, Softmax};
use crate::inputs::Part;
use crate::wide::Wide;

/// The exact answer to a case.
pub(crate) struct Exact {
    pub(crate) losses: Vec<Answer>,
    /// ∂Σℓ of each row of each part.
    pub(crate) gradient: Vec<Vec<Answer>>,
    /// The largest that a score can be for its rows, over the temperature: 1/τ for cosines, ‖q‖‖d‖/τ for dot products.
    pub(crate) scores: f64,
}

/// A loss, or a row of the gradient.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) numbers: Vec<Wide>,
    pub(crate) sizes: Sizes,
}

/// What a result is added up from. A rounding of the terms is an error of the result in proportion to them, whatever they cancel to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sizes {
    /// The sum of the norms of its terms: margin + d⁺ + d⁻, say.
    pub(crate) terms: f64,
    /// The same if nothing cancelled in the terms either: with 1 for 1 − c, 1/‖x‖ for ∂c/∂x.
    pub(crate) rows: f64,
}

impl Sizes {
    fn times(self, factor: f64) -> Self {
        Self {
            terms: self.terms * factor,
            rows: self.rows * factor,
        }
    }

    fn add(&mut self, other: Self) {
        self.terms += other.terms;
        self.rows += other.rows;
    }
}

/// A function of two rows with both its gradients.
struct Pair {
    value: Wide,
    /// 1 − the value, to its own digits; of a cosine.
    distance: Wide,
    first: Vec<Wide>,
    second: Vec<Wide>,
    /// Of both gradients.
    sizes: [Sizes; 2],
}

/// `smallest` is what a probability counts as at least in the sizes: below the smallest normal number there are fewer digits.
pub(crate) fn exact(family: Family, parts: &[Part], smallest: f64) -> Exact {
    let zeros = |part: &Part| {
        let row = Answer {
            numbers: vec![Wide::ZERO; part.dim],
            sizes: Sizes::default(),
        };
        vec![row; part.rows]
    };
    let mut exact = Exact {
        losses: Vec::new(),
        gradient: parts.iter().map(zeros).collect(),
        scores: 0.0,
    };
    for row in 0..parts[0].rows {
        let (loss, sizes) = match family {
            Family::Match | Family::NoMatch => exact.pair(family, parts, row),
            Family::Triplet(distance, form) => exact.triplet(distance, form, parts, row),
            Family::InfoNce(similarity, softmax, temperature) => {
                let scored = Scored {
                    similarity,
                    softmax,
                    temperature,
                    smallest,
                    parts,
                    exact: &mut exact,
                };
                scored.query(row)
            }
        };
        exact.losses.push(Answer {
            numbers: vec![loss],
            sizes,
        });
    }
    exact
}

impl Exact {
    /// Adds a multiple of a gradient, of which the factor is itself a sum of numbers of some magnitude.
    fn add(&mut self, at: Row, factor: Wide, magnitude: f64, gradient: &[Wide], sizes: Sizes) {
        let row = &mut self.gradient[at.0][at.1];
        for (sum, &x) in row.numbers.iter_mut().zip(gradient) {
            *sum += factor * x;
        }
        row.sizes.add(sizes.times(magnitude));
    }

    /// Both gradients of a pair.
    fn add_both(&mut self, x: Row, y: Row, pair: &Pair, factor: Wide, magnitude: f64) {
        self.add(x, factor, magnitude, &pair.first, pair.sizes[0]);
        self.add(y, factor, magnitude, &pair.second, pair.sizes[1]);
    }

    fn pair(&mut self, family: Family, parts: &[Part], row: usize) -> (Wide, Sizes) {
        let pair = cosine(parts[0].row(row), parts[1].row(row));
        let (loss, slope, terms) = if family == Family::Match {
            (pair.distance, -Wide::ONE, pair.distance.value())
        } else {
            let terms = pair.value.abs().value() + 0.5;
            (pair.value + Wide::new(0.5), Wide::ONE, terms)
        };
        let sizes = Sizes { terms, rows: 1.0 };
        let slope = if loss > Wide::ZERO { slope } else { Wide::ZERO };
        self.add_both((0, row), (1, row), &pair, slope, 1.0);
        (loss.max(Wide::ZERO), sizes)
    }

    fn triplet(
        &mut self,
        distance: Distance,
        form: Form,
        parts: &[Part],
        row: usize,
    ) -> (Wide, Sizes) {
        let [anchor, positive, negative] = [0, 1, 2].map(|part| parts[part].row(row));
        let near = measure(distance, anchor, positive);
        let (mut far, mut from) = (measure(distance, anchor, negative), 0);
        if form == Form::Swap {
            let other = measure(distance, positive, negative);
            if other.value < far.value {
                (far, from) = (other, 1);
            }
        }
        let excess = Wide::ONE + (near.value - far.value);
        let terms = 1.0 + near.value.value() + far.value.value();
        let sizes = |slope: f64| Sizes { terms, rows: terms }.times(slope);
        // A rounding of the exponent is one of the logistic function, times 1 − it.
        let (loss, slope, tilt) = match form {
            Form::Soft => {
                let small = (-excess.abs()).exp();
                let [less, more] = [small, Wide::ONE].map(|x| x / (Wide::ONE + small));
                let (share, rest) = if excess > Wide::ZERO {
                    (more, less)
                } else {
                    (less, more)
                };
                (
                    excess.max(Wide::ZERO) + small.ln_1p(),
                    share,
                    rest.value() * terms,
                )
            }
            _ if excess <= Wide::ZERO => return (Wide::ZERO, sizes(1.0)),
            _ => (excess, Wide::ONE, 0.0),
        };
        let magnitude = slope.value() * (1.0 + tilt);
        self.add_both((0, row), (1, row), &near, slope, magnitude);
        self.add_both((from, row), (2, row), &far, -slope, magnitude);
        (loss, sizes(slope.value()))
    }
}

/// All rows of a part but one.
fn rivals(part: usize, rows: usize, own: usize) -> Vec<Row> {
    let others = (0..rows).filter(|&other| other != own);
    others.map(|other| (part, other)).collect()
}

/// A part and one of its rows.
type Row = (usize, usize);

struct Scored<'a> {
    similarity: Similarity,
    softmax: Softmax,
    temperature: f64,
    smallest: f64,
    parts: &'a [Part],
    exact: &'a mut Exact,
}

impl Scored<'_> {
    fn query(mut self, row: usize) -> (Wide, Sizes) {
        let parts = self.parts;
        let others: Vec<_> = match self.softmax {
            Softmax::Given => {
                let pool = (0..parts[4].rows).map(|row| (4, row));
                [(2, row), (3, row)].into_iter().chain(pool).collect()
            }
            _ => rivals(1, parts[1].rows, row),
        };
        if self.softmax != Softmax::Symmetric {
            return self.softmax((0, row), (1, row), &others, Wide::ONE);
        }
        let half = Wide::new(0.5);
        let queries = rivals(0, parts[0].rows, row);
        let (by_row, mut sizes) = self.softmax((0, row), (1, row), &others, half);
        let (by_column, more) = self.softmax((1, row), (0, row), &queries, half);
        sizes.add(more);
        ((by_row + by_column) * half, sizes.times(0.5))
    }

    fn score(&self, x: Row, y: Row) -> Pair {
        let (x, y) = (self.parts[x.0].row(x.1), self.parts[y.0].row(y.1));
        match self.similarity {
            Similarity::Cosine => cosine(x, y),
            Similarity::Dot => dot(x, y),
        }
    }

    /// −log of the positive's share, and `weight` times its gradient.
    fn softmax(
        &mut self,
        query: Row,
        positive: Row,
        others: &[Row],
        weight: Wide,
    ) -> (Wide, Sizes) {
        let temperature = Wide::new(self.temperature);
        let (own, pairs) = (
            self.score(query, positive),
            others
                .iter()
                .map(|&other| self.score(query, other))
                .collect::<Vec<_>>(),
        );
        let gaps: Vec<_> = pairs
            .iter()
            .map(|pair| (self.gap(&own, pair)) / temperature)
            .collect();
        let reach = std::iter::once(&own).chain(&pairs);
        let reach = reach.map(|pair| pair.reach(self.similarity) / self.temperature);
        self.exact.scores = reach.fold(self.exact.scores, f64::max);
        let largest = gaps
            .iter()
            .copied()
            .fold(Wide::new(f64::NEG_INFINITY), |largest, gap| {
                if gap > largest { gap } else { largest }
            });
        let shift = if self.softmax == Softmax::Decoupled {
            largest
        } else {
            largest.max(Wide::ZERO)
        };
        let powers: Vec<_> = gaps.iter().map(|&gap| (gap - shift).exp()).collect();
        let sum: Wide = powers.iter().copied().sum();
        let count = Wide::new(others.len() as f64 + 1.0);
        let behind: Wide = gaps.iter().map(|&gap| -gap).sum::<Wide>() / count;
        let (mut loss, total) = match self.softmax {
            Softmax::Decoupled => (largest + sum.ln(), sum),
            _ if shift > Wide::ZERO => (shift + (sum + (-shift).exp()).ln(), sum + (-shift).exp()),
            _ => (sum.ln_1p(), Wide::ONE + sum),
        };
        let mut pull = sum / total;
        // How much the loss moves with the scores.
        let mut slope = match self.softmax {
            Softmax::Decoupled => 1.0,
            _ => pull.value(),
        };
        let (mut even, mut apart) = (Wide::ZERO, pull.value());
        if self.softmax == Softmax::Smoothed {
            let share = Wide::new(SMOOTHING);
            loss += share * behind;
            slope += SMOOTHING;
            even = share / count;
            pull = pull - even * (count - Wide::ONE);
            apart += SMOOTHING;
        }
        let factor = weight / temperature;
        let magnitude = |share: f64| share.max(self.smallest) * factor.value();
        let pulling = magnitude(apart);
        self.exact
            .add_both(query, positive, &own, -(pull * factor), pulling);
        for ((&other, pair), &power) in others.iter().zip(&pairs).zip(&powers) {
            let share = power / total;
            let apart = magnitude((share + even).value());
            self.exact
                .add_both(query, other, pair, (share - even) * factor, apart);
        }
        let sizes = Sizes {
            terms: loss.abs().value(),
            rows: slope,
        };
        (loss, sizes)
    }

    /// s − s⁺
    fn gap(&self, own: &Pair, other: &Pair) -> Wide {
        match self.similarity {
            Similarity::Cosine => own.distance - other.distance,
            Similarity::Dot => other.value - own.value,
        }
    }
}

impl Pair {
    /// The largest that it can be for its rows.
    fn reach(&self, similarity: Similarity) -> f64 {
        match similarity {
            Similarity::Cosine => 1.0,
            // The norms of the gradients are those of the rows.
            Similarity::Dot => self.sizes[0].terms * self.sizes[1].terms,
        }
    }
}

/// A row over its norm, and the exponent that was taken out of the row before its norm was taken, as a factor of the norm.
fn normalised(x: &[f64]) -> (Vec<Wide>, Wide, i32) {
    let power = -exponent(x);
    let scaled: Vec<_> = x.iter().map(|&x| Wide::new(x).scaled(power)).collect();
    // ±1 without a rounding, so that what is zero for all rows of one column is zero here.
    if let [x] = scaled[..] {
        return (vec![Wide::new(x.value().signum())], x.abs(), power);
    }
    let norm = scaled.iter().map(|&x| x * x).sum::<Wide>().sqrt();
    (scaled.iter().map(|&x| x / norm).collect(), norm, power)
}

/// Of the largest number: it is below 2 to this power.
fn exponent(x: &[f64]) -> i32 {
    let largest = x.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    if largest == 0.0 {
        0
    } else {
        largest.log2().floor() as i32 + 1
    }
}

fn cosine(x: &[f64], y: &[f64]) -> Pair {
    let ((x, x_norm, x_power), (y, y_norm, y_power)) = (normalised(x), normalised(y));
    let sum_of =
        |of: &dyn Fn(Wide, Wide) -> Wide| x.iter().zip(&y).map(|(&x, &y)| of(x, y)).sum::<Wide>();
    let plain = sum_of(&|x, y| x * y);
    let half = Wide::new(0.5);
    // c = ±(1 − d): the sign and the small number.
    let sign = if plain < Wide::ZERO {
        -Wide::ONE
    } else {
        Wide::ONE
    };
    let small = sum_of(&|x, y| (x - sign * y) * (x - sign * y)) * half;
    let value = sign * (Wide::ONE - small);
    let distance = if sign > Wide::ZERO {
        small
    } else {
        Wide::new(2.0) - small
    };
    // (ŷ − c·x̂)/‖x‖ with c = ±(1 − d) is (ŷ ∓ x̂ ± d·x̂)/‖x‖.
    let slope = |x: &[Wide], y: &[Wide], norm: Wide, power: i32| {
        let pairs = x.iter().zip(y);
        pairs
            .map(|(&x, &y)| ((y - sign * x + sign * small * x) / norm).scaled(power))
            .collect()
    };
    let first: Vec<_> = slope(&x, &y, x_norm, x_power);
    let second: Vec<_> = slope(&y, &x, y_norm, y_power);
    let sizes = |gradient: &[Wide], norm: Wide, power: i32| Sizes {
        terms: size(gradient),
        rows: (Wide::ONE / norm).scaled(power).value(),
    };
    Pair {
        sizes: [
            sizes(&first, x_norm, x_power),
            sizes(&second, y_norm, y_power),
        ],
        value,
        distance,
        first,
        second,
    }
}

/// ‖x‖ to the digits of `f64`, in proportion to the largest number, so that no square under- or overflows.
pub(crate) fn size(x: &[Wide]) -> f64 {
    let largest = x.iter().map(|x| x.value().abs()).fold(0.0, f64::max);
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    let squares = x.iter().map(|x| (x.value() / largest).powi(2));
    largest * squares.sum::<f64>().sqrt()
}

/// Of gradients in which nothing cancels.
fn plain_sizes(first: &[Wide], second: &[Wide]) -> [Sizes; 2] {
    [first, second].map(|gradient| Sizes {
        terms: size(gradient),
        rows: size(gradient),
    })
}

fn dot(x: &[f64], y: &[f64]) -> Pair {
    let wide = |x: &[f64]| x.iter().map(|&x| Wide::new(x)).collect::<Vec<_>>();
    let value = x
        .iter()
        .zip(y)
        .map(|(&x, &y)| Wide::new(x) * Wide::new(y))
        .sum();
    let (first, second) = (wide(y), wide(x));
    Pair {
        sizes: plain_sizes(&first, &second),
        value,
        distance: Wide::ONE - value,
        first,
        second,
    }
}

fn measure(distance: Distance, x: &[f64], y: &[f64]) -> Pair {
    let p = match distance {
        Distance::Cosine => {
            let pair = cosine(x, y);
            let turned = |gradient: Vec<Wide>| gradient.into_iter().map(|x| -x).collect();
            return Pair {
                value: pair.distance,
                distance: pair.value,
                first: turned(pair.first),
                second: turned(pair.second),
                sizes: pair.sizes,
            };
        }
        Distance::SquaredEuclidean => None,
        Distance::Lp(p) => Some(p),
    };
    // Both rows on one scale, on which no difference and no square leaves the numbers.
    let power = -exponent(x).max(exponent(y));
    let scaled = |x: f64| Wide::new(x).scaled(power);
    let z: Vec<_> = x
        .iter()
        .zip(y)
        .map(|(&x, &y)| scaled(x) - scaled(y))
        .collect();
    let back = -power;
    let (value, first): (Wide, Vec<Wide>) = match p {
        None => {
            let value = z.iter().map(|&z| z * z).sum::<Wide>().scaled(2 * back);
            (value, z.iter().map(|&z| (z + z).scaled(back)).collect())
        }
        Some(p) => {
            let (norm, slopes) = norm(&z, p);
            (norm.scaled(back), slopes)
        }
    };
    let second: Vec<_> = first.iter().map(|&x| -x).collect();
    Pair {
        sizes: plain_sizes(&first, &second),
        value,
        distance: value,
        first,
        second,
    }
}

/// ‖z‖ₚ with its gradient, which is 0 for z = 0.
fn norm(z: &[Wide], p: f64) -> (Wide, Vec<Wide>) {
    let largest = z.iter().fold(Wide::ZERO, |largest, z| largest.max(z.abs()));
    if largest == Wide::ZERO {
        return (largest, vec![largest; z.len()]);
    }
    let sign = |z: Wide| {
        if z < Wide::ZERO {
            -Wide::ONE
        } else {
            Wide::ONE
        }
    };
    if p.is_infinite() {
        let tied = Wide::new(z.iter().filter(|z| z.abs() == largest).count() as f64);
        let slope = |&z: &Wide| {
            if z.abs() == largest {
                sign(z) / tied
            } else {
                Wide::ZERO
            }
        };
        return (largest, z.iter().map(slope).collect());
    }
    let power = |z: Wide, p: f64| match p {
        0.0 => Wide::ONE,
        1.0 => z,
        2.0 => z * z,
        p => z.powf(Wide::new(p)),
    };
    let sum: Wide = z.iter().map(|&z| power(z.abs(), p)).sum();
    let norm = match p {
        1.0 => sum,
        2.0 => sum.sqrt(),
        p => sum.powf(Wide::ONE / Wide::new(p)),
    };
    let slope = |&z: &Wide| {
        if z == Wide::ZERO {
            z
        } else {
            sign(z) * power(z.abs() / norm, p - 1.0)
        }
    };
    (norm, z.iter().map(slope).collect())
}
