//! A machine as lists of machines show it: a projection of FleetMachine that costs a hundredth of the whole.
//!
//! What is not named here is skipped while it is read, so that a fleet of thousands fits in little memory.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ApiResource, ListParams};
use kube::core::Object;
use kube::{Api, Client};
use muster_crds::names::condition;
use muster_crds::{FleetMachine, ObjectReference};
use serde::{Deserialize, Serialize};

/// Objects a page: what kubectl asks for.
const PAGE: u32 = 500;

/// A FleetMachine, projected.
pub(crate) type MachineView = Object<SpecView, StatusView>;

/// Of the spec: whether the machine may be planned for.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct SpecView {
    admitted: bool,
    revoked: bool,
}

/// Of the status: the decision, and whether it has converged.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct StatusView {
    decision: Option<DecisionView>,
    conditions: Vec<ConditionView>,
}

/// Of the decision: what there is one of.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct DecisionView {
    verdict: String,
    rule: String,
    reason: String,
    message: String,
    blocker: Option<ObjectReference>,
    until_time: Option<Time>,
    current_activity: Option<String>,
}

/// Of a condition: whether it holds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct ConditionView {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

/// What is kept of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MachineState {
    /// Admitted and not revoked.
    pub(crate) admitted: bool,
    /// The verdict; `Undecided` before there is one.
    pub(crate) verdict: String,
    /// The rule that it comes from.
    pub(crate) rule: String,
    /// Why, in one word.
    pub(crate) reason: String,
    /// Why, for people.
    pub(crate) message: String,
    /// What stands in the way, as `Kind/name`.
    pub(crate) blocker: Option<String>,
    /// When it clears by itself.
    pub(crate) until: Option<jiff::Timestamp>,
    /// The unfinished activity.
    pub(crate) activity: Option<String>,
    /// The condition Converged is true.
    pub(crate) converged: bool,
}

/// The verdict of a machine about which nothing has been decided yet.
pub(crate) const UNDECIDED: &str = "Undecided";

impl MachineState {
    /// From an object of the API.
    pub(crate) fn of(view: MachineView) -> Self {
        let SpecView { admitted, revoked } = view.spec;
        let StatusView { decision, conditions } = view.status.unwrap_or_default();
        let decided = decision
            .unwrap_or_else(|| DecisionView { verdict: UNDECIDED.to_owned(), ..DecisionView::default() });
        let DecisionView { verdict, rule, reason, message, blocker, until_time, current_activity } = decided;
        Self {
            admitted: admitted && !revoked,
            verdict,
            rule,
            reason,
            message,
            blocker: blocker.map(|blocker| format!("{}/{}", blocker.kind, blocker.name)),
            until: until_time.map(|time| time.0),
            activity: current_activity,
            converged: conditions.iter().any(|it| it.type_ == condition::CONVERGED && it.status == "True"),
        }
    }

    /// The verdict with its reason, as in `Waiting(WindowClosed)`.
    pub(crate) fn summary(&self) -> String {
        if self.reason.is_empty() {
            self.verdict.clone()
        } else {
            format!("{}({})", self.verdict, self.reason)
        }
    }
}

/// The projected machines of a namespace.
pub(crate) fn machines(client: Client, namespace: &str) -> Api<MachineView> {
    Api::namespaced_with(client, namespace, &ApiResource::erase::<FleetMachine>(&()))
}

/// All of them, page by page.
///
/// # Errors
/// What the API says.
pub(crate) async fn list_machines(
    client: Client,
    namespace: &str,
) -> kube::Result<BTreeMap<String, MachineState>> {
    let api = machines(client, namespace);
    let mut found = BTreeMap::new();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&parameters).await?;
        for view in page.items {
            let name = view.metadata.name.clone().unwrap_or_default();
            found.insert(name, MachineState::of(view));
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// How many machines have which verdict.
pub(crate) fn by_verdict<'a>(
    machines: impl IntoIterator<Item = &'a MachineState>,
) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for machine in machines {
        *counts.entry(machine.verdict.clone()).or_default() += 1;
    }
    counts
}

/// Why machines have not converged, as `12 × Waiting(WindowClosed): …`, most frequent first.
pub(crate) fn reasons<'a>(machines: impl IntoIterator<Item = &'a MachineState>) -> Vec<String> {
    let mut groups: BTreeMap<(String, String), (usize, String)> = BTreeMap::new();
    for machine in machines.into_iter().filter(|machine| !machine.converged) {
        let blocker = machine.blocker.clone().filter(|_| machine.activity.is_none()).unwrap_or_default();
        // What an activity does is its own matter; which one it is differs for each machine.
        let message = if machine.activity.is_some() { String::new() } else { machine.message.clone() };
        let group = groups.entry((machine.summary(), blocker)).or_insert((0, message));
        group.0 += 1;
    }
    let mut lines: Vec<(usize, String)> = groups
        .into_iter()
        .map(|((summary, blocker), (count, message))| {
            let blocker = if blocker.is_empty() { blocker } else { format!(" {blocker}") };
            let message = if message.is_empty() { message } else { format!(": {message}") };
            (count, format!("{count} × {summary}{blocker}{message}"))
        })
        .collect();
    lines.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    lines.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine(value: serde_json::Value) -> MachineState {
        MachineState::of(serde_json::from_value(value).expect("it is a FleetMachine"))
    }

    #[test]
    fn machines_that_wait_for_the_same_thing_are_one_line() {
        let waiting = |name: &str| {
            machine(json!({
                "apiVersion": "muster.dev/v1alpha1", "kind": "FleetMachine", "metadata": {"name": name},
                "spec": {"admitted": true, "identity": "x"},
                "status": {
                    "reported": {"session": 1},
                    "decision": {"verdict": "Waiting", "reason": "WindowClosed", "message": format!("opens soon for {name}"),
                        "blocker": {"kind": "MaintenanceWindow", "name": "night"}},
                    "conditions": [{"type": "Converged", "status": "False", "reason": "x"}],
                },
            }))
        };
        let silent = machine(json!({"apiVersion": "v1", "kind": "x", "metadata": {}, "spec": {}}));
        let machines = [waiting("a"), silent, waiting("b")];
        assert_eq!(
            reasons(&machines),
            ["2 × Waiting(WindowClosed) MaintenanceWindow/night: opens soon for a", "1 × Undecided"]
        );
        assert!(machines[0].admitted && !machines[1].admitted);
        assert_eq!(by_verdict(&machines)["Waiting"], 2);
    }
}
