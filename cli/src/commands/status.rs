//! `muster status`: the fleet on one screen. What it says of a machine, a baseline or a budget is what their own
//! statuses say; nothing is computed but sums.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use muster_crds::names::condition;
use muster_crds::{
    BaselineRollout, BaselineStatus, DisruptionBudget, GitSource, KernelBaseline, MaintenanceWindow,
    PackageBaseline,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::arguments::{Output, StatusArguments};
use crate::connect::{ConnectError, Connection, connect};
use crate::exit::ExitStatus;
use crate::foresee::of_fleet;
use crate::plan::{ForecastReport, in_words};
use crate::printer::{Printer, table};
use crate::view::{self, MachineState};

/// How many groups of machines that have not converged are shown.
const GROUPS_SHOWN: usize = 10;

/// How many errors of a source are shown.
const ERRORS_SHOWN: usize = 5;

/// Why there is no screen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The API did not answer as it should.
    #[error("cannot list {what} in namespace {namespace}; is Muster running there?")]
    List {
        /// What was to be listed.
        what: &'static str,
        /// Where.
        namespace: String,
        source: Box<kube::Error>,
    },
}

/// Everything on the screen.
struct Screen {
    namespace: String,
    machines: BTreeMap<String, MachineState>,
    sources: Vec<GitSource>,
    baselines: Vec<(String, BaselineStatus)>,
    rollouts: Vec<BaselineRollout>,
    windows: Vec<MaintenanceWindow>,
    budgets: Vec<DisruptionBudget>,
    /// What is to come, or why that is not said; absent where everything is as wanted.
    forecast: Option<Result<ForecastReport, String>>,
}

/// `muster status`.
pub(crate) async fn status(arguments: &StatusArguments, printer: Printer) -> Result<ExitStatus, StatusError> {
    let connection = connect(&arguments.client).await?;
    let screen = gather(connection).await?;
    match arguments.output {
        Output::Json => printer.pretty_json(&screen.json()),
        Output::Text => printer.line(screen.text()),
    }
    Ok(ExitStatus::Done)
}

async fn gather(connection: Connection) -> Result<Screen, StatusError> {
    let Connection { client, namespace } = connection.clone();
    let machines = view::list_machines(client.clone(), &namespace).await.map_err(|source| {
        StatusError::List { what: "machines", namespace: namespace.clone(), source: Box::new(source) }
    })?;
    let packages: Vec<PackageBaseline> = list(&client, &namespace, "package baselines").await?;
    let kernels: Vec<KernelBaseline> = list(&client, &namespace, "kernel baselines").await?;
    let named = |kind: &str, name: String, status: Option<BaselineStatus>| {
        (format!("{kind}/{name}"), status.unwrap_or_default())
    };
    let packages = packages.into_iter().map(|it| named("PackageBaseline", it.name_any(), it.status));
    let kernels = kernels.into_iter().map(|it| named("KernelBaseline", it.name_any(), it.status));
    let open = machines.values().any(|machine| machine.admitted && machine.verdict != "Converged");
    let forecast = if open { Some(of_fleet(&connection).await) } else { None };
    Ok(Screen {
        forecast,
        baselines: packages.chain(kernels).collect(),
        sources: list(&client, &namespace, "sources").await?,
        rollouts: list(&client, &namespace, "rollouts").await?,
        windows: list(&client, &namespace, "windows").await?,
        budgets: list(&client, &namespace, "budgets").await?,
        machines,
        namespace,
    })
}

async fn list<K>(client: &Client, namespace: &str, what: &'static str) -> Result<Vec<K>, StatusError>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let found = api.list(&ListParams::default()).await;
    found.map(|list| list.items).map_err(|source| StatusError::List {
        what,
        namespace: namespace.to_owned(),
        source: Box::new(source),
    })
}

