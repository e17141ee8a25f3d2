//! How changes spread: what a baseline asks for, what is recorded of each item, and what people said about it.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{
    Architecture, BaselineRef, DebianVersion, Instant, LabelSelector, ObjectName, PackageKey, PackageName,
    Share,
};

/// How many waves a rollout may have: each asks for evidence of its own, and ten are a week of soaking already.
pub const MAX_WAVES: usize = 10;

/// The implicit last wave, of all machines that no wave picks (rule O1): no wave may be called so.
pub const REST: &str = "rest";

/// How items spread over a baseline's machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutSpec {
    /// In their order; the rest of the machines is the last, implicitly (rule O1).
    pub waves: Vec<Wave>,
    /// The label by whose values each wave goes zone by zone (rule O6).
    pub zone_key: Option<SmolStr>,
    /// How many of the selected machines may be unavailable at a time (rule B1).
    pub max_unavailable: Share,
    /// How many machines may fail an item before it is barred (rule O3), in each wave and over all: floor, no minimum.
    pub max_failures: Share,
    /// How long a machine holds its place after success.
    pub min_ready: SignedDuration,
}

/// One wave: the machines that take an item before the waves after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    /// Its name, by which its evidence is recorded.
    pub name: ObjectName,
    /// Which machines.
    pub picks: Picks,
    /// How long after the last of them got an item the wave goes on judging it (rule O2).
    pub soak: SignedDuration,
    /// Whether a person must have approved an item before anything of it starts in the wave (rule O7).
    pub approval: Approval,
}

/// Which machines a wave picks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picks {
    /// Those that the selector matches.
    Selected(LabelSelector),
    /// This share of all the baseline's machines, by a stable hash: a larger share holds a smaller one.
    Share(Share),
}

/// Whether a wave waits for a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Approval {
    /// No.
    #[default]
    None,
    /// Yes: for an approval of each item.
    Required,
}

/// What an item makes of a resource: the exact target (rule O1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Gone. It orders before any version, so that the items of a package begin with it.
    Absent,
    /// This version.
    Version(DebianVersion),
}

/// How a baseline's items have spread: a BaselineRollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// By item.
    pub items: BTreeMap<Item, ItemProgress>,
}

impl Rollout {
    /// Whether the two differ in nothing but counts.
    #[must_use]
    pub fn decides_like(&self, other: &Self) -> bool {
        fn marks(
            rollout: &Rollout,
        ) -> impl Iterator<Item = (&Item, [Option<Instant>; 6], Vec<WaveMark<'_>>)> {
            rollout.items.iter().map(|(item, progress)| {
                let ItemProgress {
                    wanted: _,
                    done: _,
                    failed: _,
                    barred,
                    seen,
                    released,
                    approved,
                    resumed,
                    paused,
                    waves,
                } = progress;
                let waves = waves.iter().filter(|(_, wave)| wave.passed.is_some() || wave.zone.is_some());
                let waves = waves.map(|(name, wave)| (name, wave.passed, wave.zone.as_ref()));
                (item, [*barred, *seen, *released, *approved, *resumed, *paused], waves.collect())
            })
        }
        marks(self).eq(marks(other))
    }
}

/// What a wave decided.
type WaveMark<'a> = (&'a ObjectName, Option<Instant>, Option<&'a SmolStr>);

/// A requirement's exact target, for one package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// The package.
    pub package: PackageKey,
    /// What it is to be.
    pub target: Target,
}

/// How far one item is. Instants are whole seconds, as they are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemProgress {
    /// Machines whose target it is.
    pub wanted: usize,
    /// Of these, machines that have it.
    pub done: usize,
    /// Machines with at least one failed attempt that still counts (rule O3).
    pub failed: usize,
    /// Barred since then: sticks until the target changes or a person resumes it (rule O3).
    pub barred: Option<Instant>,
    /// When it was first seen.
    pub seen: Option<Instant>,
    /// Since when it may go to every machine: it has passed every wave (rule O2), and every zone of the rest (rule O6).
    pub released: Option<Instant>,
    /// When a person approved it (rule O7).
    pub approved: Option<Instant>,
    /// When a person last resumed it: failures before that count no more (rule O3).
    pub resumed: Option<Instant>,
    /// Since when a wave holds it up that can bring no evidence (rule O2).
    pub paused: Option<Instant>,
    /// What is known of its waves, by name.
    pub waves: BTreeMap<ObjectName, WaveProgress>,
}

