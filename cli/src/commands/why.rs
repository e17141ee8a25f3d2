//! `muster why`: the one answer for a machine (promise P3), with the numbers of what stands in the way joined to it.
//!
//! Counts live once, in the blocker's own status; this reads them there. Nothing is decided here: the controller's
//! decision is told, as it stands in the FleetMachine.

use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};
use muster_crds::names::condition;
use muster_crds::{
    Activity, BaselineRollout, DecisionStatus, DisruptionBudget, FleetMachine, FleetPolicy, KernelBaseline,
    MaintenanceWindow, ObjectReference, PackageBaseline, RequirementStatus, RolloutApproval,
};
use muster_model::MachineName;
use serde::Serialize;
use serde_json::Value;

use super::clears::{self, Said};
use super::why_all::why_all;
use super::why_text;
use crate::arguments::{Output, WhyArguments};
use crate::connect::{ConnectError, Connection, connect, is_missing};
use crate::exit::ExitStatus;
use crate::foresee::{Turn, of_machine};
use crate::printer::Printer;
use crate::view::UNDECIDED;
use crate::waits::Waits;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WhyError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No such machine.
    #[error("there is no machine {machine} in namespace {namespace}; `kubectl get fm` lists them")]
    Missing {
        /// The name asked for.
        machine: String,
        /// Where.
        namespace: String,
    },
    /// The API did not answer as it should.
    #[error("cannot read {what}")]
    Api {
        /// What was to be read.
        what: String,
        source: Box<kube::Error>,
    },
}

/// The answer: design §11's words.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) verdict: String,
    pub(super) rule: String,
    pub(super) reason: String,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until_time: Option<Timestamp>,
    /// By when or by which event it clears.
    pub(super) clears: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) blocker: Option<BlockerAnswer>,
    pub(super) requirements: Vec<RequirementAnswer>,
    pub(super) requirements_not_converged: u32,
    pub(super) requirements_total: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) activity: Option<ActivityAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<String>,
    /// When the gateway received the last report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) report_time: Option<Timestamp>,
    /// Whether the machine is heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reporting: Option<String>,
    /// A command that would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
    /// When its turn is; absent where it is as wanted, or nothing can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) forecast: Option<Turn>,
    /// Whom it waits for in rollouts.
    #[serde(flatten)]
    pub(super) waits: Waits,
    /// Why nothing is said of that.
    #[serde(skip)]
    pub(super) no_forecast: Option<String>,
}

/// What stands in the way, with its own numbers.
#[derive(Debug, Serialize)]
pub(super) struct BlockerAnswer {
    pub(super) kind: String,
    pub(super) name: String,
    /// Its status without conditions; absent if it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Value>,
}

/// One requirement that has not converged.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequirementAnswer {
    #[serde(flatten)]
    pub(super) requirement: RequirementStatus,
    pub(super) clears: String,
}

/// The activity under way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActivityAnswer {
    pub(super) name: String,
    pub(super) phase: String,
    pub(super) message: String,
    pub(super) steps: Vec<StepAnswer>,
}

/// One of its steps.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StepAnswer {
    #[serde(rename = "type")]
    pub(super) type_: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) completion_time: Option<Timestamp>,
}

/// `muster why MACHINE`.
pub(crate) async fn why(arguments: &WhyArguments, printer: Printer) -> Result<ExitStatus, WhyError> {
    let connection = connect(&arguments.client).await?;
    let Some(machine) = &arguments.machine else {
        let listed = why_all(&connection, arguments.output, printer).await;
        listed
            .map_err(|source| WhyError::Api { what: "the machines".to_owned(), source: Box::new(source) })?;
        return Ok(ExitStatus::Done);
    };
    let answer = answer(&connection, machine).await?;
    match arguments.output {
        Output::Json => printer.pretty_json(&answer),
        Output::Text => printer.line(why_text::text(&answer, Timestamp::now())),
    }
    Ok(ExitStatus::Done)
}

async fn answer(connection: &Connection, machine: &MachineName) -> Result<Answer, WhyError> {
    let Connection { client, namespace } = connection;
    let name = machine.as_str();
    let machines: Api<FleetMachine> = Api::namespaced(client.clone(), namespace);
    let found = machines.get(name).await.map_err(|error| match is_missing(&error) {
        true => WhyError::Missing { machine: name.to_owned(), namespace: namespace.clone() },
        false => WhyError::Api { what: format!("machine {name}"), source: Box::new(error) },
    })?;
    let status = found.status.unwrap_or_default();
    let reporting = status.conditions.iter().find(|it| it.type_ == condition::REPORTING);
    let reporting = reporting.map(|it| it.reason.clone());
    let report_time = status.reported.map(|reported| reported.time.0);
    let decision = status.decision.unwrap_or_else(|| DecisionStatus {
        verdict: UNDECIDED.to_owned(),
        message: "nothing has been decided about it yet".to_owned(),
        ..DecisionStatus::default()
    });
    let activity = match &decision.current_activity {
        Some(activity) => read_activity(client.clone(), namespace, activity).await?,
        None => None,
    };
    let blocker = match &decision.blocker {
        Some(blocker) => Some(read_blocker(client.clone(), namespace, blocker).await?),
        None => None,
    };
    let baseline = match &decision.blocker {
        Some(blocker) => in_the_way(client.clone(), namespace, blocker).await?,
        None => None,
    };
    let said = said(name, &decision, baseline.as_deref());
    let open = !matches!(decision.verdict.as_str(), "Converged" | "Unmanaged" | "Unknown" | UNDECIDED);
    let ((forecast, waits), no_forecast) = match open {
        true => match of_machine(connection, machine).await {
            Ok(found) => (found, None),
            Err(why) => ((None, Waits::default()), Some(why)),
        },
        false => ((None, Waits::default()), None),
    };
    Ok(Answer {
        forecast,
        waits,
        no_forecast,
        clears: clears::clears(said),
        remedy: clears::remedy(said),
        namespace: namespace.clone(),
        name: name.to_owned(),
        until_time: decision.until_time.as_ref().map(|time| time.0),
        requirements: decision
            .requirements
            .iter()
            .map(|it| requirement(name, &decision, baseline.as_deref(), it))
            .collect(),
        verdict: decision.verdict,
        rule: decision.rule,
        reason: decision.reason,
        message: decision.message,
        blocker,
        requirements_not_converged: decision.requirements_not_converged,
        requirements_total: decision.requirements_total,
        activity,
        revision: decision.revision,
        report_time,
        reporting,
    })
}

