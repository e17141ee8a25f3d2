//! Who counts as unavailable, against which numbers, and who may still start (rules B1 to B4, B6).
//!
//! A *group* is a number and the machines that it is about: a DisruptionBudget, or a baseline's own
//! `maxUnavailable`. An activity needs a place in every group of its machine, whichever baseline it serves, for while
//! it runs the machine is unavailable to all of them. Baselines that observe have no number.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;
use muster_model::{
    AbsentMachines, Activity, BudgetSummary, Machine, ObjectName, PackageKey, PackageState, Phase, Reason,
    Reported, Snapshot, StepAction, Verdict, WaitingOn, failed_since,
};

use crate::case::Case;
use crate::presence::Hearing;
use crate::select::Resources;
use crate::timer::{Timer, after};

/// One number and how it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// N of rule B1.
    pub(crate) machines: usize,
    pub(crate) allowed: usize,
    pub(crate) unavailable: usize,
    pub(crate) in_flight: usize,
}

impl Group {
    pub(crate) fn summary(&self) -> BudgetSummary {
        BudgetSummary {
            machines: self.machines,
            max_unavailable: self.allowed,
            unavailable: self.unavailable,
            in_flight: self.in_flight,
        }
    }
}

/// What one machine is to one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Charge {
    group: usize,
    /// It is one of the group's N.
    is_member: bool,
    /// It counts as unavailable already.
    is_counted: bool,
    /// And surely so: a start there takes no second place (rule B3).
    holds_place: bool,
}

/// How one machine counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// By group; the DisruptionBudgets come first.
    pub(crate) charges: Arc<[Charge]>,
    in_flight: bool,
    /// What is under way there waits for a gateway, so that it may still be canceled by a change of mind (rule A9).
    waits: bool,
    /// What starts there takes a place in each of these groups.
    takes_places: bool,
}

/// How machines count that are alike; most share it.
pub(crate) type Charges = BTreeSet<Arc<[Charge]>>;

/// All groups: the DisruptionBudgets', then the package baselines'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups(Vec<Group>);

impl Groups {
    pub(crate) fn new(resources: &Resources<'_>) -> Self {
        Self(vec![Group::default(); resources.budgets.len() + resources.packages.len()])
    }

    pub(crate) fn add(&mut self, standing: &Standing) {
        for charge in standing.charges.iter() {
            let group = &mut self.0[charge.group];
            group.machines += usize::from(charge.is_member);
            group.unavailable += usize::from(charge.is_counted);
            group.in_flight += usize::from(standing.in_flight);
        }
    }

    pub(crate) fn take_away(&mut self, standing: &Standing) {
        for charge in standing.charges.iter() {
            let group = &mut self.0[charge.group];
            group.machines -= usize::from(charge.is_member);
            group.unavailable -= usize::from(charge.is_counted);
            group.in_flight -= usize::from(standing.in_flight);
        }
    }

    /// Works out how many each allows; whether one that allowed none does now, or the other way round.
    pub(crate) fn limit(&mut self, resources: &Resources<'_>) -> bool {
        let (budgets, baselines) = self.0.split_at_mut(resources.budgets.len());
        let mut turned = false;
        let mut allow = |group: &mut Group, allowed: usize| {
            turned |= (group.allowed == 0) != (allowed == 0);
            group.allowed = allowed;
        };
        for (budget, group) in resources.budgets.iter().zip(budgets) {
            allow(group, budget.limit.allowed_of(group.machines));
        }
        for (baseline, group) in resources.packages.iter().zip(baselines) {
            allow(group, baseline.rollout.max_unavailable.max_unavailable_of(group.machines));
        }
        turned
    }

    pub(crate) fn budget(&self, place: usize) -> &Group {
        &self.0[place]
    }

    pub(crate) fn package_baseline(&self, resources: &Resources<'_>, place: usize) -> &Group {
        &self.0[resources.budgets.len() + place]
    }

    /// Whether some group of the machine's allows none at all (rule B1).
    pub(crate) fn has_none(&self, standing: &Standing) -> bool {
        standing.places().iter().any(|charge| self.0[charge.group].allowed == 0)
    }

    /// Whether a group that the machine is one of allows none at all.
    pub(crate) fn is_zero(&self, standing: &Standing) -> bool {
        standing.places().iter().any(|charge| charge.is_member && self.0[charge.group].allowed == 0)
    }

