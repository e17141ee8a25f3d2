//! What the controller watches, and what each object that comes or goes tells `fleet`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Api;
use kube::core::DeserializeGuard;
use muster_crds::names;
use muster_fleet::{Change, Key};
use muster_model::{BaselineKind, BaselineRef, Digest, MachineName, ObjectName, ProposalKey};
use smol_str::SmolStr;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::warn;

use crate::mirror::Unmirrored;
use crate::unreadable::reopening;
use crate::watch::{Kind, News, watch};
use crate::write::Writer;
use crate::{Settings, clock, read};

/// What must have been seen whole before the first pass: a list of each kind, and the server's clock.
pub(crate) const KINDS: [&str; 16] = [
    clock::CLOCK,
    "fleetmachines",
    "packagebaselines",
    "kernelbaselines",
    "maintenancewindows",
    "windowoverrides",
    "disruptionbudgets",
    "fleetpolicies",
    "packageinventories",
    "packageproposals",
    "baselinerollouts",
    "rolloutapprovals",
    "activities",
    "gitsources",
    "leases",
    "presence",
];

/// A task for each of them, which tells what it sees; facts that are no labels yet it tells apart.
pub(crate) fn watches(
    settings: &Settings,
    writer: &Arc<Writer>,
    news: &mpsc::Sender<News>,
    facts: mpsc::UnboundedSender<Unmirrored>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    macro_rules! kind {
        ($type:ty, $name:literal, $selector:expr, $kind:expr) => {
            let api: Api<DeserializeGuard<$type>> =
                Api::namespaced(settings.client.clone(), &settings.namespace);
            tasks.spawn(watch(api, $selector, reopening($kind), news.clone()));
        };
    }
    kind!(muster_crds::FleetMachine, "fleetmachines", None, machines(writer, facts));
    kind!(
        muster_crds::PackageBaseline,
        "packagebaselines",
        None,
        kept("packagebaselines", writer, read::package_baseline, |name| {
            Key::Baseline(BaselineRef { kind: BaselineKind::PackageBaseline, name })
        })
    );
    kind!(
        muster_crds::KernelBaseline,
        "kernelbaselines",
        None,
        kept("kernelbaselines", writer, read::kernel_baseline, |name| {
            Key::Baseline(BaselineRef { kind: BaselineKind::KernelBaseline, name })
        })
    );
    kind!(
        muster_crds::MaintenanceWindow,
        "maintenancewindows",
        None,
        kept("maintenancewindows", writer, read::window, Key::Window)
    );
    kind!(muster_crds::WindowOverride, "windowoverrides", None, overrides());
    kind!(
        muster_crds::DisruptionBudget,
        "disruptionbudgets",
        None,
        kept("disruptionbudgets", writer, read::budget, Key::Budget)
    );
    kind!(muster_crds::FleetPolicy, "fleetpolicies", None, policies(writer));
    kind!(muster_crds::PackageInventory, "packageinventories", None, inventories(writer));
    kind!(muster_crds::PackageProposal, "packageproposals", None, proposals(writer));
    kind!(muster_crds::BaselineRollout, "baselinerollouts", None, rollouts(writer));
    kind!(
        muster_crds::RolloutApproval,
        "rolloutapprovals",
        None,
        plain("rolloutapprovals", read::approval, read::approval_gone)
    );
    kind!(muster_crds::Activity, "activities", None, plain("activities", read::activity, activity_gone));
    kind!(muster_crds::GitSource, "gitsources", None, plain("gitsources", read::source, source_gone));
    kind!(
        k8s_openapi::api::coordination::v1::Lease,
        "leases",
        None,
        plain("leases", read::lease, read::lease_gone)
    );
    kind!(
        k8s_openapi::api::core::v1::ConfigMap,
        "presence",
        Some("muster.dev/presence=true"),
        plain("presence", read::presence_shard, read::presence_gone)
    );
    tasks
}

