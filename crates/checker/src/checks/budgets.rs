//! B1 to B4, B6: at every start, counted anew, no number is exceeded; and it is charged to all that select its machine.

use crate::counts::Counts;
use crate::start::Start;
use crate::unavailable::{Group, listed, standing};
use crate::violation::{About, Findings};
use crate::world::World;

pub(crate) fn check(world: &World, start: &Start<'_>, findings: &mut Findings<'_>, counts: &mut Counts) {
    let Some(machine) = start.machine else { return };
    let name = &start.spec.name;
    let about = About::Activity(name);
    let budgets = world.budgets.keys().map(Group::Budget);
    for group in budgets.chain(world.baselines.keys().map(Group::Baseline)) {
        if !group.restrains(world, start.at) || !group.surely(world, machine, start.at) {
            continue;
        }
        if let Group::Budget(budget) = group
            && !start.spec.budgets.contains(budget)
        {
            let message = "it selects the machine, and the activity is not charged to it".to_owned();
            findings.broken("B6", "NotCharged", about, [group.object()], message);
        }
        let standing = standing(world, &group, &name.machine, start.at);
        let taken = standing.unavailable.len();
        let allowed = standing.allowed;
        counts.numbers(&standing);
        let message = |what: &str| {
            format!(
                "{what}; {allowed} of {} machines may be unavailable, and {taken} are: {}",
                standing.machines,
                listed(&standing.unavailable)
            )
        };
        if allowed == 0 {
            findings.broken("B1", "StartedAtZero", about, [group.object()], message("none may start"));
        } else if !standing.counted && taken >= allowed {
            findings.broken("B2", "BudgetExceeded", about, [group.object()], message("one too many"));
        } else if standing.in_flight >= allowed {
            let what = format!("{} of ours are in flight already", standing.in_flight);
            findings.broken("B3", "TooManyInFlight", about, [group.object()], message(&what));
        }
    }
}