    /// Takes a place in each of these groups, or in none and says which is full.
    pub(crate) fn admit(&mut self, places: &[Charge]) -> Result<(), Full> {
        if let Some(full) = self.full(places) {
            return Err(full);
        }
        for place in places {
            let group = &mut self.0[place.group];
            group.in_flight += 1;
            group.unavailable += usize::from(!place.holds_place);
        }
        Ok(())
    }

    /// Which of these groups has no place left.
    pub(crate) fn full(&self, places: &[Charge]) -> Option<Full> {
        if let Some(none) = places.iter().find(|place| self.0[place.group].allowed == 0) {
            return Some(Full::Zero(none.group));
        }
        let is_full = |place: &&Charge| {
            let group = &self.0[place.group];
            group.in_flight >= group.allowed || (!place.holds_place && group.unavailable >= group.allowed)
        };
        let full = places.iter().find(is_full)?.group;
        let Group { machines: _, allowed, unavailable, in_flight: _ } = self.0[full];
        Some(Full::Taken { group: full, unavailable, allowed })
    }
}

/// Why a machine has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The group allows none at all.
    Zero(usize),
    /// All of its places are taken.
    Taken { group: usize, unavailable: usize, allowed: usize },
}

impl Full {
    pub(crate) fn verdict(self, resources: &Resources<'_>) -> Verdict {
        let baseline = |group: usize| {
            let place = group.checked_sub(resources.budgets.len())?;
            Some(resources.packages[place].reference())
        };
        match self {
            Self::Zero(group) => {
                let baseline = baseline(group);
                let budget = baseline.is_none().then(|| resources.budgets[group].name.clone());
                Verdict::Blocked(Reason::BudgetIsZero { budget, baseline })
            }
            Self::Taken { group, unavailable, allowed: max_unavailable } => {
                Verdict::Waiting(match baseline(group) {
                    None => {
                        let budget = resources.budgets[group].name.clone();
                        WaitingOn::Budget { budget, unavailable, max_unavailable }
                    }
                    Some(baseline) => WaitingOn::MaxUnavailable { baseline, unavailable, max_unavailable },
                })
            }
        }
    }
}

impl Standing {
    /// Whether something of ours waits for a gateway there.
    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    /// In which groups what starts there takes a place.
    pub(crate) fn places(&self) -> &[Charge] {
        if self.takes_places { &self.charges } else { &[] }
    }

    /// Whether the machine counts against all of its groups already, so that its start takes no new place (rule B3).
    pub(crate) fn is_counted(&self) -> bool {
        self.places().iter().all(|charge| charge.holds_place)
    }

    /// How the machine counts.
    pub(crate) fn of(
        snapshot: &Snapshot,
        resources: &Resources<'_>,
        case: &Case<'_>,
        known: &mut Charges,
        timer: &Timer,
    ) -> Self {
        let why = Why::of(resources, case, timer);
        let takes_places = case.counts();
        let charges = if takes_places {
            why.charges(snapshot, resources, case)
        } else {
            why.charges_in_flight(resources, case)
        };
        let charges = match known.get(charges.as_slice()) {
            Some(known) => known.clone(),
            None => {
                let charges: Arc<[Charge]> = charges.into();
                known.insert(charges.clone());
                charges
            }
        };
        let waits = case.history.newest_first().any(|activity| activity.phase == Phase::Pending);
        Self { charges, in_flight: why.in_flight, waits, takes_places }
    }
}

/// Why a machine counts as unavailable, if it does (rule B2).
struct Why<'a> {
    in_flight: bool,
    /// By what we did: in flight, within `minReady`, or failed and not resolved.
    by_us: bool,
    /// By a failure alone whose item is reported as reached, and not for as long as it takes to settle. Each report that says
    /// so makes it count again for a while, since it is not known when the first one did: enough to hold others back, not to
    /// let it start beside them.
    settles: bool,
    unhealthy: bool,
    /// The budgets that the activities behind it were charged to.
    charged: BTreeSet<&'a ObjectName>,
}

