//! Row losses and the gradient of their sum, from the formulas, in thirty-one digits.
//!
//! Similarities near ±1 are taken from the difference or the sum of the normalised rows, and probabilities near 1 from the others, so that the
//! digits that cancellation takes are not missed.

use crate::cases::{Distance, Family, Form, SMOOTHING, Similarity, Softmax};
use crate::inputs::Part;
use crate::wide::Wide;

/// The exact answer to a case.
pub(crate) struct Exact {
    pub(crate) losses: Vec<Wide>,
    /// ∂Σℓ of each row of each part.
    pub(crate) gradient: Vec<Vec<Vec<Wide>>>,
}

/// A function of two rows with both its gradients.
struct Pair {
    value: Wide,
    /// 1 − the value, to its own digits; of a cosine.
    distance: Wide,
    first: Vec<Wide>,
    second: Vec<Wide>,
}

pub(crate) fn exact(family: Family, parts: &[Part]) -> Exact {
    let zeros = |part: &Part| vec![vec![Wide::ZERO; part.dim]; part.rows];
    let mut exact = Exact {
        losses: Vec::new(),
        gradient: parts.iter().map(zeros).collect(),
    };
    for row in 0..parts[0].rows {
        let loss = match family {
            Family::Match | Family::NoMatch => exact.pair(family, parts, row),
            Family::Triplet(distance, form) => exact.triplet(distance, form, parts, row),
            Family::InfoNce(similarity, softmax, temperature) => {
                exact.query(similarity, softmax, temperature, parts, row)
            }
        };
        exact.losses.push(loss);
    }
    exact
}

impl Exact {
    fn add(&mut self, part: usize, row: usize, factor: Wide, gradient: &[Wide]) {
        for (sum, &x) in self.gradient[part][row].iter_mut().zip(gradient) {
            *sum += factor * x;
        }
    }

    fn pair(&mut self, family: Family, parts: &[Part], row: usize) -> Wide {
        let pair = cosine(parts[0].row(row), parts[1].row(row));
        let (loss, slope) = if family == Family::Match {
            (pair.distance, -Wide::ONE)
        } else {
            (pair.value + Wide::new(0.5), Wide::ONE)
        };
        if loss <= Wide::ZERO {
            return Wide::ZERO;
        }
        self.add(0, row, slope, &pair.first);
        self.add(1, row, slope, &pair.second);
        loss
    }

    fn triplet(&mut self, distance: Distance, form: Form, parts: &[Part], row: usize) -> Wide {
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
        let (loss, slope) = match form {
            Form::Soft => {
                let small = (-excess.abs()).exp();
                let share = if excess > Wide::ZERO {
                    Wide::ONE
                } else {
                    small
                };
                (
                    excess.max(Wide::ZERO) + small.ln_1p(),
                    share / (Wide::ONE + small),
                )
            }
            _ if excess <= Wide::ZERO => return Wide::ZERO,
            _ => (excess, Wide::ONE),
        };
        self.add(0, row, slope, &near.first);
        self.add(1, row, slope, &near.second);
        self.add(from, row, -slope, &far.first);
        self.add(2, row, -slope, &far.second);
        loss
    }

    fn query(
        &mut self,
        similarity: Similarity,
        softmax: Softmax,
        temperature: f64,
        parts: &[Part],
        row: usize,
    ) -> Wide {
        let documents = 0..parts[1].rows;
        let others: Vec<_> = match softmax {
            Softmax::Given => {
                let pool = (0..parts[4].rows).map(|row| (4, row));
                [(2, row), (3, row)].into_iter().chain(pool).collect()
            }
            _ => documents
                .filter(|&other| other != row)
                .map(|other| (1, other))
                .collect(),
        };
        let mut scored = Scored {
            similarity,
            softmax,
            temperature,
            parts,
            exact: self,
        };
        let loss = scored.softmax((0, row), (1, row), &others, Wide::ONE);
        if softmax != Softmax::Symmetric {
            return loss;
        }
        let half = Wide::new(0.5);
        let rivals: Vec<_> = (0..parts[0].rows)
            .filter(|&other| other != row)
            .map(|other| (0, other))
            .collect();
        let column = scored.softmax((1, row), (0, row), &rivals, half);
        // The row's own share has been added as a whole.
        scored.softmax((0, row), (1, row), &others, -half);
        (loss + column) * half
    }
}

/// A part and one of its rows.
type Row = (usize, usize);

struct Scored<'a> {
    similarity: Similarity,
    softmax: Softmax,
    temperature: f64,
    parts: &'a [Part],
    exact: &'a mut Exact,
}

impl Scored<'_> {
    fn score(&self, x: Row, y: Row) -> Pair {
        let (x, y) = (self.parts[x.0].row(x.1), self.parts[y.0].row(y.1));
        match self.similarity {
            Similarity::Cosine => cosine(x, y),
            Similarity::Dot => dot(x, y),
        }
    }

    /// −log of the positive's share, and `weight` times its gradient.
    fn softmax(&mut self, query: Row, positive: Row, others: &[Row], weight: Wide) -> Wide {
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
        let mut even = Wide::ZERO;
        if self.softmax == Softmax::Smoothed {
            let share = Wide::new(SMOOTHING);
            loss += share * behind;
            even = share / count;
            pull = pull - even * (count - Wide::ONE);
        }
        let factor = weight / temperature;
        self.add(query, positive, &own, -(pull * factor));
        for ((&other, pair), &power) in others.iter().zip(&pairs).zip(&powers) {
            self.add(query, other, pair, (power / total - even) * factor);
        }
        loss
    }

    /// s − s⁺
    fn gap(&self, own: &Pair, other: &Pair) -> Wide {
        match self.similarity {
            Similarity::Cosine => own.distance - other.distance,
            Similarity::Dot => other.value - own.value,
        }
    }

    fn add(&mut self, x: Row, y: Row, pair: &Pair, factor: Wide) {
        self.exact.add(x.0, x.1, factor, &pair.first);
        self.exact.add(y.0, y.1, factor, &pair.second);
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
    Pair {
        value,
        distance,
        first: slope(&x, &y, x_norm, x_power),
        second: slope(&y, &x, y_norm, y_power),
    }
}

fn dot(x: &[f64], y: &[f64]) -> Pair {
    let wide = |x: &[f64]| x.iter().map(|&x| Wide::new(x)).collect::<Vec<_>>();
    let value = x
        .iter()
        .zip(y)
        .map(|(&x, &y)| Wide::new(x) * Wide::new(y))
        .sum();
    Pair {
        value,
        distance: Wide::ONE - value,
        first: wide(y),
        second: wide(x),
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
    let second = first.iter().map(|&x| -x).collect();
    Pair {
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
