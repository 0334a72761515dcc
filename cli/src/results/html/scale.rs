//! From values to places of a drawing, and the round values that stand along an axis.

/// A range of values laid along a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    values: (f64, f64),
    places: (f64, f64),
    is_log: bool,
}

impl Scale {
    /// `values` evenly from the first of `places` to the second.
    pub(super) fn linear(values: (f64, f64), places: (f64, f64)) -> Scale {
        Scale {
            values,
            places,
            is_log: false,
        }
    }

    /// The logarithms of `values`, which are greater than zero.
    pub(super) fn log(values: (f64, f64), places: (f64, f64)) -> Scale {
        Scale {
            values,
            places,
            is_log: true,
        }
    }

    /// Where `value` is; values out of the range are at its ends.
    pub(super) fn at(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        let value = value.clamp(low, high);
        let share = if self.is_log {
            libm::log10(value / low) / libm::log10(high / low)
        } else {
            (value - low) / (high - low)
        };
        self.places.0 + share * (self.places.1 - self.places.0)
    }

    /// The last of its values.
    pub(super) fn to(&self) -> f64 {
        self.values.1
    }

    /// The round values of its range.
    pub(super) fn ticks(&self, about: usize) -> Vec<f64> {
        let (low, high) = self.values;
        if !self.is_log {
            return even(low, high, about);
        }
        let mut decade = 1e-6;
        let mut found = Vec::new();
        while decade <= high {
            let inside = [1.0, 2.0, 5.0].map(|step| step * decade);
            found.extend(
                inside
                    .into_iter()
                    .filter(|tick| (low..=high).contains(tick)),
            );
            decade *= 10.0;
        }
        if found.len() < 3 {
            return even(low, high, about.min(5));
        }
        if found.len() > about {
            let is_power = |tick: &f64| {
                libm::fabs(libm::log10(*tick) - libm::round(libm::log10(*tick))) < 1e-9
            };
            let powers: Vec<f64> = found.iter().copied().filter(is_power).collect();
            if powers.len() > 2 {
                return powers;
            }
        }
        found
    }
}

/// The next round value that is no less: 1, 2, 2.5 or 5 times a power of ten.
pub(super) fn rounded_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = libm::pow(10.0, libm::floor(libm::log10(value)));
    let steps = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let fits = steps.map(|step| step * power).into_iter();
    fits.into_iter()
        .find(|fit| *fit >= value * (1.0 - 1e-9))
        .unwrap_or(power * 10.0)
}

fn even(low: f64, high: f64, about: usize) -> Vec<f64> {
    let wanted = (high - low) / about.max(1) as f64;
    let power = libm::pow(10.0, libm::floor(libm::log10(wanted)));
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= wanted * 0.999);
    let step = step.unwrap_or(power * 10.0);
    let first = libm::ceil(low / step) as i64;
    let last = libm::floor(high / step + 1e-9) as i64;
    (first..=last).map(|number| number as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_laid_out_evenly_or_by_their_logarithms() {
        let even = Scale::linear((0.0, 50.0), (100.0, 0.0));
        assert!((even.at(10.0) - 80.0).abs() < 1e-9);
        assert!((even.at(99.0) - 0.0).abs() < 1e-9, "held at the end");
        let log = Scale::log((1.0, 100.0), (0.0, 200.0));
        assert!((log.at(10.0) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn ticks_are_round_and_within_the_range() {
        let even = Scale::linear((0.0, 60.0), (0.0, 1.0)).ticks(6);
        assert_eq!(even, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        let log = Scale::log((7.0, 300.0), (0.0, 1.0)).ticks(9);
        assert_eq!(log.len(), 5, "{log:?}");
        assert!(
            (log[0] - 10.0).abs() < 1e-9 && (log[4] - 200.0).abs() < 1e-9,
            "{log:?}"
        );
        assert!((rounded_up(73.0) - 80.0).abs() < 1e-9);
        assert!((rounded_up(100.0) - 100.0).abs() < 1e-9);
    }
}
