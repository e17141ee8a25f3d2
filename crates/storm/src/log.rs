//! What is true in the storm's world, as events for the checker (docs/events.md).

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use muster_checker::event::{
    ActivitySpec, Baseline, Budget, Decided, DecidedRequirement, Expression, Machine, Operator, Policy,
    Released, ReleasedItem, Report, ReportedOffer, ReportedPackage, Requirement, Rollout, Selector, Source,
    Step, Wave, What, Window,
};
use muster_fleet::Decision;
use muster_model::{
    Approval, BaselineKind, BaselineRef, BudgetLimit, Digest, GoDuration, HealthCheck, Item, ItemProgress,
    LabelSelector, LabelTest, MachineName, Picks, Provenance, Relation, Reported, Target, UpgradePolicy,
    Verdict, VersionRequirement, When,
};
use smol_str::SmolStr;

use crate::api::{Kind, MachineObject, Value};
use crate::storm::Storm;

fn duration(length: SignedDuration) -> GoDuration {
    GoDuration::new(length).expect("the storm's durations are within the bounds")
}

fn revision(provenance: Option<&Provenance>) -> Option<SmolStr> {
    provenance.map(|provenance| provenance.revision.clone())
}

fn selector(from: &LabelSelector) -> Selector {
    let mut selector = Selector::default();
    for (key, test) in from.terms() {
        let (operator, values) = match test {
            LabelTest::Is(value) => {
                selector.match_labels.insert(key.into(), value.clone());
                continue;
            }
            LabelTest::In(values) => (Operator::In, values.iter().cloned().collect()),
            LabelTest::NotIn(values) => (Operator::NotIn, values.iter().cloned().collect()),
            LabelTest::Exists => (Operator::Exists, BTreeSet::new()),
            LabelTest::DoesNotExist => (Operator::DoesNotExist, BTreeSet::new()),
        };
        selector.match_expressions.push(Expression { key: key.into(), operator, values });
    }
    selector
}

fn version_text(requirement: &VersionRequirement) -> SmolStr {
    if requirement.is_latest() {
        return SmolStr::new_static("latest");
    }
    let one = |(relation, version): &(Relation, muster_model::DebianVersion)| {
        format!("{} {version}", relation.as_str())
    };
    requirement.relations().iter().map(one).collect::<Vec<_>>().join(", ").into()
}

fn baseline(from: &muster_model::PackageBaseline) -> Baseline {
    let muster_model::PackageBaseline {
        common,
        packages,
        upgrades,
        downgrades,
        removals,
        conffiles,
        reboot,
        health,
        rollout,
    } = from;
    let requirement = |asked: &muster_model::PackageRequirement| Requirement {
        name: asked.name.clone(),
        architecture: asked.architecture.clone(),
        state: asked.state,
        version: version_text(&asked.version),
        hold: asked.hold,
    };
    Baseline {
        kind: BaselineKind::PackageBaseline,
        name: common.name.clone(),
        uid: common.uid.clone(),
        revision: revision(common.provenance.as_ref()),
        selector: selector(&common.selector),
        mode: common.mode,
        priority: common.priority,
        packages: packages.iter().map(requirement).collect(),
        upgrades: upgrades.map(|policy| match policy {
            UpgradePolicy::None => SmolStr::new_static("None"),
            UpgradePolicy::Security => SmolStr::new_static("Security"),
            UpgradePolicy::All => SmolStr::new_static("All"),
        }),
        downgrades: *downgrades,
        removals: *removals,
        conffiles: *conffiles,
        reboot: reboot.policy,
        reboot_timeout: Some(duration(reboot.timeout)),
        units: health.units.clone(),
        settle: duration(health.settle),
        rollout: Some(Rollout {
            waves: rollout.waves.iter().map(wave).collect(),
            max_unavailable: rollout.max_unavailable,
            max_failures: rollout.max_failures,
            min_ready: duration(rollout.min_ready),
            zone_key: rollout.zone_key.clone(),
        }),
    }
}

