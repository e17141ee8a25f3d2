//! One pass over one source: gather, judge, decide, apply, report.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use muster_crds::{GitSource, GitSourceStatus};
use muster_source::{
    ChangeSet, Guards, Held, Kind, Object, ObjectKey, Problem, Rejected, Removals, Tree, judge_removals,
    loosened, may_loosen, order, validate,
};
use tracing::{info, warn};

use super::Context;
use super::apply::{ApplyError, Writer, Written};
use super::gather::Origin;
use super::report::{self, Outcome, Place, Record};
use super::task::Shared;
use super::{good, live};
use crate::watch::Chain;

/// How long until a removal that was not confirmed is looked at again.
const LOOK_AFTER_REMOVAL: Duration = Duration::from_secs(5);

/// When to look again, if nothing wakes us before.
#[derive(Debug)]
pub(super) enum Next {
    /// After so long, or when the source's own rhythm says so.
    Wait(Option<Duration>),
    /// Soon, later after each failure.
    Retry,
}

/// What is remembered between passes of one task; all of it can be found out again.
#[derive(Default)]
pub(super) struct Memory {
    /// The revision and generation of the spec that were dealt with, whatever came of it: looking again would say the
    /// same (rule G7).
    settled: Option<(String, i64)>,
    /// Whether what we own was looked at since the task began.
    checked: bool,
}

/// One pass. `drifted`: somebody changed what we own.
pub(super) async fn pass(
    context: &Context,
    source: &GitSource,
    memory: &mut Memory,
    shared: &Shared,
    drifted: bool,
) -> Next {
    let status = source.status.clone().unwrap_or_default();
    let generation = source.metadata.generation.unwrap_or_default();
    let record = report::record(&status);
    let mut pass = Pass { context, source, shared, shown: status.clone(), status, record, generation };
    match pass.run(memory, drifted).await {
        Ok(next) => next,
        Err(error) => {
            memory.settled = None;
            warn!(source = source.name_any(), error = %Chain(&error), "the API failed a source's pass; trying again");
            Next::Retry
        }
    }
}

struct Pass<'a> {
    context: &'a Context,
    source: &'a GitSource,
    shared: &'a Shared,
    /// What the API shows.
    shown: GitSourceStatus,
    /// What it is to show: revisions are set as they are known, the rest is folded from the outcome.
    status: GitSourceStatus,
    /// What is owned (rule G6).
    record: Record,
    generation: i64,
}

/// A revision that may be applied, with what is there.
struct Ready {
    tree: Tree,
    set: ChangeSet,
    guards: Guards,
    leaving: BTreeSet<ObjectKey>,
}

/// Why a revision may not be applied.
enum Refused {
    Invalid { problems: Vec<Problem>, total: usize },
    Held(Held),
    Failed { message: String },
    Retrying { message: String },
}

