//! When a verdict clears, and what somebody could do about it, by its reason.
//!
//! A decision carries its reason and an instant; the event that it waits for otherwise follows from the reason, so it
//! is said here and stored nowhere. The test goes through all reasons of the model.

/// What a decision, or one requirement's part of it, says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) machine: &'a str,
    pub(super) verdict: &'a str,
    pub(super) reason: &'a str,
    pub(super) until: Option<jiff::Timestamp>,
    /// Name of the object in the way.
    pub(super) blocker: Option<&'a str>,
    /// The unfinished activity.
    pub(super) activity: Option<&'a str>,
    /// Name of the baseline whose rollout is in the way, where that is known.
    pub(super) baseline: Option<&'a str>,
}

/// By when, or by which event, it clears.
pub(super) fn clears(said: Said<'_>) -> String {
    if let Some(until) = said.until {
        return format!("at {until}");
    }
    let event = match said.verdict {
        "Converged" => "nothing to clear",
        "Start" => "now: its activity is about to be made",
        "Active" => return format!("when {} ends", said.activity.or(said.blocker).unwrap_or("the activity")),
        "Unknown" => "when the machine reports",
        _ => {
            let word = by_rollout(said).or_else(|| by_reason(said).map(str::to_owned));
            return word.unwrap_or_else(|| "when the controller decides anew".to_owned());
        }
    };
    event.to_owned()
}

/// The event, where it is a word about one baseline's rollout.
fn by_rollout(said: Said<'_>) -> Option<String> {
    let baseline = said.baseline?;
    Some(match said.reason {
        "Wave" => format!("when the earlier wave of {baseline} has passed it"),
        "Zone" => format!("when the earlier zone of {baseline} has passed it"),
        "Approval" => format!("with `muster approve {baseline}`"),
        "PausedByPerson" => format!("with `muster resume {baseline}`"),
        "PausedNoEvidence" => {
            format!("when a machine of the wave has it, or with `muster resume {baseline}`")
        }
        "Barred" => format!("when the target changes, or with `muster resume {baseline}`"),
        _ => return None,
    })
}

