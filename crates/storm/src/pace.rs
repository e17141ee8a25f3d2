//! How long steps take in a simulation: drawn from what was measured of the fleet's own (rule W2).

use jiff::SignedDuration;
use muster_model::{Cover, Estimates};

use crate::dice::Dice;

/// What is known of how long steps take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Half of the steps take at most so long (p50).
    pub(crate) medians: Estimates,
    /// And 95 of 100 so long (p95).
    pub(crate) estimates: Estimates,
}

impl Pace {
    /// How long one step of that kind takes this time. Where one number is known of a kind, it takes exactly that.
    pub(crate) fn draw(&self, cover: Cover, dice: &mut Dice) -> SignedDuration {
        let millis = |length: SignedDuration| i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 4);
        let (half, most) = (millis(self.medians.of(cover)), millis(self.estimates.of(cover)));
        let most = most.max(half);
        let spread = most - half;
        let least = (half / 2).max(half - spread);
        // Straight lines between the known points: whole numbers only, so that a seed means the same on any machine.
        let drawn = match dice.between(0, 999) {
            of @ 0..500 => least + (half - least) * of / 500,
            of @ 500..950 => half + spread * (of - 500) / 450,
            of => most + spread * (of - 950) / 100,
        };
        SignedDuration::from_millis(drawn.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_take_at_most_the_median_and_one_in_twenty_more_than_the_95th_percentile() {
        let minutes =
            |minutes| Estimates { packages: SignedDuration::from_mins(minutes), ..Default::default() };
        let mut dice = Dice::new(3);
        let pace = Pace { medians: minutes(4), estimates: minutes(10) };
        let drawn: Vec<i64> = (0..20_000).map(|_| pace.draw(Cover::Packages, &mut dice).as_secs()).collect();
        let above = |seconds: i64| drawn.iter().filter(|one| **one > seconds).count();
        assert!((9_700..10_300).contains(&above(240)), "{}", above(240));
        assert!((800..1_200).contains(&above(600)), "{}", above(600));
        assert!(drawn.iter().all(|one| (120..=13 * 60).contains(one)));
        let exact = Pace { medians: minutes(12), estimates: minutes(12) };
        assert_eq!(exact.draw(Cover::Packages, &mut dice), SignedDuration::from_mins(12));
    }
}