/// A kind that is only read.
fn plain<K: 'static>(
    name: &'static str,
    read: fn(K) -> Vec<Change>,
    gone: fn(&str) -> Vec<Change>,
) -> Kind<K> {
    Kind {
        name,
        read: Box::new(read),
        gone: Box::new(move |object, ()| gone(object)),
        unreadable: Box::new(move |object, why| {
            vec![Change::Unreadable(read::place(name, object), Some(why))]
        }),
    }
}

/// What does not parse lets nothing pass, and closes nothing.
fn overrides() -> Kind<muster_crds::WindowOverride> {
    Kind {
        name: "windowoverrides",
        read: Box::new(read::window_override),
        gone: Box::new(|object, ()| read::window_override_gone(object)),
        unreadable: Box::new(|object, why| {
            warn!(window_override = object, why, "the WindowOverride cannot be read");
            read::window_override_gone(object)
        }),
    }
}

/// A kind whose status we write: what was seen is remembered for that.
fn kept<K: 'static>(
    name: &'static str,
    writer: &Arc<Writer>,
    read: fn(K) -> read::Read,
    key: impl Fn(ObjectName) -> Key + Send + Sync + 'static,
) -> Kind<K> {
    let (seen_by, forgotten_by) = (writer.clone(), writer.clone());
    Kind {
        name,
        read: Box::new(move |object| remember(&seen_by, read(object))),
        gone: Box::new(move |object, ()| {
            let Ok(object) = ObjectName::parse(object) else { return Vec::new() };
            let key = key(object);
            forgotten_by.forget(&key);
            gone(key)
        }),
        unreadable: Box::new(move |object, why| {
            vec![Change::Unreadable(read::place(name, object), Some(why))]
        }),
    }
}

fn remember(writer: &Writer, (changes, seen): read::Read) -> Vec<Change> {
    if let Some((key, seen)) = seen {
        writer.see(key, seen);
    }
    changes
}

fn gone(key: Key) -> Vec<Change> {
    match key {
        Key::Baseline(baseline) => {
            let what = read::place(baseline.kind.as_str(), baseline.name.as_str());
            vec![Change::BaselineGone(baseline), Change::Unreadable(what, None)]
        }
        Key::Window(name) => {
            let what = read::place("MaintenanceWindow", name.as_str());
            vec![Change::WindowGone(name), Change::Unreadable(what, None)]
        }
        Key::Budget(name) => {
            let what = read::place("DisruptionBudget", name.as_str());
            vec![Change::BudgetGone(name), Change::Unreadable(what, None)]
        }
        Key::Rollout(baseline) => vec![Change::RolloutGone(baseline)],
        Key::Machine(name) => vec![Change::MachineGone(name)],
        Key::Activity(name) => vec![Change::ActivityGone(name)],
        Key::Approval(name) => read::approval_gone(name.as_str()),
        Key::Policy | Key::Garbage(_) => Vec::new(),
    }
}

fn machines(
    writer: &Arc<Writer>,
    facts: mpsc::UnboundedSender<Unmirrored>,
) -> Kind<muster_crds::FleetMachine> {
    let (seen_by, forgotten_by) = (writer.clone(), writer.clone());
    Kind {
        name: "fleetmachines",
        read: Box::new(move |object| {
            let machine = object.metadata.name.clone().unwrap_or_default();
            let version = object.metadata.resource_version.as_ref().and_then(|version| version.parse().ok());
            let (read, unmirrored) = read::machine(object);
            if let Some(unmirrored) = unmirrored {
                drop(facts.send(Unmirrored { machine, version, facts: unmirrored }));
            }
            remember(&seen_by, read)
        }),
        gone: Box::new(move |object, ()| {
            let Ok(name) = MachineName::parse(object) else { return Vec::new() };
            let key = Key::Machine(name);
            forgotten_by.forget(&key);
            gone(key)
        }),
        // It is not planned for; others are.
        unreadable: Box::new(|object, why| {
            warn!(machine = object, why, "the FleetMachine cannot be read; it is not planned for");
            MachineName::parse(object).map(|name| vec![Change::MachineGone(name)]).unwrap_or_default()
        }),
    }
}

