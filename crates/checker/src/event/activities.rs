//! What is known of activities.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{
    ActivityName, BaselineRef, Cover, Digest, GoDuration, HealthCheck, Instant, ObjectName, OutcomeReason,
    Phase, StepAction, Uid,
};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::text::{activity_name, instant, optional_instant};

/// What an activity is to do: all of its spec but `cancel`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActivitySpec {
    /// `<machine>-<n>`.
    #[serde(with = "activity_name")]
    pub name: ActivityName,
    /// The machine's uid.
    pub machine_uid: Uid,
    /// In this order.
    pub steps: Vec<Step>,
    /// The revision that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<SmolStr>,
    /// The proposal that it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Digest>,
    /// The budgets that it is charged to.
    #[serde(default)]
    pub budgets: BTreeSet<ObjectName>,
    /// The Allow windows that it started in.
    #[serde(default)]
    pub windows: BTreeMap<Cover, ObjectName>,
    /// The overrides by which it passes a window or a freeze (rule W9).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub overrides: BTreeSet<ObjectName>,
    /// No step starts after it.
    #[serde(with = "instant")]
    pub expiry: Instant,
    /// What must be healthy afterwards.
    #[serde(default)]
    pub health: HealthCheck,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// What to do.
    pub action: StepAction,
    /// For which baselines.
    pub baselines: Vec<BaselineRef>,
    /// It fails after so long.
    pub timeout: GoDuration,
}

/// An activity that was there already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActivityFound {
    /// What it does.
    pub spec: ActivitySpec,
    /// Its uid.
    pub uid: Uid,
    /// The epoch that it carries.
    pub epoch: u64,
    /// When it was created.
    #[serde(with = "instant")]
    pub created: Instant,
    /// How far it is.
    pub phase: Phase,
    /// Whether its end was asked for.
    #[serde(default)]
    pub cancel: bool,
    /// When it was delivered.
    #[serde(default, with = "optional_instant", skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Instant>,
    /// When it ended.
    #[serde(default, with = "optional_instant", skip_serializing_if = "Option::is_none")]
    pub finished: Option<Instant>,
    /// Why it ended as it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OutcomeReason>,
    /// How many of its steps began.
    #[serde(default)]
    pub started: usize,
    /// How many of its steps are done.
    #[serde(default)]
    pub completed: usize,
}

/// An activity that was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActivityCreated {
    /// What it does.
    pub spec: ActivitySpec,
    /// The epoch that its writer stamped.
    pub epoch: u64,
    /// When it was decided, by the writer's clock, where the creation took its time: starts are judged at that instant,
    /// by what was known then. Absent: at the event's time.
    #[serde(default, with = "optional_instant", skip_serializing_if = "Option::is_none")]
    pub decided: Option<Instant>,
    /// Which controller wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<SmolStr>,
}

/// A step began or is done, by the activity's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepEvent {
    /// Which activity.
    #[serde(with = "activity_name")]
    pub name: ActivityName,
    /// Which step, from 0.
    pub step: usize,
    /// When, by the status, where that differs from the event's time.
    #[serde(default, with = "optional_instant", skip_serializing_if = "Option::is_none")]
    pub at: Option<Instant>,
}

/// An activity is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActivityFinished {
    /// Which.
    #[serde(with = "activity_name")]
    pub name: ActivityName,
    /// How.
    pub phase: Phase,
    /// Why, unless it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OutcomeReason>,
    /// When, by the status, where that differs from the event's time.
    #[serde(default, with = "optional_instant", skip_serializing_if = "Option::is_none")]
    pub at: Option<Instant>,
    /// The agent's or controller's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}
