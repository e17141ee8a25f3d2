//! What verdicts say to people and scripts: name, rule, reason, message, when it clears, and what stands in the way.
//!
//! Reasons are a closed set of CamelCase words, fit for conditions and metrics; numbers and names are in the message
//! alone. What machines wait for is in `waiting`, what only somebody clears in `reason`. Deliberately not here: which
//! verdict it is (the planner's).

mod reason;
mod waiting;

use std::collections::BTreeSet;
use std::fmt::Display;

use smol_str::{SmolStr, ToSmolStr};

use crate::{
    BaselineRef, Blocker, Instant, Reason, RequirementVerdict, StepAction, Unknown, Unmanaged, Verdict,
};

/// The longest message, in bytes: it is in a status of 8 KiB with 20 requirements, and an event's note holds 1 kB.
pub const MAX_MESSAGE_BYTES: usize = 512;

/// How many names a message lists; the rest is counted.
const NAMES_SHOWN: usize = 5;

impl RequirementVerdict {
    /// The verdict's name; see [`Verdict::name`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.verdict.name()
    }

    /// The rule it comes from; see [`Verdict::rule`].
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.verdict.rule()
    }

    /// Why, as one word; see [`Verdict::reason`].
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.verdict.reason()
    }

    /// Why, for people; see [`Verdict::message`].
    #[must_use]
    pub fn message(&self) -> String {
        self.verdict.message()
    }

    /// When it clears by itself; see [`Verdict::until`].
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.verdict.until()
    }

    /// What stands in the way; the baseline itself where it only observes.
    #[must_use]
    pub fn blocker(&self) -> Option<Blocker> {
        match &self.verdict {
            Verdict::Blocked(
                Reason::ObserveOnly
                | Reason::Unsatisfiable { .. }
                | Reason::DowngradeNotAllowed { .. }
                | Reason::RemovalNotAllowed { .. },
            ) => Some(of_baseline(&self.baseline)),
            verdict => verdict.blocker(),
        }
    }

    /// By when or by which event it clears; see [`Verdict::clears`].
    #[must_use]
    pub fn clears(&self) -> String {
        self.verdict.clears()
    }
}

