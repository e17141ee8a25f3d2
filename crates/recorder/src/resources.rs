//! Resources as events: every field of the model is either told or named here as one that no rule needs.

use muster_checker::event::{self, Expression, Operator, Selector};
use muster_fleet::SourceState;
use muster_model::{
    Approval, ApprovalAction, BaselineCommon, Budget, BudgetLimit, Health, Instant, Item, ItemProgress,
    Items, KernelBaseline, LabelSelector, LabelTest, OverrideWhat, PackageBaseline, PackageRequirement,
    Picks, Policy, RebootPolicy, Rollout, RolloutApproval, RolloutSpec, Target, UpgradePolicy, Wave, When,
    Window, WindowOverride,
};
use smol_str::{SmolStr, ToSmolStr};

use crate::activity::duration;

fn selector(selector: &LabelSelector) -> Selector {
    let mut told = Selector::default();
    for (key, test) in selector.terms() {
        let (operator, values) = match test {
            LabelTest::Is(value) => {
                told.match_labels.insert(SmolStr::new(key), value.clone());
                continue;
            }
            LabelTest::In(values) => (Operator::In, values.clone()),
            LabelTest::NotIn(values) => (Operator::NotIn, values.clone()),
            LabelTest::Exists => (Operator::Exists, Default::default()),
            LabelTest::DoesNotExist => (Operator::DoesNotExist, Default::default()),
        };
        told.match_expressions.push(Expression { key: SmolStr::new(key), operator, values });
    }
    told
}

fn revision(provenance: Option<&muster_model::Provenance>) -> Option<SmolStr> {
    provenance.map(|provenance| provenance.revision.clone())
}

/// The items that are on record as released, and not barred.
#[must_use]
pub fn released(rollout: &Rollout) -> Vec<event::ReleasedItem> {
    let released = rollout.items.iter().filter(|(_, progress)| progress.barred.is_none());
    let item = |(item, progress): (&Item, &ItemProgress)| {
        let to = match &item.target {
            Target::Version(version) => Some(version.clone()),
            Target::Absent => None,
        };
        Some(event::ReleasedItem { package: item.package.clone(), to, since: progress.released? })
    };
    released.filter_map(item).collect()
}

/// A PackageBaseline.
#[must_use]
pub fn package_baseline(baseline: &PackageBaseline) -> event::Baseline {
    let PackageBaseline {
        common,
        packages,
        upgrades,
        downgrades,
        removals,
        conffiles,
        reboot,
        health,
        rollout,
    } = baseline;
    let BaselineCommon { name, uid, generation: _, selector: machines, mode, priority, provenance } = common;
    let RebootPolicy { policy, timeout } = reboot;
    let Health { units, settle } = health;
    event::Baseline {
        kind: baseline.reference().kind,
        name: name.clone(),
        uid: uid.clone(),
        revision: revision(provenance.as_ref()),
        selector: selector(machines),
        mode: *mode,
        priority: *priority,
        packages: packages.iter().map(requirement).collect(),
        upgrades: upgrades.map(|policy| {
            SmolStr::new_static(match policy {
                UpgradePolicy::None => "None",
                UpgradePolicy::Security => "Security",
                UpgradePolicy::All => "All",
            })
        }),
        downgrades: *downgrades,
        removals: *removals,
        conffiles: *conffiles,
        reboot: *policy,
        reboot_timeout: Some(duration(*timeout)),
        units: units.clone(),
        settle: duration(*settle),
        rollout: Some(spread(rollout)),
    }
}

fn requirement(requirement: &PackageRequirement) -> event::Requirement {
    let PackageRequirement { name, architecture, state, version, hold } = requirement;
    event::Requirement {
        name: name.clone(),
        architecture: architecture.clone(),
        state: *state,
        version: version.to_smolstr(),
        hold: *hold,
    }
}

/// What a person said. A target that is to be gone has no version: the log then names the package alone.
#[must_use]
pub fn approval(approval: &RolloutApproval) -> event::Approval {
    let RolloutApproval { name, baseline, items, action, by, created, applied: _ } = approval;
    let item = match items {
        Items::All => None,
        Items::Of { package, architecture, target } => Some(event::ItemPattern {
            baseline: Some(baseline.clone()),
            package: Some(package.clone()),
            architecture: architecture.clone(),
            version: match target {
                Some(Target::Version(version)) => Some(version.clone()),
                Some(Target::Absent) | None => None,
            },
            reboot: false,
        }),
    };
    event::Approval {
        name: name.clone(),
        baseline: baseline.clone(),
        action: match action {
            ApprovalAction::Approve => event::ApprovalAction::Approve,
            ApprovalAction::Pause => event::ApprovalAction::Pause,
            ApprovalAction::Resume => event::ApprovalAction::Resume,
        },
        item,
        wave: None,
        created: *created,
        by: by.clone(),
        reason: SmolStr::default(),
    }
}

