//! Activity: from the planner's decision to the object that is created, and back with its status.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use muster_model::{
    ActivityName, Change, CommandLine, Cover, Digest, Followed, HealthCheck, KernelChoice, ObjectName,
    Passed, Phase, Step, StepAction, StepStatus, Transaction, Uid,
};

use super::{Reader, baseline_reference, cut, duration, micro_time, packages, time};
use crate::{
    Activity, ActivityCause, ActivitySpec, ActivityStatus, ActivityStep, ActivityStepStatus, ActivityWindow,
    CommandLineSpec, FieldError, FollowedPackage, HealthSpec, HoldStep, KernelStep, MachineReference,
    PackageChange, RebootStep, RepairStep, StepType, TransactionStep, names,
};

impl Activity {
    /// The object to create for an activity, stamped with its writer's lease epoch (rule A3).
    #[must_use]
    pub fn from_model(spec: &muster_model::ActivitySpec, epoch: u64) -> Self {
        let muster_model::ActivitySpec {
            name,
            machine_uid,
            steps,
            cause,
            budgets,
            windows,
            passed,
            expiry,
            health,
            failed_units,
        } = spec;
        let labels =
            [(names::LABEL_MACHINE, name.machine.to_string()), (names::LABEL_EPOCH, epoch.to_string())];
        let metadata = ObjectMeta {
            name: Some(name.to_string()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
            ..ObjectMeta::default()
        };
        let spec = ActivitySpec {
            machine_ref: MachineReference { name: name.machine.to_string(), uid: machine_uid.to_string() },
            steps: steps.iter().map(step).collect(),
            cause: ActivityCause {
                revision: cause.revision.as_ref().map(ToString::to_string),
                proposal: cause.proposal.as_ref().map(ToString::to_string),
            },
            budgets: budgets.iter().map(ToString::to_string).collect(),
            windows: activity_windows(windows, passed),
            expiry_time: time(*expiry),
            health: HealthSpec {
                units: health.units.iter().map(ToString::to_string).collect(),
                settle: duration(jiff::SignedDuration::from_secs(health.settle_seconds.into())),
            },
            failed_units: failed_units.iter().map(ToString::to_string).collect(),
            cancel: false,
        };
        Self { metadata, spec, status: None }
    }

    /// The activity as the planner knows it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn to_model(&self) -> Result<muster_model::Activity, Vec<FieldError>> {
        let meta = &self.metadata;
        let mut reader = Reader::default();
        let spec = reader.activity_spec(meta.name.as_deref().unwrap_or_default(), &self.spec);
        let uid = reader.read("metadata.uid", "", Uid::parse(meta.uid.as_deref().unwrap_or_default()));
        let label = meta.labels.as_ref().and_then(|labels| labels.get(names::LABEL_EPOCH));
        let epoch = label.and_then(|epoch| epoch.parse().ok());
        if epoch.is_none() {
            reader.refuse(
                format!("metadata.labels[{}]", names::LABEL_EPOCH),
                "A3",
                "it must be its writer's lease epoch, a number",
            );
        }
        if meta.creation_timestamp.is_none() {
            reader.refuse("metadata.creationTimestamp", "", "the API server gives it");
        }
        let status = self.status.clone().unwrap_or_default();
        reader.finish(|| {
            Some(muster_model::Activity {
                spec: spec?,
                uid: uid?,
                created: meta.creation_timestamp.as_ref()?.0,
                cancel: self.spec.cancel,
                epoch: epoch?,
                phase: status.phase.unwrap_or(Phase::Pending),
                delivered: status.delivered_time.map(|time| time.0),
                finished: status.finished_time.map(|time| time.0),
                outcome: status.outcome,
                message: status.message,
                steps: status
                    .steps
                    .into_iter()
                    .map(|step| StepStatus {
                        started: step.start_time.map(|time| time.0),
                        completed: step.completion_time.map(|time| time.0),
                    })
                    .collect(),
            })
        })
    }
}