fn wave(from: &muster_model::Wave) -> Wave {
    let muster_model::Wave { name, picks, soak, approval } = from;
    let (select, machines) = match picks {
        Picks::Selected(by) => (Some(selector(by)), None),
        Picks::Share(share) => (None, Some(*share)),
    };
    Wave {
        name: name.as_str().into(),
        selector: select,
        machines,
        soak: duration(*soak),
        max_failures: None,
        approval_required: *approval == Approval::Required,
    }
}

fn window(from: &muster_model::Window) -> Window {
    let muster_model::Window {
        name,
        uid: _,
        generation: _,
        selector: select,
        action,
        when,
        cutoff,
        covers,
        provenance,
        overridable,
    } = from;
    let mut window = Window {
        name: name.clone(),
        revision: revision(provenance.as_ref()),
        selector: selector(select),
        action: *action,
        schedule: None,
        offset_days: 0,
        time_zone: None,
        duration: None,
        from: None,
        to: None,
        unreadable: None,
        cutoff: duration(*cutoff),
        covers: covers.clone(),
        overridable: *overridable,
    };
    match when {
        Ok(When::Once { from, to }) => (window.from, window.to) = (Some(*from), Some(*to)),
        Ok(When::Recurring(recurrence)) => {
            window.schedule = Some(recurrence.schedule().as_str().into());
            window.offset_days = recurrence.offset_days();
            window.time_zone = Some(recurrence.zone().name().into());
            window.duration = Some(duration(recurrence.duration()));
        }
        Err(why) => window.unreadable = Some(why.clone()),
    }
    window
}

fn budget(from: &muster_model::Budget) -> Budget {
    let muster_model::Budget { name, uid: _, generation: _, selector: select, limit, absent, provenance } =
        from;
    let (max_unavailable, min_available) = match limit {
        BudgetLimit::MaxUnavailable(share) => (Some(*share), None),
        BudgetLimit::MinAvailable(share) => (None, Some(*share)),
    };
    Budget {
        name: name.clone(),
        revision: revision(provenance.as_ref()),
        selector: selector(select),
        max_unavailable,
        min_available,
        absent: *absent,
    }
}

fn policy(from: &muster_model::Policy) -> Policy {
    let muster_model::Policy {
        suspend,
        windows,
        unreachable_after,
        absent_after,
        freshness,
        history_limit,
        ttl,
        activity_expiry,
        estimates,
        medians: _,
        blast_radius: _,
    } = from;
    Policy {
        suspend: *suspend,
        windows: *windows,
        unreachable_after: duration(*unreachable_after),
        absent_after: duration(*absent_after),
        freshness: duration(*freshness),
        history_limit: *history_limit,
        ttl: duration(*ttl),
        activity_expiry: duration(*activity_expiry),
        estimate_packages: duration(estimates.packages),
        estimate_kernel: duration(estimates.kernel),
        estimate_reboot: duration(estimates.reboot),
    }
}

fn machine(from: &MachineObject) -> Machine {
    let machine = &from.machine;
    Machine {
        name: machine.name.clone(),
        uid: machine.uid.clone(),
        labels: BTreeMap::clone(&machine.labels),
        admitted: machine.admitted,
        suspend: machine.suspend,
        revoked: machine.revoked,
        resolved_through: machine.resolved_through,
        retried_through: machine.retried_through,
        holds: machine.holds.iter().cloned().collect(),
        absence_resolved: from.absence_resolved,
        first_converged: machine.first_converged,
    }
}

