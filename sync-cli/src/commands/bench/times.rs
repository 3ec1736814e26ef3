//! How long things took, in bounded memory: 32 buckets for each power of two of microseconds, so that a quantile is at
//! most 3 % above what was measured.

/// Buckets of a power of two.
const PARTS: usize = 32;

/// Powers of two beyond the first, whose buckets are exact: up to some 19 hours, and what is longer counts as that.
const POWERS: usize = 31;

/// The distribution of times.
#[derive(Clone)]
pub(super) struct Times {
    counts: Box<[u64; PARTS * (POWERS + 1)]>,
    count: u64,
    max_us: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { counts: Box::new([0; PARTS * (POWERS + 1)]), count: 0, max_us: 0 }
    }
}

/// The bucket of a time.
fn bucket(us: u64) -> usize {
    let parts = PARTS as u64;
    let log = us.max(1).ilog2();
    let shift = log.saturating_sub(PARTS.ilog2());
    let power = if us < parts { 0 } else { u64::from(shift) + 1 };
    let part = if us < parts { us } else { (us >> shift) - parts };
    usize::try_from(power * parts + part)
        .map_or(PARTS * (POWERS + 1) - 1, |at| at.min(PARTS * (POWERS + 1) - 1))
}

/// The longest time of a bucket.
fn upper(bucket: usize) -> u64 {
    let (power, part) = (bucket / PARTS, bucket % PARTS);
    match power {
        0 => part as u64,
        power => (((PARTS + part + 1) as u64) << (power - 1)) - 1,
    }
}

impl Times {
    pub(super) fn add(&mut self, us: u64) {
        self.counts[bucket(us)] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts.iter()).for_each(|(ours, theirs)| *ours += theirs);
        self.count += other.count;
        self.max_us = self.max_us.max(other.max_us);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn max_us(&self) -> u64 {
        self.max_us
    }

    /// What this part of all times did not exceed; 0 if there are none.
    pub(super) fn quantile_us(&self, part: f64) -> u64 {
        let mut behind = 0;
        for (at, count) in self.counts.iter().enumerate() {
            behind += count;
            if behind > 0 && behind as f64 >= part * self.count as f64 {
                return upper(at).min(self.max_us);
            }
        }
        self.max_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_times_and_at_most_3_percent_more() {
        let times: Vec<u64> =
            (0..50_000u64).map(|at| at.wrapping_mul(2_654_435_761) % (1 << (at % 30 + 1))).collect();
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let (mut one, mut two) = (Times::default(), Times::default());
        times.iter().enumerate().for_each(|(at, us)| if at % 3 == 0 { one.add(*us) } else { two.add(*us) });
        one.join(&two);
        assert_eq!((one.count(), one.max_us()), (50_000, sorted[49_999]));
        for per_mille in 1..=1_000usize {
            let exact = sorted[(per_mille * 50).max(1) - 1];
            let told = one.quantile_us(per_mille as f64 / 1_000.0);
            assert!(told >= exact && told <= exact + exact / 32 + 1, "{per_mille}: {told} for {exact}");
        }
    }

    #[test]
    fn the_longest_time_has_a_bucket() {
        let mut times = Times::default();
        times.add(u64::MAX);
        assert_eq!(times.quantile_us(1.0), upper(PARTS * (POWERS + 1) - 1));
        assert_eq!(Times::default().quantile_us(0.5), 0);
    }
}