impl Pass<'_> {
    async fn run(&mut self, memory: &mut Memory, drifted: bool) -> Result<Next, kube::Error> {
        if self.source.spec.suspend {
            // A suspended source claims nothing (rule G2).
            self.status.applying_revision = self.status.applied_revision.clone();
            memory.settled = None;
            self.report(Outcome::Suspended).await?;
            return Ok(Next::Wait(None));
        }
        let gathered = async {
            let origin = Origin::of(self.context, self.source).await?;
            let look = origin.look().await?;
            Ok::<_, super::gather::GatherError>((origin, look))
        };
        let (origin, look) = match gathered.await {
            Ok(gathered) => gathered,
            Err(error) => return self.unreadable(memory, &error).await,
        };
        if !memory.checked {
            memory.settled = self.settled_before().await?;
            memory.checked = true;
        }
        let is_settled = memory.settled.as_ref().is_some_and(|(revision, generation)| {
            revision == look.revision() && *generation == self.generation
        });
        if is_settled && !drifted {
            return Ok(Next::Wait(None));
        }
        let tree = match origin.tree(look).await {
            Ok(tree) => tree,
            Err(error) => return self.unreadable(memory, &error).await,
        };
        let revision = tree.revision.clone();
        self.status.attempted_revision = Some(revision.clone());
        let refused = match self.judge(tree).await? {
            Ok(ready) => return self.apply(memory, ready).await,
            Err(refused) => refused,
        };
        let outcome = match refused {
            Refused::Invalid { problems, total } => Outcome::Invalid { problems, total },
            Refused::Held(held) => Outcome::Held(held),
            Refused::Failed { message } => Outcome::Failed { message },
            Refused::Retrying { message } => {
                self.report(Outcome::Retrying { message }).await?;
                return Ok(Next::Retry);
            }
        };
        let is_whole = self.go_back_if_interrupted().await?;
        self.report(outcome).await?;
        if !is_whole {
            return Ok(Next::Retry);
        }
        memory.settled = Some((revision, self.generation));
        Ok(Next::Wait(None))
    }

    /// The source's content is not known: what was applied stays in force (rule G4).
    async fn unreadable(
        &mut self,
        memory: &mut Memory,
        error: &super::gather::GatherError,
    ) -> Result<Next, kube::Error> {
        memory.settled = None;
        let message = Chain(error).to_string();
        self.go_back_if_interrupted().await?;
        self.report(Outcome::Unreadable { message }).await?;
        Ok(Next::Retry)
    }

    /// What a task before this one has dealt with, if all of it is still there as it was.
    async fn settled_before(&self) -> Result<Option<(String, i64)>, kube::Error> {
        let GitSourceStatus { applied_revision, observed_generation, conditions, .. } = &self.status;
        let is_ready = conditions.iter().any(|found| found.type_ == "Ready" && found.status == "True");
        let (Some(revision), true) =
            (applied_revision, is_ready && *observed_generation == Some(self.generation))
        else {
            return Ok(None);
        };
        let there = live::owned(self.context, &self.source.name_any()).await?;
        let is_whole = self
            .record
            .keys()
            .all(|key| there.get(key).is_some_and(|owned| owned.revision.as_ref() == Some(revision)));
        if !is_whole || report::is_applying(&self.status) {
            return Ok(None);
        }
        let made = there.into_iter().filter(|(key, _)| self.record.contains_key(key));
        self.shared.made().extend(made.map(|(key, owned)| (key, owned.generation)));
        Ok(Some((revision.clone(), self.generation)))
    }

    /// Judges a revision whole: its files, what it takes away, what the server says to all of it (rules G1, G4).
    async fn judge(&self, tree: Tree) -> Result<Result<Ready, Refused>, kube::Error> {
        let namespace = self.context.namespace.clone();
        let (tree, judged) = blocking(move || {
            let judged = validate(&tree, Some(&namespace));
            (tree, judged)
        })
        .await;
        let set = match judged {
            Ok(set) => set,
            Err(Rejected { problems, total, .. }) => return Ok(Err(Refused::Invalid { problems, total })),
        };
        let owned: BTreeSet<ObjectKey> = self.record.keys().cloned().collect();
        let wanted: BTreeSet<ObjectKey> = set.objects.iter().map(|object| object.key.clone()).collect();
        let leaving: BTreeSet<ObjectKey> = owned.difference(&wanted).cloned().collect();
        let guards = live::guards(self.context).await?;
        let after = live::guards_after(&guards, &set.objects, &leaving);
        let old = self.labelled_before(&wanted).await;
        let (guards, lost) = if may_loosen(&guards, &after) || live::relabels(&old, &set.objects) {
            let machines = live::machines(self.context, &old, &set.objects).await?;
            let now = Timestamp::now();
            blocking(move || {
                let lost = loosened(&guards, &after, &machines, now);
                (guards, lost)
            })
            .await
        } else {
            (guards, Vec::new())
        };
        let removals = Removals {
            owned: &owned,
            wanted: &wanted,
            loosened: &lost,
            limit_percent: percent(&self.source.spec.removal_limit),
            allowed: self.source.spec.allow_removal.as_deref(),
        };
        if let Some(held) = judge_removals(&removals) {
            return Ok(Err(Refused::Held(held)));
        }
        let name = self.source.name_any();
        let writer = Writer { context: self.context, source: &name, revision: &tree.revision };
        let mut problems = writer.taken(&set.objects).await?;
        match writer.dry_run(&set.objects).await {
            Ok(refused) => problems.extend(refused),
            Err(error @ ApplyError::Refused { .. }) => {
                return Ok(Err(Refused::Failed { message: Chain(&error).to_string() }));
            }
            Err(error @ ApplyError::Unreachable { .. }) => {
                return Ok(Err(Refused::Retrying { message: Chain(&error).to_string() }));
            }
        }
        if !problems.is_empty() {
            problems.sort();
            let total = problems.len();
            return Ok(Err(Refused::Invalid { problems, total }));
        }
        Ok(Ok(Ready { tree, set, guards, leaving }))
    }

    /// Applies a revision that is good, in order (rule G2).
    async fn apply(&mut self, memory: &mut Memory, ready: Ready) -> Result<Next, kube::Error> {
        let Ready { tree, set, guards, leaving } = ready;
        let wanted: Record = places(&set.objects);
        let before = self.record.clone();
        // On record before it is there (style 10), and nothing starts from here on.
        self.status.applying_revision = Some(tree.revision.clone());
        if self.status.applied_revision.as_ref() != Some(&tree.revision) || before != wanted {
            self.record.extend(wanted.clone());
            self.report(Outcome::Applying).await?;
        }
        // Until it is known what our writes made of it, nothing that watches show is somebody else's doing.
        self.shared.made().clear();
        let name = self.source.name_any();
        let writer = Writer { context: self.context, source: &name, revision: &tree.revision };
        let phases = order(&guards, &set.objects, &leaving, Timestamp::now());
        match writer.carry_out(&phases).await {
            Ok(written) => self.applied(memory, tree, wanted, &before, written).await,
            Err(error @ ApplyError::Unreachable { .. }) => {
                let message = Chain(&error).to_string();
                warn!(source = name, error = message, "a revision is half applied; trying again");
                self.report(Outcome::Retrying { message }).await?;
                Ok(Next::Retry)
            }
            Err(error @ ApplyError::Refused { .. }) => {
                let message = format!("applying {} failed midway: {}", tree.revision, Chain(&error));
                warn!(source = name, error = message, "going back to the last good revision");
                let went_back = self.go_back_if_interrupted().await?;
                self.report(Outcome::Failed { message }).await?;
                memory.settled = went_back.then_some((tree.revision, self.generation));
                Ok(if went_back { Next::Wait(None) } else { Next::Retry })
            }
        }
    }

    /// Everything is written.
    async fn applied(
        &mut self,
        memory: &mut Memory,
        tree: Tree,
        wanted: Record,
        before: &Record,
        written: Written,
    ) -> Result<Next, kube::Error> {
        let Written { generations, pending } = written;
        let objects = wanted.len();
        self.record = wanted;
        for key in &pending {
            self.record.insert(key.clone(), before.get(key).cloned().unwrap_or_default());
        }
        self.shared.made().extend(generations);
        let uid = self.source.uid().unwrap_or_default();
        if let Err(error) = good::save(self.context, &uid, &tree) {
            warn!(source = self.source.name_any(), %error, "the good revision is not kept: a failed apply could not go back");
        }
        self.status.applied_revision = Some(tree.revision.clone());
        self.status.applying_revision = Some(tree.revision.clone());
        info!(
            source = self.source.name_any(),
            revision = tree.revision,
            objects,
            pending = pending.len(),
            "applied"
        );
        if pending.is_empty() {
            self.report(Outcome::Applied { objects }).await?;
            memory.settled = Some((tree.revision, self.generation));
            return Ok(Next::Wait(None));
        }
        self.report(Outcome::Removing { pending: pending.len() }).await?;
        memory.settled = None;
        Ok(Next::Wait(Some(LOOK_AFTER_REMOVAL)))
    }

    /// An apply that was cut off goes back to the last good revision (rule G2). Whether the namespace is whole now.
    ///
    /// Without one on record nothing is taken away: the half that is there may be what somebody else had written. The
    /// status goes on saying that a revision is being applied, so that nothing starts.
    async fn go_back_if_interrupted(&mut self) -> Result<bool, kube::Error> {
        if !report::is_applying(&self.status) {
            return Ok(true);
        }
        let Some((tree, objects)) = self.good().await else { return Ok(false) };
        let name = self.source.name_any();
        let writer = Writer { context: self.context, source: &name, revision: &tree.revision };
        let good = places(&objects);
        let added: BTreeSet<ObjectKey> =
            self.record.keys().filter(|key| !good.contains_key(*key)).cloned().collect();
        let leaving: BTreeSet<ObjectKey> = {
            let machines = added.iter().filter(|key| key.kind == Kind::FleetMachine).cloned();
            let others = added.iter().filter(|key| key.kind != Kind::FleetMachine).cloned().collect();
            machines.chain(writer.ours_alone(&others).await?).collect()
        };
        let guards = live::guards(self.context).await?;
        self.shared.made().clear();
        match writer.carry_out(&order(&guards, &objects, &leaving, Timestamp::now())).await {
            Ok(Written { generations, pending }) => {
                self.shared.made().extend(generations);
                self.status.applied_revision = Some(tree.revision.clone());
                self.status.applying_revision = Some(tree.revision);
                self.record.retain(|key, _| pending.contains(key));
                self.record.extend(good);
                Ok(true)
            }
            Err(error) => {
                warn!(source = name, error = %Chain(&error), "going back to the last good revision failed; nothing starts");
                Ok(false)
            }
        }
    }

    /// The last good revision and its objects, if they are known and still understood.
    async fn good(&self) -> Option<(Tree, Vec<Object>)> {
        let uid = self.source.uid().unwrap_or_default();
        let tree = good::load(self.context, &uid)?;
        let namespace = self.context.namespace.clone();
        let (tree, judged) = blocking(move || {
            let judged = validate(&tree, Some(&namespace));
            (tree, judged)
        })
        .await;
        judged.ok().map(|set| (tree, set.objects))
    }

    /// The machines that the source labels now, where it labels or will label any.
    async fn labelled_before(&self, wanted: &BTreeSet<ObjectKey>) -> Vec<Object> {
        if !self.record.keys().chain(wanted).any(|key| key.kind == Kind::FleetMachine) {
            return Vec::new();
        }
        self.good().await.map(|(_, objects)| objects).unwrap_or_default()
    }

    /// Folds the status, writes it if it says something new, and tells people.
    async fn report(&mut self, outcome: Outcome) -> Result<(), kube::Error> {
        let now = Timestamp::now();
        let new = report::folded(self.status.clone(), &self.record, &outcome, self.generation, now);
        let written = report::write(self.context, self.source, &self.shown, new, now).await?;
        report::tell(self.context, self.source, &self.shown, &written).await;
        self.shown = written.clone();
        self.status = written;
        Ok(())
    }
}

fn places(objects: &[Object]) -> Record {
    let place = |object: &Object| Place { file: object.file.clone(), line: object.line };
    objects.iter().map(|object| (object.key.clone(), place(object))).collect()
}

/// `30%` as a number; the schema knows the form.
fn percent(limit: &str) -> u32 {
    limit.trim_end_matches('%').parse().unwrap_or(0)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
