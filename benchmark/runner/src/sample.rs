//! What one measurement yields, and the median of several.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Messages (deliveries, for fan-out) a second.
    PerSecond,
    /// CPU time of the server's process for each message, in nanoseconds.
    CpuNs,
    P50Us,
    P99Us,
    P999Us,
    /// CPU time of the server by wall time; 1 is one core.
    ServerBusy,
    /// The same for the load generator.
    LoadBusy,
    /// What everything else used on the two cores.
    OthersBusy,
    /// Bytes of a compressed reply.
    ReplyBytes,
    /// Resident bytes for each idle connection.
    RssBytes,
    /// CPU time of the server to accept and connect one client, in microseconds.
    ConnectUs,
}

pub type Sample = BTreeMap<Metric, f64>;

/// The median of each metric over `samples`.
pub fn median(samples: &[Sample]) -> Sample {
    let mut values: BTreeMap<Metric, Vec<f64>> = BTreeMap::new();
    for (metric, value) in samples.iter().flatten() {
        values.entry(*metric).or_default().push(*value);
    }
    values.into_iter().map(|(metric, values)| (metric, median_of(values))).collect()
}

/// The median of at least one value.
pub fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two() {
        for (values, expected) in
            [(vec![3.0], 3.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 9.0], 3.0)]
        {
            let samples: Vec<_> = values.iter().map(|v| Sample::from([(Metric::PerSecond, *v)])).collect();
            assert_eq!(median(&samples)[&Metric::PerSecond].to_bits(), f64::to_bits(expected));
        }
    }
}
