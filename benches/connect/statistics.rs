//! Medians, and how sure they are.

/// A median and its confidence interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Estimate {
    /// Without assumptions about the distribution: the ranks around the middle between which the true median lies in
    /// 95 of 100 cases (binomial, by its normal approximation).
    pub(crate) fn of(samples: &[f64]) -> Self {
        let sorted = sorted(samples);
        let n = sorted.len() as f64;
        let half = 0.98 * n.sqrt();
        let rank = |position: f64| position.clamp(0.0, n - 1.0) as usize;
        let (low, high) = (sorted[rank((n / 2.0 - half).floor())], sorted[rank((n / 2.0 + half).ceil())]);
        Self { median: median(samples), low, high }
    }
}

pub(crate) fn median(samples: &[f64]) -> f64 {
    let sorted = sorted(samples);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}