impl<'a> Why<'a> {
    fn of(resources: &Resources<'_>, case: &Case<'a>, timer: &Timer) -> Self {
        let mut why = Self {
            in_flight: false,
            by_us: false,
            settles: false,
            unhealthy: false,
            charged: BTreeSet::new(),
        };
        let (mut superseded, mut surely) = (false, false);
        for activity in case.history.newest_first() {
            let holds = match activity.phase {
                Phase::Pending | Phase::Delivered | Phase::Running | Phase::Verifying => {
                    why.in_flight = true;
                    true
                }
                Phase::Succeeded => {
                    superseded = true;
                    is_settling_in(resources, activity, timer)
                }
                Phase::Failed if superseded => false,
                Phase::Failed => match failure(case, activity, timer) {
                    Failure::Resolved => false,
                    Failure::Settles => {
                        why.by_us = true;
                        why.charged.extend(&activity.spec.budgets);
                        continue;
                    }
                    Failure::Counts => true,
                },
                Phase::Refused | Phase::Interrupted | Phase::Canceled | Phase::Expired => false,
            };
            if holds {
                surely = true;
                why.by_us = true;
                why.charged.extend(&activity.spec.budgets);
            }
        }
        why.settles = why.by_us && !surely;
        why.unhealthy = is_unhealthy(resources, case);
        why
    }

    fn charges(&self, snapshot: &Snapshot, resources: &Resources<'_>, case: &Case<'_>) -> Vec<Charge> {
        let mut charges = Vec::with_capacity(case.picked.budgets.len() + case.picked.packages.len());
        let mut take = |group: usize, counted: Option<bool>| {
            charges.extend(counted.map(|is_counted| {
                let holds_place = is_counted && (!self.settles || self.unhealthy);
                Charge { group, is_member: true, is_counted, holds_place }
            }));
        };
        for budget in &case.picked.budgets {
            take(*budget, self.in_budget(snapshot, case, resources.budgets[*budget].absent));
        }
        for baseline in case.picked.packages.iter().filter(|place| resources.enforces(**place)) {
            let counted = self.in_budget(snapshot, case, AbsentMachines::Ignore);
            take(resources.budgets.len() + baseline, counted);
        }
        // Charged to a budget when it was made, though that no longer selects the machine (rule B6).
        for (group, budget) in resources.budgets.iter().enumerate() {
            if self.charged.contains(&&budget.name) && !case.picked.budgets.contains(&group) {
                let holds_place = !self.settles;
                charges.push(Charge { group, is_member: false, is_counted: true, holds_place });
            }
        }
        // Under way for a baseline that does not select the machine any more: it is disrupted for that all the same.
        if self.in_flight {
            let left = served(resources, case).filter(|place| !case.picked.packages.contains(place));
            charges.extend(left.map(|place| in_flight(resources.budgets.len() + place)));
        }
        charges
    }

    /// What is in flight disrupts its machine, whether or not that is in any N by now: revoked, say, or not admitted any
    /// more. It keeps its places until it is over (rules B4, B6).
    fn charges_in_flight(&self, resources: &Resources<'_>, case: &Case<'_>) -> Vec<Charge> {
        if !self.in_flight {
            return Vec::new();
        }
        let budgets = resources.budgets.iter().enumerate().filter(|(group, budget)| {
            self.charged.contains(&&budget.name) || case.picked.budgets.contains(group)
        });
        let baselines = served(resources, case).map(|place| resources.budgets.len() + place);
        budgets.map(|(group, _)| group).chain(baselines).map(in_flight).collect()
    }

    /// Whether it counts against a budget that selects it, or `None` if it is no part of that budget (rule B4).
    fn in_budget(&self, snapshot: &Snapshot, case: &Case<'_>, absent: AbsentMachines) -> Option<bool> {
        if self.by_us {
            return Some(true);
        }
        match (case.hearing, absent) {
            (Hearing::Never, _) => None,
            (Hearing::Heard | Hearing::Quiet { .. }, _) => Some(self.unhealthy),
            (Hearing::Silent { .. }, AbsentMachines::Count) => Some(true),
            (Hearing::Absent { last_heard }, AbsentMachines::Count) => {
                let resolved = snapshot.resolved_absences.get(&case.machine.name);
                resolved.is_none_or(|resolved| *resolved < last_heard).then_some(true)
            }
            (Hearing::Silent { .. } | Hearing::Absent { .. }, AbsentMachines::Ignore) => None,
        }
    }
}

