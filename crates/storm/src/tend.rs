//! What people see to in calm weather: what no newer version mends, and what waits for their word.

use jiff::SignedDuration;
use muster_model::{
    ApprovalAction, BaselineKind, BaselineRef, Item, ItemProgress, PackageRequirement, Phase, Target,
};

use crate::api::Value;
use crate::people::Act;
use crate::run::REST;
use crate::storm::{Happening, Storm};

impl Storm {
    /// In calm weather people look after what is stuck: they retry, and resolve what they have looked at.
    pub(crate) fn tend(&mut self) {
        for m in 0..self.options.machines {
            // What no newer version mends, since dpkg has to be brought to rest first, they mend by hand.
            if !self.hosts[m].dpkg.broken.is_empty() && self.hosts[m].busy.is_none() {
                self.hosts[m].dpkg.broken.clear();
                self.hosts[m].changed();
                self.turn(m);
            }
        }
        let stuck: Vec<_> = self.hosts.iter().map(|host| host.name.clone()).collect();
        for host in stuck {
            let failed = self.api.activities_of(&host).max_by_key(|one| one.spec.name.number);
            let failed = failed.filter(|one| one.phase.is_finished() && one.phase != Phase::Succeeded);
            let Some(number) = failed.map(|one| one.spec.name.number) else { continue };
            let Some(object) = self.api.machine(&host) else { continue };
            let mut object = object.clone();
            if object.machine.retried_through >= number {
                continue;
            }
            object.machine.retried_through = number;
            object.machine.resolved_through = number;
            self.put(Value::Machine(object));
        }
        self.see_to_rollouts();
        // For the end nobody says anything any more, so that it shows whether the fleet rests.
        let every = SignedDuration::from_hours(6);
        let ends = self.options.begins + self.options.misbehaves + self.options.calms;
        if self.now + every < ends - REST {
            self.plan_after(every, Happening::Person(Act::Tend));
        }
    }

    /// In calm weather nothing waits for anybody's word.
    fn see_to_rollouts(&mut self) {
        let rollouts = self.api.rollouts();
        let items = rollouts.flat_map(|(baseline, rollout)| {
            let items = rollout.items.iter();
            items.map(|(item, progress)| (baseline.clone(), item.clone(), progress.clone()))
        });
        let items: Vec<(BaselineRef, Item, ItemProgress)> = items.collect();
        for (baseline, item, progress) in items {
            // What failed and is not asked for any more stays barred.
            let asked = self.is_asked_for(&baseline, &item);
            if (progress.barred.is_some() && asked) || progress.paused.is_some() {
                self.speak(baseline.clone(), Some(&item), ApprovalAction::Resume);
            }
            if progress.approved.is_none() && self.asks_approval(&baseline) {
                self.speak(baseline, Some(&item), ApprovalAction::Approve);
            }
        }
    }

    fn is_asked_for(&self, baseline: &BaselineRef, item: &Item) -> bool {
        let Target::Version(version) = &item.target else { return true };
        let desired = &self.people.desired;
        let asks = |asked: &PackageRequirement| {
            asked.name != item.package.name || asked.version.satisfied_by(version)
        };
        match baseline.kind {
            BaselineKind::PackageBaseline => {
                desired.baselines.get(&baseline.name).is_none_or(|one| one.packages.iter().all(asks))
            }
            BaselineKind::KernelBaseline => {
                desired.kernels.get(&baseline.name).is_none_or(|one| asks(&one.package))
            }
        }
    }
}