/// The event, for verdicts that wait or are blocked.
fn by_reason(said: Said<'_>) -> Option<&'static str> {
    Some(match said.reason {
        "Inventory" | "Report" => "with the machine's next report",
        "Proposal" => "when the machine has simulated the change",
        "WindowClosed" | "Frozen" | "WindowTooShort" | "CutoffReached" => {
            "never, as the windows are: change them"
        }
        "WindowUnreadable" => "when the window is mended",
        "Budget" | "MaxUnavailable" => "when another machine is available again",
        "Silent" => "when the machine is heard again",
        "OtherActivity" => "when that activity ends",
        "ManualReboot" => "when somebody reboots the machine",
        "Applying" => "when the revision is applied",
        "Suspended" => "when the suspend is taken back",
        "ClockOff" => "when the controller's clock is right",
        "Retry" | "Backoff" | "BootLimit" | "RefusedRepeatedly" => "when it is tried again",
        "Unsatisfiable" => "when a version that satisfies it is on offer, or the requirement changes",
        "DowngradeNotAllowed" => "when the baseline says `downgrades: Allow`, or asks for something else",
        "RemovalNotAllowed" => "when the baselines say `removals: Allow`, or something else is on offer",
        "Held" => "when somebody lifts the hold",
        "Conflicted" => "when one of the baselines changes, or gets a higher priority",
        "Contradicts" => "when one of the requirements changes, or something else is on offer",
        "SimulationRefused" => "when the machine's packages, or what is on offer, change",
        "NotCapable" => "when the agent there is given the ability",
        "Stalled" => "with `muster retry`, or when the target changes",
        "Soaking" => "when the wave has been watched for long enough",
        "Wave" => "when the earlier wave has passed it",
        "Zone" => "when the earlier zone has passed it",
        "Approval" => "with `muster approve`",
        "PausedByPerson" => "with `muster resume`",
        "PausedNoEvidence" => "when a machine of the wave has it, or with `muster resume`",
        "Barred" => "when the target changes, or with `muster resume`",
        "SelectorUnreadable" => "when the selector is mended",
        "RebootIneffective" => "when somebody finds out why the machine wants a reboot",
        "NoKernel" => "when the baseline follows the package that brings the kernel",
        "KernelInUse" => "when the machine runs, and boots by default, another kernel",
        "ObserveOnly" => "when the baseline says `mode: Enforce`, or somebody changes the machine",
        "BudgetIsZero" => "when the number is raised",
        "NotAdmitted" => "when the machine is admitted",
        "Revoked" => "never, unless the machine enrols anew",
        "NotSelected" => "when a baseline selects the machine",
        _ => return None,
    })
}

/// The command that would help, where there is one.
pub(super) fn remedy(said: Said<'_>) -> Option<String> {
    let machine = said.machine;
    Some(match said.reason {
        "Stalled" | "RefusedRepeatedly" | "RebootIneffective" => {
            format!("muster retry {machine}      # when its cause is gone")
        }
        "Budget" | "MaxUnavailable" => {
            "kubectl get fm                 # which machines are silent, failed or in flight\n\
             muster resolve FAILED-MACHINE  # if one is dealt with"
                .to_owned()
        }
        "NotAdmitted" => {
            format!("kubectl patch fm {machine} --type merge -p '{{\"spec\":{{\"admitted\":true}}}}'")
        }
        "Suspended" if said.blocker == Some("default") => {
            "kubectl patch fp default --type merge -p '{\"spec\":{\"suspend\":false}}'   # or in Git"
                .to_owned()
        }
        "Suspended" => {
            format!("kubectl patch fm {machine} --type merge -p '{{\"spec\":{{\"suspend\":false}}}}'")
        }
        "Approval" => format!("muster approve {}      # all that waits for it", said.baseline?),
        "PausedByPerson" | "PausedNoEvidence" | "Barred" => {
            format!("muster resume {}       # when its cause is gone", said.baseline?)
        }
        "Held" => "apt-mark unhold PACKAGE         # on the machine".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use muster_model::{Reason, Suspender, Unmanaged, Verdict, WaitingOn};

    use super::*;

    #[test]
    fn every_way_of_not_being_converged_says_when_it_clears() {
        let window = || muster_model::ObjectName::parse("night").unwrap();
        let baseline = || muster_model::BaselineRef {
            kind: muster_model::BaselineKind::PackageBaseline,
            name: window(),
        };
        let activity = || muster_model::ActivityName {
            machine: muster_model::MachineName::parse("a").unwrap(),
            number: 1,
        };
        let package = || muster_model::PackageKey {
            name: muster_model::PackageName::parse("openssl").unwrap(),
            architecture: muster_model::Architecture::parse("amd64").unwrap(),
        };
        let verdicts = [
            Verdict::Waiting(WaitingOn::Proposal),
            Verdict::Waiting(WaitingOn::Inventory { packages: [package()].into() }),
            Verdict::Waiting(WaitingOn::WindowClosed { window: None, until: None }),
            Verdict::Waiting(WaitingOn::Frozen { window: window(), until: None }),
            Verdict::Waiting(WaitingOn::CutoffReached { window: window(), until: None }),
            Verdict::Waiting(WaitingOn::WindowUnreadable { window: window() }),
            Verdict::Waiting(WaitingOn::Budget { budget: window(), unavailable: 1, max_unavailable: 1 }),
            Verdict::Waiting(WaitingOn::Silent { last_heard: jiff::Timestamp::UNIX_EPOCH }),
            Verdict::Waiting(WaitingOn::ManualReboot { kernel: "6.1.0-50".into() }),
            Verdict::Blocked(Reason::NoKernel { package: package() }),
            Verdict::Blocked(Reason::KernelInUse { package: package() }),
            Verdict::Waiting(WaitingOn::Applying),
            Verdict::Waiting(WaitingOn::Report),
            Verdict::Waiting(WaitingOn::Suspended { by: Suspender::FleetPolicy }),
            Verdict::Waiting(WaitingOn::Suspended { by: Suspender::Clock }),
            Verdict::Blocked(Reason::Unsatisfiable {
                package: package(),
                wanted: "x".into(),
                on_offer: vec![],
            }),
            Verdict::Blocked(Reason::RemovalNotAllowed { packages: [package()].into() }),
            Verdict::Blocked(Reason::Held { package: package() }),
            Verdict::Blocked(Reason::Conflicted { package: package(), baselines: [].into() }),
            Verdict::Blocked(Reason::SimulationRefused { message: "x".into() }),
            Verdict::Blocked(Reason::NotCapable { capability: muster_model::Capability::Journal }),
            Verdict::Blocked(Reason::Stalled { attempts: 3, last: muster_model::OutcomeReason::TimedOut }),
            Verdict::Blocked(Reason::SelectorUnreadable { resource: "a/b".into(), why: "x".into() }),
            Verdict::Blocked(Reason::RebootIneffective),
            Verdict::Blocked(Reason::ObserveOnly),
            Verdict::Blocked(Reason::BudgetIsZero { budget: None, baseline: None }),
            Verdict::Waiting(WaitingOn::WindowTooShort {
                window: None,
                closes: jiff::Timestamp::UNIX_EPOCH,
                needed_seconds: 2,
                until: None,
            }),
            Verdict::Waiting(WaitingOn::MaxUnavailable {
                baseline: baseline(),
                unavailable: 1,
                max_unavailable: 1,
            }),
            Verdict::Waiting(WaitingOn::Retry { attempts: 1, until: jiff::Timestamp::UNIX_EPOCH }),
            Verdict::Waiting(WaitingOn::Backoff {
                reason: muster_model::OutcomeReason::Locked,
                count: 1,
                until: jiff::Timestamp::UNIX_EPOCH,
            }),
            Verdict::Waiting(WaitingOn::Activity { activity: activity() }),
            Verdict::Waiting(WaitingOn::BootLimit { boots: 6, until: jiff::Timestamp::UNIX_EPOCH }),
            Verdict::Waiting(WaitingOn::Suspended { by: Suspender::FleetMachine }),
            Verdict::Waiting(WaitingOn::Wave { baseline: baseline(), wave: window(), done: 0, wanted: 1 }),
            Verdict::Waiting(WaitingOn::Soaking {
                baseline: baseline(),
                wave: window(),
                until: jiff::Timestamp::UNIX_EPOCH,
            }),
            Verdict::Waiting(WaitingOn::Zone {
                baseline: baseline(),
                zone: "a".into(),
                done: 0,
                wanted: 1,
                until: None,
            }),
            Verdict::Waiting(WaitingOn::Approval { baseline: baseline(), wave: window() }),
            Verdict::Waiting(WaitingOn::PausedByPerson {
                baseline: baseline(),
                approval: window(),
                by: "alice".into(),
            }),
            Verdict::Blocked(Reason::DowngradeNotAllowed {
                package: package(),
                installed: "2".parse().unwrap(),
                target: "1".parse().unwrap(),
            }),
            Verdict::Blocked(Reason::Contradicts { package: package(), baseline: baseline() }),
            Verdict::Blocked(Reason::RefusedRepeatedly {
                reason: muster_model::OutcomeReason::Locked,
                count: 3,
                until: jiff::Timestamp::UNIX_EPOCH,
            }),
            Verdict::Blocked(Reason::Barred { baseline: baseline(), failed: 1, max_failures: 0 }),
            Verdict::Blocked(Reason::NoEvidence { baseline: baseline(), wave: window(), machines: 0 }),
            Verdict::Unmanaged(Unmanaged::NotAdmitted),
            Verdict::Unmanaged(Unmanaged::Revoked),
            Verdict::Unmanaged(Unmanaged::NotSelected),
        ];
        for verdict in verdicts {
            let (name, reason) = (verdict.name(), verdict.reason());
            let said = Said { verdict: name, reason, ..plain() };
            assert!(by_reason(said).is_some(), "{name}({reason}) does not say when it clears");
        }
    }

    fn plain<'a>() -> Said<'a> {
        Said {
            machine: "a",
            verdict: "Waiting",
            reason: "",
            until: None,
            blocker: None,
            activity: None,
            baseline: None,
        }
    }

    #[test]
    fn a_word_about_a_rollout_names_its_baseline_and_the_command() {
        let of = |verdict, reason| Said { verdict, reason, baseline: Some("fix"), ..plain() };
        assert_eq!(clears(of("Waiting", "Wave")), "when the earlier wave of fix has passed it");
        assert_eq!(clears(of("Waiting", "Approval")), "with `muster approve fix`");
        assert_eq!(clears(of("Blocked", "Barred")), "when the target changes, or with `muster resume fix`");
        assert!(remedy(of("Waiting", "Approval")).is_some_and(|it| it.starts_with("muster approve fix ")));
        assert!(
            remedy(of("Waiting", "PausedByPerson")).is_some_and(|it| it.starts_with("muster resume fix "))
        );
        assert_eq!(remedy(Said { baseline: None, ..of("Waiting", "Approval") }), None);
    }

    #[test]
    fn an_instant_is_said_before_any_event() {
        let until = Some(jiff::Timestamp::UNIX_EPOCH);
        let said = Said { reason: "WindowClosed", until, ..plain() };
        assert_eq!(clears(said), "at 1970-01-01T00:00:00Z");
        assert_eq!(clears(Said { until: None, ..said }), "never, as the windows are: change them");
    }
}