fn policies(writer: &Arc<Writer>) -> Kind<muster_crds::FleetPolicy> {
    let (seen_by, forgotten_by) = (writer.clone(), writer.clone());
    Kind {
        name: "fleetpolicies",
        read: Box::new(move |object| remember(&seen_by, read::policy(object))),
        gone: Box::new(move |object, ()| {
            if object == names::FLEET_POLICY_NAME {
                forgotten_by.forget(&Key::Policy);
                vec![Change::Policy(None), Change::Unreadable(read::place("FleetPolicy", object), None)]
            } else {
                Vec::new()
            }
        }),
        unreadable: Box::new(|object, why| {
            vec![Change::Unreadable(read::place("FleetPolicy", object), Some(why))]
        }),
    }
}

/// Inventories and proposals are named by their digest, which the name holds only in part: the full one is remembered.
fn inventories(writer: &Arc<Writer>) -> Kind<muster_crds::PackageInventory> {
    let names: Arc<std::sync::Mutex<BTreeMap<String, Digest>>> = Arc::default();
    let (seen_by, known) = (writer.clone(), names.clone());
    Kind {
        name: "packageinventories",
        read: Box::new(move |object| {
            if let (Some(name), Ok(digest)) =
                (object.metadata.name.clone(), Digest::parse(&object.spec.digest))
            {
                lock(&known).insert(name, digest);
            }
            remember(&seen_by, read::inventory(object))
        }),
        gone: Box::new(move |object, ()| {
            lock(&names).remove(object).map(Change::InventoryGone).into_iter().collect()
        }),
        unreadable: Box::new(|object, why| {
            warn!(inventory = object, why, "the inventory cannot be read");
            Vec::new()
        }),
    }
}

fn proposals(writer: &Arc<Writer>) -> Kind<muster_crds::PackageProposal> {
    let names: Arc<std::sync::Mutex<BTreeMap<String, ProposalKey>>> = Arc::default();
    let (seen_by, known) = (writer.clone(), names.clone());
    Kind {
        name: "packageproposals",
        read: Box::new(move |object| {
            let name = object.metadata.name.clone();
            let read = read::proposal(object);
            if let (Some(name), Some(Change::Proposal(key, ..))) = (name, read.0.first()) {
                lock(&known).insert(name, key.clone());
            }
            remember(&seen_by, read)
        }),
        gone: Box::new(move |object, ()| {
            lock(&names).remove(object).map(Change::ProposalGone).into_iter().collect()
        }),
        unreadable: Box::new(|object, why| {
            warn!(proposal = object, why, "the proposal cannot be read");
            Vec::new()
        }),
    }
}

fn rollouts(writer: &Arc<Writer>) -> Kind<muster_crds::BaselineRollout> {
    let (seen_by, forgotten_by) = (writer.clone(), writer.clone());
    Kind {
        name: "baselinerollouts",
        read: Box::new(move |object| remember(&seen_by, read::rollout(object))),
        gone: Box::new(move |object, ()| {
            let Some(baseline) = rollout_of(object) else { return Vec::new() };
            let key = Key::Rollout(baseline);
            forgotten_by.forget(&key);
            gone(key)
        }),
        unreadable: Box::new(|object, why| {
            vec![Change::Unreadable(read::place("BaselineRollout", object), Some(why))]
        }),
    }
}

/// The baseline of a rollout, from the rollout's name.
fn rollout_of(name: &str) -> Option<BaselineRef> {
    [BaselineKind::PackageBaseline, BaselineKind::KernelBaseline].into_iter().find_map(|kind| {
        let name = ObjectName::parse(name.strip_prefix(kind.rollout_prefix())?).ok()?;
        Some(BaselineRef { kind, name })
    })
}

fn activity_gone(name: &str) -> Vec<Change> {
    let unreadable = Change::Unreadable(read::place("Activity", name), None);
    muster_model::ActivityName::parse(name)
        .map(|name| vec![Change::ActivityGone(name), unreadable])
        .unwrap_or_default()
}

fn source_gone(name: &str) -> Vec<Change> {
    vec![Change::Source(SmolStr::new(name), None)]
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
