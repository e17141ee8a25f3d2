//! What is true in the storm's world, as events for the checker (docs/events.md). How a thing is told is the recorder's;
//! that it is true at this instant, and not only seen, is the storm's.

use muster_checker::event::{Released, What};
use muster_fleet::Decision;
use muster_model::{BaselineKind, BaselineRef, MachineName, Reported};
use muster_recorder::told;
use smol_str::ToSmolStr;

use crate::api::{Kind, Value, rollout_name};
use crate::storm::Storm;

impl Storm {
    /// An object was written by somebody.
    pub(crate) fn log_value(&mut self, value: &Value) {
        let what = match value {
            Value::Machine(object) => {
                What::Machine(told::of_people(&object.machine, object.absence_resolved))
            }
            Value::PackageBaseline(from) => What::Baseline(Box::new(told::package_baseline(from))),
            Value::KernelBaseline(from) => What::Baseline(Box::new(told::kernel_baseline(from))),
            Value::Window(from) => What::Window(Box::new(told::window(from))),
            Value::Budget(from) => What::Budget(told::budget(from)),
            Value::Policy(from, _) => What::Policy(told::policy(from)),
            Value::Source(name, state) => What::Source(told::source(name, state)),
            Value::Approval(from) => What::Approval(told::approval(from)),
            Value::Override(from) => What::Override(told::window_override(from, self.now)),
            Value::Unreadable(resource, why) => {
                What::Unreadable { resource: resource.clone(), why: why.clone() }
            }
            Value::Inventory(..)
            | Value::Proposal(..)
            | Value::Rollout(..)
            | Value::Activity(_)
            | Value::Gateway(..)
            | Value::Presence { .. } => return,
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
            Kind::Approval => What::ApprovalGone { name: object() },
            Kind::Override => What::OverrideGone { name: object() },
            Kind::Unreadable => What::Readable { resource: name.into() },
            Kind::Inventory
            | Kind::Proposal
            | Kind::Rollout
            | Kind::Activity
            | Kind::Gateway
            | Kind::Presence => return,
        };
        self.log(what);
    }

    /// A report was accepted.
    pub(crate) fn log_report(&mut self, name: &MachineName, reported: &Reported) {
        if !self.options.log {
            return;
        }
        let known = self.api.get(Kind::Inventory, &reported.report.inventory.to_smolstr());
        if let Some(Value::Inventory(_, inventory, _)) = known.map(|stored| stored.value.as_ref()) {
            let report = told::report(name, reported, inventory, |_| true);
            self.log(What::Report(Box::new(report)));
        }
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
        let items = told::released(rollout);
        if self.released.insert(baseline.clone(), items.clone()).as_ref() != Some(&items) {
            // On record it is so already: what the leader before decided last was never written.
            let stored =
                self.api.get(Kind::Rollout, &rollout_name(baseline)).map(|stored| stored.value.as_ref());
            let found = matches!(stored, Some(Value::Rollout(_, known)) if told::released(known) == items);
            self.log(What::Released(Released { baseline: baseline.clone(), items, found }));
        }
    }

    /// What a leader measured of steps, by which it plans from here on (rule W2).
    pub(crate) fn log_estimates(&mut self, estimates: muster_model::Estimates) {
        let known = muster_model::Policy { estimates, ..self.api.policy() };
        self.log(What::Policy(told::policy(&known)));
    }

    /// Whether a decision is the one that was logged last.
    pub(crate) fn is_logged(&self, name: &MachineName, decision: &Decision) -> bool {
        self.decided.get(name).is_some_and(|(known, _)| *known == told::decided(name, decision))
    }

    /// What was decided about a machine, when that changed.
    pub(crate) fn log_decision(&mut self, name: &MachineName, decision: &Decision) {
        self.counts.note_decision(decision);
        let decided = told::decided(name, decision);
        let words = format!("{} ({})", decision.plan.verdict.message(), decision.plan.verdict.rule());
        let same = self.decided.get(name).is_some_and(|(known, _)| *known == decided);
        self.decided.insert(name.clone(), (decided.clone(), words));
        if !same {
            self.log(What::Decided(decided));
        }
    }
}
