//! Calls of the score functions, forward and backward.

use contrastive::{
    Csr, DenseScores, Error, MaxSim, Scalar, ScoreFunction, Sides, Similarity, SparseDot, Tokens,
    Workspace,
};
use ndarray::{Array1, Array2, ArrayD, ArrayViewD, ArrayViewMutD};

use super::bytes::Bytes;
use super::call::{Call, Nearness, Shapes, Wanted, largest, line, line_mut, matrix, matrix_mut};
use super::targets::offsets;

#[derive(Debug)]
pub(crate) struct ScoreFunctions {
    kind: Kind,
    similarity: Similarity,
    /// How many numbers a score is a sum of.
    terms: f64,
    /// What the sides of sparse rows and of texts have besides numbers.
    queries: Side,
    documents: Side,
    /// Numbers of queries and documents, and the upstream gradient.
    shapes: Shapes,
    scores: [usize; 2],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Dense,
    Sparse,
    MaxSim(MaxSim),
}

#[derive(Debug)]
struct Side {
    offsets: Array1<usize>,
    indices: Array1<usize>,
    mask: Option<Array1<bool>>,
    /// Its numbers.
    shape: Vec<usize>,
    count: usize,
}

impl Side {
    fn from(bytes: &mut Bytes<'_>, kind: Kind, dim: usize) -> Self {
        let (count, total) = (bytes.length(), bytes.length());
        let offsets = offsets(bytes, count, total);
        let step = 1 + bytes.below(3);
        let masked = bytes.flag().then(|| bytes.about(total));
        Self {
            // Rising within most of the rows.
            indices: (0..total).map(|at| (step * at) % (8 * step + 1)).collect(),
            mask: masked.map(|tokens| bytes.filled(tokens, |bytes| bytes.below(4) > 0)),
            shape: match kind {
                Kind::Dense => vec![count, bytes.about(dim)],
                Kind::Sparse => vec![bytes.about(total)],
                Kind::MaxSim(_) => vec![total, bytes.about(dim)],
            },
            offsets,
            count,
        }
    }

    fn sparse<'a, A>(&'a self, values: &ArrayViewD<'a, A>) -> Csr<'a, A> {
        Csr::new(self.offsets.view(), self.indices.view(), line(values))
    }

    fn texts<'a, A>(&'a self, tokens: &ArrayViewD<'a, A>) -> Tokens<'a, A> {
        let mut texts = Tokens::new(matrix(tokens), self.offsets.view());
        texts.attention_mask = self.mask.as_ref().map(|mask| mask.view());
        texts
    }
}

impl ScoreFunctions {
    pub(crate) fn from(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let similarity = bytes.one_of(&[
            Similarity::Dot,
            Similarity::Cosine,
            Similarity::SquaredEuclidean,
        ]);
        let max_sim = bytes.one_of(&[MaxSim::mean(), MaxSim::sum()]);
        let kind = bytes.one_of(&[
            Kind::Dense,
            Kind::Sparse,
            Kind::MaxSim(max_sim.with_similarity(similarity)),
        ]);
        let dim = bytes.length();
        let [queries, documents] = [(); 2].map(|()| Side::from(bytes, kind, dim));
        let backward = bytes.flag();
        let scores = [queries.count, documents.count].map(|count| bytes.about(count));
        let mut inputs = vec![queries.shape.clone(), documents.shape.clone()];
        let gradients = if backward {
            let sides = bytes.wanted(&inputs);
            inputs.push(scores.into());
            sides
        } else {
            vec![Some(scores.into())]
        };
        Ok(Self {
            kind,
            similarity,
            terms: queries.shape[0] as f64 * (1.0 + dim as f64),
            shapes: Shapes {
                inputs,
                gradients,
                // Those of the scores, which are compared like row losses.
                rows: if backward { 0 } else { scores[0] * scores[1] },
            },
            queries,
            documents,
            scores,
        })
    }

    fn run<'w, A: Scalar, F, V>(
        &self,
        function: F,
        input: F::Input<'_>,
        upstream: Option<&ArrayViewD<'_, A>>,
        wanted: Wanted<'w, A>,
        view: fn(ArrayViewMutD<'w, A>) -> V,
    ) -> Result<A, Error>
    where
        F: ScoreFunction<A, Gradient<'w> = Sides<Option<V>>>,
    {
        let mut outputs = wanted.gradients.into_iter();
        if let Some(upstream) = upstream {
            let mut next = || outputs.next().flatten().map(view);
            let gradient = Sides {
                queries: next(),
                documents: next(),
            };
            function.backward(input, matrix(upstream), gradient)?;
            return Ok(A::zero());
        }
        let mut scores = Array2::zeros(self.scores);
        if let Some(output) = outputs.next().flatten() {
            let mut output = matrix_mut(output);
            function.forward(input, output.view_mut())?;
            scores.assign(&output);
        } else {
            function.forward(input, scores.view_mut())?;
        }
        if let Some(mut rows) = wanted.rows {
            let scores = rows.iter_mut().zip(&scores);
            scores.for_each(|(row, &score)| *row = score);
        }
        Ok(scores.first().copied().unwrap_or(A::zero()))
    }
}

impl Call for ScoreFunctions {
    fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    fn evaluate<A: Scalar>(
        &self,
        inputs: &[ArrayViewD<'_, A>],
        wanted: Wanted<'_, A>,
        _: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let (upstream, sides) = (inputs.get(2), [&self.queries, &self.documents]);
        let (queries, documents) = (&inputs[0], &inputs[1]);
        match self.kind {
            Kind::Dense => {
                let input = Sides {
                    queries: matrix(queries),
                    documents: matrix(documents),
                };
                let function = DenseScores::new(self.similarity);
                self.run(function, input, upstream, wanted, matrix_mut)
            }
            Kind::Sparse => {
                let input = Sides {
                    queries: sides[0].sparse(queries),
                    documents: sides[1].sparse(documents),
                };
                self.run(SparseDot, input, upstream, wanted, line_mut)
            }
            Kind::MaxSim(function) => {
                let input = Sides {
                    queries: sides[0].texts(queries),
                    documents: sides[1].texts(documents),
                };
                self.run(function, input, upstream, wanted, matrix_mut)
            }
        }
    }

    fn nearness(&self, inputs: &[ArrayD<f64>]) -> Nearness {
        let size = largest(&inputs[..2]);
        let similarity = match (self.kind, self.similarity) {
            (Kind::Sparse, _) | (_, Similarity::Dot) => size * size,
            (_, Similarity::Cosine) => 1.0,
            _ => 4.0 * size * size,
        };
        Nearness {
            reach: 1.0,
            degree: 1.0,
            row: Some(1e-11 * (1.0 + self.terms * similarity)),
        }
    }
}