/// What one wave says of one item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaveProgress {
    /// Machines of the wave whose target the item is.
    pub wanted: usize,
    /// Of these, machines that have it, healthy.
    pub done: usize,
    /// Of these, machines that are skipped (rule O2).
    pub skipped: usize,
    /// Machines of the wave that failed it.
    pub failed: usize,
    /// Since when the last of those that have it has it.
    pub since: Option<Instant>,
    /// A hash of who they were then: when they are others, though as many, it is not since then. It goes once the wave has
    /// passed.
    pub holders: Option<u64>,
    /// The last zone that passed it; zones go in the order of their names (rule O6).
    pub zone: Option<SmolStr>,
    /// When it passed, for good (rule O2).
    pub passed: Option<Instant>,
}

/// What a person said about a baseline's items: a RolloutApproval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutApproval {
    /// Its name.
    pub name: ObjectName,
    /// The baseline.
    pub baseline: BaselineRef,
    /// Which items of it.
    pub items: Items,
    /// What is to happen.
    pub action: ApprovalAction,
    /// Who said so.
    pub by: SmolStr,
    /// When, by the API server's clock.
    pub created: Instant,
    /// Somebody keeps it in a file and applies that, or another object owns it: whoever deletes it sees it come back.
    pub applied: bool,
}

impl RolloutApproval {
    /// In this order words count, the last one most; of the same second a pause comes last, so that it counts.
    #[must_use]
    pub fn order(&self) -> (Instant, ApprovalAction, &ObjectName) {
        (self.created, self.action, &self.name)
    }

    /// Whether it approves an item that was first seen then. Who approves without naming a target approves what there is
    /// to see, not what comes (rule O7).
    #[must_use]
    pub fn approves(&self, item: &Item, seen: Instant) -> bool {
        let names_target = match &self.items {
            Items::All => false,
            Items::Of { target, .. } => target.is_some(),
        };
        self.action == ApprovalAction::Approve
            && self.items.contain(item)
            && (names_target || self.created >= seen)
    }
}

/// Which items somebody spoke of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items {
    /// All of the baseline's.
    All,
    /// Those of one package.
    Of {
        /// The package.
        package: PackageName,
        /// Its architecture; absent: any.
        architecture: Option<Architecture>,
        /// The exact target; absent: any.
        target: Option<Target>,
    },
}

impl Items {
    /// Whether all that are among the others are among them.
    #[must_use]
    pub fn cover(&self, others: &Self) -> bool {
        fn all_of<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
            one.is_none() || one == other
        }
        match (self, others) {
            (Self::All, _) => true,
            (Self::Of { .. }, Self::All) => false,
            (
                Self::Of { package, architecture, target },
                Self::Of { package: p, architecture: a, target: t },
            ) => {
                package == p
                    && all_of(architecture.as_ref(), a.as_ref())
                    && all_of(target.as_ref(), t.as_ref())
            }
        }
    }

    /// Whether an item may be among both.
    #[must_use]
    pub fn meet(&self, others: &Self) -> bool {
        fn some_of<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        match (self, others) {
            (Self::All, _) | (_, Self::All) => true,
            (
                Self::Of { package, architecture, target },
                Self::Of { package: p, architecture: a, target: t },
            ) => {
                package == p
                    && some_of(architecture.as_ref(), a.as_ref())
                    && some_of(target.as_ref(), t.as_ref())
            }
        }
    }

    /// Whether the item is among them.
    #[must_use]
    pub fn contain(&self, item: &Item) -> bool {
        match self {
            Self::All => true,
            Self::Of { package, architecture, target } => {
                *package == item.package.name
                    && architecture.as_ref().is_none_or(|wanted| *wanted == item.package.architecture)
                    && target.as_ref().is_none_or(|wanted| *wanted == item.target)
            }
        }
    }
}

/// What is to happen to items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ApprovalAction {
    /// They go on: bars fall, a wave without evidence is passed over, an earlier pause ends.
    Resume,
    /// They may enter waves that ask for it (rule O7).
    Approve,
    /// They start nowhere until they are resumed.
    Pause,
}

impl ApprovalAction {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resume => "Resume",
            Self::Approve => "Approve",
            Self::Pause => "Pause",
        }
    }
}
