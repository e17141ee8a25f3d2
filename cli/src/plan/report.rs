//! The planning report: an answer for every machine, as `-o json` prints it (design §11).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use muster_model::{
    BaselineRef, Blocker, Change, CommandLine, MachineName, MachinePlan, PackageKey, Reason,
    RequirementVerdict, Step, StepAction, Verdict,
};
use muster_source::Problem;
use serde::Serialize;

use super::foresight::ForecastReport;
use super::held::HeldReport;
use super::outlook::{Missing, Outlook};
use super::places::Places;
use crate::foresee::Turn;

/// The report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// The revision that is planned.
    pub(crate) revision: String,
    /// The revision that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<String>,
    /// The instant.
    pub(crate) at: Timestamp,
    /// The fleet.
    pub(crate) namespace: String,
    /// Every machine, by name.
    pub(crate) machines: Vec<MachineReport>,
    /// Activities under way that the plan cancels, and why.
    pub(crate) cancels: Vec<CancelReport>,
    /// The numbers.
    pub(crate) totals: Totals,
    /// The fleet policy's limit, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<LimitReport>,
    /// What the source will hold the revision back for, until a person allows it (rule G4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<HeldReport>,
    /// What is wrong with the desired resources, alone or together.
    pub(crate) problems: Vec<Problem>,
    /// How many problems there are in all.
    pub(crate) problems_total: usize,
    /// When planning again could say something else though nothing else happens.
    pub(crate) next_time: Option<Timestamp>,
    /// What is to come after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forecast: Option<ForecastReport>,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MachineReport {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Compared with the base: what the change does to it; absent where it does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) change: Option<ChangeReport>,
    /// When its turn is, and when it is as wanted, or why not; absent where it is, or nothing can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forecast: Option<Turn>,
    #[serde(flatten)]
    pub(crate) answer: Answer,
}

/// The answer for a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    pub(crate) verdict: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) until_time: Option<Timestamp>,
    pub(crate) clears: String,
    pub(crate) blocker: Option<ObjectName>,
    /// What is not as wanted.
    pub(crate) requirements: Vec<RequirementReport>,
    /// What it does now or, while it waits, will do.
    pub(crate) steps: Vec<StepReport>,
    /// What it would do now, too, and does later: its window or its turn comes then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) later: Vec<StepReport>,
    /// `Simulation` or `Report`: what is missing to say exactly what it will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) needs: Option<&'static str>,
    /// Its packages may ask for a reboot afterwards, and a baseline grants it.
    pub(crate) may_reboot: bool,
}

/// What a change does to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangeReport {
    /// `Work`: it does something else. `Time`: it does the same, at another time or for another reason.
    pub(crate) of: ChangeKind,
    /// The answer without the change.
    pub(crate) before: Box<Answer>,
}

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum ChangeKind {
    /// What the machine does.
    Work,
    /// When it does it, or why not.
    Time,
}

/// An object's kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct ObjectName {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
}

/// One requirement that is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequirementReport {
    pub(crate) baseline: ObjectName,
    pub(crate) resource: String,
    pub(crate) verdict: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) installed: Option<String>,
    pub(crate) target: Option<String>,
    /// Where it is written, if that is in the planned revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u32>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepReport {
    #[serde(rename = "type")]
    pub(crate) type_: &'static str,
    pub(crate) baselines: Vec<ObjectName>,
    pub(crate) requested: Vec<PackageChange>,
    pub(crate) dependencies: Vec<PackageChange>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) hold: Vec<Package>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unhold: Vec<Package>,
    pub(crate) kernel: Option<String>,
    #[serde(rename = "commandLine", skip_serializing_if = "CommandLine::is_empty")]
    pub(crate) command_line: CommandLine,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) architecture: String,
}

/// What becomes of a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct PackageChange {
    pub(crate) name: String,
    pub(crate) architecture: String,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
}

/// An activity that is canceled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CancelReport {
    pub(crate) activity: String,
    pub(crate) reason: &'static str,
}

/// The fleet policy's limit (exit 3 where it is exceeded).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LimitReport {
    /// As the policy says it.
    pub(crate) blast_radius: String,
    /// How many machines that is.
    pub(crate) allowed: usize,
    /// How many the plan affects.
    pub(crate) affected: usize,
    pub(crate) exceeded: bool,
}

/// The numbers. The first eight: all machines, and those of each verdict, which sum to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Totals {
    pub(crate) machines: usize,
    pub(crate) converged: usize,
    pub(crate) start: usize,
    pub(crate) active: usize,
    pub(crate) waiting: usize,
    pub(crate) blocked: usize,
    pub(crate) unmanaged: usize,
    pub(crate) unknown: usize,
    /// Machines about which the plan cannot say exactly what they will do until their apt has simulated it, or they
    /// have reported what is on offer.
    pub(crate) needs_simulation: usize,
    /// Machines that do something, or would if nothing held them back; compared with a base, something else.
    pub(crate) affected: usize,
}

impl Totals {
    pub(crate) fn of(machines: &[MachineReport], affected: usize) -> Self {
        let mut totals = Self { machines: machines.len(), affected, ..Self::default() };
        for machine in machines {
            totals.needs_simulation += usize::from(machine.answer.needs.is_some());
            let count = match machine.answer.verdict {
                "Converged" => &mut totals.converged,
                "Start" => &mut totals.start,
                "Active" => &mut totals.active,
                "Waiting" => &mut totals.waiting,
                "Blocked" => &mut totals.blocked,
                "Unmanaged" => &mut totals.unmanaged,
                _ => &mut totals.unknown,
            };
            *count += 1;
        }
        totals
    }
}

