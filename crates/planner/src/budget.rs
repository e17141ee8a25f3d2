//! Who counts as unavailable, against which numbers, and who may still start (rules B1 to B4, B6).
//!
//! A *group* is a number and the machines that it is about: a DisruptionBudget, or a package baseline's own
//! `maxUnavailable`. An activity needs a place in every group of its machine, whichever baseline it serves, for while
//! it runs the machine is unavailable to all of them. Baselines that observe have no number.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use muster_model::{
    AbsentMachines, Activity, BaselineKind, BudgetSummary, Machine, ObjectName, PackageKey, PackageState,
    Phase, Reason, Snapshot, StepAction, Verdict, WaitingOn,
};

use crate::case::Case;
use crate::presence::Hearing;
use crate::select::Resources;
use crate::timer::{Timer, after};

/// One number and how it is used.
#[derive(Clone, Debug, Default)]
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

/// A machine in a group.
#[derive(Clone, Copy, Debug)]
struct Place {
    group: usize,
    /// It counts as unavailable already.
    counted: bool,
}

/// All groups, and every machine's places in them.
pub(crate) struct Tally<'a> {
    resources: &'a Resources<'a>,
    /// The DisruptionBudgets', then the package baselines'.
    groups: Vec<Group>,
    /// Along the cases.
    places: Vec<Vec<Place>>,
}

impl<'a> Tally<'a> {
    pub(crate) fn of(
        snapshot: &Snapshot,
        resources: &'a Resources<'a>,
        cases: &[Case<'_>],
        timer: &Timer,
    ) -> Self {
        let budgets = resources.budgets.len();
        let mut tally = Self {
            resources,
            groups: vec![Group::default(); budgets + resources.packages.len()],
            places: Vec::with_capacity(cases.len()),
        };
        for case in cases {
            let places = tally.count(snapshot, case, timer);
            tally.places.push(places);
        }
        for (budget, group) in resources.budgets.iter().zip(&mut tally.groups) {
            group.allowed = budget.limit.allowed_of(group.machines);
        }
        for (baseline, group) in resources.packages.iter().zip(&mut tally.groups[budgets..]) {
            group.allowed = baseline.rollout.max_unavailable.max_unavailable_of(group.machines);
        }
        tally
    }

    pub(crate) fn budget(&self, place: usize) -> &Group {
        &self.groups[place]
    }

    pub(crate) fn package_baseline(&self, place: usize) -> &Group {
        &self.groups[self.resources.budgets.len() + place]
    }

    /// Whether the machine counts against all of its groups already, so that its start takes no new place (rule B3).
    pub(crate) fn is_counted(&self, case: usize) -> bool {
        self.places[case].iter().all(|place| place.counted)
    }

    /// Whether some group of the machine's allows none at all (rule B1).
    pub(crate) fn has_none(&self, case: usize) -> bool {
        self.places[case].iter().any(|place| self.groups[place.group].allowed == 0)
    }

    /// Takes a place in every group of the machine, or in none and says which is full.
    pub(crate) fn admit(&mut self, case: usize) -> Result<(), Verdict> {
        let mut full = None;
        for place in &self.places[case] {
            let group = &self.groups[place.group];
            if group.allowed == 0 {
                return Err(self.zero(place.group));
            }
            if full.is_none()
                && (group.in_flight >= group.allowed
                    || (!place.counted && group.unavailable >= group.allowed))
            {
                full = Some(place.group);
            }
        }
        if let Some(group) = full {
            return Err(self.full(group));
        }
        for place in &mut self.places[case] {
            let group = &mut self.groups[place.group];
            group.in_flight += 1;
            group.unavailable += usize::from(!place.counted);
            place.counted = true;
        }
        Ok(())
    }

    fn zero(&self, group: usize) -> Verdict {
        let (budget, baseline) = match group.checked_sub(self.resources.budgets.len()) {
            None => (Some(self.resources.budgets[group].name.clone()), None),
            Some(baseline) => (None, Some(self.resources.packages[baseline].reference())),
        };
        Verdict::Blocked(Reason::BudgetIsZero { budget, baseline })
    }

    fn full(&self, group: usize) -> Verdict {
        let Group { machines: _, allowed: max_unavailable, unavailable, in_flight: _ } = self.groups[group];
        Verdict::Waiting(match group.checked_sub(self.resources.budgets.len()) {
            None => WaitingOn::Budget {
                budget: self.resources.budgets[group].name.clone(),
                unavailable,
                max_unavailable,
            },
            Some(baseline) => {
                let baseline = self.resources.packages[baseline].reference();
                WaitingOn::MaxUnavailable { baseline, unavailable, max_unavailable }
            }
        })
    }

    /// Counts one machine, and says where it has its places.
    fn count(&mut self, snapshot: &Snapshot, case: &Case<'_>, timer: &Timer) -> Vec<Place> {
        let standing = Standing::of(self.resources, case, timer);
        if !case.counts() {
            self.charge_only(case, &standing);
            return Vec::new();
        }
        let mut places = Vec::new();
        for budget in &case.picked.budgets {
            let absent = self.resources.budgets[*budget].absent;
            places.extend(self.take(*budget, &standing, standing.in_budget(snapshot, case, absent)));
        }
        for baseline in case.picked.packages.iter().filter(|place| self.resources.enforces(**place)) {
            let group = self.resources.budgets.len() + baseline;
            places.extend(self.take(
                group,
                &standing,
                standing.in_budget(snapshot, case, AbsentMachines::Ignore),
            ));
        }
        // Charged to a budget when it was made, though that no longer selects the machine (rule B6).
        for (group, budget) in self.resources.budgets.iter().enumerate() {
            if standing.charged.contains(&&budget.name) && !case.picked.budgets.contains(&group) {
                self.groups[group].unavailable += 1;
                self.groups[group].in_flight += usize::from(standing.in_flight);
                places.push(Place { group, counted: true });
            }
        }
        places
    }

    /// What is in flight disrupts its machine, whether or not that is in any N by now: revoked, say, or not admitted any
    /// more. It keeps its places until it is over (rules B4, B6).
    fn charge_only(&mut self, case: &Case<'_>, standing: &Standing<'_>) {
        if !standing.in_flight {
            return;
        }
        for (group, budget) in self.resources.budgets.iter().enumerate() {
            if standing.charged.contains(&&budget.name) || case.picked.budgets.contains(&group) {
                self.groups[group].unavailable += 1;
                self.groups[group].in_flight += 1;
            }
        }
        let unfinished = case.history.unfinished();
        let steps = unfinished.into_iter().flat_map(|activity| &activity.spec.steps);
        let served: BTreeSet<_> = steps.flat_map(|step| step.baselines.keys()).collect();
        for (place, baseline) in self.resources.packages.iter().enumerate() {
            if self.resources.enforces(place) && served.contains(&baseline.reference()) {
                let group = &mut self.groups[self.resources.budgets.len() + place];
                group.unavailable += 1;
                group.in_flight += 1;
            }
        }
    }

    /// `counted`: `None` if the machine is no part of the group.
    fn take(&mut self, group: usize, standing: &Standing<'_>, counted: Option<bool>) -> Option<Place> {
        let counted = counted?;
        let numbers = &mut self.groups[group];
        numbers.machines += 1;
        numbers.unavailable += usize::from(counted);
        numbers.in_flight += usize::from(standing.in_flight);
        Some(Place { group, counted })
    }
}

/// Why a machine counts as unavailable, if it does (rule B2).
struct Standing<'a> {
    in_flight: bool,
    /// By what we did: in flight, within `minReady`, or failed and not resolved.
    by_us: bool,
    unhealthy: bool,
    /// The budgets that the activities behind it were charged to.
    charged: BTreeSet<&'a ObjectName>,
}

