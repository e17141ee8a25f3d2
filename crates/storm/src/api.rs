//! A model of the API: objects with versions, optimistic concurrency, and what its watchers are shown.
//!
//! A write is atomic and gets the next version. Each watch is ordered in itself; watches of different kinds are not
//! ordered among each other. Faults are not here: who asks decides whether a request or its answer is lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_fleet::{Change, GatewayLease, Key, PresenceShard, SourceState};
use muster_model::{
    Activity, ActivityName, BaselineRef, Budget, Digest, Instant, Inventory, KernelBaseline, Machine,
    MachineName, ObjectName, PackageBaseline, Policy, Proposal, ProposalKey, Rollout, RolloutApproval,
    WantedSet, Window, WindowOverride,
};
use smol_str::{SmolStr, ToSmolStr};

/// The kinds that a controller watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Machine,
    PackageBaseline,
    KernelBaseline,
    Window,
    Budget,
    Policy,
    Inventory,
    Proposal,
    Rollout,
    Activity,
    Source,
    Gateway,
    Presence,
    Approval,
    Override,
    Unreadable,
}

/// All of them.
pub(crate) const KINDS: [Kind; 16] = [
    Kind::Machine,
    Kind::PackageBaseline,
    Kind::KernelBaseline,
    Kind::Window,
    Kind::Budget,
    Kind::Policy,
    Kind::Inventory,
    Kind::Proposal,
    Kind::Rollout,
    Kind::Activity,
    Kind::Source,
    Kind::Gateway,
    Kind::Presence,
    Kind::Approval,
    Kind::Override,
    Kind::Unreadable,
];

/// A FleetMachine.
#[derive(Clone, Debug)]
pub(crate) struct MachineObject {
    /// What the model has of it; presence is not looked at.
    pub(crate) machine: Machine,
    /// When a person last resolved its absence (rule B4).
    pub(crate) absence_resolved: Option<Instant>,
    /// What the controller recorded that the machine is to report on and to simulate.
    pub(crate) wanted: Option<WantedSet>,
    /// Two machines use its identity by turns: both are shut out.
    pub(crate) quarantined: bool,
}

/// An object as it is stored.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "most objects of a store are machines; boxing them would cost more than it saves"
)]
pub(crate) enum Value {
    Machine(MachineObject),
    PackageBaseline(PackageBaseline),
    Window(Window),
    Budget(Budget),
    Policy(Policy, Option<SmolStr>),
    Inventory(Digest, Arc<Inventory>, Option<Instant>),
    Proposal(ProposalKey, Arc<Proposal>, Option<Instant>),
    Rollout(BaselineRef, Rollout),
    Activity(Activity),
    Source(SmolStr, SourceState),
    Gateway(SmolStr, GatewayLease),
    Presence {
        gateway: SmolStr,
        shard: SmolStr,
        heard: PresenceShard,
    },
    KernelBaseline(Arc<KernelBaseline>),
    Approval(Arc<RolloutApproval>),
    Override(Arc<WindowOverride>),
    /// A resource, as `Kind/name`, and why it cannot be read (rule W7).
    Unreadable(SmolStr, String),
}