fn spread(rollout: &RolloutSpec) -> event::Rollout {
    let RolloutSpec { waves, zone_key, max_unavailable, max_failures, min_ready } = rollout;
    event::Rollout {
        waves: waves.iter().map(wave).collect(),
        max_unavailable: *max_unavailable,
        max_failures: *max_failures,
        min_ready: duration(*min_ready),
        zone_key: zone_key.clone(),
    }
}

fn wave(wave: &Wave) -> event::Wave {
    let Wave { name, picks, soak, approval } = wave;
    let (machines, share) = match picks {
        Picks::Selected(machines) => (Some(selector(machines)), None),
        Picks::Share(share) => (None, Some(*share)),
    };
    event::Wave {
        name: name.as_str().into(),
        selector: machines,
        machines: share,
        soak: duration(*soak),
        max_failures: None,
        approval_required: *approval == Approval::Required,
    }
}

/// A KernelBaseline: its one requirement is the package that it follows.
#[must_use]
pub fn kernel_baseline(baseline: &KernelBaseline) -> event::Baseline {
    let KernelBaseline { common, package, command_line: _, keep: _, reboot, health, rollout } = baseline;
    let BaselineCommon { name, uid, generation: _, selector: machines, mode, priority, provenance } = common;
    let RebootPolicy { policy, timeout } = reboot;
    let Health { units, settle } = health;
    event::Baseline {
        kind: baseline.reference().kind,
        name: name.clone(),
        uid: uid.clone(),
        revision: revision(provenance.as_ref()),
        selector: selector(machines),
        mode: *mode,
        priority: *priority,
        packages: vec![requirement(package)],
        upgrades: None,
        downgrades: Default::default(),
        removals: Default::default(),
        conffiles: Default::default(),
        reboot: *policy,
        reboot_timeout: Some(duration(*timeout)),
        units: units.clone(),
        settle: duration(*settle),
        rollout: Some(spread(rollout)),
    }
}

/// A MaintenanceWindow.
#[must_use]
pub fn window(window: &Window) -> event::Window {
    let Window {
        name,
        uid: _,
        generation: _,
        selector: machines,
        action,
        when,
        cutoff,
        covers,
        overridable,
        provenance,
    } = window;
    let mut told = event::Window {
        name: name.clone(),
        revision: revision(provenance.as_ref()),
        selector: selector(machines),
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
        Ok(When::Recurring(recurrence)) => {
            told.schedule = Some(SmolStr::new(recurrence.schedule().as_str()));
            told.offset_days = recurrence.offset_days();
            told.time_zone = Some(SmolStr::new(recurrence.zone().name()));
            told.duration = Some(duration(recurrence.duration()));
        }
        Ok(When::Once { from, to }) => (told.from, told.to) = (Some(*from), Some(*to)),
        Err(why) => told.unreadable = Some(why.clone()),
    }
    told
}

/// A WindowOverride, as it is seen at `now`: when it was created, the model does not say.
#[must_use]
pub fn window_override(one: &WindowOverride, now: Instant) -> event::Override {
    let WindowOverride { name, windows, items, reason, until } = one;
    let items = items.iter().map(|item| {
        let (package, version, reboot) = match &item.what {
            OverrideWhat::Package(package, version) => (Some(package.clone()), Some(version.clone()), false),
            OverrideWhat::Reboot => (None, None, true),
        };
        let baseline = Some(item.baseline.clone());
        event::ItemPattern { baseline, package, architecture: None, version, reboot }
    });
    event::Override {
        name: name.clone(),
        windows: Some(windows.iter().cloned().collect()),
        items: items.collect(),
        selector: None,
        created: now,
        until: *until,
        by: SmolStr::default(),
        reason: SmolStr::new(reason),
    }
}

/// A DisruptionBudget.
#[must_use]
pub fn budget(budget: &Budget) -> event::Budget {
    let Budget { name, uid: _, generation: _, selector: machines, limit, absent, provenance } = budget;
    let (max_unavailable, min_available) = match limit {
        BudgetLimit::MaxUnavailable(share) => (Some(*share), None),
        BudgetLimit::MinAvailable(share) => (None, Some(*share)),
    };
    event::Budget {
        name: name.clone(),
        revision: revision(provenance.as_ref()),
        selector: selector(machines),
        max_unavailable,
        min_available,
        absent: *absent,
    }
}

/// The FleetPolicy, with what was measured.
#[must_use]
pub fn policy(policy: &Policy) -> event::Policy {
    let Policy {
        suspend,
        windows,
        unreachable_after,
        absent_after,
        freshness,
        history_limit,
        ttl,
        activity_expiry,
        // Judged of changes before they are merged, not of what happens.
        blast_radius: _,
        estimates,
        medians: _,
    } = policy;
    event::Policy {
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

/// A GitSource.
#[must_use]
pub fn source(name: &SmolStr, source: &SourceState) -> event::Source {
    let SourceState { revision, applying, owns } = source;
    event::Source { name: name.clone(), revision: revision.clone(), applying: *applying, owns: owns.clone() }
}