/// An activity's spec.
pub(crate) fn spec(from: &muster_model::ActivitySpec) -> ActivitySpec {
    let step = |step: &muster_model::Step| Step {
        action: step.action.clone(),
        baselines: step.baselines.keys().cloned().collect(),
        timeout: duration(step.timeout),
    };
    ActivitySpec {
        name: from.name.clone(),
        machine_uid: from.machine_uid.clone(),
        steps: from.steps.iter().map(step).collect(),
        revision: from.cause.revision.clone(),
        proposal: from.cause.proposal.clone(),
        budgets: BTreeSet::clone(&from.budgets),
        windows: BTreeMap::clone(&from.windows),
        overrides: BTreeSet::new(),
        expiry: from.expiry,
        health: HealthCheck::clone(&from.health),
    }
}

impl Storm {
    /// An object was written by somebody.
    pub(crate) fn log_value(&mut self, value: &Value) {
        let what = match value {
            Value::Machine(object) => What::Machine(machine(object)),
            Value::PackageBaseline(from) => What::Baseline(Box::new(baseline(from))),
            Value::Window(from) => What::Window(Box::new(window(from))),
            Value::Budget(from) => What::Budget(budget(from)),
            Value::Policy(from, _) => What::Policy(policy(from)),
            Value::Source(name, state) => What::Source(Source {
                name: name.clone(),
                revision: state.revision.clone(),
                applying: state.applying,
                owns: state.owns.clone(),
            }),
            Value::Inventory(..)
            | Value::Proposal(..)
            | Value::Rollout(..)
            | Value::Activity(_)
            | Value::Gateway(..)
            | Value::Presence { .. }
            // Only in recorded worlds, whose log the product's recorder writes.
            | Value::KernelBaseline(_)
            | Value::Approval(_)
            | Value::Override(_)
            | Value::Unreadable(..) => return,
        };
        self.log(what);
    }

    /// An object is about to be deleted by somebody.
    pub(crate) fn log_gone(&mut self, kind: Kind, name: &str) {
        let object = || muster_model::ObjectName::parse(name).expect("it is the name of an object");
        let baseline = |kind| What::BaselineGone { baseline: BaselineRef { kind, name: object() } };
        let what = match kind {
            Kind::Machine => {
                let name = MachineName::parse(name).expect("it is the name of a machine");
                self.heard.remove(&name);
                What::MachineGone { name }
            }
            Kind::PackageBaseline => baseline(BaselineKind::PackageBaseline),
            Kind::KernelBaseline => baseline(BaselineKind::KernelBaseline),
            Kind::Window => What::WindowGone { name: object() },
            Kind::Budget => What::BudgetGone { name: object() },
            Kind::Policy => What::PolicyGone {},
            Kind::Source => What::SourceGone { name: name.into() },
            Kind::Inventory
            | Kind::Proposal
            | Kind::Rollout
            | Kind::Activity
            | Kind::Gateway
            | Kind::Presence
            | Kind::Approval
            | Kind::Override
            | Kind::Unreadable => {
                return;
            }
        };
        self.log(what);
    }

    /// A report was accepted.
    pub(crate) fn log_report(&mut self, name: &MachineName, reported: &Reported) {
        if !self.options.log {
            return;
        }
        let Reported { session, sequence, digest: _, time, report, facts } = reported;
        let packages = match self
            .api
            .get(Kind::Inventory, &report.inventory.to_string())
            .map(|stored| stored.value.clone())
        {
            Some(value) => match value.as_ref() {
                Value::Inventory(_, inventory, _) => {
                    inventory.packages.iter().map(reported_package).collect()
                }
                _ => Vec::new(),
            },
            None => Vec::new(),
        };
        self.log(What::Report(Box::new(Report {
            machine: name.clone(),
            session: *session,
            sequence: *sequence,
            received: *time,
            architecture: report.architecture.clone(),
            capabilities: BTreeSet::clone(&report.capabilities),
            facts: BTreeMap::clone(facts),
            boot_id: report.boot.id.clone(),
            kernel: report.kernel.booted.clone(),
            command_line: report.kernel.command_line.clone(),
            next_boot: report.kernel.next_boot.clone(),
            reboot_required: report.reboot_required.is_some(),
            dpkg_interrupted: report.dpkg_interrupted,
            failed_units: report.failed_units.clone(),
            last_activity: report.last_activity,
            packages,
        })));
    }

