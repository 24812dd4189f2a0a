//! A learnable temperature.

use crate::error::{Error, check};

/// A temperature that is trained: the logarithm of the logit scale 1/τ, kept below a limit.
///
/// CLIP begins at 1/τ = 1/0.07 and lets it grow to 100 at most; both are the defaults of [`clip`](Self::clip). Losses give the gradient for log τ,
/// from which the others follow: ∂L/∂log(1/τ) = −∂L/∂log τ, ∂L/∂τ = (∂L/∂log τ)/τ, ∂L/∂(1/τ) = −τ·∂L/∂log τ.
///
/// Source: Radford et al. 2021, <https://arxiv.org/abs/2103.00020>.
///
/// ```
/// use contrastive::{InfoNceInput, InfoNceLoss, LogitScale, Loss};
/// use ndarray::array;
///
/// let (queries, documents) = (array![[1.0, 0.0], [0.6, 0.8]], array![[1.0, 0.0], [0.8, 0.6]]);
/// let mut scale = LogitScale::clip();
/// assert!((scale.temperature() - 0.07).abs() < 1e-15);
/// for _step in 0..3 {
///     let loss = InfoNceLoss::new(scale.temperature())?;
///     let input = InfoNceInput::new(queries.view(), documents.view());
///     let (_, gradient) = loss.value_and_gradient(input)?;
///     // Any optimiser; here plain descent with the step 10.
///     let slope = LogitScale::log_scale_gradient(gradient.log_temperature);
///     scale.set_log_scale(scale.log_scale() - 10.0 * slope)?;
/// }
/// assert!(scale.scale() > 1.0 / 0.07 && scale.scale() <= 100.0); // the positives are ahead: sharper pays
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::LogitScale")
)]
pub struct LogitScale {
    log_scale: f64,
    /// Limits of the scale; 0 for none.
    least: f64,
    most: f64,
}

/// The ends of what a scale or a temperature may be: so the other of the two is an ordinary number, too.
const LEAST: f64 = 1e-304;
const MOST: f64 = 1e304;
/// A little below the logarithm of [`LEAST`].
const LEAST_LOG: f64 = -700.0;

impl LogitScale {
    /// CLIP's: 1/0.07 at first, at most 100.
    pub fn clip() -> Self {
        Self {
            log_scale: (1.0_f64 / 0.07).ln(),
            least: 0.0,
            most: 100.0,
        }
    }

    /// Begins at a temperature; at most a scale of 100, as CLIP's.
    ///
    /// # Errors
    /// If the temperature is not from 0.01 to 1e304.
    pub fn from_temperature(temperature: f64) -> Result<Self, Error> {
        let in_range = (0.01..=MOST).contains(&temperature);
        let expected = "a number from 0.01 to 1e304";
        let temperature = check("temperature", expected, temperature, in_range)?;
        Ok(Self {
            // The logarithm of 1/0.01 may come out above the limit, by its last digit.
            log_scale: (-temperature.ln()).min(100.0_f64.ln()),
            ..Self::clip()
        })
    }

    /// Other limits of the scale, to which it is brought if it is outside. open_clip has 1 and 100.
    ///
    /// ```
    /// use contrastive::LogitScale;
    ///
    /// let mut scale = LogitScale::clip().with_limits(1.0, 20.0)?;
    /// scale.set_log_scale(5.0)?;
    /// assert_eq!(scale.scale(), 20.0);
    /// scale.set_log_scale(-1.0)?;
    /// assert_eq!((scale.scale(), scale.temperature()), (1.0, 1.0));
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `least` is not from 1e-304 to 1e304, or `most` is below it or above 1e304.
    pub fn with_limits(self, least: f64, most: f64) -> Result<Self, Error> {
        let in_range = (LEAST..=MOST).contains(&least);
        let expected = "a number from 1e-304 to 1e304";
        let least = check("least scale", expected, least, in_range)?;
        let in_range = most >= least && most.is_finite();
        let expected = "a finite number, not below the least scale";
        check("most scale", expected, most, in_range)?;
        let most = check("most scale", "a number up to 1e304", most, most <= MOST)?;
        Ok(Self {
            log_scale: self.log_scale.clamp(least.ln(), most.ln()),
            least,
            most,
        })
    }

    /// What an optimiser made of log(1/τ), brought into the limits.
    ///
    /// # Errors
    /// If it is NaN, or without a lower limit not above −700. The scale stays as it was.
    pub fn set_log_scale(&mut self, log_scale: f64) -> Result<(), Error> {
        // Where the scale is 0 or the temperature overflows there is nothing left to train.
        let clamped = log_scale.max(self.least.ln()).min(self.most.ln());
        let in_range = !log_scale.is_nan() && clamped > LEAST_LOG;
        let expected = "a number above -700";
        check("log scale", expected, log_scale, in_range)?;
        self.log_scale = clamped;
        Ok(())
    }

    /// log(1/τ): the parameter that is trained.
    pub fn log_scale(&self) -> f64 {
        self.log_scale
    }