impl Screen {
    fn text(&self) -> String {
        let admitted = self.machines.values().filter(|machine| machine.admitted).count();
        let verdicts = view::by_verdict(self.machines.values());
        let verdicts: Vec<String> =
            verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        let pending = self.machines.len() - admitted;
        let pending = if pending == 0 { String::new() } else { format!(" ({pending} not admitted)") };
        let mut lines = vec![format!(
            "{}: {} machines{pending}  {}",
            self.namespace,
            self.machines.len(),
            verdicts.join(", ")
        )];
        lines.extend(
            view::reasons(self.machines.values())
                .into_iter()
                .take(GROUPS_SHOWN)
                .map(|line| format!("  {line}")),
        );
        match &self.forecast {
            Some(Ok(forecast)) => lines.extend(in_words(forecast)),
            Some(Err(why)) => lines.push(format!("no forecast: {why}")),
            None => {}
        }
        for source in &self.sources {
            lines.extend(of_source(source));
        }
        self.sections(&mut lines);
        lines.join("\n")
    }

    fn sections(&self, lines: &mut Vec<String>) {
        let mut section = |title: &str, rows: Vec<Vec<String>>| {
            if !rows.is_empty() {
                lines.push(title.to_owned());
                lines.push(table(&rows, 2));
            }
        };
        section("baselines", self.baselines.iter().map(|(name, status)| of_baseline(name, status)).collect());
        section("rollouts", self.rollouts.iter().map(of_rollout).collect());
        section("windows", self.windows.iter().map(of_window).collect());
        section("budgets", self.budgets.iter().map(of_budget).collect());
    }

    fn json(&self) -> Value {
        let named = |name: String, status: Option<Value>| json!({"name": name, "status": status});
        json!({
            "namespace": self.namespace,
            "machines": {
                "total": self.machines.len(),
                "admitted": self.machines.values().filter(|machine| machine.admitted).count(),
                "converged": self.machines.values().filter(|machine| machine.converged).count(),
                "verdicts": view::by_verdict(self.machines.values()),
            },
            "forecast": self.forecast.as_ref().and_then(|forecast| forecast.as_ref().ok()),
            "sources": self.sources.iter().map(|it| named(it.name_any(), plain(&it.status))).collect::<Vec<_>>(),
            "baselines": self.baselines.iter().map(|(name, status)| named(name.clone(), plain(status))).collect::<Vec<_>>(),
            "rollouts": self.rollouts.iter().map(|it| named(it.name_any(), plain(&it.status))).collect::<Vec<_>>(),
            "windows": self.windows.iter().map(|it| named(it.name_any(), plain(&it.status))).collect::<Vec<_>>(),
            "budgets": self.budgets.iter().map(|it| named(it.name_any(), plain(&it.status))).collect::<Vec<_>>(),
        })
    }
}

fn plain(status: &impl Serialize) -> Option<Value> {
    serde_json::to_value(status).ok().filter(|value| !value.is_null())
}

fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|it| it.type_ == type_)
}

/// Why it is not ready, if it is not.
fn ready(conditions: &[Condition]) -> String {
    match find(conditions, condition::READY) {
        None => "no status yet".to_owned(),
        Some(it) if it.status == "True" => "Ready".to_owned(),
        Some(it) => format!("{}: {}", it.reason, it.message),
    }
}

fn of_source(source: &GitSource) -> Vec<String> {
    let status = source.status.clone().unwrap_or_default();
    let revision = status.applied_revision.as_deref().map_or("nothing applied yet", short);
    let mut lines = vec![format!(
        "source {}  {revision}, {} objects  {}",
        source.name_any(),
        status.owns_total,
        ready(&status.conditions)
    )];
    for error in status.errors.iter().take(ERRORS_SHOWN) {
        lines.push(format!("  {}", source_error(error)));
    }
    let listed = status.errors.len().min(ERRORS_SHOWN);
    let total = usize::try_from(status.errors_total).unwrap_or(usize::MAX);
    if total > listed {
        lines.push(format!("  and {} more; `muster validate` lists all", total - listed));
    }
    if let Some(held) = status.held_removal {
        lines.push(format!(
            "  held: {} objects, {}; allow with spec.allowRemoval: {}",
            held.total, held.why, held.digest
        ));
    }
    lines
}

