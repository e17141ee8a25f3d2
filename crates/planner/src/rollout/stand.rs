//! How one machine of a wave stands towards an item (rule O2).

use muster_model::{
    Activity, BaselineRef, Capability, Instant, Item, KernelChoice, Phase, Reason, StepAction, Target,
    Verdict,
};

use crate::attempts::Subject;
use crate::budget::is_unhealthy;
use crate::case::Case;
use crate::presence::Hearing;
use crate::rollout::item::Holding;
use crate::select::Resources;
use crate::timer::Timer;

/// How a machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It has the item and is healthy, at least since then.
    Done(Instant),
    /// The wave does not wait for it.
    Skipped,
    /// It failed the item, and no further attempt is made.
    Spent,
    /// The wave waits for it.
    Open,
}

/// What a machine's stand depends on beside its case.
pub(crate) struct Question<'a> {
    pub(crate) resources: &'a Resources<'a>,
    pub(crate) baseline: &'a BaselineRef,
    pub(crate) item: &'a Item,
    pub(crate) holding: Holding,
    /// It has failed the item.
    pub(crate) failed: bool,
    /// The item's change is refused there, or no budget would ever have a place for it.
    pub(crate) refused: bool,
    /// The kernel that is yet to boot there.
    pub(crate) boots: Option<&'a KernelChoice>,
    pub(crate) timer: &'a Timer,
}

pub(crate) fn stand(question: &Question<'_>, case: &Case<'_>) -> Stand {
    let Question { resources, baseline, item, holding, failed, refused, boots, timer } = question;
    let is_about = |activity: &Activity| brings(activity, baseline, item);
    if case.history.unfinished().is_some_and(is_about) {
        return Stand::Open;
    }
    let silent = match case.hearing {
        Hearing::Heard | Hearing::Quiet { .. } => false,
        Hearing::Silent { .. } | Hearing::Absent { .. } | Hearing::Never => true,
    };
    // Silent before anything of this item was sent to it: a laptop that is closed says nothing about the item.
    if silent && !case.history.newest_first().any(|activity| was_sent(activity) && is_about(activity)) {
        return Stand::Skipped;
    }
    match holding {
        Holding::Has => match case.reported {
            Some(reported) if !silent && !is_unhealthy(resources, case) => {
                Stand::Done(reported.time.min(timer.now()))
            }
            Some(_) | None if *failed => Stand::Spent,
            Some(_) | None => Stand::Open,
        },
        Holding::Lacks if is_stalled(case, item, *boots, timer) => Stand::Spent,
        Holding::Lacks if *refused || is_blocked(case, timer) => Stand::Skipped,
        Holding::Lacks => Stand::Open,
        Holding::Blocked => Stand::Skipped,
        Holding::Unknown | Holding::MayCome => Stand::Open,
    }
}

/// Whether one of the baseline's steps brings the item.
pub(crate) fn brings(activity: &Activity, baseline: &BaselineRef, item: &Item) -> bool {
    let target = match &item.target {
        Target::Version(version) => Some(version),
        Target::Absent => None,
    };
    let steps = activity.spec.steps.iter().filter(|step| step.baselines.contains_key(baseline));
    steps.into_iter().any(|step| match &step.action {
        StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => transaction
            .requested
            .iter()
            .any(|change| change.package == item.package && change.to.as_ref() == target),
        StepAction::SelectKernel(choice) | StepAction::SetDefaultKernel(choice) => {
            let followed = choice.followed.as_ref();
            followed.is_some_and(|one| one.package == item.package && Some(&one.version) == target)
        }
        StepAction::HoldPackages { .. } | StepAction::RepairPackages | StepAction::Reboot { .. } => false,
    })
}

/// Whether the machine was given it and has not said that nothing was done.
fn was_sent(activity: &Activity) -> bool {
    match activity.phase {
        Phase::Pending | Phase::Refused | Phase::Canceled => false,
        Phase::Delivered
        | Phase::Running
        | Phase::Verifying
        | Phase::Succeeded
        | Phase::Failed
        | Phase::Interrupted => true,
        Phase::Expired => activity.delivered.is_some(),
    }
}

fn is_stalled(case: &Case<'_>, item: &Item, boots: Option<&KernelChoice>, timer: &Timer) -> bool {
    let version = match &item.target {
        Target::Version(version) => Some(version),
        Target::Absent => None,
    };
    let subject = boots.map_or(Subject::Item(&item.package, version), Subject::Kernel);
    let verdict = case.history.retry(case.machine, subject, timer);
    matches!(verdict, Some(Verdict::Blocked(Reason::Stalled { .. })))
}

/// Whether nothing starts on the machine until somebody does something there: it cannot change packages exactly, or it
/// refuses again and again (a full disk, say).
fn is_blocked(case: &Case<'_>, timer: &Timer) -> bool {
    let able =
        |capability| case.reported.is_some_and(|reported| reported.report.capabilities.contains(&capability));
    let refuses = || matches!(case.history.backoff(case.machine, timer), Some(Verdict::Blocked(_)));
    !able(Capability::Packages) || !able(Capability::ExactSimulation) || refuses()
}