    /// The least and the largest scale; 0 for no least one.
    #[cfg(feature = "serde")]
    pub(crate) fn limits(&self) -> [f64; 2] {
        [self.least, self.most]
    }

    /// 1/τ, which similarities are multiplied with.
    pub fn scale(&self) -> f64 {
        // The limits as they were given, and not through their logarithms.
        match self.log_scale {
            x if x >= self.most.ln() => self.most,
            x if x <= self.least.ln() => self.least,
            x => x.exp(),
        }
    }

    /// τ
    pub fn temperature(&self) -> f64 {
        1.0 / self.scale()
    }

    /// ∂L/∂log(1/τ) from ∂L/∂log τ.
    pub fn log_scale_gradient(log_temperature_gradient: impl Into<f64>) -> f64 {
        -log_temperature_gradient.into()
    }

    /// ∂L/∂τ from ∂L/∂log τ.
    pub fn temperature_gradient(&self, log_temperature_gradient: impl Into<f64>) -> f64 {
        log_temperature_gradient.into() * self.scale()
    }

    /// ∂L/∂(1/τ) from ∂L/∂log τ.
    pub fn scale_gradient(&self, log_temperature_gradient: impl Into<f64>) -> f64 {
        -log_temperature_gradient.into() * self.temperature()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_stays_within_its_limits_to_the_last_digit() {
        let mut scale = LogitScale::clip();
        for (least, most) in [(1.0, 100.0), (0.3, 20.0), (7.0, 7.0)] {
            let mut limited = LogitScale::clip().with_limits(least, most).unwrap();
            for (log_scale, expected) in [(9.0, most), (f64::INFINITY, most), (-9.0, least)] {
                limited.set_log_scale(log_scale).unwrap();
                assert_eq!(limited.scale(), expected);
            }
        }
        scale.set_log_scale(700.0).unwrap();
        assert_eq!((scale.scale(), scale.temperature()), (100.0, 0.01));
    }

    #[test]
    fn what_is_no_scale_is_refused_and_changes_nothing() {
        let mut scale = LogitScale::clip();
        for bad in [f64::NAN, f64::NEG_INFINITY, -701.0, -700.0] {
            assert!(scale.set_log_scale(bad).is_err());
            assert_eq!(scale, LogitScale::clip());
        }
        for bad in [f64::NAN, f64::INFINITY, 0.0, -1.0, 0.009, 1e305] {
            assert!(LogitScale::from_temperature(bad).is_err());
        }
        for (least, most) in [
            (0.0, 1.0),
            (2.0, 1.0),
            (f64::NAN, 1.0),
            (1.0, f64::INFINITY),
            (1.0, f64::NAN),
            (1.0, f64::MAX),
            (1e-310, 1.0),
        ] {
            assert!(scale.with_limits(least, most).is_err());
        }
    }

    #[test]
    fn every_scale_takes_its_own_logarithm_and_has_a_temperature() {
        let clip = LogitScale::clip();
        for mut scale in [
            clip,
            LogitScale::from_temperature(0.01).unwrap(),
            LogitScale::from_temperature(MOST).unwrap(),
            clip.with_limits(LEAST, LEAST).unwrap(),
            clip.with_limits(MOST, MOST).unwrap(),
            clip.with_limits(LEAST, MOST).unwrap(),
        ] {
            let before = scale;
            scale.set_log_scale(scale.log_scale()).unwrap();
            assert_eq!(scale, before);
            assert!(crate::InfoNceLoss::new(scale.temperature()).is_ok());
            // Without a lower limit −∞ is no scale.
            let lowest = scale.set_log_scale(f64::NEG_INFINITY);
            assert_eq!(lowest.is_ok(), scale.least > 0.0);
            scale.set_log_scale(f64::INFINITY).unwrap();
            assert_eq!(scale.scale(), scale.most);
        }
    }

    /// Central differences of a function of τ in each of its parametrisations.
    #[test]
    fn gradients_agree_with_the_slopes_of_a_function_of_the_temperature() {
        let of = |temperature: f64| (3.0 * temperature).sin();
        let scale = LogitScale::from_temperature(0.2).unwrap();
        let t = scale.temperature();
        let log_temperature = t * 3.0 * (3.0 * t).cos();
        let h = 1e-6;
        let slope =
            |to: &dyn Fn(f64) -> f64, at: f64| (of(to(at + h)) - of(to(at - h))) / (2.0 * h);
        let close = |x: f64, y: f64| assert!((x - y).abs() < 1e-8, "{x} {y}");
        close(
            slope(&|l: f64| (-l).exp(), scale.log_scale()),
            LogitScale::log_scale_gradient(log_temperature),
        );
        close(
            slope(&|t| t, t),
            scale.temperature_gradient(log_temperature),
        );
        close(
            slope(&|s| 1.0 / s, scale.scale()),
            scale.scale_gradient(log_temperature),
        );
    }
}
