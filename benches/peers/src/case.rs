//! What is measured: one loss, one shape, one precision, named by an id such as `info_nce/forward_backward/1024x768`.

use std::fmt;
use std::str::FromStr;

/// The loss and the candidates that it compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    CosineEmbedding,
    TripletMargin,
    InfoNce,
    InfoNceSymmetric,
    /// Every query against its own positive and its own negatives only.
    InfoNceOwnNegatives,
    /// The same, and the other queries' positives.
    InfoNceOwnAndInBatch,
}

const WORKS: [(Work, &str); 6] = [
    (Work::CosineEmbedding, "cosine_embedding"),
    (Work::TripletMargin, "triplet_margin"),
    (Work::InfoNce, "info_nce"),
    (Work::InfoNceSymmetric, "info_nce_symmetric"),
    (Work::InfoNceOwnNegatives, "info_nce_own_negatives"),
    (Work::InfoNceOwnAndInBatch, "info_nce_own_and_in_batch"),
];

/// The margins and the temperature of every engine.
pub const COSINE_MARGIN: f64 = 0.0;
pub const TRIPLET_MARGIN: f64 = 1.0;
pub const TEMPERATURE: f64 = 0.05;

/// One line of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    pub work: Work,
    /// With gradients for all inputs, or the value alone.
    pub backward: bool,
    pub rows: usize,
    /// Own negatives of each query; 0 where the loss has none.
    pub negatives: usize,
    pub dim: usize,
    /// f64 instead of f32.
    pub double: bool,
}

impl Case {
    /// The differentiable inputs in the order of the gradients: name and shape.
    pub fn inputs(&self) -> Vec<(&'static str, Vec<usize>)> {
        let matrix = vec![self.rows, self.dim];
        let names: &[&'static str] = match self.work {
            Work::CosineEmbedding => &["x", "y"],
            Work::TripletMargin => &["anchor", "positive", "negative"],
            _ => &["queries", "documents"],
        };
        let mut inputs: Vec<_> = names.iter().map(|&name| (name, matrix.clone())).collect();
        if self.negatives > 0 {
            inputs.push(("negatives", vec![self.rows, self.negatives, self.dim]));
        }
        inputs
    }

    /// Numbers in all differentiable inputs together.
    pub fn elements(&self) -> usize {
        self.inputs()
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum()
    }

    /// Bytes of one number.
    pub fn width(&self) -> usize {
        if self.double { 8 } else { 4 }
    }

    /// Floating-point operations of the matrix products that no method can do without: scores, and from them the
    /// gradients of queries and documents.
    pub fn product_flops(&self) -> f64 {
        let products = if self.backward { 3.0 } else { 1.0 };
        match self.work {
            Work::InfoNce | Work::InfoNceSymmetric | Work::InfoNceOwnAndInBatch => {
                products * 2.0 * (self.rows as f64).powi(2) * self.dim as f64
            }
            _ => 0.0,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, work) = WORKS
            .iter()
            .find(|(work, _)| *work == self.work)
            .expect("every work is listed");
        let mode = if self.backward {
            "forward_backward"
        } else {
            "forward"
        };
        write!(f, "{work}/{mode}/{}", self.rows)?;
        if self.negatives > 0 {
            write!(f, "x{}", self.negatives)?;
        }
        write!(f, "x{}", self.dim)?;
        if self.double {
            write!(f, "/f64")
        } else {
            Ok(())
        }
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(id: &str) -> Result<Self, String> {
        let unknown = || format!("unknown case {id}");
        let mut parts = id.split('/');
        let name = parts.next().ok_or_else(unknown)?;
        let &(work, _) = WORKS.iter().find(|(_, n)| *n == name).ok_or_else(unknown)?;
        let backward = match parts.next() {
            Some("forward") => false,
            Some("forward_backward") => true,
            _ => return Err(unknown()),
        };
        let sizes = parts.next().ok_or_else(unknown)?.split('x');
        let sizes: Result<Vec<usize>, _> = sizes.map(str::parse).collect();
        let (rows, negatives, dim) = match sizes.map_err(|_| unknown())?[..] {
            [rows, dim] => (rows, 0, dim),
            [rows, negatives, dim] => (rows, negatives, dim),
            _ => return Err(unknown()),
        };
        let double = match parts.next() {
            None => false,
            Some("f64") => true,
            Some(_) => return Err(unknown()),
        };
        Ok(Self {
            work,
            backward,
            rows,
            negatives,
            dim,
            double,
        })
    }
}
