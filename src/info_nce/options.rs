//! The options of InfoNCE.

use super::rules::Hardness;
use super::{Directions, FalseNegatives, InfoNceLoss, PartitionMode, SeveralPositives, Sources};
use crate::error::{Error, check, check_temperature};
use crate::reduction::Reduction;
use crate::similarity::Similarity;

impl InfoNceLoss {
    /// The loss with cosine similarity and in-batch negatives.
    ///
    /// # Errors
    /// If the temperature is not positive and finite, or its reciprocal not finite.
    pub fn new(temperature: f64) -> Result<Self, Error> {
        Ok(Self {
            temperature: check_temperature("temperature", temperature)?,
            similarity: Similarity::Cosine,
            in_batch_negatives: true,
            pooled_negatives: false,
            directions: Directions::default(),
            partition_mode: PartitionMode::default(),
            several_positives: SeveralPositives::default(),
            false_negatives: None,
            hardness: None,
            label_smoothing: 0.0,
            decoupled: false,
            bias: None,
            reduction: Reduction::default(),
        })
    }

    /// The sigmoid loss (SigLIP): every candidate is classified for itself, as a match or not, without a softmax.
    ///
    /// ℓᵢ = Σⱼ log(1 + exp(−yᵢⱼ·(s(qᵢ, dⱼ)/τ + b))), y = 1 for positives and −1 for all other candidates, with the bias b. Gradient:
    /// ∂ℓᵢ/∂s(qᵢ, dⱼ) = (σ(s/τ + b) − [j positive])/τ, and ∂ℓᵢ/∂b without the 1/τ. A query may have any number of positives, or none. The mean
    /// over queries is the paper's division by the batch size; it starts from τ = 0.1 and b = −10.
    ///
    /// Source: Zhai et al. 2023, <https://arxiv.org/abs/2303.15343>.
    ///
    /// ```
    /// use contrastive::{InfoNceInput, InfoNceLoss, Loss};
    /// use ndarray::array;
    ///
    /// let (queries, documents) = (array![[1.0, 0.0]], array![[1.0, 0.0], [0.0, 1.0]]);
    /// let loss = InfoNceLoss::sigmoid(0.5, -1.0)?;
    /// let value: f64 = loss.forward(InfoNceInput::new(queries.view(), documents.view()))?;
    /// // A match at 1/0.5 − 1 = 1, and none at 0/0.5 − 1 = −1: both log(1 + e⁻¹).
    /// assert!((value - 2.0 * (-1.0_f64).exp().ln_1p()).abs() < 1e-15);
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`new`](Self::new), and if the bias is not finite.
    pub fn sigmoid(temperature: f64, bias: f64) -> Result<Self, Error> {
        let bias = check("bias", "a finite number", bias, bias.is_finite())?;
        Ok(Self {
            bias: Some(bias),
            ..Self::new(temperature)?
        })
    }

    /// Another similarity.
    #[must_use]
    pub fn with_similarity(self, similarity: Similarity) -> Self {
        Self { similarity, ..self }
    }

    /// Whether the documents that are not a query's positive are its negatives. On by default; without them the input must bring own
    /// negatives or a pool.
    #[must_use]
    pub fn with_in_batch_negatives(self, in_batch_negatives: bool) -> Self {
        Self {
            in_batch_negatives,
            ..self
        }
    }

    /// Whether the own negatives of a query are also negatives of all other queries. Off by default.
    ///
    /// ```
    /// use contrastive::{InfoNceInput, InfoNceLoss, Loss};
    /// use ndarray::array;
    ///
    /// let queries = array![[1.0, 0.0], [0.0, 1.0]];
    /// let negatives = array![[[0.6, 0.8]], [[0.0, 1.0]]];
    /// let input = InfoNceInput::new(queries.view(), queries.view()).with_negatives(negatives.view());
    /// let loss = InfoNceLoss::new(1.0)?.with_pooled_negatives(true);
    /// let value: f64 = loss.forward(input)?;
    /// // Candidates' cosines: 1 and 0 from the batch, and for the first query .6 and 0, for the second .8 and 1.
    /// let [e, one] = [1.0_f64.exp(), 1.0];
    /// let exact = [e + one + 0.6_f64.exp() + one, e + one + 0.8_f64.exp() + e].map(|z| z.ln() - 1.0);
    /// assert!((value - (exact[0] + exact[1]) / 2.0).abs() < 1e-15);
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    #[must_use]
    pub fn with_pooled_negatives(self, pooled_negatives: bool) -> Self {
        Self {
            pooled_negatives,
            ..self
        }
    }

    /// Whether the queries of the batch also compete for each document: the mean of both directions' losses. Short for
    /// [`with_directions`](Self::with_directions) with [`Directions::SYMMETRIC`], per direction.
    #[must_use]
    pub fn with_symmetric(self, symmetric: bool) -> Self {
        let directions = if symmetric {
            Directions::SYMMETRIC
        } else {
            Directions::default()
        };
        self.with_directions(directions, PartitionMode::PerDirection)
    }

    /// What else competes besides documents for queries, and whether in one softmax or in one for each direction; see [`Directions`]. Needs
    /// in-batch negatives and one positive for each query.
    #[must_use]
    pub fn with_directions(self, directions: Directions, partition_mode: PartitionMode) -> Self {
        Self {
            directions,
            partition_mode,
            ..self
        }
    }

    /// What several positives of a query are to each other.
    #[must_use]
    pub fn with_several_positives(self, several_positives: SeveralPositives) -> Self {
        Self {
            several_positives,
            ..self
        }
    }

    /// Leaves out candidates of some sources that are too similar to the query to be negatives. With a guide in the input its cosines are
    /// compared, and the sources are those that it has embeddings of. A query that loses all its negatives costs what one without any costs: nothing but where
    /// [`InfoNceLoss`] says so.
    ///
    /// Of several positives the least similar one sets the bound, and without any there is none. In the direction document → document it is compared with the
    /// similarities to the positive.
    ///
    /// ```
    /// use contrastive::{FalseNegatives, InfoNceInput, InfoNceLoss, InfoNceReport, Loss, Sources, Want, Workspace};
    /// use ndarray::array;
    ///
    /// let queries = array![[1.0, 0.0], [0.0, 1.0]];
    /// let documents = array![[0.6, 0.8], [0.8, 0.6]]; // each query is closer to the other's document
    /// let loss = InfoNceLoss::new(0.5)?.with_false_negatives(FalseNegatives::Absolute(0.0), Sources::ALL)?;
    /// let mut report = InfoNceReport::default();
    /// let input = InfoNceInput::new(queries.view(), documents.view());
    /// let value = loss.evaluate(input, Want::value().with_report(&mut report), &mut Workspace::new())?;
    /// assert_eq!((value, report.left_out), (0.0, 2));
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the margin is not finite.
    pub fn with_false_negatives(
        self,
        rule: FalseNegatives,
        sources: Sources,
    ) -> Result<Self, Error> {
        Ok(Self {
            false_negatives: Some((rule.checked()?, sources)),
            ..self
        })
    }

    /// Weighs candidates of some sources up the more similar they are: α·s is added to their scores, as a constant that no gradient passes
    /// through. So the gradient of candidate j is that of a softmax in which it counts e^(α·s) times.
    ///
    /// Source: sentence-transformers' `hardness_mode` and `hardness_strength`; Robinson et al. 2021, <https://arxiv.org/abs/2010.04592>.
    ///
    /// ```
    /// use contrastive::{InfoNceInput, InfoNceLoss, Loss, Sources};
    /// use ndarray::array;
    ///
    /// let (queries, documents) = (array![[1.0, 0.0]], array![[1.0, 0.0], [0.6, 0.8]]);
    /// let loss = InfoNceLoss::new(0.5)?.with_hardness(5.0, Sources::IN_BATCH)?;
    /// let value: f64 = loss.forward(InfoNceInput::new(queries.view(), documents.view()))?;
    /// assert!((value - (4.2_f64 - 2.0).exp().ln_1p()).abs() < 1e-15); // 0.6/0.5 + 5·0.6 against 1/0.5
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the strength α is negative or not finite.
    pub fn with_hardness(self, strength: f64, sources: Sources) -> Result<Self, Error> {
        let in_range = strength >= 0.0 && strength.is_finite();
        let expected = "a finite number, not negative";
        let strength = check("hardness strength", expected, strength, in_range)?;
        Ok(Self {
            hardness: Some(Hardness { strength, sources }),
            ..self
        })
    }

    /// Spreads a share ε of the label over all candidates of a query alike, the positive among them:
    /// (1 − ε)·ℓᵢ + ε·mean of −log p over the candidates that are not left out. Not where documents compete for queries.
    ///
    /// ```
    /// use contrastive::{InfoNceInput, InfoNceLoss, Loss};
    /// use ndarray::array;
    ///
    /// let (queries, documents) = (array![[1.0, 0.0]], array![[1.0, 0.0], [0.0, 1.0]]);
    /// let loss = InfoNceLoss::new(1.0)?.with_label_smoothing(0.2)?;
    /// let value: f64 = loss.forward(InfoNceInput::new(queries.view(), documents.view()))?;
    /// let logs = [1.0 - (1.0_f64.exp() + 1.0).ln(), -(1.0_f64.exp() + 1.0).ln()]; // of softmax(1, 0)
    /// assert!((value + 0.9 * logs[0] + 0.1 * logs[1]).abs() < 1e-15);
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    ///
    /// # Errors
    /// If ε is not in [0, 1].
    pub fn with_label_smoothing(self, share: f64) -> Result<Self, Error> {
        let in_range = (0.0..=1.0).contains(&share);
        Ok(Self {
            label_smoothing: check("label smoothing", "a number in [0, 1]", share, in_range)?,
            ..self
        })
    }

    /// Whether the positive is left out of the denominator (DCL): log Σ_{j ≠ t(i)} exp(s(qᵢ, dⱼ)/τ) − s(qᵢ, d_t(i))/τ, which can be negative and
    /// whose gradient does not fade when the positive is ahead. 0 for a query without rivals. Not where documents compete for queries.
    ///
    /// Source: Yeh et al. 2022, <https://arxiv.org/abs/2110.06848>.
    ///
    /// ```
    /// use contrastive::{InfoNceInput, InfoNceLoss, Loss};
    /// use ndarray::array;
    ///
    /// let (queries, documents) = (array![[1.0, 0.0]], array![[1.0, 0.0], [0.0, 1.0]]);
    /// let loss = InfoNceLoss::new(0.5)?.with_decoupled(true);
    /// assert_eq!(loss.forward(InfoNceInput::new(queries.view(), documents.view()))?, -2.0); // 0 − 1/0.5
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    #[must_use]
    pub fn with_decoupled(self, decoupled: bool) -> Self {
        Self { decoupled, ..self }
    }

    /// How the row losses become one number; the mean by default.
    ///
    /// # Errors
    /// If the divisor of [`Reduction::Over`] is not positive and finite.
    pub fn with_reduction(self, reduction: Reduction) -> Result<Self, Error> {
        Ok(Self {
            reduction: reduction.checked()?,
            ..self
        })
    }

    /// The temperature τ.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// Whether all directions share one softmax.
    pub(super) fn joint(&self) -> bool {
        self.partition_mode == PartitionMode::Joint
    }

    /// Whether the loss is the mean of two directions.
    pub(super) fn averages_directions(&self) -> bool {
        self.directions.document_to_query && !self.joint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperature_without_a_finite_reciprocal_is_refused() {
        for bad in [1e-310, 5e-324] {
            for refused in [InfoNceLoss::new(bad), InfoNceLoss::sigmoid(bad, 0.0)] {
                let error = refused.unwrap_err().to_string();
                let expected = "temperature: expected a number whose reciprocal is finite, found";
                assert!(error.starts_with(expected), "{error}");
            }
        }
        assert!(InfoNceLoss::new(1e-308).is_ok() && InfoNceLoss::new(f64::MAX).is_ok());
    }
}