/// The answer for each machine, by name.
pub(crate) fn answers(outlook: &Outlook<'_>, places: &Places<'_>) -> BTreeMap<MachineName, Answer> {
    outlook.machines().map(|(name, plan)| (name.clone(), answer(outlook, places, name, plan))).collect()
}

fn answer(outlook: &Outlook<'_>, places: &Places<'_>, name: &MachineName, plan: &MachinePlan) -> Answer {
    let MachinePlan { verdict, requirements, total: _, wanted: _, holds: _ } = plan;
    Answer {
        verdict: verdict.name(),
        rule: verdict.rule(),
        reason: verdict.reason(),
        message: verdict.message(),
        until_time: verdict.until(),
        clears: verdict.clears(),
        blocker: verdict.blocker().map(object),
        requirements: requirements.iter().map(|requirement| of_requirement(places, requirement)).collect(),
        steps: outlook.steps(name).iter().map(step).collect(),
        later: outlook.later(name).into_iter().map(step).collect(),
        needs: outlook.missing(name).map(Missing::as_str),
        may_reboot: outlook.may_reboot(name),
    }
}

impl Answer {
    /// Whether the machine is to be changed, now or later, as far as the plan knows.
    pub(crate) fn is_work(&self) -> bool {
        match self.verdict {
            "Start" | "Active" | "Waiting" => true,
            "Blocked" => self.requirements.iter().any(|requirement| !requirement.is_observed()),
            _ => false,
        }
    }

    /// What the machine does, without when and why not: its steps, and what is asked of it besides.
    pub(crate) fn work(&self) -> Work<'_> {
        let asked = self.requirements.iter().filter(|requirement| !requirement.is_observed());
        Work {
            steps: self.steps.iter().chain(&self.later).collect(),
            requirements: asked
                .map(|one| (one.resource.as_str(), one.installed.as_deref(), one.target.as_deref()))
                .collect(),
        }
    }
}

/// What a machine does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Work<'a> {
    pub(crate) steps: BTreeSet<&'a StepReport>,
    pub(crate) requirements: BTreeSet<(&'a str, Option<&'a str>, Option<&'a str>)>,
}

impl RequirementReport {
    /// Whether a baseline only looks at it.
    pub(crate) fn is_observed(&self) -> bool {
        self.reason == Verdict::Blocked(Reason::ObserveOnly).reason()
    }
}

fn object(blocker: Blocker) -> ObjectName {
    ObjectName { kind: blocker.kind, name: blocker.name.to_string() }
}

fn baseline(baseline: &BaselineRef) -> ObjectName {
    ObjectName { kind: baseline.kind.as_str(), name: baseline.name.to_string() }
}

fn of_requirement(places: &Places<'_>, requirement: &RequirementVerdict) -> RequirementReport {
    let place = places.of(&requirement.baseline, &requirement.resource);
    RequirementReport {
        baseline: baseline(&requirement.baseline),
        resource: requirement.resource.to_string(),
        verdict: requirement.name(),
        rule: requirement.rule(),
        reason: requirement.reason(),
        message: requirement.message(),
        installed: requirement.installed.as_ref().map(ToString::to_string),
        target: requirement.target.as_ref().map(ToString::to_string),
        file: place.as_ref().map(|place| place.file.clone()),
        line: place.as_ref().map(|place| place.line),
    }
}

fn step(step: &Step) -> StepReport {
    let blank = StepReport {
        type_: step.action.type_name(),
        baselines: step.baselines.keys().map(baseline).collect(),
        requested: Vec::new(),
        dependencies: Vec::new(),
        hold: Vec::new(),
        unhold: Vec::new(),
        kernel: None,
        command_line: CommandLine::default(),
    };
    let changes = |changes: &[Change]| changes.iter().map(change).collect();
    let packages = |keys: &BTreeSet<PackageKey>| keys.iter().map(package).collect::<Vec<_>>();
    match &step.action {
        StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => StepReport {
            requested: changes(&transaction.requested),
            dependencies: changes(&transaction.dependencies),
            ..blank
        },
        StepAction::HoldPackages { hold, unhold } => {
            StepReport { hold: packages(hold), unhold: packages(unhold), ..blank }
        }
        StepAction::RepairPackages => blank,
        StepAction::SelectKernel(choice) | StepAction::SetDefaultKernel(choice) => StepReport {
            kernel: Some(choice.release.to_string()),
            command_line: choice.command_line.clone(),
            ..blank
        },
        StepAction::Reboot { kernel, command_line: line } => StepReport {
            kernel: kernel.as_ref().map(ToString::to_string),
            command_line: line.clone(),
            ..blank
        },
    }
}

fn package(key: &PackageKey) -> Package {
    Package { name: key.name.to_string(), architecture: key.architecture.to_string() }
}

fn change(change: &Change) -> PackageChange {
    let Change { package, from, to } = change;
    PackageChange {
        name: package.name.to_string(),
        architecture: package.architecture.to_string(),
        from: from.as_ref().map(ToString::to_string),
        to: to.as_ref().map(ToString::to_string),
    }
}