/// The name of the baseline whose rollout is in the way: not always the one that asks for what waits.
async fn in_the_way(
    client: Client,
    namespace: &str,
    blocker: &ObjectReference,
) -> Result<Option<String>, WhyError> {
    let ObjectReference { kind, name } = blocker;
    Ok(match kind.as_str() {
        "PackageBaseline" | "KernelBaseline" => Some(name.clone()),
        "BaselineRollout" => name.split_once('-').map(|(_, baseline)| baseline.to_owned()),
        "RolloutApproval" => {
            let approvals: Api<RolloutApproval> = Api::namespaced(client, namespace);
            let found = approvals.get_opt(name).await.map_err(|source| WhyError::Api {
                what: format!("{kind}/{name}"),
                source: Box::new(source),
            })?;
            found.map(|approval| approval.spec.baseline_ref.name)
        }
        _ => None,
    })
}

fn said<'a>(machine: &'a str, decision: &'a DecisionStatus, baseline: Option<&'a str>) -> Said<'a> {
    Said {
        machine,
        verdict: &decision.verdict,
        reason: &decision.reason,
        until: decision.until_time.as_ref().map(|time| time.0),
        blocker: decision.blocker.as_ref().map(|blocker| blocker.name.as_str()),
        activity: decision.current_activity.as_deref(),
        baseline,
    }
}

fn requirement(
    machine: &str,
    decision: &DecisionStatus,
    baseline: Option<&str>,
    requirement: &RequirementStatus,
) -> RequirementAnswer {
    // What is in the way of a requirement is told of the machine's verdict alone, so of the same words.
    let is_that = requirement.reason == decision.reason && requirement.message == decision.message;
    let clears = clears::clears(Said {
        machine,
        verdict: &requirement.verdict,
        reason: &requirement.reason,
        until: requirement.until_time.as_ref().map(|time| time.0),
        blocker: None,
        activity: decision.current_activity.as_deref(),
        baseline: baseline.filter(|_| is_that),
    });
    RequirementAnswer { requirement: requirement.clone(), clears }
}

async fn read_activity(
    client: Client,
    namespace: &str,
    name: &str,
) -> Result<Option<ActivityAnswer>, WhyError> {
    let activities: Api<Activity> = Api::namespaced(client, namespace);
    let found = activities.get_opt(name).await;
    let found = found
        .map_err(|source| WhyError::Api { what: format!("activity {name}"), source: Box::new(source) })?;
    Ok(found.map(|activity| {
        let status = activity.status.unwrap_or_default();
        let steps = activity.spec.steps.iter().enumerate().map(|(at, step)| {
            let progress = status.steps.get(at);
            StepAnswer {
                type_: format!("{:?}", step.type_),
                start_time: progress.and_then(|it| it.start_time.as_ref()).map(|time| time.0),
                completion_time: progress.and_then(|it| it.completion_time.as_ref()).map(|time| time.0),
            }
        });
        ActivityAnswer {
            name: name.to_owned(),
            phase: status.phase.map_or("Pending", |phase| phase.as_str()).to_owned(),
            message: status.message,
            steps: steps.collect(),
        }
    }))
}

async fn read_blocker(
    client: Client,
    namespace: &str,
    blocker: &ObjectReference,
) -> Result<BlockerAnswer, WhyError> {
    let ObjectReference { kind, name } = blocker.clone();
    let Some(resource) = resource(&kind) else { return Ok(BlockerAnswer { kind, name, status: None }) };
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
    let found = api.get_opt(&name).await;
    let found =
        found.map_err(|source| WhyError::Api { what: format!("{kind}/{name}"), source: Box::new(source) })?;
    let status = found.and_then(|mut object| {
        let mut status = object.data.get_mut("status")?.take();
        if let Some(members) = status.as_object_mut() {
            members.remove("conditions");
        }
        Some(status)
    });
    Ok(BlockerAnswer { kind, name, status })
}

/// The kinds that can stand in a machine's way.
fn resource(kind: &str) -> Option<ApiResource> {
    Some(match kind {
        "MaintenanceWindow" => ApiResource::erase::<MaintenanceWindow>(&()),
        "DisruptionBudget" => ApiResource::erase::<DisruptionBudget>(&()),
        "PackageBaseline" => ApiResource::erase::<PackageBaseline>(&()),
        "KernelBaseline" => ApiResource::erase::<KernelBaseline>(&()),
        "FleetPolicy" => ApiResource::erase::<FleetPolicy>(&()),
        "Activity" => ApiResource::erase::<Activity>(&()),
        "BaselineRollout" => ApiResource::erase::<BaselineRollout>(&()),
        _ => return None,
    })
}
