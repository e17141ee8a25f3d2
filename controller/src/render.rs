//! Decisions and totals as statuses: what fleet says in model values, in the resources' words.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use muster_crds::names::{condition, reason};
use muster_crds::{
    BaselineRolloutStatus, BaselineStatus, Decided, DecisionStatus, DisruptionBudgetStatus, EstimatesStatus,
    FleetPolicyStatus, MaintenanceWindowStatus, PackageReference,
};
use muster_fleet::Decision;
use muster_model::{
    ActivityName, BaselineSummary, BudgetSummary, Estimates, Item, ItemProgress, MachineName, PackageKey,
    Rollout, UnitName, Unknown, Unmanaged, Verdict, WindowSummary,
};

use crate::conditions::{Finding, fold, whole_seconds};

/// A machine's decision and conditions.
pub(crate) fn decision(
    machine: &MachineName,
    decision: &Decision,
    generation: i64,
    old: &[Condition],
    now: Timestamp,
) -> (DecisionStatus, Vec<Condition>) {
    let plan = &decision.plan;
    let decided = Decided {
        observed_generation: generation,
        current_activity: decision
            .current_activity
            .map(|number| ActivityName { machine: machine.clone(), number }),
        highest_activity_number: decision.highest_number,
        first_converged: decision.first_converged.map(whole_seconds),
        revision: decision.revision.clone(),
    };
    let mut status = DecisionStatus::from_model(plan, &decided);
    // Ours until the machine shows that they are gone (style 10), so possibly more than the plan has.
    status.holds = decision.holds.iter().map(package).collect();
    let conditions = fold(old, machine_findings(decision), generation, now);
    (status, conditions)
}

fn machine_findings(decision: &Decision) -> Vec<Finding> {
    let verdict = &decision.plan.verdict;
    let (name, message) = (verdict.reason(), verdict.lasting_message());
    let converged = match verdict {
        Verdict::Converged => Some(true),
        Verdict::Unmanaged(Unmanaged::NotSelected) => Some(true),
        Verdict::Unknown(_) | Verdict::Unmanaged(Unmanaged::NotAdmitted | Unmanaged::Revoked) => None,
        Verdict::Start(_) | Verdict::Active { .. } | Verdict::Waiting(_) | Verdict::Blocked(_) => Some(false),
    };
    let reporting = match verdict {
        Verdict::Unmanaged(Unmanaged::NotAdmitted) => {
            Finding::new(condition::REPORTING, Some(false), reason::NOT_ADMITTED, message.clone())
        }
        Verdict::Unmanaged(Unmanaged::Revoked) => {
            Finding::new(condition::REPORTING, Some(false), reason::REVOKED, message.clone())
        }
        Verdict::Unknown(Unknown::NeverReported) => {
            Finding::new(condition::REPORTING, Some(false), reason::NEVER_REPORTED, "no report yet")
        }
        _ if decision.reporting => Finding::new(
            condition::REPORTING,
            Some(true),
            reason::HEARD,
            "the machine is heard and its report is fresh",
        ),
        _ => Finding::new(condition::REPORTING, Some(false), reason::SILENT, "the machine is not heard"),
    };
    let unhealthy = (!decision.failed_units.is_empty()).then(|| {
        let units: Vec<&str> = decision.failed_units.iter().map(UnitName::as_str).collect();
        format!("failed since the last activity, or named by a baseline: {}", units.join(", "))
    });
    let healthy = match &unhealthy {
        None => Finding::new(
            condition::HEALTHY,
            Some(true),
            reason::UNITS_ACTIVE,
            "no unit has failed that a baseline names, or since the last activity",
        ),
        Some(units) => Finding::new(condition::HEALTHY, Some(false), reason::UNITS_FAILED, units.clone()),
    };
    let ready = match unhealthy {
        Some(units) if converged == Some(true) => {
            Finding::new(condition::READY, Some(false), reason::UNITS_FAILED, units)
        }
        _ => Finding::new(condition::READY, converged, name, message.clone()),
    };
    let mut findings =
        vec![reporting, healthy, Finding::new(condition::CONVERGED, converged, name, message.clone()), ready];
    match verdict {
        Verdict::Start(_) | Verdict::Active { .. } | Verdict::Waiting(_) => {
            findings.push(Finding::new(condition::RECONCILING, Some(true), name, message));
        }
        Verdict::Blocked(_) => findings.push(Finding::new(condition::STALLED, Some(true), name, message)),
        Verdict::Converged | Verdict::Unmanaged(_) | Verdict::Unknown(_) => {}
    }
    findings
}