/// What is in flight holds its place in a group, whether or not its machine is one of the group's.
fn in_flight(group: usize) -> Charge {
    Charge { group, is_member: false, is_counted: true, holds_place: true }
}

/// The enforcing baselines that what is in flight serves.
fn served(resources: &Resources<'_>, case: &Case<'_>) -> impl Iterator<Item = usize> {
    let steps = case.history.unfinished().into_iter().flat_map(|activity| &activity.spec.steps);
    let served: BTreeSet<_> = steps.flat_map(|step| step.baselines.keys()).collect();
    (0..resources.packages.len()).filter(move |place| {
        resources.enforces(*place) && served.contains(&resources.packages[*place].reference())
    })
}

/// Whether a unit has failed that one of the machine's baselines names, or one since our last activity (rule B2).
pub(crate) fn is_unhealthy(resources: &Resources<'_>, case: &Case<'_>) -> bool {
    let Some(Reported { report, .. }) = case.reported else { return false };
    let mut baselines = case.picked.packages.iter().map(|place| resources.packages[*place]);
    baselines.any(|baseline| !baseline.health.units.is_disjoint(&report.failed_units))
        || failed_since(case.history.newest_first(), case.machine, report).next().is_some()
}

/// Whether a success still holds its place: for the longest `minReady` of the baselines that it served.
fn is_settling_in(resources: &Resources<'_>, activity: &Activity, timer: &Timer) -> bool {
    let served = activity.spec.steps.iter().flat_map(|step| step.baselines.keys());
    let min_ready = served
        .filter_map(|baseline| resources.packages.iter().find(|one| one.is(baseline)))
        .map(|baseline| baseline.rollout.min_ready)
        .max();
    let (Some(min_ready), Some(finished)) = (min_ready, activity.finished) else { return false };
    !timer.reached(after(finished, min_ready))
}

/// Whether a failure still counts.
enum Failure {
    /// Somebody resolved it, or a later report shows what it was to reach, healthy for as long as it takes to settle.
    Resolved,
    /// A later report shows what it was to reach; it is not known for how long.
    Settles,
    Counts,
}

fn failure(case: &Case<'_>, activity: &Activity, timer: &Timer) -> Failure {
    if activity.spec.name.number <= case.machine.resolved_through {
        return Failure::Resolved;
    }
    let Some(reported) = case.reported else { return Failure::Counts };
    let later = activity.finished.is_some_and(|finished| reported.time > finished)
        || reported.report.last_activity >= activity.spec.name.number;
    if !later || !shows_reached(case, case.machine, activity) {
        return Failure::Counts;
    }
    let settle = SignedDuration::from_secs(i64::from(activity.spec.health.settle_seconds));
    if timer.reached(after(reported.time, settle)) { Failure::Resolved } else { Failure::Settles }
}

fn shows_reached(case: &Case<'_>, machine: &Machine, activity: &Activity) -> bool {
    let Some(report) = machine.reported.as_ref().map(|reported| &reported.report) else { return false };
    let Some(inventory) = case.evaluation.inventory else { return false };
    let installed = |key: &PackageKey| inventory.package(key).and_then(|package| package.installed.as_ref());
    let reached = |action: &StepAction| match action {
        StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
            transaction.requested.iter().all(|change| match installed(&change.package) {
                Some(found) => {
                    Some(&found.version) == change.to.as_ref() && found.state == PackageState::Installed
                }
                None => change.to.is_none(),
            })
        }
        StepAction::HoldPackages { hold, unhold: _ } => hold.iter().all(|key| inventory.holds(key)),
        StepAction::RepairPackages => !report.dpkg_interrupted,
        // What was chosen for one boot shows in the boot.
        StepAction::SelectKernel(_) => true,
        StepAction::Reboot { kernel, command_line } => {
            report.reboot_required.is_none()
                && kernel.as_ref().is_none_or(|kernel| *kernel == report.kernel.booted)
                && command_line.fits(&report.kernel.command_line)
        }
        StepAction::SetDefaultKernel(choice) => {
            choice.is_booted(&report.kernel.booted, &report.kernel.command_line)
                && report.kernel.next_boot.as_ref().is_none_or(|next| *next == choice.release)
        }
    };
    activity.spec.health.units.is_disjoint(&report.failed_units)
        && activity.spec.steps.iter().all(|step| reached(&step.action))
}
