//! The fresh word before a reboot (rule W6).

use muster_model::openness::Openness;
use muster_model::{
    ActivityName, ActivitySpec, Cover, Instant, OutcomeReason, Pass, Passes, Uid, Window, openness_past,
};

use super::Word;
use crate::plant::Plant;
use crate::storm::Storm;

impl Storm {
    /// The fresh word before a reboot (rule W6): everything is read afresh.
    pub(super) fn say_whether_it_may_start(&mut self, m: usize, name: &ActivityName, uid: &Uid, step: usize) {
        let now = self.now;
        let machine = &self.hosts[m].name;
        let (Some(object), Some((_, activity))) = (self.api.machine(machine), self.api.activity(name)) else {
            return self.answer(m, Word::Rejected { uid: uid.clone() });
        };
        let Some(one) = activity.spec.steps.get(step).filter(|_| activity.uid == *uid) else {
            return self.answer(m, Word::Rejected { uid: uid.clone() });
        };
        let policy = self.api.policy();
        let away = object.machine.suspend || !object.machine.admitted || policy.suspend;
        let allowed = if activity.cancel || activity.phase.is_finished() || away {
            Err(OutcomeReason::CancelRequested)
        } else if activity.spec.expiry <= now
            || !self.is_open(&object.machine, &activity.spec, one.action.cover(), now)
        {
            Err(OutcomeReason::WindowClosed)
        } else {
            Ok(())
        };
        let allowed = if self.plants(Plant::FreshWordAlwaysYes) { Ok(()) } else { allowed };
        self.answer(m, Word::MayStart { step, allowed });
    }

    fn is_open(
        &self,
        machine: &muster_model::Machine,
        activity: &ActivitySpec,
        cover: Cover,
        now: Instant,
    ) -> bool {
        let policy = self.api.policy();
        let selecting: Vec<&Window> = self
            .api
            .windows()
            .filter(|window| window.covers(cover) && window.selector.matches(|key| machine.label(key)))
            .collect();
        let mut passes = Passes::new();
        for passed in activity.passed.iter().filter(|passed| passed.cover == cover) {
            let found = self.api.window_override(&passed.by);
            if let Some(found) = found.filter(|one| now < one.until && one.windows.contains(&passed.window)) {
                let pass = Pass { by: found.name.clone(), until: found.until };
                passes.insert(passed.window.clone(), pass);
            }
        }
        let estimate = policy.estimates.of(cover);
        matches!(openness_past(&selecting, &passes, policy.windows, now, estimate), Openness::Open { .. })
    }
}
