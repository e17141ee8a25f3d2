//! The dice: one seed, one run, whatever version of a library is in use.

use jiff::SignedDuration;

/// A generator of pseudo-random numbers (SplitMix64): small, and ours, so that a seed means the same in ten years.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    /// Dice of their own, so that one part of the world that rolls more often does not change all the others.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 if that is 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = u128::try_from(limit).expect("128 bits hold a usize");
        let scaled = (u128::from(self.next()) * limit) >> 64;
        usize::try_from(scaled).expect("it is below a usize")
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = usize::try_from(high.saturating_sub(low).max(0)).unwrap_or(usize::MAX - 1);
        low + i64::try_from(self.below(width + 1)).expect("it is at most high - low")
    }

    /// Whether something happens that happens so often in a thousand times.
    pub(crate) fn permille(&mut self, often: u32) -> bool {
        self.below(1000) < usize::try_from(often).unwrap_or(1000)
    }

    /// One of them; there must be one.
    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A time between so many milliseconds.
    pub(crate) fn millis(&mut self, low: i64, high: i64) -> SignedDuration {
        SignedDuration::from_millis(self.between(low, high))
    }

    /// A time between so many seconds, to the millisecond.
    pub(crate) fn seconds(&mut self, low: i64, high: i64) -> SignedDuration {
        self.millis(low * 1000, high * 1000)
    }

    /// A time between so many minutes, to the millisecond.
    pub(crate) fn minutes(&mut self, low: i64, high: i64) -> SignedDuration {
        self.seconds(low * 60, high * 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever_and_numbers_stay_within_their_bounds() {
        let mut dice = Dice::new(7);
        let rolled: Vec<i64> = (0..8).map(|_| dice.between(1, 6)).collect();
        assert_eq!(rolled, [6, 3, 4, 3, 6, 2, 4, 2]);
        for _ in 0..10_000 {
            assert!((-3..=3).contains(&dice.between(-3, 3)));
            assert!(dice.below(5) < 5);
        }
        assert_eq!((dice.below(0), dice.below(1)), (0, 0));
        let often = (0..10_000).filter(|_| dice.permille(250)).count();
        assert!((2_300..2_700).contains(&often), "{often}");
    }
}