/// The windows that were open, and those that are passed.
fn activity_windows(open: &BTreeMap<Cover, ObjectName>, passed: &BTreeSet<Passed>) -> Vec<ActivityWindow> {
    let open = open.iter().map(|(cover, name)| ActivityWindow {
        covers: *cover,
        name: name.to_string(),
        overridden_by: None,
    });
    let passed = passed.iter().map(|Passed { cover, window, by }| ActivityWindow {
        covers: *cover,
        name: window.to_string(),
        overridden_by: Some(by.to_string()),
    });
    open.chain(passed).collect()
}

impl Reader {
    fn activity_spec(&mut self, name: &str, spec: &ActivitySpec) -> Option<muster_model::ActivitySpec> {
        let ActivitySpec {
            machine_ref,
            steps,
            cause,
            budgets,
            windows,
            expiry_time,
            health,
            failed_units,
            cancel: _,
        } = spec;
        let name = self.read("metadata.name", "A1", ActivityName::parse(name));
        if name.as_ref().is_some_and(|name| name.machine.as_str() != machine_ref.name) {
            self.refuse(
                "spec.machineRef.name",
                "A1",
                "it must be the machine that the activity is named after",
            );
        }
        let machine_uid = self.read("spec.machineRef.uid", "", Uid::parse(&machine_ref.uid));
        let steps: Option<Vec<Step>> = steps
            .iter()
            .enumerate()
            .map(|(at, step)| self.step(&format!("spec.steps[{at}]"), step))
            .collect();
        let proposal = match &cause.proposal {
            None => Some(None),
            Some(digest) => self.read("spec.cause.proposal", "", Digest::parse(digest)).map(Some),
        };
        let budgets: Option<_> =
            budgets.iter().map(|name| self.read("spec.budgets", "", ObjectName::parse(name))).collect();
        let (mut open, mut passed) = (BTreeMap::new(), BTreeSet::new());
        for ActivityWindow { covers, name, overridden_by } in windows {
            let window = self.read("spec.windows", "", ObjectName::parse(name));
            let by =
                overridden_by.as_deref().map(|by| self.read("spec.windows", "W9", ObjectName::parse(by)));
            match (window, by) {
                (None, _) | (_, Some(None)) => {}
                (Some(window), None) => drop(open.insert(*covers, window)),
                (Some(window), Some(Some(by))) => drop(passed.insert(Passed { cover: *covers, window, by })),
            }
        }
        let units = self.units("spec.health.units", &health.units);
        let settle = self.duration("spec.health.settle", &health.settle);
        let failed_units = self.units("spec.failedUnits", failed_units);
        Some(muster_model::ActivitySpec {
            name: name?,
            machine_uid: machine_uid?,
            steps: steps?.into(),
            cause: muster_model::Cause {
                revision: cause.revision.as_deref().map(Into::into),
                proposal: proposal?,
            }
            .into(),
            budgets: budgets?,
            windows: open.into(),
            passed: passed.into(),
            expiry: expiry_time.0,
            health: HealthCheck {
                units: units?,
                settle_seconds: u32::try_from(settle?.as_secs()).unwrap_or(u32::MAX),
            }
            .into(),
            failed_units: failed_units?.into(),
        })
    }