fn package(key: &PackageKey) -> PackageReference {
    PackageReference { name: key.name.to_string(), architecture: key.architecture.to_string() }
}

/// A baseline's status.
pub(crate) fn baseline(
    summary: &BaselineSummary,
    generation: i64,
    old: &[Condition],
    now: Timestamp,
) -> BaselineStatus {
    let BaselineSummary {
        selected,
        converged,
        not_converged,
        unknown,
        absent,
        active,
        blocked,
        conflicts,
        unavailable: _,
        max_unavailable: _,
    } = summary;
    let mut findings = Vec::new();
    match conflicts.first_key_value() {
        None => findings.push(Finding::new(
            condition::ACCEPTED,
            Some(true),
            reason::VALID,
            "no conflict with another baseline",
        )),
        Some(((package, other), machines)) => {
            let message = format!(
                "{} package(s) conflict with other baselines of the same priority; the first: {package} with {other} on {machines} machine(s)",
                conflicts.len()
            );
            findings.push(Finding::new(condition::ACCEPTED, Some(false), reason::CONFLICTED, message));
        }
    }
    let text = format!(
        "{converged} of {selected} machines converged; {not_converged} not, {unknown} unknown, {absent} absent"
    );
    let (ready, why) = match (selected, not_converged + unknown) {
        (0, _) => (Some(true), reason::NO_MACHINES),
        (_, 0) => (Some(true), reason::CONVERGED),
        (_, _) if *not_converged > 0 => (Some(false), reason::NOT_CONVERGED),
        (_, _) => (None, reason::UNKNOWN),
    };
    findings.push(Finding::new(condition::READY, ready, why, text.clone()));
    if *blocked > 0 && *active == 0 && blocked == not_converged {
        findings.push(Finding::new(
            condition::STALLED,
            Some(true),
            reason::NOT_CONVERGED,
            format!("{blocked} machines are blocked"),
        ));
    } else if *not_converged > 0 {
        findings.push(Finding::new(condition::RECONCILING, Some(true), reason::IN_PROGRESS, text));
    }
    BaselineStatus {
        conditions: fold(old, findings, generation, now),
        ..BaselineStatus::from_model(summary, generation)
    }
}

/// A window's status (rule W8).
pub(crate) fn window(
    summary: &WindowSummary,
    unreadable: Option<&str>,
    generation: i64,
    old: &[Condition],
    now: Timestamp,
) -> MaintenanceWindowStatus {
    let WindowSummary { open, next_open, next_close: _, machines, capped } = summary;
    let finding = match unreadable {
        Some(why) => Finding::new(condition::READY, Some(false), reason::UNREADABLE, why),
        None if !open && next_open.is_none() => Finding::new(
            condition::READY,
            Some(false),
            reason::NEVER_OPENS,
            "it never opens again: is the year or the day right?",
        ),
        None if *machines == 0 => {
            Finding::new(condition::READY, Some(true), reason::NO_MACHINES, "it selects no machine")
        }
        None if !capped.is_empty() => {
            let kinds: Vec<&str> = capped.iter().map(|cover| cover.as_str()).collect();
            Finding::new(
                condition::READY,
                Some(true),
                reason::SHORT,
                format!(
                    "steps of kind {} take longer than half of it, and are started as if they took half: make it longer",
                    kinds.join(" and ")
                ),
            )
        }
        None => Finding::new(
            condition::READY,
            Some(true),
            reason::VALID,
            format!("it selects {machines} machine(s)"),
        ),
    };
    let conditions = fold(old, vec![finding], generation, now);
    MaintenanceWindowStatus { conditions, ..MaintenanceWindowStatus::from_model(summary, generation) }
}

