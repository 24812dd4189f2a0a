//! The loss of one batch as a tensor that burn can go back from: by the recipe, and by burn alone to compare with.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Element, Int, Tensor, TensorData};
use contrastive::{InfoNceInput, InfoNceLoss, Loss, Scalar};
use ndarray::Array2;

/// What anything here may fail with.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// InfoNCE of this crate over embeddings `[n, dim]` of element type `A`: its value, with its gradient behind it.
pub fn info_nce<A: Scalar + Element>(
    loss: &InfoNceLoss,
    q: Tensor<2>,
    d: Tensor<2>,
) -> Result<Tensor<1>, Error> {
    let (queries, documents) = (to_array::<A>(&q)?, to_array::<A>(&d)?);
    let input = InfoNceInput::new(queries.view(), documents.view());
    let (value, gradient) = loss.value_and_gradient(input)?;
    let device = q.device();
    let (g_q, g_d) = (
        to_tensor(gradient.queries, &device),
        to_tensor(gradient.documents, &device),
    );
    // Linear in q and d, with constant g: its gradients are those of the loss.
    let carrier = (q * g_q).sum() + (d * g_d).sum();
    // Its own value is taken out and that of the loss put in, so that the sum can be logged, scaled, and added to other losses.
    Ok(carrier.clone() - carrier.detach() + value)
}

/// The same loss composed of burn's operations, with all n × n scores in memory.
pub fn composed(q: Tensor<2>, d: Tensor<2>, temperature: f64) -> Tensor<1> {
    let scores = normalised(q).matmul(normalised(d).transpose()) / temperature;
    let n = scores.dims()[0];
    let own = Tensor::<1, Int>::arange(0..n as i64, &scores.device()).reshape([n, 1]);
    -log_softmax(scores, 1).gather(1, own).mean()
}

fn normalised(rows: Tensor<2>) -> Tensor<2> {
    rows.clone() / rows.square().sum_dim(1).sqrt()
}

fn to_array<A: Element>(tensor: &Tensor<2>) -> Result<Array2<A>, Error> {
    let [rows, columns] = tensor.dims();
    let numbers = tensor.to_data().try_into_vec::<A>()?;
    Ok(Array2::from_shape_vec((rows, columns), numbers)?)
}

fn to_tensor<A: Element>(array: Array2<A>, device: &Device) -> Tensor<2> {
    let (rows, columns) = array.dim();
    let data = TensorData::new(array.into_raw_vec_and_offset().0, [rows, columns]);
    Tensor::from_data(data, device)
}
