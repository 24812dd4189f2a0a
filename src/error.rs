//! What can be wrong with a caller's input, and how it is said.

use std::fmt;
use std::ops::RangeInclusive;

/// Why a call was refused. Nothing has been written when one is returned.
///
/// Every variant carries what was expected and what was found; [`Display`](fmt::Display) puts both in one sentence.
///
/// ```
/// use contrastive::CosineEmbeddingLoss;
///
/// let error = CosineEmbeddingLoss::new(1.5).unwrap_err();
/// assert_eq!(error.to_string(), "margin: expected a number in [-1, 1], found 1.5");
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// A hyper-parameter is outside its range, or not a number.
    Parameter {
        /// Its name in the API.
        name: &'static str,
        /// The range it must lie in.
        expected: &'static str,
        /// The value that was given.
        found: f64,
    },
    /// An array has the wrong shape.
    Shape {
        /// The array's name in the API.
        name: &'static str,
        /// The shape that the other arrays ask for.
        expected: Vec<usize>,
        /// The shape that was given.
        found: Vec<usize>,
    },
    /// A label is none of the two that a pair can have.
    Label {
        /// The convention that was asked for.
        expected: &'static str,
        /// The label that was given.
        found: f64,
    },
    /// A grade is not finite.
    Grade {
        /// The row that holds the grade.
        row: usize,
        /// What it must be.
        expected: &'static str,
        /// The grade that was given.
        found: f64,
    },
    /// An index points past the end of the rows that it selects from.
    Index {
        /// The index array's name in the API.
        name: &'static str,
        /// The row that holds the index.
        row: usize,
        /// How many rows there are to select from.
        rows: usize,
        /// The index that was given.
        found: usize,
    },
    /// Offsets that mark where pieces of an array begin decrease, or leave the array.
    Offset {
        /// The offsets' name in the API.
        name: &'static str,
        /// Which of them.
        row: usize,
        /// Where it may lie.
        expected: RangeInclusive<usize>,
        /// The offset that was given.
        found: usize,
    },
    /// Indices of a row do not rise.
    Order {
        /// The index array's name in the API.
        name: &'static str,
        /// Where the index is.
        position: usize,
        /// The index before it, in the same row.
        before: usize,
        /// The index that was given.
        found: usize,
    },
    /// A weight is not finite, or negative where a weighted mean is taken.
    Weight {
        /// The row that holds the weight.
        row: usize,
        /// The range it must lie in.
        expected: &'static str,
        /// The weight that was given.
        found: f64,
    },
    /// A mean over no rows at all.
    EmptyBatch {
        /// The array that has no rows.
        name: &'static str,
    },
    /// The options and the input together leave the loss undefined or identically zero.
    IllDefined {
        /// What is missing, and what would supply it.
        reason: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter {
                name,
                expected,
                found,
            } => write!(f, "{name}: expected {expected}, found {found}"),
            Self::Shape {
                name,
                expected,
                found,
            } => {
                write!(f, "{name}: expected shape {expected:?}, found {found:?}")
            }
            Self::Label { expected, found } => {
                write!(f, "label: expected {expected}, found {found}")
            }
            Self::Grade {
                row,
                expected,
                found,
            } => {
                write!(f, "labels[{row}]: expected {expected}, found {found}")
            }
            Self::Index {
                name,
                row,
                rows,
                found,
            } => {
                write!(
                    f,
                    "{name}[{row}]: expected an index below {rows}, found {found}"
                )
            }
            Self::Offset {
                name,
                row,
                expected,
                found,
            } => {
                let (from, to) = (expected.start(), expected.end());
                write!(
                    f,
                    "{name}[{row}]: expected an offset from {from} to {to}, found {found}"
                )
            }
            Self::Order {
                name,
                position,
                before,
                found,
            } => {
                write!(
                    f,
                    "{name}[{position}]: expected an index above {before}, which precedes it in its row, found {found}"
                )
            }
            Self::Weight {
                row,
                expected,
                found,
            } => {
                write!(f, "weights[{row}]: expected {expected}, found {found}")
            }
            Self::EmptyBatch { name } => {
                write!(
                    f,
                    "{name}: expected at least one row to take a mean over, found 0"
                )
            }
            Self::IllDefined { reason } => write!(f, "ill-defined loss: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

/// A temperature τ, or the refusal of what is none. Scores are multiplied with 1/τ, which is to be a number as well.
pub(crate) fn check_temperature(name: &'static str, temperature: f64) -> Result<f64, Error> {
    let in_range = temperature > 0.0 && temperature.is_finite();
    check(name, "a positive, finite number", temperature, in_range)?;
    let in_range = temperature.recip().is_finite();
    check(
        name,
        "a number whose reciprocal is finite",
        temperature,
        in_range,
    )
}

/// The value, if `in_range`; the refusal of a hyper-parameter otherwise. A NaN fails every comparison and so is refused.
pub(crate) fn check(
    name: &'static str,
    expected: &'static str,
    found: f64,
    in_range: bool,
) -> Result<f64, Error> {
    if in_range {
        Ok(found)
    } else {
        Err(Error::Parameter {
            name,
            expected,
            found,
        })
    }
}
