//! What a point says of its runs: their mean, where the true mean is, and where most of them are.
//!
//! The mean's 95 % confidence interval is that of Student (The probable error of a mean, 1908): mean +- t s / sqrt n with
//! n - 1 degrees of freedom. Percentiles are interpolated between the two nearest runs.

/// t of 97.5 % for 1 to 30 degrees of freedom.
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];
/// The same for infinitely many.
const Z: f64 = 1.959_964;

/// Some runs, as one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Summary {
    pub(super) count: usize,
    pub(super) mean: f64,
    /// Half of the mean's confidence interval; none of a single run.
    pub(super) confidence: Option<f64>,
    pub(super) p10: f64,
    pub(super) p90: f64,
}

impl Summary {
    /// Of one run at least.
    pub(super) fn of(values: &[f64]) -> Summary {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let mean = sorted.iter().sum::<f64>() / count as f64;
        let squares: f64 = sorted.iter().map(|value| (value - mean).powi(2)).sum();
        let confidence = (count > 1).then(|| {
            let deviation = (squares / (count - 1) as f64).sqrt();
            t(count - 1) * deviation / (count as f64).sqrt()
        });
        Summary {
            count,
            mean,
            confidence,
            p10: quantile(&sorted, 0.1),
            p90: quantile(&sorted, 0.9),
        }
    }
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

/// Student's t of 97.5 %; beyond the table by the expansion of Fisher and Cornish, which is right to four digits there.
fn t(freedom: usize) -> f64 {
    if let Some(t) = T.get(freedom - 1) {
        return *t;
    }
    let n = freedom as f64;
    let first = (Z.powi(3) + Z) / 4.0;
    let second = (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / 96.0;
    Z + first / n + second / (n * n)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of Student's distribution below `t`, by Simpson's rule over its density.
    fn below(t: f64, freedom: usize) -> f64 {
        let n = freedom as f64;
        let density = |x: f64| (1.0 + x * x / n).powf(-(n + 1.0) / 2.0);
        let integral = |to: f64| {
            let steps = 400_000;
            let width = to / f64::from(steps);
            let inner = (1..steps).map(|step| {
                let weight = if step % 2 == 1 { 4.0 } else { 2.0 };
                weight * density(f64::from(step) * width)
            });
            (density(0.0) + density(to) + inner.sum::<f64>()) * width / 3.0
        };
        // The whole of one side: far out it has next to nothing, but for one degree of freedom, which has arctan.
        let half = if freedom == 1 {
            std::f64::consts::FRAC_PI_2
        } else {
            integral(4_000.0)
        };
        0.5 + 0.5 * integral(t) / half
    }

    #[test]
    fn t_has_97_and_a_half_per_cent_below_it() {
        for freedom in [1, 2, 3, 5, 10, 29, 30, 31, 60, 500] {
            let share = below(t(freedom), freedom);
            assert!((share - 0.975).abs() < 2e-4, "{freedom}: {share}");
        }
    }

    #[test]
    fn a_point_is_what_students_own_figures_say() {
        // His sleep data, the additional hours under the second drug: mean 2.33, s 2.002, n 10.
        let hours = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let of = Summary::of(&hours);
        assert!((of.mean - 2.33).abs() < 1e-9);
        let half = of.confidence.expect("ten of them");
        assert!((half - 1.432).abs() < 1e-3, "{half}");
        assert!(
            (of.p10 - 0.08).abs() < 1e-9 && (of.p90 - 4.69).abs() < 1e-9,
            "{of:?}"
        );
        assert_eq!(Summary::of(&[7.0]).confidence, None);
    }
}
