//! The losses as a candle user writes them.

use candle_core::{D, Device, Result, Tensor, Var, backprop::GradStore};
use candle_nn::loss::cross_entropy;

use super::{Opened, Session};
use crate::case::{COSINE_MARGIN, Case, TEMPERATURE, TRIPLET_MARGIN, Work};
use crate::inputs::{Arrays, matches};

struct Candle {
    case: Case,
    inputs: Vec<Var>,
    /// 1 for pairs that match, else 0.
    labels: Tensor,
    /// The column of each query's positive.
    targets: Tensor,
    gradients: Option<GradStore>,
}

pub fn open(case: &Case, arrays: Arrays<f32>) -> Opened {
    load(case, arrays)
        .map(|session| Box::new(session) as Box<dyn Session>)
        .map_err(|error| error.to_string())
}

fn load(case: &Case, arrays: Arrays<f32>) -> Result<Candle> {
    let variable = |array: ndarray::ArrayD<f32>| {
        let shape = array.shape().to_vec();
        Var::from_vec(array.into_raw_vec_and_offset().0, shape, &Device::Cpu)
    };
    let labels: Vec<f32> = (0..case.rows)
        .map(|row| f32::from(u8::from(matches(row))))
        .collect();
    let own_only = case.work == Work::InfoNceOwnNegatives;
    let targets: Vec<u32> = (0..case.rows as u32)
        .map(|row| if own_only { 0 } else { row })
        .collect();
    Ok(Candle {
        case: *case,
        inputs: arrays.into_iter().map(variable).collect::<Result<_>>()?,
        labels: Tensor::new(labels, &Device::Cpu)?,
        targets: Tensor::new(targets, &Device::Cpu)?,
        gradients: None,
    })
}

impl Candle {
    fn loss(&self) -> Result<Tensor> {
        let input = |i: usize| match self.case.backward {
            true => self.inputs[i].as_tensor().clone(),
            false => self.inputs[i].as_detached_tensor(),
        };
        match self.case.work {
            Work::CosineEmbedding => cosine_embedding(&input(0), &input(1), &self.labels),
            Work::TripletMargin => triplet_margin(&input(0), &input(1), &input(2)),
            _ => self.info_nce(&input),
        }
    }

    fn info_nce(&self, input: &dyn Fn(usize) -> Tensor) -> Result<Tensor> {
        // The queries divided by the temperature: the scores would be n·n numbers.
        let queries = (normalised(&input(0))? / TEMPERATURE)?;
        let documents = normalised(&input(1))?;
        let scores = || queries.matmul(&documents.t()?);
        let own = || own_scores(&queries, &normalised(&input(2))?);
        match self.case.work {
            Work::InfoNceOwnNegatives => {
                let positive = (&queries * &documents)?.sum_keepdim(1)?;
                cross_entropy(&Tensor::cat(&[positive, own()?], 1)?, &self.targets)
            }
            Work::InfoNceOwnAndInBatch => {
                cross_entropy(&Tensor::cat(&[scores()?, own()?], 1)?, &self.targets)
            }
            Work::InfoNceSymmetric => {
                let scores = scores()?;
                let columns = cross_entropy(&scores.t()?.contiguous()?, &self.targets)?;
                (cross_entropy(&scores, &self.targets)? + columns)? / 2.0
            }
            _ => cross_entropy(&scores()?, &self.targets),
        }
    }

    fn try_step(&mut self) -> Result<f64> {
        let loss = self.loss()?;
        if self.case.backward {
            self.gradients = Some(loss.backward()?);
        }
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }
}

fn cosine_embedding(x: &Tensor, y: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let norms = (x.sqr()?.sum(1)?.sqrt()? * y.sqr()?.sum(1)?.sqrt()?)?;
    let cosine = ((x * y)?.sum(1)? / norms)?;
    let matching = (cosine.affine(-1.0, 1.0)? * labels)?;
    let other = ((cosine - COSINE_MARGIN)?.relu()? * labels.affine(-1.0, 1.0)?)?;
    (matching + other)?.mean_all()
}

fn triplet_margin(anchor: &Tensor, positive: &Tensor, negative: &Tensor) -> Result<Tensor> {
    let distance = |other: &Tensor| (anchor - other)?.sqr()?.sum(1)?.sqrt();
    let gap = (distance(positive)? - distance(negative)?)?;
    (gap + TRIPLET_MARGIN)?.relu()?.mean_all()
}

fn own_scores(queries: &Tensor, negatives: &Tensor) -> Result<Tensor> {
    let products = negatives.broadcast_mul(&queries.unsqueeze(1)?)?;
    products.sum(D::Minus1)
}

fn normalised(rows: &Tensor) -> Result<Tensor> {
    rows.broadcast_div(&rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
}

impl Session for Candle {
    fn step(&mut self) -> f64 {
        self.try_step().expect("candle computes this case")
    }

    fn release(&mut self) {
        self.gradients = None;
    }

    fn gradients(&self) -> Vec<Vec<f64>> {
        let numbers = |gradient: &Tensor| gradient.flatten_all()?.to_vec1::<f32>();
        let gradients = self.gradients.iter();
        gradients
            .flat_map(|store| {
                self.inputs
                    .iter()
                    .map(|input| store.get(input).expect("every input has one"))
            })
            .map(|gradient| {
                numbers(gradient)
                    .expect("f32")
                    .into_iter()
                    .map(f64::from)
                    .collect()
            })
            .collect()
    }
}
