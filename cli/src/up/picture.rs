//! What the fleet looks like now: folded from watches, for the progress on screen and for `--until`.
//!
//! Nothing here polls: without news nothing runs. News that come together make one picture.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use muster_crds::names::{ANNOTATION_REVISION, condition};
use muster_crds::{BaselineStatus, GitSource, KernelBaseline, MaintenanceWindow, PackageBaseline};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::source;
use crate::commands::source_error;
use crate::view::{self, MachineState, MachineView};

/// News are collected for so long: a person sees it as at once, and a rollout of thousands makes few pictures.
const COLLECT: Duration = Duration::from_millis(200);

/// How many of the last changes are remembered for the screen.
const CHANGES_KEPT: usize = 4;

/// How many errors of the source are shown at a time.
const ERRORS_SHOWN: usize = 10;

/// The fleet at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Machines, admitted or not.
    pub(crate) machines: usize,
    /// Machines that may be planned for.
    pub(crate) admitted: usize,
    /// Admitted machines that have converged.
    pub(crate) converged: usize,
    /// Baselines of the revision in force of which it is not on record that all their machines have converged.
    pub(crate) unsettled: usize,
    /// How many have which verdict.
    pub(crate) verdicts: BTreeMap<String, usize>,
    /// Activities under way.
    pub(crate) in_flight: usize,
    /// Why machines have not converged, in groups.
    pub(crate) reasons: Vec<String>,
    /// The source.
    pub(crate) source: SourcePicture,
    /// The window that opens next, of those that are closed.
    pub(crate) next_window: Option<(Timestamp, String)>,
    /// The last changes, oldest first.
    pub(crate) changes: VecDeque<String>,
}

/// The source `up` at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourcePicture {
    /// The newest revision is in force.
    pub(crate) ready: bool,
    /// The revision in force.
    pub(crate) revision: Option<String>,
    /// How ready it is, in words.
    pub(crate) state: String,
    /// What is wrong with the newest revision, as `file:line: …`.
    pub(crate) errors: Vec<String>,
}

impl Picture {
    /// Whether every admitted machine, and at least so many, has converged on the source's newest revision.
    pub(crate) fn is_converged(&self, at_least: usize) -> bool {
        self.source.ready
            && self.unsettled == 0
            && self.admitted >= at_least.max(1)
            && self.converged == self.admitted
    }

    /// Why it has not, one reason a line.
    pub(crate) fn obstacles(&self, at_least: usize) -> Vec<String> {
        let mut lines = self.reasons.clone();
        if !self.source.ready {
            lines.push(format!("source: {}", self.source.state));
            lines.extend(self.source.errors.iter().cloned());
        }
        let missing = at_least.max(1).saturating_sub(self.admitted);
        if missing > 0 {
            lines.push(format!("{missing} × not enrolled or not admitted"));
        }
        if lines.is_empty() && self.unsettled > 0 {
            lines.push(format!("{} baselines are not decided on at the newest revision yet", self.unsettled));
        }
        lines
    }
}

/// Everything that a picture is made of.
#[derive(Default)]
struct World {
    machines: BTreeMap<String, MachineState>,
    source: Option<GitSource>,
    windows: BTreeMap<String, MaintenanceWindow>,
    /// By kind and name.
    baselines: BTreeMap<(String, String), BaselineState>,
    changes: VecDeque<String>,
    /// Changes are told from the moment that all machines are known.
    listed: bool,
}

/// What is on record of a baseline.
///
/// That a machine has converged is no news when only the revision is: the decision stays as it was written. A baseline's
/// totals are written for each generation, from one plan of all machines.
struct BaselineState {
    /// The revision that it was applied from.
    revision: Option<String>,
    /// Decided on as it is now, and all its machines have converged.
    settled: bool,
}