impl Verdict {
    /// `Converged`, `Start`, `Active`, `Waiting`, `Blocked`, `Unmanaged` or `Unknown`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Converged => "Converged",
            Self::Start(_) => "Start",
            Self::Active { .. } => "Active",
            Self::Waiting(_) => "Waiting",
            Self::Blocked(_) => "Blocked",
            Self::Unmanaged(_) => "Unmanaged",
            Self::Unknown(_) => "Unknown",
        }
    }

    /// The id of the rule of design §5 that it comes from, such as `W1`.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Converged => "V2",
            Self::Start(_) => "B5",
            Self::Active { .. } => "A2",
            Self::Waiting(on) => on.rule(),
            Self::Blocked(reason) => reason.rule(),
            Self::Unmanaged(Unmanaged::NotAdmitted | Unmanaged::Revoked) => "M5",
            Self::Unmanaged(Unmanaged::NotSelected) => "S3",
            Self::Unknown(Unknown::NeverReported | Unknown::Stale { .. }) => "M1",
            Self::Unknown(Unknown::Absent { .. }) => "B4",
        }
    }

    /// Why, as one CamelCase word from a closed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Converged => "AsWanted",
            Self::Start(_) => "Starting",
            Self::Active { phase, .. } => phase.as_str(),
            Self::Waiting(on) => on.reason(),
            Self::Blocked(reason) => reason.reason(),
            Self::Unmanaged(Unmanaged::NotAdmitted) => "NotAdmitted",
            Self::Unmanaged(Unmanaged::Revoked) => "Revoked",
            Self::Unmanaged(Unmanaged::NotSelected) => "NotSelected",
            Self::Unknown(Unknown::NeverReported) => "NeverReported",
            Self::Unknown(Unknown::Stale { .. }) => "Stale",
            Self::Unknown(Unknown::Absent { .. }) => "Absent",
        }
    }

    /// Why, with the numbers, for people: at most [`MAX_MESSAGE_BYTES`].
    #[must_use]
    pub fn message(&self) -> String {
        cut(match self {
            Self::Converged => "everything is as wanted".to_owned(),
            Self::Start(activity) => {
                let steps = activity
                    .steps
                    .iter()
                    .map(|step| of_step(&step.action))
                    .collect::<Vec<_>>()
                    .join(", then ");
                let passed: BTreeSet<String> =
                    activity.passed.iter().map(|one| format!("{} by {}", one.window, one.by)).collect();
                let passed = match passed.is_empty() {
                    true => String::new(),
                    false => format!(", past {}", passed.into_iter().collect::<Vec<_>>().join(", ")),
                };
                format!("starts {}: {steps}{passed}", activity.name)
            }
            Self::Active { activity, phase } => format!("{activity} is {}", phase.as_str()),
            Self::Waiting(on) => on.message(),
            Self::Blocked(reason) => reason.message(),
            Self::Unmanaged(Unmanaged::NotAdmitted) => "the machine is not admitted yet".to_owned(),
            Self::Unmanaged(Unmanaged::Revoked) => "the machine is revoked".to_owned(),
            Self::Unmanaged(Unmanaged::NotSelected) => "no baseline selects the machine".to_owned(),
            Self::Unknown(Unknown::NeverReported) => "the machine never reported".to_owned(),
            Self::Unknown(Unknown::Stale { last_heard }) => {
                format!("the last word is too old to go by: {last_heard}")
            }
            Self::Unknown(Unknown::Absent { last_heard }) => {
                format!("the machine is absent; last heard {last_heard}")
            }
        })
    }

    /// When it clears by itself; absent where it waits for an event or a person.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        match self {
            Self::Waiting(on) => on.until(),
            Self::Blocked(Reason::RefusedRepeatedly { until, .. }) => Some(*until),
            Self::Start(_)
            | Self::Converged
            | Self::Active { .. }
            | Self::Blocked(_)
            | Self::Unmanaged(_)
            | Self::Unknown(_) => None,
        }
    }

    /// What stands in the way, if that is an object.
    #[must_use]
    pub fn blocker(&self) -> Option<Blocker> {
        match self {
            Self::Active { activity, .. } => Some(of("Activity", activity)),
            Self::Waiting(on) => on.blocker(),
            Self::Blocked(reason) => reason.blocker(),
            Self::Converged | Self::Start(_) | Self::Unmanaged(_) | Self::Unknown(_) => None,
        }
    }

    /// By when, or by which event, it clears.
    #[must_use]
    pub fn clears(&self) -> String {
        if let Some(until) = self.until() {
            return format!("at {until}");
        }
        match self {
            Self::Converged => "nothing to clear".to_owned(),
            Self::Start(_) => "now".to_owned(),
            Self::Active { activity, .. } => format!("when {activity} ends"),
            Self::Waiting(on) => on.event(),
            Self::Blocked(reason) => reason.remedy(),
            Self::Unmanaged(Unmanaged::NotAdmitted) => {
                "when the machine is admitted (spec.admitted)".to_owned()
            }
            Self::Unmanaged(Unmanaged::Revoked) => "never, unless it enrols anew".to_owned(),
            Self::Unmanaged(Unmanaged::NotSelected) => "when a baseline selects the machine".to_owned(),
            Self::Unknown(_) => "when the machine reports".to_owned(),
        }
    }
}

fn of(kind: &'static str, name: &impl Display) -> Blocker {
    Blocker { kind, name: name.to_smolstr() }
}

fn of_baseline(baseline: &BaselineRef) -> Blocker {
    of(baseline.kind.as_str(), &baseline.name)
}