impl Value {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Machine(_) => Kind::Machine,
            Self::PackageBaseline(_) => Kind::PackageBaseline,
            Self::Window(_) => Kind::Window,
            Self::Budget(_) => Kind::Budget,
            Self::Policy(..) => Kind::Policy,
            Self::Inventory(..) => Kind::Inventory,
            Self::Proposal(..) => Kind::Proposal,
            Self::Rollout(..) => Kind::Rollout,
            Self::Activity(_) => Kind::Activity,
            Self::Source(..) => Kind::Source,
            Self::Gateway(..) => Kind::Gateway,
            Self::Presence { .. } => Kind::Presence,
            Self::KernelBaseline(_) => Kind::KernelBaseline,
            Self::Approval(_) => Kind::Approval,
            Self::Override(_) => Kind::Override,
            Self::Unreadable(..) => Kind::Unreadable,
        }
    }

    pub(crate) fn name(&self) -> SmolStr {
        match self {
            Self::Machine(object) => object.machine.name.to_smolstr(),
            Self::PackageBaseline(baseline) => baseline.common.name.to_smolstr(),
            Self::Window(window) => window.name.to_smolstr(),
            Self::Budget(budget) => budget.name.to_smolstr(),
            Self::Policy(..) => SmolStr::new_static("default"),
            Self::Inventory(digest, ..) => digest.to_smolstr(),
            Self::Proposal(key, ..) => key.digest().to_smolstr(),
            Self::Rollout(baseline, _) => rollout_name(baseline),
            Self::Activity(activity) => activity.spec.name.to_smolstr(),
            Self::Source(name, _) | Self::Gateway(name, _) => name.clone(),
            Self::Presence { shard, .. } => shard.clone(),
            Self::KernelBaseline(baseline) => baseline.common.name.to_smolstr(),
            Self::Approval(approval) => approval.name.to_smolstr(),
            Self::Override(one) => one.name.to_smolstr(),
            Self::Unreadable(what, _) => what.clone(),
        }
    }

    /// What a watch of it tells a controller.
    pub(crate) fn changes(&self) -> Vec<Change> {
        match self {
            Self::Machine(object) => {
                let name = object.machine.name.clone();
                let mut changes = vec![
                    Change::Machine(Box::new(object.machine.clone())),
                    Change::AbsenceResolved(name.clone(), object.absence_resolved),
                ];
                if object.wanted.is_none() {
                    changes.push(Change::Unrecorded(Key::Machine(name)));
                }
                changes
            }
            Self::PackageBaseline(baseline) => vec![Change::PackageBaseline(baseline.clone())],
            Self::Window(window) => vec![Change::Window(window.clone())],
            Self::Budget(budget) => vec![Change::Budget(budget.clone())],
            Self::Policy(policy, revision) => {
                vec![Change::Policy(Some((policy.clone(), revision.clone())))]
            }
            Self::Inventory(digest, inventory, marked) => {
                vec![Change::Inventory(digest.clone(), inventory.clone(), *marked)]
            }
            Self::Proposal(key, proposal, marked) => {
                vec![Change::Proposal(key.clone(), proposal.clone(), *marked)]
            }
            Self::Rollout(baseline, rollout) => vec![Change::Rollout(baseline.clone(), rollout.clone())],
            Self::Activity(activity) => vec![Change::Activity(Box::new(activity.clone()))],
            Self::Source(name, state) => vec![Change::Source(name.clone(), Some(state.clone()))],
            Self::Gateway(name, lease) => vec![Change::Gateway(name.clone(), Some(*lease))],
            Self::Presence { gateway, shard, heard } => {
                vec![Change::Presence(gateway.clone(), shard.clone(), Some(heard.clone()))]
            }
            Self::KernelBaseline(baseline) => {
                vec![Change::KernelBaseline(KernelBaseline::clone(baseline))]
            }
            Self::Approval(approval) => vec![Change::Approval(RolloutApproval::clone(approval))],
            Self::Override(one) => vec![Change::Override(WindowOverride::clone(one))],
            Self::Unreadable(what, why) => vec![Change::Unreadable(what.clone(), Some(why.clone()))],
        }
    }

    /// What a watch tells a controller when it is gone.
    pub(crate) fn gone(&self) -> Change {
        match self {
            Self::Machine(object) => Change::MachineGone(object.machine.name.clone()),
            Self::PackageBaseline(baseline) => Change::BaselineGone(baseline.reference()),
            Self::Window(window) => Change::WindowGone(window.name.clone()),
            Self::Budget(budget) => Change::BudgetGone(budget.name.clone()),
            Self::Policy(..) => Change::Policy(None),
            Self::Inventory(digest, ..) => Change::InventoryGone(digest.clone()),
            Self::Proposal(key, ..) => Change::ProposalGone(key.clone()),
            Self::Rollout(baseline, _) => Change::RolloutGone(baseline.clone()),
            Self::Activity(activity) => Change::ActivityGone(activity.spec.name.clone()),
            Self::Source(name, _) => Change::Source(name.clone(), None),
            Self::Gateway(name, _) => Change::Gateway(name.clone(), None),
            Self::Presence { gateway, shard, .. } => Change::Presence(gateway.clone(), shard.clone(), None),
            Self::KernelBaseline(baseline) => Change::BaselineGone(baseline.reference()),
            Self::Approval(approval) => Change::ApprovalGone(approval.name.clone()),
            Self::Override(one) => Change::OverrideGone(one.name.clone()),
            Self::Unreadable(what, _) => Change::Unreadable(what.clone(), None),
        }
    }
}

/// The BaselineRollout's name.
pub(crate) fn rollout_name(baseline: &BaselineRef) -> SmolStr {
    smol_str::format_smolstr!("{}-{}", baseline.kind.rollout_prefix(), baseline.name)
}

/// A stored object and its version.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) version: u64,
    pub(crate) value: Arc<Value>,
}

/// One write, for whoever watches: the object as it is now, or as it was when it was deleted.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) value: Arc<Value>,
    pub(crate) deleted: bool,
}

/// The controllers' Lease (rule A3).
#[derive(Clone, Debug, Default)]
pub(crate) struct ControllerLease {
    pub(crate) holder: Option<usize>,
    pub(crate) epoch: u64,
    /// Until when it is good; `None` while its holder keeps renewing it.
    pub(crate) valid_until: Option<Instant>,
}

/// All objects.
#[derive(Debug, Default)]
pub(crate) struct Api {
    objects: BTreeMap<Kind, BTreeMap<SmolStr, Stored>>,
    version: u64,
    pub(crate) lease: ControllerLease,
    /// Writes that no watcher has been shown yet, oldest first.
    pub(crate) news: Vec<Shown>,
    uids: u64,
}

