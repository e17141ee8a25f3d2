//! What a machine's past activities mean for the next: attempts and retries (rule A6), backoff (rule A2), and to which
//! steps a failure is charged (rule A8).

use jiff::SignedDuration;
use muster_model::{
    Activity, BaselineRef, DebianVersion, KernelChoice, Machine, OutcomeReason, PackageKey, Phase, Reason,
    Step, StepAction, Verdict, WaitingOn,
};

use crate::timer::{Timer, after};

/// The waits after the first, second and third failed attempt at an item (rule A6); after a fourth there is none.
const RETRY_MINUTES: [i64; 3] = [1, 5, 25];

/// The waits after so many refusals in a row (rule A2); later ones wait an hour each.
const BACKOFF_MINUTES: [i64; 3] = [1, 5, 25];
const BACKOFF_LATER_MINUTES: i64 = 60;

/// From so many refusals in a row the machine is blocked, though another try comes (rule A2).
const REFUSALS_THAT_BLOCK: u32 = 3;

/// What an attempt was at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// This package at this version; `None`: away.
    Item(&'a PackageKey, Option<&'a DebianVersion>),
    /// A hold on this package.
    Hold(&'a PackageKey),
    /// dpkg's repair.
    Repair,
    /// This kernel's boot.
    Kernel(&'a KernelChoice),
    /// A plain reboot.
    Reboot,
}

impl Subject<'_> {
    fn is_of(self, step: &Step) -> bool {
        match (self, &step.action) {
            (
                Self::Item(package, version),
                StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction),
            ) => transaction
                .requested
                .iter()
                .any(|change| change.package == *package && change.to.as_ref() == version),
            (Self::Hold(package), StepAction::HoldPackages { hold, unhold: _ }) => hold.contains(package),
            (Self::Kernel(choice), StepAction::Reboot { kernel: Some(kernel), command_line }) => {
                choice.release == *kernel && choice.command_line == *command_line
            }
            (Self::Kernel(choice), StepAction::SelectKernel(other) | StepAction::SetDefaultKernel(other)) => {
                choice.release == other.release && choice.command_line == other.command_line
            }
            (Self::Repair, StepAction::RepairPackages)
            | (Self::Reboot, StepAction::Reboot { kernel: None, .. }) => true,
            (Self::Item(..) | Self::Hold(_) | Self::Kernel(_) | Self::Repair | Self::Reboot, _) => false,
        }
    }
}

/// A machine's activities, oldest first; what an earlier machine of the same name finished is none of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History<'a> {
    pub(crate) all: &'a [&'a Activity],
    /// The highest number that is kept, of an earlier machine's, too (rule A1).
    pub(crate) highest: u64,
}

impl<'a> History<'a> {
    /// The one that is not over (rule A1: at most one; were there more, the newest).
    pub(crate) fn unfinished(self) -> Option<&'a Activity> {
        self.newest_first().find(|activity| !activity.phase.is_finished())
    }

    pub(crate) fn newest_first(self) -> impl Iterator<Item = &'a Activity> + 'a {
        self.all.iter().rev().copied()
    }

    /// Whether another attempt may be made now, after those that failed since the last success (rule A6).
    pub(crate) fn retry(self, machine: &Machine, subject: Subject<'_>, timer: &Timer) -> Option<Verdict> {
        // As most machines: nothing is charged to what did not fail.
        if self.all.iter().all(|activity| activity.phase != Phase::Failed) {
            return None;
        }
        let mut attempts = 0;
        let mut latest: Option<&Activity> = None;
        for activity in
            self.newest_first().filter(|activity| activity.spec.name.number > machine.retried_through)
        {
            // A kernel that was selected and did not come up is an attempt that failed, not one that came out right.
            if charged(activity).any(|step| subject.is_of(step)) {
                attempts += 1;
                latest = latest.or(Some(activity));
            } else if steps(activity, is_reached).any(|step| subject.is_of(step)) {
                break;
            }
        }
        let latest = latest?;
        let last = latest.outcome.unwrap_or(OutcomeReason::PackagesNotAsWanted);
        let wait = usize::try_from(attempts - 1).ok().and_then(|place| RETRY_MINUTES.get(place));
        let (Some(minutes), true) = (wait, last.may_be_retried()) else {
            return Some(Verdict::Blocked(Reason::Stalled { attempts, last }));
        };
        let until = after(latest.finished.unwrap_or(latest.created), SignedDuration::from_mins(*minutes));
        (!timer.reached(until)).then_some(Verdict::Waiting(WaitingOn::Retry { attempts, until }))
    }

    /// Whether the machine waits since activities were refused or expired in a row (rule A2). One that was stopped before
    /// its first step was done changed as little: without a wait, the next would meet the same at once, again and again.
    pub(crate) fn backoff(self, machine: &Machine, timer: &Timer) -> Option<Verdict> {
        let mut row = self
            .newest_first()
            .filter(|activity| activity.spec.name.number > machine.retried_through)
            .filter(|activity| activity.phase.is_finished() && activity.phase != Phase::Canceled)
            .take_while(|activity| match activity.phase {
                Phase::Refused | Phase::Expired => true,
                Phase::Interrupted => activity.steps.iter().all(|step| step.completed.is_none()),
                Phase::Pending
                | Phase::Delivered
                | Phase::Running
                | Phase::Verifying
                | Phase::Succeeded
                | Phase::Failed
                | Phase::Canceled => false,
            });
        let latest = row.next()?;
        let count = 1 + u32::try_from(row.count()).unwrap_or(u32::MAX - 1);
        let place = usize::try_from(count - 1).unwrap_or(usize::MAX);
        let minutes = BACKOFF_MINUTES.get(place).copied().unwrap_or(BACKOFF_LATER_MINUTES);
        let until = after(latest.finished.unwrap_or(latest.created), SignedDuration::from_mins(minutes));
        if timer.reached(until) {
            return None;
        }
        let reason = latest.outcome.unwrap_or(OutcomeReason::Undelivered);
        Some(if count >= REFUSALS_THAT_BLOCK {
            Verdict::Blocked(Reason::RefusedRepeatedly { reason, count, until })
        } else {
            Verdict::Waiting(WaitingOn::Backoff { reason, count, until })
        })
    }

    /// Whether the machine has yet to report what its last activity left behind (rule V4, promise P5).
    pub(crate) fn awaits_report(self, machine: &Machine) -> bool {
        let Some(reported) = &machine.reported else { return true };
        let Some(last) = self.newest_first().find(|activity| may_have_changed(activity)) else {
            return false;
        };
        let number = last.spec.name.number;
        let after = last.finished.is_some_and(|finished| reported.time > finished);
        number > machine.retried_through && !after && reported.report.last_activity < number
    }
}