fn of_rollout(baseline: &BaselineRef) -> Blocker {
    let name = smol_str::format_smolstr!("{}{}", baseline.kind.rollout_prefix(), baseline.name);
    Blocker { kind: "BaselineRollout", name }
}

/// A zone in words: machines without the label have none.
pub(crate) fn zone_named(zone: &str) -> String {
    if zone.is_empty() { "the part without a zone".to_owned() } else { format!("zone {zone}") }
}

fn of_step(action: &StepAction) -> String {
    match action {
        StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
            let shown: BTreeSet<SmolStr> = transaction
                .requested
                .iter()
                .map(|change| match &change.to {
                    Some(version) => smol_str::format_smolstr!("{}={version}", change.package),
                    None => smol_str::format_smolstr!("{} removed", change.package),
                })
                .collect();
            match transaction.dependencies.len() {
                0 => names(&shown),
                more => format!("{} with {more} more", names(&shown)),
            }
        }
        StepAction::HoldPackages { hold, unhold } => match (hold.is_empty(), unhold.is_empty()) {
            (_, true) => format!("hold {}", names(hold)),
            (true, false) => format!("let go of {}", names(unhold)),
            (false, false) => format!("hold {}, let go of {}", names(hold), names(unhold)),
        },
        StepAction::RepairPackages => "repair dpkg".to_owned(),
        StepAction::SelectKernel(choice) => format!("boot {} once", choice.release),
        StepAction::Reboot { kernel: Some(kernel), .. } => format!("reboot into {kernel}"),
        StepAction::Reboot { kernel: None, .. } => "reboot".to_owned(),
        StepAction::SetDefaultKernel(choice) => format!("boot {} by default", choice.release),
    }
}

