//! Counting machines out as they were and in as they are.

use std::sync::Arc;

use muster_model::{Machine, Snapshot, UpgradePolicy};

use crate::budget::Standing;
use crate::case::Case;
use crate::known::{Dirty, Known, net::Net};
use crate::rollout::{failures, has_seats};
use crate::select::{Resources, has_same_labels};
use crate::summary::Conflicts;
use crate::timer::Timers;
use crate::twins::Twins;
use crate::upgrade::{self, recorded};

impl Known {
    /// Takes in which upgrades machines (by number) lack; whether the fleet knows of others than before.
    pub(super) fn learn(
        &mut self,
        snapshot: &Snapshot,
        resources: &Resources<'_>,
        lacks: Vec<(usize, Option<Arc<upgrade::Known>>)>,
    ) -> bool {
        let mut net = Net::new();
        for (place, lacks) in lacks {
            let kept = &mut self.kept[place];
            net.change(kept.lacks.as_ref(), lacks.as_ref());
            kept.lacks = lacks;
        }
        let mut learned = false;
        net.apply(
            &mut (&mut self.lacking, &mut learned),
            |(lacking, learned), known, machines| {
                for (upgrade, by) in known {
                    let of_upgrade = lacking.entry(upgrade.clone()).or_default();
                    for baseline in by {
                        let count = of_upgrade.entry(*baseline).or_insert(0);
                        **learned |= *count == 0;
                        *count += machines;
                    }
                }
            },
            |(lacking, learned), known, machines| {
                for (upgrade, by) in known {
                    let Some(of_upgrade) = lacking.get_mut(upgrade) else { continue };
                    for baseline in by {
                        if let Some(count) = of_upgrade.get_mut(baseline) {
                            *count -= machines;
                        }
                    }
                    of_upgrade.retain(|_, count| {
                        **learned |= *count == 0;
                        *count > 0
                    });
                    if of_upgrade.is_empty() {
                        lacking.remove(upgrade);
                    }
                }
            },
        );
        let asks = |place: &usize| {
            resources.packages[*place].upgrades.is_some_and(|policy| policy > UpgradePolicy::None)
        };
        let tracks = self.rollouts.tracks.iter().zip(&self.rollouts.references).enumerate();
        learned |= tracks
            .filter(|(place, _)| asks(place))
            .any(|(_, (track, reference))| !track.was_heard_with(snapshot.rollouts.get(reference)));
        if !learned {
            return false;
        }
        let mut known = recorded(snapshot, resources);
        for (upgrade, by) in &self.lacking {
            known.entry(upgrade.clone()).or_default().extend(by.keys());
        }
        let differs = known != self.upgrades;
        if differs {
            // What is asked of machines follows from it.
            self.twins = Twins::default();
        }
        self.upgrades = known;
        differs
    }

    /// Takes in how machines count.
    pub(super) fn count(
        &mut self,
        snapshot: &Snapshot,
        resources: &Resources<'_>,
        cases: &[Case<'_>],
        machines: &[(usize, Arc<Machine>)],
        dirty: &Dirty,
        timers: &mut Timers<'_>,
    ) {
        let mut net = Net::new();
        let mut net_conflicts = Net::new();
        self.of_set.resize(self.selection.sets.sets().len(), 0);
        for (number, (case, (place, machine))) in cases.iter().zip(machines).enumerate() {
            let kept = &mut self.kept[*place];
            if let (Some((turn, _)), Some(standing)) =
                (kept.queued.take().map(|queued| *queued), &kept.standing)
            {
                self.queue.take_away(standing, turn);
            }
            if kept.standing.is_some() && !kept.settles && !dirty.is_touched(*place) {
                continue;
            }
            let (standing, settles) = timers.of(number, |timer| {
                let standing = Standing::of(snapshot, resources, case, &mut self.charges, timer);
                (standing, timer.is_set())
            });
            let failures = failures(case, &self.rollouts.references);
            let failures = (!failures.is_empty()).then_some(failures);
            kept.settles = settles;
            let share = case.is_member().then_some(&case.evaluated.share);
            net.change(kept.share.as_ref(), share);
            kept.share = share.cloned();
            net_conflicts.change(kept.conflicts.as_ref(), case.evaluated.conflicts.as_ref());
            kept.conflicts.clone_from(&case.evaluated.conflicts);
            let before = kept.standing.take();
            if before.as_ref() != Some(&standing) {
                before.iter().for_each(|before| self.groups.take_away(before));
                self.groups.add(&standing);
            }
            let is_new = before.is_none();
            kept.standing = Some(standing);
            if kept.failures.as_deref() != failures.as_ref() {
                for (baseline, item) in kept.failures.iter().flat_map(|failures| failures.keys()) {
                    self.rollouts.take_failure(*baseline, item, *place);
                }
                for ((baseline, item), at) in failures.iter().flatten() {
                    self.rollouts.add_failure(*baseline, item, *place, *at);
                }
                kept.failures = failures.map(Box::new);
            }
            let sits_alike = kept.is_member == case.is_member()
                && kept.picked.packages == case.picked.packages
                && has_same_labels(&kept.machine, machine);
            if !sits_alike {
                let picked = kept.picked.packages.iter().chain(&case.picked.packages);
                for baseline in picked.filter(|place| has_seats(resources.packages[**place].rollout)) {
                    self.rollouts.tracks[*baseline].must_seat = true;
                }
            }
            if is_new || kept.picked.windows != case.picked.windows {
                if !is_new {
                    self.of_set[kept.picked.windows] -= 1;
                }
                self.of_set[case.picked.windows] += 1;
                self.tell_windows = true;
            }
            kept.is_member = case.is_member();
            kept.picked = case.picked.clone();
            kept.machine = Arc::clone(machine);
        }
        net.apply(
            &mut self.rollouts,
            |rollouts, share, machines| rollouts.add(share, machines),
            |rollouts, share, machines| rollouts.take_away(share, machines),
        );
        let key = |package: &muster_model::PackageKey, other: usize| {
            (package.clone(), resources.packages[other].reference())
        };
        net_conflicts.apply(
            &mut self.summaries,
            |summaries, conflicts: &Conflicts, machines| {
                for (one, package, other) in conflicts {
                    *summaries[*one].conflicts.entry(key(package, *other)).or_insert(0) += machines;
                }
            },
            |summaries, conflicts, machines| {
                for (one, package, other) in conflicts {
                    let all = &mut summaries[*one].conflicts;
                    let key = key(package, *other);
                    if let Some(count) = all.get_mut(&key) {
                        *count -= machines;
                        if *count == 0 {
                            all.remove(&key);
                        }
                    }
                }
            },
        );
    }
}
