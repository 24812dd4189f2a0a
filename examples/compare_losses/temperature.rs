//! A temperature that is trained along with the encoder.

use contrastive::{Error, InfoNceLoss, LogitScale};
use ndarray::{Array2, array};

use crate::encoder::{Encoder, TableGradient};
use crate::optimizer::Adam;

/// The logarithm of the logit scale 1/τ as a table of one row and column, so that the optimiser of the encoder moves it too.
pub(crate) struct LearnedTemperature {
    scale: LogitScale,
    table: Array2<f32>,
    adam: Adam,
}

impl LearnedTemperature {
    pub(crate) fn new(start: f64, learning_rate: f32) -> Result<Self, Error> {
        let scale = LogitScale::from_temperature(start)?;
        Ok(Self {
            scale,
            table: array![[scale.log_scale() as f32]],
            adam: Adam::new(1, 1, learning_rate),
        })
    }

    /// One step against ∂L/∂log τ, brought back into the limits of the scale; `rate` in 0..=1 scales the learning rate.
    pub(crate) fn step(&mut self, log_temperature_gradient: f32, rate: f32) -> Result<(), Error> {
        let slope = LogitScale::log_scale_gradient(log_temperature_gradient) as f32;
        let mut gradient = TableGradient::new(1, 1);
        Encoder::backward(
            [vec![(0, 1.0)]].iter(),
            array![[slope]].view(),
            &mut gradient,
        );
        self.adam.step(&mut self.table, &gradient, rate);
        self.scale.set_log_scale(self.table[[0, 0]].into())?;
        self.table[[0, 0]] = self.scale.log_scale() as f32;
        Ok(())
    }

    pub(crate) fn temperature(&self) -> f64 {
        self.scale.temperature()
    }

    /// InfoNCE at the temperature of now.
    pub(crate) fn loss(&self) -> Result<InfoNceLoss, Error> {
        InfoNceLoss::new(self.temperature())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_grows_with_the_temperature_lowers_it_down_to_the_limit() {
        let mut learned = LearnedTemperature::new(0.07, 0.1).unwrap();
        learned.step(2.0, 1.0).unwrap();
        // Adam's first step has the length of the learning rate.
        assert!((learned.temperature() - 0.07 * (-0.1f64).exp()).abs() < 1e-6);
        (0..50).for_each(|_| learned.step(2.0, 1.0).unwrap());
        assert_eq!(learned.temperature(), 0.01);
    }

    #[test]
    fn it_comes_to_rest_where_the_gradient_changes_its_sign() {
        let mut learned = LearnedTemperature::new(0.07, 0.05).unwrap();
        for _ in 0..500 {
            let slope = (learned.temperature() / 0.2).ln() as f32;
            learned.step(slope, 1.0).unwrap();
        }
        assert!((learned.temperature() - 0.2).abs() < 2e-3);
    }
}
