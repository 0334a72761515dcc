//! How far two distributions of latency are apart.

use hdrhistogram::Histogram;

/// The largest difference between the shares of two distributions that are no longer than a time, 0 to 1: the statistic
/// of Kolmogorov and Smirnov. `None` when one of them is empty.
pub fn kolmogorov_smirnov(one: &Histogram<u64>, other: &Histogram<u64>) -> Option<f64> {
    if one.is_empty() || other.is_empty() {
        return None;
    }
    let share = |of: &Histogram<u64>, value: u64| {
        // Not `quantile_below`, which counts in steps of its own.
        of.count_between(0, value) as f64 / of.len() as f64
    };
    let both = one.iter_recorded().chain(other.iter_recorded());
    let apart = both.map(|step| {
        let value = step.value_iterated_to();
        (share(one, value) - share(other, value)).abs()
    });
    apart.max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000, 3).expect("good bounds");
        for value in values {
            histogram.record(value).expect("within the bounds");
        }
        histogram
    }

    #[test]
    fn equal_distributions_are_not_apart_and_separate_ones_wholly() {
        let near = of(1..=1_000);
        assert_eq!(kolmogorov_smirnov(&near, &near), Some(0.0));
        assert_eq!(kolmogorov_smirnov(&near, &of(5_000..6_000)), Some(1.0));
        assert_eq!(kolmogorov_smirnov(&near, &of([])), None);
    }

    #[test]
    fn a_shift_by_a_quarter_is_a_quarter_apart() {
        let apart = kolmogorov_smirnov(&of(1..=1_000), &of(251..=1_250)).expect("both have values");
        assert!((apart - 0.25).abs() < 0.01, "{apart}");
    }
}
