//! How long steps take, measured (rule W2): of each kind the last steps that ended, and their percentiles.
//!
//! What is kept depends on which activities were seen, not on the order in which a watch showed them: a controller that
//! starts anew measures what the activities that are kept say.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use muster_model::{Activity, ActivityName, Cover, Estimates, Instant, StepAction};

/// So many of the last steps of each kind are looked at: enough for a 95th percentile that one slow machine does not make,
/// few enough to follow a fleet whose updates grow.
const KEPT: usize = 200;

/// Fewer than so many say nothing yet: the 95th percentile of fewer is the longest of them.
const ENOUGH: usize = 20;

/// What is measured is rounded up to this, so that a record changes when it says something new.
const ROUNDED_SECONDS: i64 = 30;

/// The steps that ended, by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durations {
    ended: BTreeMap<Cover, BTreeMap<(Instant, ActivityName, usize), SignedDuration>>,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) p50: Estimates,
    pub(crate) p95: Estimates,
}

impl Durations {
    /// Takes in a finished activity; twice is as once.
    pub(crate) fn observe(&mut self, activity: &Activity) {
        if !activity.phase.is_finished() {
            return;
        }
        for (place, (step, status)) in activity.spec.steps.iter().zip(&activity.steps).enumerate() {
            let (Some(started), Some(completed)) = (status.started, status.completed) else { continue };
            let counts = match step.action {
                StepAction::InstallPackages(_)
                | StepAction::RemovePackages(_)
                | StepAction::RepairPackages
                | StepAction::Reboot { .. } => completed >= started,
                // Take no time, and would make transactions look short.
                StepAction::HoldPackages { .. }
                | StepAction::SelectKernel(_)
                | StepAction::SetDefaultKernel(_) => false,
            };
            if counts {
                // A transaction that brings a kernel is measured as one, since it builds an initial file system, too.
                let cover = step.action.covers().last().copied().unwrap_or(step.action.cover());
                let kind = self.ended.entry(cover).or_default();
                let key = (completed, activity.spec.name.clone(), place);
                kind.insert(key, completed.duration_since(started));
                if kind.len() > KEPT {
                    kind.pop_first();
                }
            }
        }
    }

    /// What is known by now; of a kind with too few steps what was known `before`.
    pub(crate) fn measured(&self, before: &Measured) -> Measured {
        let of = |cover| {
            let known = (before.p50.of(cover), before.p95.of(cover));
            match self.ended.get(&cover).filter(|ended| ended.len() >= ENOUGH) {
                None => known,
                Some(ended) => {
                    let mut lengths: Vec<SignedDuration> = ended.values().copied().collect();
                    lengths.sort_unstable();
                    (percentile(&lengths, 50), percentile(&lengths, 95))
                }
            }
        };
        let (packages, kernel, reboot) = (of(Cover::Packages), of(Cover::Kernel), of(Cover::Reboot));
        Measured {
            p50: Estimates { packages: packages.0, kernel: kernel.0, reboot: reboot.0 },
            p95: Estimates { packages: packages.1, kernel: kernel.1, reboot: reboot.1 },
        }
    }
}

/// The nearest-rank percentile of sorted lengths, rounded up.
fn percentile(sorted: &[SignedDuration], percent: usize) -> SignedDuration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    let length = sorted[rank - 1];
    let whole = length.as_secs() + i64::from(length.subsec_nanos() > 0);
    let parts = ((whole + ROUNDED_SECONDS - 1) / ROUNDED_SECONDS).max(1);
    SignedDuration::from_secs(parts * ROUNDED_SECONDS)
}