    /// What a leader found to be released, when that changed (rule O4). A replaced one finds nothing any more.
    pub(crate) fn log_released(
        &mut self,
        epoch: u64,
        baseline: &BaselineRef,
        rollout: &muster_model::Rollout,
    ) {
        if epoch != self.api.lease.epoch {
            return;
        }
        let items = released(rollout);
        if self.released.insert(baseline.clone(), items.clone()).as_ref() != Some(&items) {
            self.log(What::Released(Released { baseline: baseline.clone(), items, found: false }));
        }
    }

    /// What a leader measured of steps, by which it plans from here on (rule W2).
    pub(crate) fn log_estimates(&mut self, estimates: muster_model::Estimates) {
        let known = muster_model::Policy { estimates, ..self.api.policy() };
        self.log(What::Policy(policy(&known)));
    }

    /// Whether a decision is the one that was logged last.
    pub(crate) fn is_logged(&self, name: &MachineName, decision: &Decision) -> bool {
        let (_, digest) = decided(name, decision);
        self.decided.get(name).is_some_and(|(known, _)| *known == digest)
    }

    /// What was decided about a machine, when that changed.
    pub(crate) fn log_decision(&mut self, name: &MachineName, decision: &Decision) {
        self.counts.note_decision(decision);
        let (decided, digest) = decided(name, decision);
        let words = format!("{} ({})", decision.plan.verdict.message(), decision.plan.verdict.rule());
        let same = self.decided.get(name).is_some_and(|(known, _)| *known == digest);
        self.decided.insert(name.clone(), (digest, words));
        if !same {
            self.log(What::Decided(decided));
        }
    }
}

fn released(rollout: &muster_model::Rollout) -> Vec<ReleasedItem> {
    let released = rollout.items.iter().filter(|(_, progress)| progress.barred.is_none());
    let item = |(item, progress): (&Item, &ItemProgress)| {
        let to = match &item.target {
            Target::Version(version) => Some(version.clone()),
            Target::Absent => None,
        };
        Some(ReleasedItem { package: item.package.clone(), to, since: progress.released? })
    };
    released.filter_map(item).collect()
}

fn decided(name: &MachineName, decision: &Decision) -> (Decided, Digest) {
    let of = |verdict: &Verdict| {
        (
            SmolStr::new_static(verdict.name()),
            SmolStr::new_static(verdict.rule()),
            SmolStr::new_static(verdict.reason()),
        )
    };
    let (verdict, rule, reason) = of(&decision.plan.verdict);
    let requirements = decision.plan.requirements.iter().map(|one| {
        let (verdict, rule, reason) = of(&one.verdict);
        DecidedRequirement {
            baseline: one.baseline.clone(),
            resource: one.resource.clone(),
            verdict,
            rule,
            reason,
        }
    });
    let decided =
        Decided { machine: name.clone(), verdict, rule, reason, requirements: requirements.collect() };
    let digest =
        Digest::of(&serde_json::to_vec(&decided).expect("it is plain data, which JSON can always hold"));
    (decided, digest)
}

fn reported_package(package: &muster_model::Package) -> ReportedPackage {
    let installed = package.installed.as_ref();
    let broken = installed.is_some_and(|installed| !installed.state.is_installed());
    ReportedPackage {
        name: package.key.name.clone(),
        architecture: package.key.architecture.clone(),
        installed: installed.map(|installed| installed.version.clone()),
        broken,
        held: installed.is_some_and(|installed| installed.held),
        candidate: package.candidate.clone(),
        offers: package
            .offers
            .iter()
            .map(|offer| ReportedOffer { version: offer.version.clone(), pin: offer.pin })
            .collect(),
    }
}