impl BaselineState {
    fn of<K: Resource>(baseline: &K, status: Option<&BaselineStatus>) -> Self {
        let settled = status.is_some_and(|status| {
            status.observed_generation.is_some()
                && status.observed_generation == baseline.meta().generation
                && status.converged == status.selected
        });
        Self { revision: baseline.annotations().get(ANNOTATION_REVISION).cloned(), settled }
    }
}

/// Watches, and sends pictures, until it is dropped.
pub(super) async fn follow(client: Client, namespace: String, pictures: watch::Sender<Picture>) {
    let machines = stream(view::machines(client.clone(), &namespace));
    let sources = stream::<GitSource>(Api::namespaced(client.clone(), &namespace));
    let windows = stream::<MaintenanceWindow>(Api::namespaced(client.clone(), &namespace));
    let packages = stream::<PackageBaseline>(Api::namespaced(client.clone(), &namespace));
    let kernels = stream::<KernelBaseline>(Api::namespaced(client, &namespace));
    let (mut machines, mut sources, mut windows) = (Box::pin(machines), Box::pin(sources), Box::pin(windows));
    let (mut packages, mut kernels) = (Box::pin(packages), Box::pin(kernels));
    let mut world = World::default();
    let mut due: Option<Instant> = None;
    loop {
        tokio::select! {
            Some(event) = machines.next() => world.machine(event),
            Some(event) = sources.next() => world.source(event),
            Some(event) = windows.next() => world.window(event),
            Some(event) = packages.next() => world.baseline(event, |baseline| baseline.status.as_ref()),
            Some(event) = kernels.next() => world.baseline(event, |baseline| baseline.status.as_ref()),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                due = None;
                let picture = world.picture(Timestamp::now());
                pictures.send_if_modified(|now| {
                    let changed = *now != picture;
                    *now = picture;
                    changed
                });
                continue;
            }
        }
        due = due.or_else(|| Some(Instant::now() + COLLECT));
    }
}

fn stream<K>(api: Api<K>) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource + Clone + serde::de::DeserializeOwned + Debug + Send + 'static,
{
    watcher(api, watcher::Config::default()).default_backoff().filter_map(|event| async {
        // The stream begins again by itself; what it shows then is whole.
        event.inspect_err(|error| tracing::debug!(%error, "a watch of the progress display was cut")).ok()
    })
}

impl World {
    fn machine(&mut self, event: Event<MachineView>) {
        match event {
            Event::Init => self.machines.clear(),
            Event::InitDone => self.listed = true,
            Event::InitApply(view) => {
                self.machines.insert(view.name_any(), MachineState::of(view));
            }
            Event::Apply(view) => {
                let name = view.name_any();
                let new = MachineState::of(view);
                let changed = self.machines.get(&name).is_none_or(|old| old.summary() != new.summary());
                if changed && self.listed {
                    self.tell(format!("{name} {}", new.summary()));
                }
                self.machines.insert(name, new);
            }
            Event::Delete(view) => {
                self.machines.remove(&view.name_any());
                self.tell(format!("{} deleted", view.name_any()));
            }
        }
    }

    fn source(&mut self, event: Event<GitSource>) {
        match event {
            Event::InitApply(object) | Event::Apply(object) if object.name_any() == source::NAME => {
                self.source = Some(object);
            }
            Event::Delete(object) if object.name_any() == source::NAME => self.source = None,
            Event::Init | Event::InitDone | Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {}
        }
    }

    fn window(&mut self, event: Event<MaintenanceWindow>) {
        match event {
            Event::Init => self.windows.clear(),
            Event::InitDone => {}
            Event::InitApply(window) | Event::Apply(window) => {
                self.windows.insert(window.name_any(), window);
            }
            Event::Delete(window) => {
                self.windows.remove(&window.name_any());
            }
        }
    }

