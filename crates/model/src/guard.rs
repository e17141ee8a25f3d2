//! What restrains change: windows, budgets, the fleet's policy.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::{LabelSelector, ObjectName, Provenance, Share, Uid, When};

/// A MaintenanceWindow.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Its name.
    pub name: ObjectName,
    /// Its uid.
    pub uid: Uid,
    /// `metadata.generation`.
    pub generation: i64,
    /// Which machines.
    pub selector: LabelSelector,
    /// Allow or deny.
    pub action: WindowAction,
    /// When it is open; `Err` with the reason when it cannot be read, which closes its machines (rule W7).
    pub when: Result<When, String>,
    /// Nothing starts in the last part of it.
    pub cutoff: SignedDuration,
    /// Which step types it is about; `None`: all, future ones too.
    pub covers: Option<BTreeSet<Cover>>,
    /// Of a Deny: whether a WindowOverride may pass it (rule W9).
    pub overridable: bool,
    /// Where it was written.
    pub provenance: Option<Provenance>,
}

impl Window {
    /// Whether it is about that kind of step.
    #[must_use]
    pub fn covers(&self, cover: Cover) -> bool {
        self.covers.as_ref().is_none_or(|covers| covers.contains(&cover))
    }
}

/// What an open window means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowAction {
    /// Steps may start.
    Allow,
    /// No step may start: a freeze.
    Deny,
}

/// The kinds of step that windows tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Cover {
    /// Package changes, holds and repairs.
    Packages,
    /// Kernel installs and selection.
    Kernel,
    /// Reboots.
    Reboot,
}

impl Cover {
    /// Its name in resources.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Packages => "Packages",
            Self::Kernel => "Kernel",
            Self::Reboot => "Reboot",
        }
    }
}

/// A DisruptionBudget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its name.
    pub name: ObjectName,
    /// Its uid.
    pub uid: Uid,
    /// `metadata.generation`.
    pub generation: i64,
    /// Which machines.
    pub selector: LabelSelector,
    /// How many of them.
    pub limit: BudgetLimit,
    /// Whether silent machines of which nothing was in flight count (rule B4).
    pub absent: AbsentMachines,
    /// Where it was written.
    pub provenance: Option<Provenance>,
}

/// The number of a budget (rule B1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetLimit {
    /// At most so many may be unavailable.
    MaxUnavailable(Share),
    /// At least so many must be available.
    MinAvailable(Share),
}

impl BudgetLimit {
    /// How many of `n` machines may be unavailable at a time.
    #[must_use]
    pub fn allowed_of(&self, n: usize) -> usize {
        match self {
            Self::MaxUnavailable(share) => share.max_unavailable_of(n),
            Self::MinAvailable(share) => n.saturating_sub(share.min_available_of(n)),
        }
    }
}

/// What a budget does with machines that are absent (rule B4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AbsentMachines {
    /// They count: an absent etcd member is one that the cluster misses.
    #[default]
    Count,
    /// They leave the group: closed laptops.
    Ignore,
}

/// The FleetPolicy named `default`, or its defaults where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Nothing starts in the namespace.
    pub suspend: bool,
    /// Whether machines without an Allow window may be changed at any time.
    pub windows: WindowsPolicy,
    /// Silent for so long: counts as unavailable (rule B2).
    pub unreachable_after: SignedDuration,
    /// Silent for so long: absent (rule B4).
    pub absent_after: SignedDuration,
    /// A report older than that says nothing any more (rule M1).
    pub freshness: SignedDuration,
    /// Finished activities kept for each machine (rule A10).
    pub history_limit: u32,
    /// How long finished activities are kept (rule A10).
    pub ttl: SignedDuration,
    /// How long an activity may wait to be begun after it was created (rule A4).
    pub activity_expiry: SignedDuration,
    /// The most machines that one change may affect, as plans of changes judge it; absent: no limit.
    pub blast_radius: Option<Share>,
    /// Estimates of how long steps take, p95 (rule W2).
    pub estimates: Estimates,
    /// How long half of them take, p50: for forecasts.
    pub medians: Estimates,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            suspend: false,
            windows: WindowsPolicy::Optional,
            unreachable_after: SignedDuration::from_mins(5),
            absent_after: SignedDuration::from_hours(24),
            freshness: SignedDuration::from_hours(1),
            history_limit: 10,
            ttl: SignedDuration::from_hours(30 * 24),
            activity_expiry: SignedDuration::from_hours(1),
            blast_radius: None,
            estimates: Estimates::default(),
            medians: Estimates::default(),
        }
    }
}

/// Whether a machine needs an Allow window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowsPolicy {
    /// Without any Allow window a machine may be changed at any time.
    #[default]
    Optional,
    /// Without any Allow window a machine is never changed.
    Required,
}

/// How long steps take, by kind of cover (rule W2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimates {
    /// A package transaction, hold or repair.
    pub packages: SignedDuration,
    /// A kernel change.
    pub kernel: SignedDuration,
    /// A reboot.
    pub reboot: SignedDuration,
}

impl Estimates {
    /// The estimate for one kind of step.
    #[must_use]
    pub fn of(&self, cover: Cover) -> SignedDuration {
        match cover {
            Cover::Packages => self.packages,
            Cover::Kernel => self.kernel,
            Cover::Reboot => self.reboot,
        }
    }
}

impl Default for Estimates {
    fn default() -> Self {
        Self {
            packages: SignedDuration::from_mins(10),
            kernel: SignedDuration::from_mins(15),
            reboot: SignedDuration::from_mins(10),
        }
    }
}
