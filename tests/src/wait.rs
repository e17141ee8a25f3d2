//! Waiting for a condition, with an end.
//!
//! Where something tells us (a notification, `kubectl wait`, an exit), we listen to that instead. Nothing in the
//! suite waits for a time to pass.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// The pause between two looks at first; it doubles up to [`LONGEST_PAUSE`], so that quick things are seen
/// quickly and slow ones don't cost a core.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between two looks: an eye's blink more on a test that takes seconds anyway.
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// Looks until `probe` gives something, and returns that.
///
/// `what` completes the sentence "waited … for …".
///
/// # Panics
///
/// After `patience`, naming what never came. The last look is taken after the end of `patience`, so that a probe
/// that takes long itself is always made at least once.
#[track_caller]
pub fn until<T>(patience: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    until_or_say(patience, what, || probe().ok_or(""))
}

/// Like [`until`]; what the last look saw instead is told at the end.
///
/// # Panics
///
/// After `patience`, naming what never came and what was there.
#[track_caller]
pub fn until_or_say<T, S: Display>(
    patience: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T, S>,
) -> T {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let last = start.elapsed() >= patience;
        match probe() {
            Ok(seen) => return seen,
            Err(instead) => assert!(!last, "waited {patience:?} for {what}, in vain; {instead}"),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sight_ends_the_wait() {
        let mut looks = 0;
        let seen = until(Duration::from_secs(5), "the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(seen, 3);
    }

    #[test]
    #[should_panic(expected = "for a miracle, in vain; there is water")]
    fn what_was_there_instead_is_told() {
        until_or_say(Duration::ZERO, "a miracle", || Err::<(), _>("there is water"));
    }

    #[test]
    #[should_panic(expected = "for a miracle, in vain")]
    fn what_never_comes_ends_the_test_by_name() {
        until(Duration::ZERO, "a miracle", || None::<()>);
    }
}