impl<'a> Standing<'a> {
    fn of(resources: &Resources<'_>, case: &Case<'a>, timer: &Timer) -> Self {
        let mut standing =
            Self { in_flight: false, by_us: false, unhealthy: false, charged: BTreeSet::new() };
        let mut superseded = false;
        for activity in case.history.newest_first() {
            let holds = match activity.phase {
                Phase::Pending | Phase::Delivered | Phase::Running | Phase::Verifying => {
                    standing.in_flight = true;
                    true
                }
                Phase::Succeeded => {
                    superseded = true;
                    is_settling_in(resources, activity, timer)
                }
                Phase::Failed => !superseded && is_unresolved(case, activity, timer),
                Phase::Refused | Phase::Interrupted | Phase::Canceled | Phase::Expired => false,
            };
            if holds {
                standing.by_us = true;
                standing.charged.extend(&activity.spec.budgets);
            }
        }
        standing.unhealthy = is_unhealthy(resources, case);
        standing
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

/// Whether a unit that one of the machine's baselines names has failed (rule B2).
pub(crate) fn is_unhealthy(resources: &Resources<'_>, case: &Case<'_>) -> bool {
    let Some(reported) = case.reported else { return false };
    let mut baselines = case.picked.packages.iter().map(|place| resources.packages[*place]);
    baselines.any(|baseline| !baseline.health.units.is_disjoint(&reported.report.failed_units))
}

/// Whether a success still holds its place: for the longest `minReady` of the baselines that it served.
fn is_settling_in(resources: &Resources<'_>, activity: &Activity, timer: &Timer) -> bool {
    let served = activity.spec.steps.iter().flat_map(|step| step.baselines.keys());
    let min_ready = served
        .filter(|baseline| baseline.kind == BaselineKind::PackageBaseline)
        .filter_map(|baseline| resources.packages.iter().find(|one| one.common.name == baseline.name))
        .map(|baseline| baseline.rollout.min_ready)
        .max();
    let (Some(min_ready), Some(finished)) = (min_ready, activity.finished) else { return false };
    !timer.reached(after(finished, min_ready))
}

/// Whether a failure still counts: nobody resolved it, and no later report shows what it was to reach, healthy for as
/// long as it takes to settle.
fn is_unresolved(case: &Case<'_>, activity: &Activity, timer: &Timer) -> bool {
    if activity.spec.name.number <= case.machine.resolved_through {
        return false;
    }
    let Some(reported) = case.reported else { return true };
    let later = activity.finished.is_some_and(|finished| reported.time > finished)
        || reported.report.last_activity >= activity.spec.name.number;
    if !later || !shows_reached(case, case.machine, activity) {
        return true;
    }
    let settle = SignedDuration::from_secs(i64::from(activity.spec.health.settle_seconds));
    !timer.reached(after(reported.time, settle))
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
        StepAction::HoldPackages { hold, unhold: _ } => {
            hold.iter().all(|key| installed(key).is_some_and(|found| found.held))
        }
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
