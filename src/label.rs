//! The label of a pair.

use crate::error::Error;

/// Whether the two rows of a pair belong together.
///
/// ```
/// use contrastive::PairLabel;
///
/// assert_eq!(PairLabel::from_sign(-1.0)?, PairLabel::NoMatch);
/// assert_eq!(PairLabel::from_bit(1.0)?, PairLabel::Match);
/// assert_eq!(PairLabel::from(true), PairLabel::Match);
/// let error = PairLabel::from_sign(2.0).unwrap_err();
/// assert_eq!(error.to_string(), "label: expected 1 for a match or -1 for no match, found 2");
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PairLabel {
    /// The rows belong together: 1 in either convention.
    Match,
    /// They do not: −1 in PyTorch's convention, 0 in that of labelled data sets.
    NoMatch,
}

impl PairLabel {
    /// From PyTorch's convention: 1 for a match, −1 for no match.
    ///
    /// # Errors
    /// If the label is any other number.
    pub fn from_sign(label: impl Into<f64>) -> Result<Self, Error> {
        Self::from_number(label.into(), -1.0, "1 for a match or -1 for no match")
    }

    /// From the convention of most data sets: 1 for a match, 0 for no match.
    ///
    /// # Errors
    /// If the label is any other number.
    pub fn from_bit(label: impl Into<f64>) -> Result<Self, Error> {
        Self::from_number(label.into(), 0.0, "1 for a match or 0 for no match")
    }

    fn from_number(found: f64, no_match: f64, expected: &'static str) -> Result<Self, Error> {
        if found == 1.0 {
            Ok(Self::Match)
        } else if found == no_match {
            Ok(Self::NoMatch)
        } else {
            Err(Error::Label { expected, found })
        }
    }
}

impl From<bool> for PairLabel {
    fn from(is_match: bool) -> Self {
        if is_match { Self::Match } else { Self::NoMatch }
    }
}
