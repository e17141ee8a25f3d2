//! The fresh word before a reboot (rule W6): may this step start now? Everything is read afresh.

use kube::ResourceExt;
use kube::api::ListParams;
use muster_crds::FleetMachine;
use muster_model::openness::Openness;
use muster_model::{
    ActivityName, ActivitySpec, Cover, Instant, OutcomeReason, Pass, Passes, Policy, Presence, Window,
    openness_past,
};
use muster_wire::{MayStartRequest, MayStartResponse};

use crate::fleet::{Fleet, Record};
use crate::gateway::Core;
use crate::refusal::Refusal;

impl Core {
    /// A machine asks whether a step may start now.
    pub(crate) async fn may_start(
        &self,
        fleet: &Fleet,
        record: &Record,
        name: &ActivityName,
        request: &MayStartRequest,
    ) -> Result<MayStartResponse, Refusal> {
        record.admit()?;
        let machine = self.fresh_machine(fleet, record).await?;
        let activity = self.own_activity(fleet, record, name, &request.uid.to_string()).await?;
        let not_now = |outcome| Ok(MayStartResponse { allowed: false, outcome: Some(outcome) });
        let Ok(model) = activity.to_model() else { return not_now(OutcomeReason::CancelRequested) };
        let step = usize::try_from(request.step).ok().and_then(|at| model.spec.steps.get(at));
        let Some(step) = step else { return Err(Refusal::bad_request("the activity has no such step")) };
        let Some(policy) = self.policy(fleet).await? else { return not_now(OutcomeReason::WindowClosed) };
        let wanted_away = machine.spec.suspend || !machine.spec.admitted;
        if model.cancel || model.phase.is_finished() || wanted_away || policy.suspend {
            return not_now(OutcomeReason::CancelRequested);
        }
        let now = (self.clock)();
        if model.spec.expiry <= now
            || !self.is_open(fleet, &machine, &policy, &model.spec, step.action.cover(), now).await?
        {
            return not_now(OutcomeReason::WindowClosed);
        }
        tracing::info!(machine = %record.name, activity = %name, step = request.step, "may start");
        Ok(MayStartResponse { allowed: true, outcome: None })
    }

    /// The fleet's policy; `None` if it cannot be read, which starts nothing.
    async fn policy(&self, fleet: &Fleet) -> Result<Option<Policy>, Refusal> {
        let policy = fleet.apis.policies.get_opt(muster_crds::names::FLEET_POLICY_NAME).await;
        match policy.map_err(|error| Refusal::unavailable("the request", &error))? {
            None => Ok(Some(Policy::default())),
            Some(policy) => Ok(policy.to_model().ok()),
        }
    }

    /// Whether the windows let such a step start on the machine now (rules W1, W2, W7, W9).
    async fn is_open(
        &self,
        fleet: &Fleet,
        machine: &FleetMachine,
        policy: &Policy,
        activity: &ActivitySpec,
        cover: Cover,
        now: Instant,
    ) -> Result<bool, Refusal> {
        let windows = fleet.apis.windows.list(&ListParams::default()).await;
        let windows = windows.map_err(|error| Refusal::unavailable("the request", &error))?;
        let Ok(machine) = machine.to_model(Presence::Never) else { return Ok(false) };
        let mut selecting: Vec<Window> = Vec::new();
        for window in &windows.items {
            match window.to_model() {
                Ok(window) => {
                    if window.covers(cover) && window.selector.matches(|key| machine.label(key)) {
                        selecting.push(window);
                    }
                }
                // A selector that cannot be read closes the namespace.
                Err(_) => {
                    tracing::warn!(window = window.name_any(), "a window cannot be read: nothing starts");
                    return Ok(false);
                }
            }
        }
        let passes = self.passes(fleet, activity, cover, now).await?;
        let selecting: Vec<&Window> = selecting.iter().collect();
        let estimate = policy.estimates.of(cover);
        let openness = openness_past(&selecting, &passes, policy.windows, now, estimate);
        Ok(matches!(openness, Openness::Open { .. }))
    }

    /// What of the windows that the activity passed for such a step it still may (rule W9).
    async fn passes(
        &self,
        fleet: &Fleet,
        activity: &ActivitySpec,
        cover: Cover,
        now: Instant,
    ) -> Result<Passes, Refusal> {
        let mut passes = Passes::new();
        for passed in activity.passed.iter().filter(|passed| passed.cover == cover) {
            let found = fleet.apis.overrides.get_opt(passed.by.as_str()).await;
            let found = found.map_err(|error| Refusal::unavailable("the request", &error))?;
            let Some(Ok(found)) = found.map(|found| found.to_model()) else { continue };
            if now < found.until && found.windows.contains(&passed.window) {
                passes.insert(passed.window.clone(), Pass { by: found.name, until: found.until });
            }
        }
        Ok(passes)
    }
}
