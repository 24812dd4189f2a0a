//! Every loss with each family of its options, on each input that it can tell apart.

use crate::inputs::{Input, Part, Type, parts};

/// The share of the label that a smoothed softmax spreads.
pub(crate) const SMOOTHING: f64 = 0.1;

/// A loss with the options that decide its arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Family {
    /// 1 − c
    Match,
    /// max(0, c + 1/2): the margin is −1/2, so that most pairs are active.
    NoMatch,
    Triplet(Distance, Form),
    InfoNce(Similarity, Softmax, f64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Distance {
    /// ‖x − y‖ₚ
    Lp(f64),
    SquaredEuclidean,
    Cosine,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    Hinge,
    Soft,
    Swap,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Similarity {
    Cosine,
    Dot,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Softmax {
    /// In-batch negatives.
    Plain,
    Symmetric,
    /// Two own negatives of each query and a pool, without in-batch negatives.
    Given,
    /// A share of 0.1 of the label for all.
    Smoothed,
    Decoupled,
}

impl Family {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Match => "cosine embedding, match".into(),
            Self::NoMatch => "cosine embedding, no match".into(),
            Self::Triplet(distance, form) => {
                let distance = match distance {
                    Distance::Lp(p) if p.is_infinite() => "L∞".into(),
                    Distance::Lp(p) => format!("L{p}"),
                    Distance::SquaredEuclidean => "squared".into(),
                    Distance::Cosine => "cosine".into(),
                };
                let form = match form {
                    Form::Hinge => "",
                    Form::Soft => ", soft",
                    Form::Swap => ", swap",
                };
                format!("triplet, {distance}{form}")
            }
            Self::InfoNce(similarity, softmax, temperature) => {
                let similarity = match similarity {
                    Similarity::Cosine => "cosine",
                    Similarity::Dot => "dot",
                };
                let softmax = match softmax {
                    Softmax::Plain => "",
                    Softmax::Symmetric => ", symmetric",
                    Softmax::Given => ", given negatives",
                    Softmax::Smoothed => ", smoothed",
                    Softmax::Decoupled => ", decoupled",
                };
                format!("InfoNCE, {similarity}{softmax}, τ = {temperature}")
            }
        }
    }

    /// The temperature, for a loss that has one.
    pub(crate) fn temperature(self) -> Option<f64> {
        match self {
            Self::InfoNce(_, _, temperature) => Some(temperature),
            _ => None,
        }
    }

    fn others(self) -> usize {
        match self {
            Self::Match | Self::NoMatch => 0,
            Self::Triplet(..) => 1,
            Self::InfoNce(_, Softmax::Given, _) => 3,
            Self::InfoNce(..) => 0,
        }
    }

    /// Powers of two for tiny and huge rows whose squares, if they are taken, are finite.
    fn extreme(self, number: Type) -> [i32; 2] {
        let squares = matches!(self, Self::Triplet(Distance::SquaredEuclidean, _));
        let compares_lengths =
            matches!(self, Self::Triplet(distance, _) if distance != Distance::Cosine);
        match number {
            Type::F32 if squares => [-60, 40],
            Type::F32 if compares_lengths => [-120, 100],
            Type::F32 => [-120, 116],
            Type::F64 if squares => [-480, 480],
            Type::F64 if compares_lengths => [-1000, 990],
            Type::F64 => [-1000, 1012],
        }
    }
}

/// A family on an input, in an element type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) family: Family,
    pub(crate) input: Input,
    pub(crate) number: Type,
}

impl Case {
    pub(crate) fn parts(self) -> Vec<Part> {
        let extreme = self.family.extreme(self.number);
        parts(self.input, self.number, self.family.others(), extreme)
    }

    pub(crate) fn name(self) -> String {
        format!("{}, {}", self.family.name(), self.input.name())
    }
}

fn families() -> Vec<(Family, Vec<Input>)> {
    use Input::*;
    let directions = vec![
        Ordinary,
        OneColumn,
        Wide,
        Parallel,
        Antiparallel,
        Duplicates,
        Subnormal,
        Tiny,
        Huge,
        Dominant,
        Million,
    ];
    let distances = vec![
        Ordinary, OneColumn, Wide, Parallel, Duplicates, Subnormal, Tiny, Huge, Dominant, Million,
    ];
    let few = vec![Ordinary, Parallel, Huge];
    let mut list = vec![
        (Family::Match, directions.clone()),
        (Family::NoMatch, directions.clone()),
    ];
    for distance in [1.0, 1.5, 2.0, 3.0, f64::INFINITY].map(Distance::Lp) {
        list.push((Family::Triplet(distance, Form::Hinge), distances.clone()));
    }
    list.push((
        Family::Triplet(Distance::SquaredEuclidean, Form::Hinge),
        distances,
    ));
    list.push((Family::Triplet(Distance::Cosine, Form::Hinge), directions));
    for form in [Form::Soft, Form::Swap] {
        for distance in [Distance::Lp(2.0), Distance::Cosine] {
            list.push((Family::Triplet(distance, form), few.clone()));
        }
    }
    let softmax =
        |similarity, softmax, temperature| Family::InfoNce(similarity, softmax, temperature);
    let (cosine, dot) = (Similarity::Cosine, Similarity::Dot);
    list.push((
        softmax(cosine, Softmax::Plain, 0.05),
        vec![
            Ordinary,
            OneColumn,
            Wide,
            Parallel,
            Antiparallel,
            Duplicates,
            Subnormal,
            Tiny,
            Huge,
            Dominant,
        ],
    ));
    for temperature in [1e-3, 1.0, 10.0] {
        list.push((
            softmax(cosine, Softmax::Plain, temperature),
            vec![Ordinary, Parallel],
        ));
    }
    list.push((
        softmax(cosine, Softmax::Symmetric, 0.05),
        vec![Ordinary, Parallel],
    ));
    list.push((
        softmax(cosine, Softmax::Given, 0.05),
        vec![Ordinary, Parallel, Huge, Million],
    ));
    list.push((
        softmax(cosine, Softmax::Smoothed, 0.05),
        vec![Ordinary, Parallel],
    ));
    list.push((
        softmax(cosine, Softmax::Decoupled, 0.05),
        vec![Ordinary, Parallel],
    ));
    list.push((
        softmax(dot, Softmax::Plain, 1.0),
        vec![Ordinary, Parallel, SmallGap, LargeGap],
    ));
    list.push((
        softmax(dot, Softmax::Plain, 10.0),
        vec![Ordinary, OneColumn, Wide, Duplicates],
    ));
    list
}

/// All cases, in the order of the table.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (family, inputs) in families() {
        for input in inputs {
            for number in Type::ALL {
                cases.push(Case {
                    family,
                    input,
                    number,
                });
            }
        }
    }
    cases
}
