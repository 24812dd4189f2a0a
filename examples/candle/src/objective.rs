//! The value and the gradients of one batch: by the recipe, and by candle alone to compare with.

use candle_core::backprop::GradStore;
use candle_core::{D, Device, Tensor, WithDType};
use candle_nn::loss::cross_entropy;
use contrastive::{InfoNceInput, InfoNceLoss, Loss, Scalar, Want, Workspace};
use contrastive::{InfoNceOwnedGradient, OwnedGradient};
use ndarray::Array2;

/// What anything here may fail with.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// InfoNCE of this crate for a candle model.
pub struct InfoNce<A> {
    loss: InfoNceLoss,
    workspace: Workspace<A>,
}

impl<A: Scalar + WithDType> InfoNce<A> {
    pub fn new(temperature: f64) -> Result<Self, contrastive::Error> {
        Ok(Self {
            loss: InfoNceLoss::new(temperature)?,
            workspace: Workspace::new(),
        })
    }

    /// The loss of embeddings `[n, dim]`, and the gradients of every variable that they were computed from.
    pub fn backward(&mut self, q: &Tensor, d: &Tensor) -> Result<(A, GradStore), Error> {
        let (value, g_q, g_d) = self.gradient(q, d)?;
        // Linear in q and d, with constant g: its gradients are those of the loss.
        let carrier = ((q * g_q)?.sum_all()? + (d * g_d)?.sum_all()?)?;
        let gradients = carrier.backward()?;
        Ok((value, gradients))
    }

    /// The loss of embeddings `[n, dim]`, and its gradients for both, as constants.
    pub fn gradient(&mut self, q: &Tensor, d: &Tensor) -> Result<(A, Tensor, Tensor), Error> {
        let (queries, documents) = (to_array(q)?, to_array(d)?);
        let input = InfoNceInput::new(queries.view(), documents.view());
        let mut gradient = InfoNceOwnedGradient::zeros(input);
        let want = Want::gradient(gradient.view_mut());
        let value = self.loss.evaluate(input, want, &mut self.workspace)?;
        Ok((
            value,
            to_tensor(gradient.queries)?,
            to_tensor(gradient.documents)?,
        ))
    }
}

/// The same loss composed of candle's operations, with all n × n scores in memory.
pub fn composed(q: &Tensor, d: &Tensor, temperature: f64) -> candle_core::Result<Tensor> {
    let scores = (normalised(q)?.matmul(&normalised(d)?.t()?)? / temperature)?;
    cross_entropy(&scores, &Tensor::arange(0, q.dim(0)? as u32, &Device::Cpu)?)
}

fn normalised(rows: &Tensor) -> candle_core::Result<Tensor> {
    rows.broadcast_div(&rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
}

fn to_array<A: WithDType>(tensor: &Tensor) -> Result<Array2<A>, Error> {
    let numbers = tensor.flatten_all()?.to_vec1()?;
    Ok(Array2::from_shape_vec(tensor.dims2()?, numbers)?)
}

fn to_tensor<A: WithDType>(array: Array2<A>) -> Result<Tensor, Error> {
    let shape = array.dim();
    let numbers = array.into_raw_vec_and_offset().0;
    Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?)
}
