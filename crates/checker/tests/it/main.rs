//! The checker, by the logs that it is given: of each check a log that it objects to and a neighbour that it does not.

mod activities;
mod arrival;
mod budgets;
mod format;
mod kernels;
mod machines;
mod rollouts;
mod story;
mod transactions;
mod whole;
mod windows;

use expect_test::Expect;

/// A story that breaks a rule, and what is said of it; and a neighbour that does not.
fn check(bad: &str, said: &Expect, good: &str) {
    said.assert_eq(&story::judged(bad));
    assert_eq!(story::judged(good), "= nothing\n", "the good neighbour");
}