/// Whether the world after it may differ from the report before it.
fn may_have_changed(activity: &Activity) -> bool {
    match activity.phase {
        Phase::Succeeded | Phase::Failed | Phase::Interrupted => true,
        Phase::Refused => {
            matches!(activity.outcome, Some(OutcomeReason::VersionGone | OutcomeReason::PlanMismatch))
        }
        Phase::Pending
        | Phase::Delivered
        | Phase::Running
        | Phase::Verifying
        | Phase::Canceled
        | Phase::Expired => false,
    }
}

fn is_completed(activity: &Activity, place: usize) -> bool {
    activity.steps.get(place).is_some_and(|step| step.completed.is_some())
}

/// Whether a failure is charged to one of its steps (a number): to what did not come out right.
fn is_charged(activity: &Activity, place: usize) -> bool {
    if activity.phase != Phase::Failed {
        return false;
    }
    let is_reboot = matches!(activity.spec.steps[place].action, StepAction::Reboot { .. });
    match activity.outcome {
        Some(OutcomeReason::PackagesNotAsWanted) => !is_reboot,
        Some(OutcomeReason::RebootNotObserved | OutcomeReason::BootFallback | OutcomeReason::RebootLoop) => {
            is_reboot
        }
        Some(OutcomeReason::Unhealthy) => true,
        _ => {
            let first = (0..activity.spec.steps.len()).find(|place| !is_completed(activity, *place));
            first.is_none_or(|first| first == place)
        }
    }
}

/// Whether one of its steps came out right: each of a success, and of a failure those completed that it is not charged to.
fn is_reached(activity: &Activity, place: usize) -> bool {
    match activity.phase {
        Phase::Succeeded => true,
        Phase::Failed | Phase::Interrupted => is_completed(activity, place) && !is_charged(activity, place),
        Phase::Pending
        | Phase::Delivered
        | Phase::Running
        | Phase::Verifying
        | Phase::Refused
        | Phase::Canceled
        | Phase::Expired => false,
    }
}

fn steps(activity: &Activity, is: fn(&Activity, usize) -> bool) -> impl Iterator<Item = &Step> {
    let steps = activity.spec.steps.iter().enumerate();
    steps.filter(move |(place, _)| is(activity, *place)).map(|(_, step)| step)
}

/// The steps that a failure is charged to; nothing unless it failed.
fn charged(activity: &Activity) -> impl Iterator<Item = &Step> {
    steps(activity, is_charged)
}

/// The items that a failed activity counts against, for one baseline (rules A8, O3): what its failed steps brought, and
/// all that it brought where the reboot after it failed.
pub(crate) fn failed_items<'a>(
    activity: &'a Activity,
    baseline: &BaselineRef,
) -> Vec<(&'a PackageKey, Option<&'a DebianVersion>)> {
    // A machine that does not come back from the reboot that follows a change speaks against the change.
    let rebooting = charged(activity).any(|step| matches!(step.action, StepAction::Reboot { .. }));
    let against = if rebooting { |_: &Activity, _| true } else { is_charged };
    steps(activity, against)
        .filter(|step| step.baselines.contains_key(baseline))
        .flat_map(|step| match &step.action {
            StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
                transaction.requested.iter().map(|change| (&change.package, change.to.as_ref())).collect()
            }
            StepAction::SelectKernel(choice) | StepAction::SetDefaultKernel(choice) => {
                choice.followed.iter().map(|followed| (&followed.package, Some(&followed.version))).collect()
            }
            StepAction::HoldPackages { .. } | StepAction::RepairPackages | StepAction::Reboot { .. } => {
                Vec::new()
            }
        })
        .collect()
}
