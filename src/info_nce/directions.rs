//! Which matrices of a batch compete with which.

/// What competes besides the documents for each query.
///
/// For query i with its positive d_t(i), the documents' scores s(qᵢ, dⱼ) always count. In addition there may be:
///
/// | direction | scores | left out |
/// | --- | --- | --- |
/// | query → query | s(qᵢ, qⱼ) | itself |
/// | document → query | s(qⱼ, d_t(i)) | |
/// | document → document | s(d_t(i), dⱼ); with pooled negatives also those of the own negatives of others | its own documents |
///
/// How they come together is [`PartitionMode`]. What [`Ids`](crate::Ids) or a guide leave out is left out in all directions; hardness and false negatives by
/// similarity hold where [`Sources`](crate::Sources) say so; in the direction document → query scores are never moved, by hardness or log weights.
///
/// Source: Li et al. 2023 (GTE), <https://arxiv.org/abs/2308.03281>; sentence-transformers' `directions`.
///
/// ```
/// use contrastive::{Directions, InfoNceInput, InfoNceLoss, Loss, PartitionMode};
/// use ndarray::array;
///
/// let queries = array![[1.0, 0.0], [0.0, 1.0]];
/// let input = InfoNceInput::new(queries.view(), queries.view());
/// let all = Directions { query_to_query: true, document_to_query: true, document_to_document: true };
/// let loss = InfoNceLoss::new(1.0)?.with_directions(all, PartitionMode::Joint);
/// // The positive's score of 1 counts in two directions, and a score of 0 in each of the four.
/// let exact = (2.0 * 1.0_f64.exp() + 4.0).ln() - 1.0;
/// assert!((loss.forward(input)? - exact).abs() < 1e-15);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Directions {
    /// The other queries, as rivals of the positive document.
    pub query_to_query: bool,
    /// The queries, as rivals of the own one for the positive document.
    pub document_to_query: bool,
    /// The other documents, by their similarity to the positive one.
    pub document_to_document: bool,
}

impl Directions {
    /// Both ways between queries and documents: CLIP's symmetric form.
    pub const SYMMETRIC: Self = Self {
        query_to_query: false,
        document_to_query: true,
        document_to_document: false,
    };
    /// All four.
    pub const ALL: Self = Self {
        query_to_query: true,
        document_to_query: true,
        document_to_document: true,
    };
}

/// Whether the directions share a softmax.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum PartitionMode {
    /// One softmax over the candidates of all directions. The positive's score is in it once for query → document and once for document → query.
    #[default]
    Joint,
    /// The mean of query → document and document → query, each with a softmax of its own. Other directions have no positive, and are refused.
    PerDirection,
}