    fn step(&mut self, field: &str, step: &ActivityStep) -> Option<Step> {
        let ActivityStep {
            type_,
            install_packages,
            remove_packages,
            hold_packages,
            repair_packages,
            select_kernel,
            reboot,
            set_default_kernel,
            baselines,
            timeout,
        } = step;
        let action = match type_ {
            StepType::InstallPackages => install_packages
                .as_ref()
                .and_then(|member| self.transaction(&format!("{field}.installPackages"), member))
                .map(StepAction::InstallPackages),
            StepType::RemovePackages => remove_packages
                .as_ref()
                .and_then(|member| self.transaction(&format!("{field}.removePackages"), member))
                .map(StepAction::RemovePackages),
            StepType::HoldPackages => hold_packages.as_ref().and_then(|HoldStep { hold, unhold }| {
                let hold = self.packages(&format!("{field}.holdPackages.hold"), hold);
                let unhold = self.packages(&format!("{field}.holdPackages.unhold"), unhold);
                Some(StepAction::HoldPackages { hold: hold?, unhold: unhold? })
            }),
            StepType::RepairPackages => {
                repair_packages.as_ref().map(|RepairStep {}| StepAction::RepairPackages)
            }
            StepType::SelectKernel => select_kernel
                .as_ref()
                .and_then(|member| self.kernel_choice(&format!("{field}.selectKernel"), member))
                .map(StepAction::SelectKernel),
            StepType::Reboot => {
                reboot.as_ref().map(|RebootStep { kernel, command_line: line }| StepAction::Reboot {
                    kernel: kernel.as_deref().map(Into::into),
                    command_line: command_line(line),
                })
            }
            StepType::SetDefaultKernel => set_default_kernel
                .as_ref()
                .and_then(|member| self.kernel_choice(&format!("{field}.setDefaultKernel"), member))
                .map(StepAction::SetDefaultKernel),
        };
        if action.is_none() && self.errors.is_empty() {
            self.refuse(field, "", "the member that belongs to its type is missing");
        }
        let mut served = BTreeMap::new();
        for (at, baseline) in baselines.iter().enumerate() {
            let field = format!("{field}.baselines[{at}]");
            let uid = self.read(
                format!("{field}.uid"),
                "",
                Uid::parse(baseline.uid.as_deref().unwrap_or_default()),
            );
            if let (Some(baseline), Some(uid)) = (self.baseline(&field, baseline), uid) {
                served.insert(baseline, uid);
            }
        }
        let timeout = self.duration(&format!("{field}.timeout"), timeout);
        Some(Step { action: action?, baselines: served, timeout: timeout? })
    }

    fn kernel_choice(&mut self, field: &str, step: &KernelStep) -> Option<KernelChoice> {
        let KernelStep { kernel, command_line: line, followed } = step;
        let followed = match followed {
            None => Some(None),
            Some(FollowedPackage { name, architecture, version }) => {
                let field = format!("{field}.followed");
                let package = self.package(&field, name, architecture);
                let version = self.version(&format!("{field}.version"), Some(version))?;
                package.zip(version).map(|(package, version)| Some(Followed { package, version }))
            }
        };
        Some(KernelChoice {
            release: kernel.as_str().into(),
            command_line: command_line(line),
            followed: followed?,
        })
    }

    fn transaction(&mut self, field: &str, transaction: &TransactionStep) -> Option<Transaction> {
        let TransactionStep { requested, dependencies, conffiles } = transaction;
        let requested = self.changes(&format!("{field}.requested"), requested);
        let dependencies = self.changes(&format!("{field}.dependencies"), dependencies);
        Some(Transaction { requested: requested?, dependencies: dependencies?, conffiles: *conffiles })
    }

    pub(super) fn changes(&mut self, field: &str, changes: &[PackageChange]) -> Option<Vec<Change>> {
        let mut all = Vec::with_capacity(changes.len());
        for (at, PackageChange { name, architecture, from, to }) in changes.iter().enumerate() {
            let field = format!("{field}[{at}]");
            let package = self.package(&field, name, architecture);
            let from = self.version(&format!("{field}.from"), from.as_deref());
            let to = self.version(&format!("{field}.to"), to.as_deref());
            all.push((|| Some(Change { package: package?, from: from?, to: to? }))());
        }
        all.into_iter().collect()
    }
}

fn step(step: &Step) -> ActivityStep {
    let Step { action, baselines, timeout } = step;
    let mut written = ActivityStep {
        type_: step_type(action),
        install_packages: None,
        remove_packages: None,
        hold_packages: None,
        repair_packages: None,
        select_kernel: None,
        reboot: None,
        set_default_kernel: None,
        baselines: baselines.iter().map(|(baseline, uid)| baseline_reference(baseline, Some(uid))).collect(),
        timeout: duration(*timeout),
    };
    match action {
        StepAction::InstallPackages(transaction) => {
            written.install_packages = Some(transaction_step(transaction))
        }
        StepAction::RemovePackages(transaction) => {
            written.remove_packages = Some(transaction_step(transaction))
        }
        StepAction::HoldPackages { hold, unhold } => {
            written.hold_packages = Some(HoldStep { hold: packages(hold), unhold: packages(unhold) });
        }
        StepAction::RepairPackages => written.repair_packages = Some(RepairStep {}),
        StepAction::SelectKernel(choice) => written.select_kernel = Some(kernel_step(choice)),
        StepAction::Reboot { kernel, command_line } => {
            written.reboot = Some(RebootStep {
                kernel: kernel.as_ref().map(ToString::to_string),
                command_line: command_line_spec(command_line),
            });
        }
        StepAction::SetDefaultKernel(choice) => written.set_default_kernel = Some(kernel_step(choice)),
    }
    written
}