/// An error of a source as compilers print theirs.
pub(crate) fn source_error(error: &muster_crds::SourceError) -> String {
    let muster_crds::SourceError { file, line, column, field, rule, message } = error;
    let mut text = file.clone();
    if *line > 0 {
        text += &format!(":{line}");
        if *column > 0 {
            text += &format!(":{column}");
        }
    }
    if !field.is_empty() {
        text += &format!(": {field}");
    }
    text += &format!(": {message}");
    if !rule.is_empty() {
        text += &format!(" ({rule})");
    }
    text
}

/// A revision with as much of its digest as tells it from others.
pub(crate) fn short(revision: &str) -> &str {
    let end = revision.rfind(':').map_or(revision.len(), |at| (at + 13).min(revision.len()));
    revision.get(..end).unwrap_or(revision)
}

fn of_baseline(name: &str, status: &BaselineStatus) -> Vec<String> {
    let BaselineStatus {
        selected,
        converged,
        unknown,
        absent,
        active,
        blocked,
        unavailable,
        max_unavailable,
        ..
    } = status;
    let mut rest = Vec::new();
    for (count, what) in [(active, "active"), (blocked, "blocked"), (unknown, "unknown"), (absent, "absent")]
    {
        if *count > 0 {
            rest.push(format!("{count} {what}"));
        }
    }
    let conflict = find(&status.conditions, condition::ACCEPTED).filter(|it| it.status == "False");
    rest.extend(conflict.map(|it| format!("{}: {}", it.reason, it.message)));
    vec![
        name.to_owned(),
        format!("{converged}/{selected} converged"),
        format!("{unavailable}/{max_unavailable} unavailable"),
        rest.join(", "),
    ]
}

fn of_rollout(rollout: &BaselineRollout) -> Vec<String> {
    let status = rollout.status.clone().unwrap_or_default();
    let barred =
        if status.items_barred == 0 { String::new() } else { format!("{} BARRED", status.items_barred) };
    let wave = if status.wave.is_empty() { String::new() } else { format!("wave {}", status.wave) };
    vec![
        rollout.name_any(),
        format!("{}/{} items done", status.items_done, status.items_total),
        wave,
        barred,
        ready(&status.conditions),
    ]
}

fn of_window(window: &MaintenanceWindow) -> Vec<String> {
    let status = window.status.clone().unwrap_or_default();
    let next =
        |what: &str, time: Option<Time>| time.map_or(String::new(), |time| format!("{what} {}", time.0));
    let next = if status.open {
        next("closes", status.next_close_time)
    } else {
        next("opens", status.next_open_time)
    };
    vec![
        window.name_any(),
        format!("{:?}", window.spec.action),
        if status.open { "open" } else { "closed" }.to_owned(),
        next,
        format!("{} machines", status.machines),
        ready(&status.conditions),
    ]
}

fn of_budget(budget: &DisruptionBudget) -> Vec<String> {
    let status = budget.status.clone().unwrap_or_default();
    vec![
        budget.name_any(),
        format!("{} of at most {} unavailable", status.unavailable, status.max_unavailable),
        format!("{} machines", status.machines),
        format!("{} in flight", status.in_flight),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_shown_by_the_beginning_of_its_digest() {
        assert_eq!(short("main@sha1:0123456789abcdef0123"), "main@sha1:0123456789ab");
        assert_eq!(short("folder@sha256:0123"), "folder@sha256:0123");
        assert_eq!(short("none"), "none");
    }

    #[test]
    fn an_error_of_a_source_names_its_place_first() {
        let error = muster_crds::SourceError {
            file: "a.yaml".to_owned(),
            line: 3,
            column: 5,
            field: "spec.x".to_owned(),
            rule: "V1".to_owned(),
            message: "wrong".to_owned(),
        };
        assert_eq!(source_error(&error), "a.yaml:3:5: spec.x: wrong (V1)");
    }
}
