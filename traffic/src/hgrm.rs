//! Percentiles as a `.hgrm` file: what HdrHistogram's own tools write, and its plotters read.
//!
//! Values are in milliseconds. Percentiles are five to each halving of the distance to the whole, as the
//! plotters expect. Reference: `outputPercentileDistribution` of HdrHistogram.

use std::io::{self, Write};

use hdrhistogram::Histogram;

/// Reported percentiles in each half of the distance to 100 %.
const TICKS_PER_HALF: u32 = 5;
/// Nanoseconds, in which latencies are counted, of a millisecond, in which they are written.
const NANOS_PER_UNIT: f64 = 1e6;

/// Writes the percentiles of `latencies`, which are in ns.
pub fn write(latencies: &Histogram<u64>, to: &mut impl Write) -> io::Result<()> {
    writeln!(
        to,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let mut count = 0;
    for step in latencies.iter_quantiles(TICKS_PER_HALF) {
        let value = millis(latencies.highest_equivalent(step.value_iterated_to()));
        let quantile = step.quantile_iterated_to();
        count += step.count_since_last_iteration();
        write!(to, "{value:>12.6} {quantile:>14.12} {count:>10}")?;
        if quantile < 1.0 {
            writeln!(to, " {:>14.2}", 1.0 / (1.0 - quantile))?;
        } else {
            writeln!(to)?;
        }
    }
    let (mean, deviation) = (latencies.mean(), latencies.stdev());
    writeln!(
        to,
        "#[Mean    = {:>12.6}, StdDeviation   = {:>12.6}]",
        mean / NANOS_PER_UNIT,
        deviation / NANOS_PER_UNIT
    )?;
    writeln!(
        to,
        "#[Max     = {:>12.6}, Total count    = {:>12}]",
        millis(latencies.max()),
        latencies.len()
    )?;
    let buckets = latencies.buckets();
    let sub_buckets = latencies.distinct_values() / usize::from(buckets).max(1);
    writeln!(
        to,
        "#[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]"
    )
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / NANOS_PER_UNIT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_rise_to_the_whole_and_the_totals_are_those_of_the_histogram() {
        let mut latencies =
            Histogram::new_with_bounds(1_000, 3_600_000_000_000, 3).expect("good bounds");
        for millis in 1..=1_000 {
            latencies
                .record(millis * 1_000_000)
                .expect("within the bounds");
        }
        let mut text = Vec::new();
        write(&latencies, &mut text).expect("memory takes everything");
        let text = String::from_utf8(text).expect("it is text");
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| {
                line.split_whitespace()
                    .map(|word| word.parse().expect("a number"))
                    .collect()
            })
            .collect();
        assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]));
        let median = rows
            .iter()
            .find(|row| row[1] >= 0.5)
            .expect("it is among them");
        assert!((median[0] - 500.0).abs() < 1.0, "{median:?}");
        let last = rows.last().expect("there are rows");
        assert_eq!((last[1], last[2]), (1.0, 1_000.0));
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }
}