fn step_type(action: &StepAction) -> StepType {
    match action {
        StepAction::InstallPackages(_) => StepType::InstallPackages,
        StepAction::RemovePackages(_) => StepType::RemovePackages,
        StepAction::HoldPackages { .. } => StepType::HoldPackages,
        StepAction::RepairPackages => StepType::RepairPackages,
        StepAction::SelectKernel(_) => StepType::SelectKernel,
        StepAction::Reboot { .. } => StepType::Reboot,
        StepAction::SetDefaultKernel(_) => StepType::SetDefaultKernel,
    }
}

fn kernel_step(choice: &KernelChoice) -> KernelStep {
    let KernelChoice { release, command_line, followed } = choice;
    KernelStep {
        kernel: release.to_string(),
        command_line: command_line_spec(command_line),
        followed: followed.as_ref().map(|Followed { package, version }| FollowedPackage {
            name: package.name.to_string(),
            architecture: package.architecture.to_string(),
            version: version.to_string(),
        }),
    }
}

pub(super) fn command_line(line: &CommandLineSpec) -> CommandLine {
    let CommandLineSpec { present, absent } = line;
    CommandLine {
        present: present.iter().map(Into::into).collect(),
        absent: absent.iter().map(Into::into).collect(),
    }
}

fn command_line_spec(line: &CommandLine) -> CommandLineSpec {
    let CommandLine { present, absent } = line;
    CommandLineSpec {
        present: present.iter().map(ToString::to_string).collect(),
        absent: absent.iter().map(ToString::to_string).collect(),
    }
}

fn transaction_step(transaction: &Transaction) -> TransactionStep {
    let Transaction { requested, dependencies, conffiles } = transaction;
    TransactionStep {
        requested: requested.iter().map(package_change).collect(),
        dependencies: dependencies.iter().map(package_change).collect(),
        conffiles: *conffiles,
    }
}

pub(super) fn package_change(change: &Change) -> PackageChange {
    let Change { package, from, to } = change;
    PackageChange {
        name: package.name.to_string(),
        architecture: package.architecture.to_string(),
        from: from.as_ref().map(ToString::to_string),
        to: to.as_ref().map(ToString::to_string),
    }
}

impl ActivityStatus {
    /// How far an activity is, with its conditions: Delivered once it was, and Complete or Failed once it is over.
    #[must_use]
    pub fn from_model(activity: &muster_model::Activity) -> Self {
        let muster_model::Activity { spec, phase, delivered, finished, outcome, message, steps, .. } =
            activity;
        let step = |(step, status): (&Step, &StepStatus)| ActivityStepStatus {
            type_: step_type(&step.action),
            start_time: status.started.map(micro_time),
            completion_time: status.completed.map(micro_time),
        };
        let condition = |type_: &str, reason: &str, message: &str, at| Condition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            reason: reason.to_owned(),
            message: cut(message, 1024),
            last_transition_time: time(at),
            observed_generation: None,
        };
        let mut conditions = Vec::new();
        if let Some(at) = delivered {
            conditions.push(condition(
                names::condition::DELIVERED,
                names::reason::DELIVERED,
                "given to the machine",
                *at,
            ));
        }
        if let (Some(at), true) = (finished, phase.is_finished()) {
            let type_ = if *phase == Phase::Succeeded {
                names::condition::COMPLETE
            } else {
                names::condition::FAILED
            };
            let reason = outcome.map_or(phase.as_str(), |outcome| outcome.as_str());
            conditions.push(condition(type_, reason, message, *at));
        }
        Self {
            phase: Some(*phase),
            outcome: *outcome,
            message: cut(message, 2048),
            delivered_time: delivered.map(micro_time),
            finished_time: finished.map(micro_time),
            steps: spec.steps.iter().zip(steps).map(step).collect(),
            conditions,
        }
    }
}