impl Api {
    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<&Stored> {
        self.objects.get(&kind)?.get(name)
    }

    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = &Stored> {
        self.objects.get(&kind).into_iter().flat_map(BTreeMap::values)
    }

    /// Writes an object, whether or not it is there.
    pub(crate) fn put(&mut self, value: Value) {
        self.version += 1;
        let value = Arc::new(value);
        let stored = Stored { version: self.version, value: value.clone() };
        self.objects.entry(value.kind()).or_default().insert(value.name(), stored);
        self.news.push(Shown { value, deleted: false });
    }

    /// Deletes an object, if it is there.
    pub(crate) fn delete(&mut self, kind: Kind, name: &str) -> bool {
        let Some(stored) = self.objects.get_mut(&kind).and_then(|objects| objects.remove(name)) else {
            return false;
        };
        self.version += 1;
        self.news.push(Shown { value: stored.value, deleted: true });
        true
    }

    /// A uid that was never used.
    pub(crate) fn uid(&mut self) -> muster_model::Uid {
        self.uids += 1;
        muster_model::Uid::parse(&format!("uid-{}", self.uids)).expect("letters and digits make a uid")
    }

    pub(crate) fn machine(&self, name: &MachineName) -> Option<&MachineObject> {
        match self.get(Kind::Machine, name.as_str())?.value.as_ref() {
            Value::Machine(object) => Some(object),
            _ => None,
        }
    }

    pub(crate) fn activity(&self, name: &ActivityName) -> Option<(u64, &Activity)> {
        let stored = self.get(Kind::Activity, &name.to_smolstr())?;
        match stored.value.as_ref() {
            Value::Activity(activity) => Some((stored.version, activity)),
            _ => None,
        }
    }

    pub(crate) fn activities(&self) -> impl Iterator<Item = &Activity> {
        self.all(Kind::Activity).filter_map(|stored| match stored.value.as_ref() {
            Value::Activity(activity) => Some(activity),
            _ => None,
        })
    }

    /// One machine's activities.
    pub(crate) fn activities_of(&self, machine: &MachineName) -> impl Iterator<Item = &Activity> {
        let prefix = smol_str::format_smolstr!("{machine}-");
        let names = self.objects.get(&Kind::Activity).into_iter().flat_map({
            let prefix = prefix.clone();
            move |all| all.range(prefix.clone()..)
        });
        let activities =
            names.take_while(move |(name, _)| name.starts_with(prefix.as_str())).filter_map(|(_, stored)| {
                match stored.value.as_ref() {
                    Value::Activity(activity) => Some(activity),
                    _ => None,
                }
            });
        let machine = machine.clone();
        activities.filter(move |activity| activity.spec.name.machine == machine)
    }

    pub(crate) fn policy(&self) -> Policy {
        match self.get(Kind::Policy, "default").map(|stored| stored.value.as_ref()) {
            Some(Value::Policy(policy, _)) => policy.clone(),
            _ => Policy::default(),
        }
    }

    /// What rollouts have on record.
    pub(crate) fn rollouts(&self) -> impl Iterator<Item = (&BaselineRef, &Rollout)> {
        self.all(Kind::Rollout).filter_map(|stored| match stored.value.as_ref() {
            Value::Rollout(baseline, rollout) => Some((baseline, rollout)),
            _ => None,
        })
    }

    /// What people said of items.
    pub(crate) fn approvals(&self) -> impl Iterator<Item = &RolloutApproval> {
        self.all(Kind::Approval).filter_map(|stored| match stored.value.as_ref() {
            Value::Approval(approval) => Some(&**approval),
            _ => None,
        })
    }

    pub(crate) fn window_override(&self, name: &ObjectName) -> Option<&WindowOverride> {
        match self.get(Kind::Override, name.as_str())?.value.as_ref() {
            Value::Override(one) => Some(one),
            _ => None,
        }
    }

    pub(crate) fn windows(&self) -> impl Iterator<Item = &Window> {
        self.all(Kind::Window).filter_map(|stored| match stored.value.as_ref() {
            Value::Window(window) => Some(window),
            _ => None,
        })
    }

    /// Changes a machine's object, if it is there.
    pub(crate) fn edit_machine(&mut self, name: &MachineName, edit: impl FnOnce(&mut MachineObject)) -> bool {
        let Some(mut object) = self.machine(name).cloned() else { return false };
        edit(&mut object);
        self.put(Value::Machine(object));
        true
    }

    /// Changes an activity, if it is there.
    pub(crate) fn edit_activity(&mut self, name: &ActivityName, edit: impl FnOnce(&mut Activity)) -> bool {
        let Some(mut activity) = self.activity(name).map(|(_, activity)| activity.clone()) else {
            return false;
        };
        edit(&mut activity);
        self.put(Value::Activity(activity));
        true
    }
}
