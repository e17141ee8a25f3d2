//! A6, A2: what failed is tried again after 1, 5 and 25 minutes, and then not; refusals in a row wait longer and longer.

use jiff::SignedDuration;
use muster_model::{Instant, OutcomeReason, Phase, StepAction};

use super::windows::goes_with_a_kernel;
use crate::event::Step;
use crate::start::Start;
use crate::violation::{About, Findings};
use crate::world::{ActivityState, World};

/// After the first, second, third failure; there is none after a fourth (rule A6).
const RETRIES: [i64; 3] = [1, 5, 25];

/// After so many refusals in a row; then an hour (rule A2).
const REFUSED: [i64; 3] = [1, 5, 25];
const REFUSED_LATER: i64 = 60;

pub(crate) fn check(world: &World, start: &Start<'_>, findings: &mut Findings<'_>) {
    let Some(spec) = start.machine.and_then(|machine| machine.spec.now()) else { return };
    let history: Vec<&ActivityState> = world
        .history(&start.spec.name.machine)
        .rev()
        .filter(|one| one.spec.machine_uid == spec.uid && one.spec.name != start.spec.name)
        .filter(|one| one.spec.name.number > spec.retried_through)
        .collect();
    refusals(start, &history, findings);
    for step in &start.spec.steps {
        for subject in Subject::of(step) {
            failures(start, &history, subject, findings);
        }
    }
}

/// What an attempt is at.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Item(&'a muster_model::Change),
    Repair,
    /// Into which kernel, with which command line: another is another attempt.
    Reboot(&'a StepAction),
}

impl<'a> Subject<'a> {
    fn of(step: &'a Step) -> Vec<Self> {
        match &step.action {
            StepAction::InstallPackages(_) | StepAction::RemovePackages(_) => {
                let asked = step.requested().filter(|change| !goes_with_a_kernel(step, change));
                asked.map(Subject::Item).collect()
            }
            StepAction::HoldPackages { .. }
            | StepAction::SelectKernel(_)
            | StepAction::SetDefaultKernel(_) => Vec::new(),
            StepAction::RepairPackages => vec![Subject::Repair],
            StepAction::Reboot { .. } => vec![Subject::Reboot(&step.action)],
        }
    }

    fn is_of(self, step: &Step) -> bool {
        match self {
            Subject::Item(change) => step.is_about(&change.package, change.to.as_ref()),
            Subject::Repair => matches!(step.action, StepAction::RepairPackages),
            Subject::Reboot(reboot) => step.action == *reboot,
        }
    }

    fn name(self) -> String {
        match self {
            Subject::Item(change) => match &change.to {
                Some(to) => format!("{} {to}", change.package),
                None => format!("{} away", change.package),
            },
            Subject::Repair => "the repair".to_owned(),
            Subject::Reboot(_) => "the reboot".to_owned(),
        }
    }
}

fn failures(
    start: &Start<'_>,
    history: &[&ActivityState],
    subject: Subject<'_>,
    findings: &mut Findings<'_>,
) {
    let about = About::Activity(&start.spec.name);
    let mut attempts: Vec<&ActivityState> = Vec::new();
    for activity in history {
        if activity.reached().iter().any(|step| subject.is_of(step)) {
            break;
        }
        if activity.charged().iter().any(|step| subject.is_of(step)) {
            attempts.push(activity);
        }
    }
    let Some(last) = attempts.first() else { return };
    let what = subject.name();
    let never = matches!(
        last.outcome,
        Some(OutcomeReason::BootFallback | OutcomeReason::RebootLoop | OutcomeReason::RebootNotObserved)
    );
    if never {
        let outcome = last.outcome.map_or("", OutcomeReason::as_str);
        let message =
            format!("{what} ended as {outcome} in {}: there is no retry after that", last.spec.name);
        findings.broken("A6", "RetriedAfterBoot", about, [], message);
        return;
    }
    match RETRIES.get(attempts.len() - 1) {
        None => {
            let message = format!("{what} failed {} times: three retries are allowed", attempts.len());
            findings.broken("A6", "TooManyRetries", about, [], message);
        }
        Some(minutes) => {
            let due = ended(last) + SignedDuration::from_mins(*minutes);
            if start.at < due {
                let message = format!(
                    "{what} failed {} times, last in {}: the next try is due at {due}",
                    attempts.len(),
                    last.spec.name
                );
                findings.broken("A6", "RetriedTooEarly", about, [], message);
            }
        }
    }
}

fn refusals(start: &Start<'_>, history: &[&ActivityState], findings: &mut Findings<'_>) {
    let row: Vec<&&ActivityState> = history
        .iter()
        .filter(|one| one.phase.is_finished() && one.phase != Phase::Canceled)
        .take_while(|one| matches!(one.phase, Phase::Refused | Phase::Expired))
        .collect();
    let Some(last) = row.first() else { return };
    let minutes = REFUSED.get(row.len() - 1).copied().unwrap_or(REFUSED_LATER);
    let due = ended(last) + SignedDuration::from_mins(minutes);
    if start.at < due {
        let message = format!(
            "{} ended in a row without a change, last {} as {}: the next is due at {due}",
            row.len(),
            last.spec.name,
            last.phase.as_str()
        );
        findings.broken("A2", "BackoffIgnored", About::Activity(&start.spec.name), [], message);
    }
}

fn ended(activity: &ActivityState) -> Instant {
    activity.finished.unwrap_or(activity.created)
}