/// A budget's status.
pub(crate) fn budget(
    summary: &BudgetSummary,
    generation: i64,
    old: &[Condition],
    now: Timestamp,
) -> DisruptionBudgetStatus {
    let BudgetSummary { machines, max_unavailable, unavailable, in_flight: _ } = summary;
    let text = format!("{unavailable} of {machines} machines unavailable, {max_unavailable} may be");
    let why = match () {
        () if *machines == 0 => reason::NO_MACHINES,
        () if *max_unavailable == 0 => reason::ALLOWS_NONE,
        () if unavailable >= max_unavailable => reason::EXHAUSTED,
        () => reason::AVAILABLE,
    };
    let conditions = fold(old, vec![Finding::new(condition::READY, Some(true), why, text)], generation, now);
    DisruptionBudgetStatus { conditions, ..DisruptionBudgetStatus::from_model(summary, generation) }
}

/// What was measured, in the FleetPolicy's status.
pub(crate) fn policy(
    medians: &Estimates,
    estimates: &Estimates,
    generation: i64,
    old: &[Condition],
    now: Timestamp,
) -> FleetPolicyStatus {
    let finding = Finding::new(condition::READY, Some(true), reason::VALID, "it can be read");
    FleetPolicyStatus {
        observed_generation: Some(generation),
        estimates: Some(EstimatesStatus::from_model(estimates)),
        medians: Some(EstimatesStatus::from_model(medians)),
        conditions: fold(old, vec![finding], generation, now),
    }
}

/// A rollout's status.
pub(crate) fn rollout(
    rollout: &Rollout,
    generation: i64,
    old: &[Condition],
    now: Timestamp,
) -> BaselineRolloutStatus {
    let done = |progress: &muster_model::ItemProgress| progress.done >= progress.wanted;
    let barred: BTreeMap<_, _> =
        rollout.items.iter().filter(|(_, progress)| progress.barred.is_some()).collect();
    let total = rollout.items.len();
    let finished = rollout.items.values().filter(|progress| done(progress)).count();
    let open = || rollout.items.iter().filter(|(_, progress)| !done(progress));
    let paused = open().find(|(_, progress)| progress.paused.is_some());
    let finding = match (barred.first_key_value(), paused) {
        (Some((item, progress)), _) => Finding::new(
            condition::READY,
            Some(false),
            reason::BARRED,
            format!(
                "{} is barred: {} machine(s) failed it; fix it with a new target, or `muster resume`",
                item.package, progress.failed
            ),
        ),
        (None, Some((item, _))) => Finding::new(
            condition::READY,
            Some(false),
            reason::NO_EVIDENCE,
            format!(
                "{} is paused: a wave can bring no evidence of it; see that it can, or `muster resume`",
                item.package
            ),
        ),
        (None, None) if finished == total => {
            Finding::new(condition::READY, Some(true), reason::CONVERGED, format!("{total} item(s) done"))
        }
        (None, None) => Finding::new(
            condition::READY,
            Some(false),
            reason::IN_PROGRESS,
            match open().find_map(|(item, progress)| in_wave(item, progress)) {
                Some(wave) => format!("{finished} of {total} items done; {wave}"),
                None => format!("{finished} of {total} items done"),
            },
        ),
    };
    BaselineRolloutStatus {
        conditions: fold(old, vec![finding], generation, now),
        ..BaselineRolloutStatus::from_model(rollout, generation)
    }
}

/// Where an item is on its way, if a wave holds it.
fn in_wave(item: &Item, progress: &ItemProgress) -> Option<String> {
    let (name, wave) = progress.waves.iter().find(|(_, wave)| wave.passed.is_none() && wave.wanted > 0)?;
    Some(format!("{} is in wave {name}: {} of {} machine(s) have it", item.package, wave.done, wave.wanted))
}
