//! Death at any moment.

use muster_model::Phase;
use proptest::prelude::*;

use crate::machine::{Machine, install, offer, reboot};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    // rule: A2, K1
    #[test]
    fn a_machine_that_dies_anywhere_does_each_step_once_and_ends_the_same(
        deaths in proptest::collection::vec((0_usize..40, proptest::bool::weighted(0.2)), 0..6),
    ) {
        // More boots than rule K4 allows are another story.
        let power_cuts = deaths.iter().filter(|(_, power)| *power).count();
        prop_assume!(power_cuts <= 2);
        let mut machine = Machine::new();
        machine.deaths = deaths;
        let offer = offer(1, vec![install("openssl"), install("nginx"), reboot(Some("6.1.0-2"))], &machine.now);
        let end = machine.carry_out(&offer);
        prop_assert_eq!((end.phase, end.outcome, end.message.as_str()), (Phase::Succeeded, None, ""));
        prop_assert_eq!(end.steps.len(), 3);
        for step in 0..2 {
            prop_assert_eq!(machine.effects.get(&step), Some(&1), "step {} changed the machine once", step);
            prop_assert_eq!(machine.issued.get(&step), Some(&1));
        }
        // A power cut at the right moment is the reboot; then none of ours is needed.
        prop_assert!(machine.effects.get(&2).copied().unwrap_or(0) <= 1);
        prop_assert!(machine.boots >= 1);
    }
}

// rule: A2
#[test]
fn one_death_at_each_moment_in_turn_changes_nothing_about_the_end() {
    for at in 0..60 {
        for power in [false, true] {
            let mut machine = Machine::new();
            machine.deaths = vec![(at, power)];
            let offer = offer(1, vec![install("openssl"), reboot(None), install("nginx")], &machine.now);
            let end = machine.carry_out(&offer);
            assert_eq!(end.phase, Phase::Succeeded, "death {at}, power {power}");
            assert_eq!((machine.effects[&0], machine.effects[&2]), (1, 1), "death {at}, power {power}");
        }
    }
}
