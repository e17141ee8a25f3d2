//! What may pass a window or a freeze, since somebody said so (rule W9)?

use muster_model::{
    BaselineRef, Cover, DebianVersion, Instant, OverrideWhat, PackageKey, Passes, Snapshot, Verdict,
    WaitingOn, WindowOverride,
};

use crate::boots;
use crate::case::Case;
use crate::machine::{States, World, is_kernel};
use crate::merge::Requirement;
use crate::select::Resources;
use crate::target::Outcome;
use crate::timer::Timer;

/// The overrides in force.
#[derive(Debug)]
pub(crate) struct Overrides<'a> {
    in_force: Vec<&'a WindowOverride>,
}

impl<'a> Overrides<'a> {
    pub(crate) fn of(snapshot: &'a Snapshot, timer: &Timer) -> Self {
        let all = snapshot.overrides.values().map(AsRef::as_ref);
        Self { in_force: all.filter(|one: &&WindowOverride| !timer.reached(one.until)).collect() }
    }

    /// The windows that a requirement's change passes.
    pub(crate) fn of_change(
        &self,
        resources: &Resources<'_>,
        requirement: &Requirement,
        outcome: &Outcome,
    ) -> Passes {
        let Outcome::Change(Some(target)) = outcome else { return Passes::new() };
        let by: Vec<BaselineRef> = requirement.baselines(resources).into_iter().collect();
        self.of_package(&by, &requirement.key, target)
    }

    /// The windows that a package's version passes for these baselines.
    pub(crate) fn of_package(
        &self,
        baselines: &[BaselineRef],
        package: &PackageKey,
        version: &DebianVersion,
    ) -> Passes {
        self.passes(|baseline, what| match what {
            OverrideWhat::Package(name, named) => {
                baselines.contains(baseline) && *name == package.name && named == version
            }
            OverrideWhat::Reboot => false,
        })
    }

    /// The windows that a reboot for these baselines passes.
    pub(crate) fn of_reboot(&self, baselines: &[BaselineRef]) -> Passes {
        self.passes(|baseline, what| match what {
            OverrideWhat::Package(..) => false,
            OverrideWhat::Reboot => baselines.contains(baseline),
        })
    }

    /// What of the windows that an activity passed for a kind of step is still passed.
    pub(crate) fn still(&self, passed: impl IntoIterator<Item = &'a muster_model::Passed>) -> Passes {
        let mut passes = Passes::new();
        for one in passed {
            for known in self.in_force.iter().filter(|known| known.name == one.by) {
                let mut all = Passes::new();
                known.pass(&mut all);
                passes.extend(all.remove(&one.window).map(|pass| (one.window.clone(), pass)));
            }
        }
        passes
    }

    fn passes(&self, names: impl Fn(&BaselineRef, &OverrideWhat) -> bool) -> Passes {
        let mut passes = Passes::new();
        for one in &self.in_force {
            if one.items.iter().any(|item| names(&item.baseline, &item.what)) {
                one.pass(&mut passes);
            }
        }
        passes
    }
}

/// Where the windows are shut to packages: of the `ready` changes those that pass them, and what they pass; all others wait.
/// Where nothing passes, or the windows are open, all stay as they are.
pub(crate) fn let_pass(
    world: &World<'_>,
    case: &Case<'_>,
    states: &mut States,
    ready: &mut Vec<usize>,
) -> Passes {
    let broken = case.reported.is_some_and(|reported| reported.report.dpkg_interrupted);
    if world.overrides.in_force.is_empty() || broken || case.evaluation.needs_repair() {
        return Passes::new();
    }
    let estimate = world.snapshot.policy.estimates.of(Cover::Packages);
    let Err(closed) = world.windows.ask(case.picked.windows, Cover::Packages, estimate) else {
        return Passes::new();
    };
    let ask =
        |passes: &Passes| world.windows.ask_past(case.picked.windows, Cover::Packages, estimate, passes);
    let mut all: Option<Passes> = None;
    let mut passing = Vec::new();
    for place in ready.iter() {
        let (requirement, judged) = (&case.merged.enforced[*place], &case.evaluation.judged[*place]);
        let passes = world.overrides.of_change(world.resources, requirement, &judged.outcome);
        if passes.is_empty() {
            continue;
        }
        // What it passes is not in its way; what is left is.
        if let Err(left) = ask(&passes) {
            let ends = passes.values().map(|pass| pass.until).min();
            let clears = |why: &WaitingOn| Verdict::Waiting(why.clone()).until();
            let left = if clears(&left) < ends { left } else { clearing(left, clears(&closed)) };
            states.stick(*place, &Verdict::Waiting(left));
            continue;
        }
        let passes = together(all.as_ref(), passes);
        if ask(&passes).is_ok() {
            passing.push(*place);
            all = Some(passes);
        }
    }
    let Some(all) = all else { return Passes::new() };
    let closed = Verdict::Waiting(closed);
    for (place, state) in &mut states.enforced {
        if !passing.contains(place) {
            state.stick(&closed);
        }
    }
    states.lifts.stick(&closed);
    *ready = passing;
    all
}

/// The same, but for when it clears: once an override has ended, what it passed is in the way again.
fn clearing(left: WaitingOn, at: Option<Instant>) -> WaitingOn {
    let mut left = left;
    if let WaitingOn::WindowClosed { until, .. }
    | WaitingOn::Frozen { until, .. }
    | WaitingOn::CutoffReached { until, .. }
    | WaitingOn::WindowTooShort { until, .. } = &mut left
    {
        *until = at;
    }
    left
}

/// What one transaction passes that carries what passes `all` and what passes `passes`: the windows that both pass, for as long
/// as both do. What passes a window must be named for it, and nothing else comes along.
pub(crate) fn together(all: Option<&Passes>, passes: Passes) -> Passes {
    let Some(all) = all else { return passes };
    let both = passes.into_iter().filter_map(|(window, pass)| {
        let known = all.get(&window)?;
        Some((window, if known.until < pass.until { known.clone() } else { pass }))
    });
    both.collect()
}

/// Where a kernel may come now only since somebody said so: of the `ready` changes those that pass its windows, too; all others
/// wait for it, since one transaction would bring them past windows that nobody let them pass.
pub(crate) fn let_kernel_pass(world: &World<'_>, case: &Case<'_>, ready: &mut Vec<usize>) {
    let comes = |place: &usize| is_kernel(case, *place);
    if world.overrides.in_force.is_empty()
        || !ready.iter().any(comes)
        || boots::open(world, case, &Passes::new()).is_ok()
    {
        return;
    }
    let mut all: Option<Passes> = None;
    ready.retain(|place| {
        let (requirement, judged) = (&case.merged.enforced[*place], &case.evaluation.judged[*place]);
        let passes = world.overrides.of_change(world.resources, requirement, &judged.outcome);
        let passes = together(all.as_ref(), passes);
        let opens = boots::open(world, case, &passes).is_ok();
        all = if opens { Some(passes) } else { all.take() };
        opens
    });
}
