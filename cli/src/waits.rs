//! Whom a machine waits for in rollouts, with what is said of each: so the question "and why not that one?" is answered, too.

use muster_model::{Item, MachineName, Plan, REST, Snapshot, Target};
use muster_planner::{Awaited, Circle, Planner, Touched};
use serde::Serialize;

use crate::plan::count;

/// How many of a wave's machines are listed.
const LISTED: usize = 5;

/// How many items are: hundreds of upgrades wait for one wave.
const ITEMS_LISTED: usize = 5;

/// Whom a machine waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Waits {
    /// For the first of its items, those in a circle before others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) waits: Vec<Wait>,
    /// For how many it waits.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) waits_total: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_none(total: &usize) -> bool {
    *total == 0
}

/// An item that is not yet a machine's turn, and who is to have it first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wait {
    /// In whose rollout: `PackageBaseline/fix`.
    pub(crate) baseline: String,
    /// `openssl:amd64`.
    pub(crate) resource: String,
    /// The version, or `absent`.
    pub(crate) target: String,
    /// The wave that is at work; `rest` for the machines that no wave picks.
    pub(crate) wave: String,
    /// The zone that is at work, where the machine is in the same wave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    /// The first of those that it waits for.
    pub(crate) machines: Vec<WaitedFor>,
    /// How many it waits for.
    pub(crate) machines_total: usize,
    /// Baselines whose rollouts wait for each other's machines, this one among them: nobody goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) circle: Vec<String>,
}

/// A machine that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct WaitedFor {
    pub(crate) name: String,
    pub(crate) verdict: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Whom a machine waits for, as the fleet is.
pub(crate) fn waits_of(snapshot: &Snapshot, machine: &MachineName) -> Waits {
    let mut planner = Planner::default();
    planner.plan(snapshot, &Touched::default());
    let circles = planner.circles();
    let awaited = planner.awaited(snapshot, machine);
    let mut waits: Vec<Wait> =
        awaited.iter().map(|awaited| wait(planner.last(), awaited, &circles)).collect();
    waits.sort_by_key(|wait| wait.circle.is_empty());
    let waits_total = waits.len();
    waits.truncate(ITEMS_LISTED);
    Waits { waits, waits_total }
}

fn wait(plan: &Plan, awaited: &Awaited, circles: &[Circle]) -> Wait {
    let Awaited { baseline, item, wave, zone, machines } = awaited;
    let circle = circles.iter().find(|circle| circle.item == *item && circle.baselines.contains(baseline));
    let listed = machines.iter().take(LISTED).filter_map(|name| {
        let verdict = &plan.machines.get(name)?.verdict;
        Some(WaitedFor {
            name: name.to_string(),
            verdict: verdict.name(),
            rule: verdict.rule(),
            reason: verdict.reason(),
            message: verdict.message(),
        })
    });
    Wait {
        baseline: baseline.to_string(),
        resource: item.package.to_string(),
        target: target(item),
        wave: wave.to_string(),
        zone: zone.as_ref().map(ToString::to_string),
        machines: listed.collect(),
        machines_total: machines.len(),
        circle: circle.map(baselines).unwrap_or_default(),
    }
}

/// The baselines of a circle.
pub(crate) fn baselines(circle: &Circle) -> Vec<String> {
    circle.baselines.iter().map(ToString::to_string).collect()
}

/// What an item comes to.
pub(crate) fn target(item: &Item) -> String {
    match &item.target {
        Target::Version(version) => version.to_string(),
        Target::Absent => "absent".to_owned(),
    }
}

impl Waits {
    /// In lines: for what, who, and of each why not.
    pub(crate) fn in_words(&self) -> Vec<String> {
        let Self { waits, waits_total } = self;
        let more = waits_total - waits.len();
        let rest = (more > 0).then(|| format!("and for {more} items more"));
        waits.iter().flat_map(Wait::in_words).chain(rest).collect()
    }
}

impl Wait {
    fn in_words(&self) -> Vec<String> {
        let Self { baseline, resource, target, wave, zone, machines, machines_total, circle } = self;
        let wave = if wave == REST { "the rest".to_owned() } else { format!("wave {wave}") };
        let zone = zone.as_ref().map_or(String::new(), |zone| match zone.as_str() {
            "" => " without a zone".to_owned(),
            zone => format!(" in zone {zone}"),
        });
        let count = count(*machines_total);
        let mut lines =
            vec![format!("waits for {count} of {wave}{zone} of {baseline} to have {resource} {target}:")];
        lines.extend(machines.iter().map(|one| {
            let WaitedFor { name, verdict, rule, reason, message } = one;
            format!("  {name}: {verdict}({reason}), rule {rule}: {message}")
        }));
        if *machines_total > machines.len() {
            lines.push(format!("  and {} more", machines_total - machines.len()));
        }
        if !circle.is_empty() {
            lines.push(format!("  {}", in_circle(circle)));
        }
        lines
    }
}

/// What a circle means, and what to do.
pub(crate) fn in_circle(baselines: &[String]) -> String {
    format!(
        "the rollouts of {} wait for each other's machines, so none goes on: let them have the same first waves, or give one a higher priority",
        baselines.join(" and ")
    )
}