    fn baseline<K: Resource<DynamicType = ()>>(
        &mut self,
        event: Event<K>,
        status: impl Fn(&K) -> Option<&BaselineStatus>,
    ) {
        let kind = K::kind(&()).into_owned();
        match event {
            Event::Init => self.baselines.retain(|(other, _), _| *other != kind),
            Event::InitDone => {}
            Event::InitApply(baseline) | Event::Apply(baseline) => {
                let state = BaselineState::of(&baseline, status(&baseline));
                self.baselines.insert((kind, baseline.name_any()), state);
            }
            Event::Delete(baseline) => {
                self.baselines.remove(&(kind, baseline.name_any()));
            }
        }
    }

    /// How many baselines of the revision in force are not settled, or were not seen at that revision yet.
    fn unsettled(&self) -> usize {
        let Some(status) = self.source.as_ref().and_then(|source| source.status.as_ref()) else { return 0 };
        let is_baseline =
            |kind: &str| [PackageBaseline::kind(&()), KernelBaseline::kind(&())].contains(&kind.into());
        let owned = status.owns.iter().filter(|owned| is_baseline(&owned.kind));
        let is_settled = |owned: &&muster_crds::OwnedObject| {
            let known = self.baselines.get(&(owned.kind.clone(), owned.name.clone()));
            known.is_some_and(|known| known.settled && known.revision == status.applied_revision)
        };
        owned.filter(|owned| !is_settled(owned)).count()
    }

    fn tell(&mut self, change: String) {
        if self.changes.len() == CHANGES_KEPT {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }

    fn picture(&self, now: Timestamp) -> Picture {
        let source = self.source.as_ref().map(source_picture).unwrap_or_else(|| SourcePicture {
            state: "not there yet".to_owned(),
            ..SourcePicture::default()
        });
        let admitted = || self.machines.values().filter(|machine| machine.admitted);
        let opens = |(name, window): (&String, &MaintenanceWindow)| {
            let status = window.status.as_ref().filter(|status| !status.open)?;
            let at = status.next_open_time.as_ref().map(|time| time.0).filter(|at| *at > now)?;
            Some((at, name.clone()))
        };
        Picture {
            machines: self.machines.len(),
            admitted: admitted().count(),
            converged: admitted().filter(|machine| machine.converged).count(),
            unsettled: self.unsettled(),
            verdicts: view::by_verdict(self.machines.values()),
            in_flight: self.machines.values().filter(|machine| machine.activity.is_some()).count(),
            reasons: view::reasons(admitted()),
            next_window: self.windows.iter().filter_map(opens).min(),
            changes: self.changes.clone(),
            source,
        }
    }
}

fn source_picture(source: &GitSource) -> SourcePicture {
    let Some(status) = &source.status else {
        return SourcePicture { state: "not looked at yet".to_owned(), ..SourcePicture::default() };
    };
    let ready = status.conditions.iter().find(|it| it.type_ == condition::READY);
    let current = |generation: Option<i64>| generation.is_some() && generation == source.metadata.generation;
    let mut errors: Vec<String> = status.errors.iter().take(ERRORS_SHOWN).map(source_error).collect();
    let total = usize::try_from(status.errors_total).unwrap_or(usize::MAX);
    if total > errors.len() {
        errors.push(format!("and {} more errors", total - errors.len()));
    }
    SourcePicture {
        ready: current(status.observed_generation)
            && ready.is_some_and(|it| it.status == "True")
            && status
                .applying_revision
                .as_ref()
                .is_none_or(|applying| Some(applying) == status.applied_revision.as_ref()),
        revision: status.applied_revision.clone(),
        state: ready
            .map_or_else(|| "not looked at yet".to_owned(), |it| format!("{}: {}", it.reason, it.message)),
        errors,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine(name: &str, admitted: bool, converged: &str) -> MachineView {
        serde_json::from_value(json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "FleetMachine", "metadata": {"name": name},
            "spec": {"admitted": admitted},
            "status": {
                "decision": {"verdict": "Converged", "reason": "AsWanted"},
                "conditions": [{"type": "Converged", "status": converged}],
            },
        }))
        .unwrap()
    }

