//! Single things as events, for whoever knows by himself what is true when: the storm, whose log says what is so, not what
//! a controller has seen of it.

use muster_checker::event::{Decided, DecidedRequirement};
use muster_fleet::Decision;
use muster_model::MachineName;
use smol_str::SmolStr;

pub use crate::activity::spec;
pub use crate::machines::{of_people, report};
pub use crate::resources::{
    approval, budget, kernel_baseline, package_baseline, policy, released, source, window, window_override,
};

/// What was decided about a machine.
#[must_use]
pub fn decided(machine: &MachineName, decision: &Decision) -> Decided {
    let verdict = &decision.plan.verdict;
    let requirements = decision.plan.requirements.iter().map(|one| DecidedRequirement {
        baseline: one.baseline.clone(),
        resource: one.resource.clone(),
        verdict: SmolStr::new_static(one.name()),
        rule: SmolStr::new_static(one.rule()),
        reason: SmolStr::new_static(one.reason()),
    });
    Decided {
        machine: machine.clone(),
        verdict: SmolStr::new_static(verdict.name()),
        rule: SmolStr::new_static(verdict.rule()),
        reason: SmolStr::new_static(verdict.reason()),
        requirements: requirements.collect(),
    }
}