fn names<T: Display>(all: &BTreeSet<T>) -> String {
    let shown = all.iter().take(NAMES_SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// At most [`MAX_MESSAGE_BYTES`], cut between characters.
fn cut(mut text: String) -> String {
    const MARK: &str = "…";
    if text.len() > MAX_MESSAGE_BYTES {
        let end = text.floor_char_boundary(MAX_MESSAGE_BYTES - MARK.len());
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BaselineKind, ObjectName, PackageKey, WaitingOn};
    use expect_test::expect;

    fn show(verdict: &Verdict) -> String {
        let blocker = verdict.blocker().map_or("-".to_owned(), |blocker| blocker.to_string());
        format!(
            "= {} {} {} | {} | clears {} | {blocker}\n",
            verdict.name(),
            verdict.rule(),
            verdict.reason(),
            verdict.message(),
            verdict.clears()
        )
    }

    #[test]
    fn every_verdict_says_why_and_when_it_clears() {
        let key = PackageKey { name: "openssl".parse().unwrap(), architecture: "amd64".parse().unwrap() };
        let baseline =
            BaselineRef { kind: BaselineKind::PackageBaseline, name: ObjectName::parse("fix").unwrap() };
        let at: Instant = "2026-11-23T02:00:00Z".parse().unwrap();
        let window = ObjectName::parse("night").unwrap();
        let wave = ObjectName::parse("canary").unwrap();
        let verdicts = [
            Verdict::Converged,
            Verdict::Waiting(WaitingOn::WindowClosed { window: Some(window.clone()), until: Some(at) }),
            Verdict::Waiting(WaitingOn::Frozen { window, until: None }),
            Verdict::Waiting(WaitingOn::MaxUnavailable {
                baseline: baseline.clone(),
                unavailable: 1,
                max_unavailable: 1,
            }),
            Verdict::Blocked(Reason::Unsatisfiable {
                package: key.clone(),
                wanted: ">= 4".to_owned(),
                on_offer: vec!["3.0".parse().unwrap()],
            }),
            Verdict::Blocked(Reason::Barred { baseline: baseline.clone(), failed: 1, max_failures: 0 }),
            Verdict::Blocked(Reason::NoEvidence {
                baseline: baseline.clone(),
                wave: wave.clone(),
                machines: 0,
            }),
            Verdict::Waiting(WaitingOn::Wave {
                baseline: baseline.clone(),
                wave: wave.clone(),
                done: 2,
                wanted: 5,
            }),
            Verdict::Waiting(WaitingOn::Soaking {
                baseline: baseline.clone(),
                wave: wave.clone(),
                until: at,
            }),
            Verdict::Waiting(WaitingOn::Zone {
                baseline: baseline.clone(),
                zone: "".into(),
                done: 0,
                wanted: 1,
                until: None,
            }),
            Verdict::Waiting(WaitingOn::Approval { baseline: baseline.clone(), wave }),
            Verdict::Waiting(WaitingOn::PausedByPerson {
                baseline,
                approval: ObjectName::parse("stop").unwrap(),
                by: "alice".into(),
            }),
            Verdict::Blocked(Reason::SelectorUnreadable {
                resource: "MaintenanceWindow/x".into(),
                why: "no".to_owned(),
            }),
            Verdict::Unmanaged(Unmanaged::NotSelected),
            Verdict::Unknown(Unknown::Absent { last_heard: at }),
        ];
        let out: String = verdicts.iter().map(show).collect();
        expect![[r#"
            = Converged V2 AsWanted | everything is as wanted | clears nothing to clear | -
            = Waiting W1 WindowClosed | window night opens at 2026-11-23T02:00:00Z | clears at 2026-11-23T02:00:00Z | MaintenanceWindow/night
            = Waiting W1 Frozen | freeze night is on | clears never, as the windows are; change them | MaintenanceWindow/night
            = Waiting B2 MaxUnavailable | PackageBaseline/fix: 1 of at most 1 unavailable | clears when another machine is available again | PackageBaseline/fix
            = Blocked V3 Unsatisfiable | nothing on offer for openssl:amd64 is >= 4; on offer: 3.0 | clears when a version that satisfies it is on offer, or the requirement changes | -
            = Blocked O3 Barred | 1 machine(s) failed it, at most 0 may in PackageBaseline/fix | clears when the target changes, or with `muster resume fix` | PackageBaseline/fix
            = Blocked O2 PausedNoEvidence | paused: wave canary of PackageBaseline/fix picks no machine | clears when wave canary picks a machine, or with `muster resume fix` | BaselineRollout/pb-fix
            = Waiting O2 Wave | wave canary of PackageBaseline/fix is first: 2 of 5 machine(s) have it | clears when wave canary has passed it | BaselineRollout/pb-fix
            = Waiting O2 Soaking | wave canary of PackageBaseline/fix has it, and is watched for a while | clears at 2026-11-23T02:00:00Z | BaselineRollout/pb-fix
            = Waiting O6 Zone | the part without a zone of PackageBaseline/fix is first: 0 of 1 machine(s) have it | clears when the part without a zone has passed it | BaselineRollout/pb-fix
            = Waiting O7 Approval | wave canary of PackageBaseline/fix asks for somebody's approval of it | clears with `muster approve fix` | BaselineRollout/pb-fix
            = Waiting O3 PausedByPerson | alice paused it with stop | clears with `muster resume fix` | RolloutApproval/stop
            = Blocked W7 SelectorUnreadable | nothing starts: the selector of MaintenanceWindow/x cannot be read: no | clears when MaintenanceWindow/x is mended | MaintenanceWindow/x
            = Unmanaged S3 NotSelected | no baseline selects the machine | clears when a baseline selects the machine | -
            = Unknown B4 Absent | the machine is absent; last heard 2026-11-23T02:00:00Z | clears when the machine reports | -
        "#]]
        .assert_eq(&out);
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        let verdict = Verdict::Blocked(Reason::SimulationRefused { message: "ä".repeat(2000) });
        assert!(verdict.message().len() <= MAX_MESSAGE_BYTES, "{}", verdict.message().len());
        assert!(verdict.message().ends_with('…'));
    }
}