    fn source(ready: &str) -> GitSource {
        serde_json::from_value(json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "GitSource", "metadata": {"name": "up", "generation": 2},
            "spec": {"type": "Folder", "folder": {"path": "/x"}},
            "status": {
                "observedGeneration": 2, "appliedRevision": "folder@sha256:1",
                "conditions": [{"type": "Ready", "status": ready, "reason": "RevisionInvalid", "message": "1 error",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "errors": [{"file": "a.yaml", "line": 2, "message": "wrong"}], "errorsTotal": 3,
                "owns": [{"kind": "PackageBaseline", "name": "fix", "file": "a.yaml", "line": 1},
                    {"kind": "MaintenanceWindow", "name": "night", "file": "a.yaml", "line": 9}],
            },
        }))
        .unwrap()
    }

    fn baseline(revision: &str, observed: i64, converged: u32) -> PackageBaseline {
        serde_json::from_value(json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "PackageBaseline",
            "metadata": {"name": "fix", "generation": 3, "annotations": {ANNOTATION_REVISION: revision}},
            "spec": {"machineSelector": {}},
            "status": {"observedGeneration": observed, "selected": 2, "converged": converged, "notConverged": 0,
                "unknown": 0, "absent": 0, "active": 0, "blocked": 0, "unavailable": 0, "maxUnavailable": 1},
        }))
        .unwrap()
    }

    fn picture(machines: Vec<MachineView>, ready: &str, fix: Option<PackageBaseline>) -> Picture {
        let mut world = World::default();
        world.source(Event::Apply(source(ready)));
        if let Some(fix) = fix {
            world.baseline(Event::Apply(fix), |baseline| baseline.status.as_ref());
        }
        for view in machines {
            world.machine(Event::InitApply(view));
        }
        world.picture(Timestamp::UNIX_EPOCH)
    }

    fn settled() -> Option<PackageBaseline> {
        Some(baseline("folder@sha256:1", 3, 2))
    }

    #[test]
    fn converged_means_every_admitted_machine() {
        let good = |name| machine(name, true, "True");
        assert!(
            picture(vec![good("a"), good("b"), machine("c", false, "Unknown")], "True", settled())
                .is_converged(2)
        );
        assert!(!picture(vec![], "True", settled()).is_converged(0), "no machine has not converged");
        assert!(!picture(vec![good("a")], "True", settled()).is_converged(2), "one is still missing");
        assert!(!picture(vec![good("a"), machine("b", true, "False")], "True", settled()).is_converged(0));
        let broken = picture(vec![good("a")], "False", settled());
        assert!(!broken.is_converged(0));
        assert_eq!(
            broken.obstacles(2),
            [
                "source: RevisionInvalid: 1 error",
                "a.yaml:2: wrong",
                "and 2 more errors",
                "1 × not enrolled or not admitted"
            ]
        );
    }

    #[test]
    fn a_revision_counts_once_each_of_its_baselines_was_decided_on_though_no_machine_is_written_anew() {
        let with = |fix| picture(vec![machine("a", true, "True")], "True", fix);
        assert!(with(settled()).is_converged(1));
        let unseen = with(None);
        assert!(!unseen.is_converged(1), "the watch has not shown it yet");
        assert_eq!(unseen.obstacles(1), ["1 baselines are not decided on at the newest revision yet"]);
        assert!(!with(Some(baseline("folder@sha256:0", 3, 2))).is_converged(1), "seen at the last revision");
        assert!(!with(Some(baseline("folder@sha256:1", 2, 2))).is_converged(1), "not decided on since");
        assert!(!with(Some(baseline("folder@sha256:1", 3, 1))).is_converged(1), "one is on its way");
    }

    #[test]
    fn only_changes_after_the_first_list_are_news() {
        let mut world = World::default();
        world.machine(Event::Apply(machine("a", true, "True")));
        world.machine(Event::InitDone);
        world.machine(Event::Apply(machine("a", true, "True")));
        world.machine(Event::Apply(machine("b", true, "True")));
        assert_eq!(world.changes, ["b Converged(AsWanted)"]);
    }
}
