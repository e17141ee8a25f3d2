//! The decision: which machines change now, how, and why not the others (design §6).
//!
//! [`plan`] is a function of the snapshot alone: the instant is in it, and nothing is read or written. One question per
//! file: who is selected (`select`), what is asked (`merge`), which upgrades (`upgrade`, `phasing`), what it comes to
//! (`target`, `kernel`, `reboot`), what was tried (`attempts`), which changes make one transaction (`evaluate`,
//! `transaction`), when (`window`, `overrides`), how many at a time (`budget`), what one activity carries (`steps`), how one
//! machine stands (`machine`), what is no longer wanted (`cancel`), how items spread (`rollout`), and what the statuses say
//! (`summary`). [`forecast`] runs it forward.

mod attempts;
mod budget;
mod cancel;
mod case;
mod evaluate;
mod forecast;
mod kernel;
mod machine;
mod merge;
mod order;
mod overrides;
mod phasing;
mod presence;
mod reboot;
mod rollout;
mod select;
mod steps;
mod summary;
mod target;
mod timer;
mod transaction;
mod upgrade;
mod window;

pub use forecast::{Course, Ending, Fate, Fates, Forecast, Freeze, HORIZON, Opening, forecast};

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_model::{MachinePlan, Plan, Snapshot, StepAction, Verdict, Wanted};

use crate::budget::Tally;
use crate::case::Case;
use crate::machine::{Draft, World};
use crate::overrides::Overrides;
use crate::rollout::{Lowered, Rollouts};
use crate::select::Resources;
use crate::timer::Timer;
use crate::window::Windows;

/// The decision for all machines of a namespace at the snapshot's instant: total, and the same for the same snapshot.
///
/// What it starts is to be counted in the next snapshot, as activities; then planning again starts nothing twice.
#[must_use]
pub fn plan(snapshot: &Snapshot) -> Plan {
    let timer = Timer::new(snapshot.now);
    let resources = Resources::of(snapshot);
    let histories = case::histories(snapshot);
    let (cases, window_sets) = case::cases(snapshot, &resources, &histories, &timer);
    let mut tally = Tally::of(snapshot, &resources, &cases, &timer);
    let world = World {
        snapshot,
        resources: &resources,
        windows: Windows::new(&resources, window_sets.clone(), &snapshot.policy, &timer),
        rollouts: Rollouts::of(snapshot, &resources, &cases, &tally, &timer),
        lowered: Lowered::default(),
        overrides: Overrides::of(snapshot, &timer),
        timer: &timer,
    };
    let mut drafts: Vec<Draft> = cases.iter().map(|case| machine::draft(&world, case)).collect();
    let cancels = cancel::cancels(&world, &cases);
    let starts = admit(snapshot, &cases, &drafts, &mut tally);
    let mut machines = BTreeMap::new();
    let mut alike = Alike::default();
    for ((case, draft), start) in cases.iter().zip(&mut drafts).zip(&starts) {
        machines.insert(case.machine.name.clone(), alike.shared(conclude(&resources, draft, start.as_ref())));
    }
    let baselines = summary::baselines(&resources, &cases, &drafts, &tally);
    let windows = summary::windows(&resources, &cases, &window_sets, &snapshot.policy.estimates, &timer);
    let budgets = summary::budgets(&resources, &tally);
    let rollouts = world.rollouts.record(snapshot, &resources);
    Plan { machines, cancels, baselines, windows, budgets, rollouts, next: timer.next() }
}

/// What the budgets say of every start that is drafted: machines that count as unavailable anyway go first, since mending
/// them takes no second place (rule B3); then by the priority and name of the baselines served, then by a stable hash
/// (rule O6).
fn admit(
    snapshot: &Snapshot,
    cases: &[Case<'_>],
    drafts: &[Draft],
    tally: &mut Tally<'_>,
) -> Vec<Option<Verdict>> {
    let mut queue: Vec<usize> = (0..drafts.len()).filter(|place| drafts[*place].spec.is_some()).collect();
    queue.sort_by_cached_key(|place| {
        let name = &cases[*place].machine.name;
        let served = drafts[*place].spec.as_ref().and_then(|spec| order::first_served(snapshot, spec));
        (!tally.is_counted(*place), served, order::stable_hash(name), name.clone())
    });
    let mut starts = vec![None; drafts.len()];
    for place in queue {
        starts[place] = drafts[place].spec.as_ref().map(|spec| match tally.admit(place) {
            Ok(()) => Verdict::Start(spec.clone()),
            Err(verdict) => verdict,
        });
    }
    starts
}

/// Answers that are the same for many machines are held once: most twins have converged, or wait for the same.
#[derive(Default)]
struct Alike {
    /// The last answer with each wanted set.
    last: BTreeMap<*const Wanted, Arc<MachinePlan>>,
}

impl Alike {
    fn shared(&mut self, answer: MachinePlan) -> Arc<MachinePlan> {
        let last = self.last.get(&Arc::as_ptr(&answer.wanted)).filter(|last| ***last == answer);
        if let Some(last) = last {
            return last.clone();
        }
        let answer = Arc::new(answer);
        self.last.insert(Arc::as_ptr(&answer.wanted), answer.clone());
        answer
    }
}

fn conclude(resources: &Resources<'_>, draft: &mut Draft, start: Option<&Verdict>) -> MachinePlan {
    let decided = draft.decide(resources, start.unwrap_or(&Verdict::Converged));
    let mut holds = std::mem::take(&mut draft.holds);
    if let Some(Verdict::Start(spec)) = start {
        for step in &spec.steps {
            match &step.action {
                StepAction::HoldPackages { hold, unhold: _ } => holds.extend(hold.iter().cloned()),
                StepAction::InstallPackages(_)
                | StepAction::RemovePackages(_)
                | StepAction::RepairPackages
                | StepAction::SelectKernel(_)
                | StepAction::Reboot { .. }
                | StepAction::SetDefaultKernel(_) => {}
            }
        }
    }
    MachinePlan {
        verdict: decided.verdict,
        requirements: decided.requirements,
        total: draft.total,
        wanted: draft.wanted.clone(),
        holds,
    }
}
