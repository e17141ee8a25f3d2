//! A GitSource's status, folded once at the end of each step that others must see, and its events.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Resource as _, ResourceExt as _};
use muster_crds::names::{GROUP, MANAGER_SOURCE, VERSION, condition, reason};
use muster_crds::{
    GitSource, GitSourceStatus, HeldRemoval, MAX_LISTED_ERRORS, MAX_LISTED_REMOVALS, ObjectReference,
    OwnedObject, SourceError,
};
use muster_source::{Held, Kind, ObjectKey, Problem};
use serde_json::json;

use super::Context;
use crate::conditions::{Finding, fold, whole_seconds};

/// The objects on record, with where they are written.
pub(super) type Record = BTreeMap<ObjectKey, Place>;

/// A file and a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: u32,
}

/// What a pass found out.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The revision is in force.
    Applied { objects: usize },
    /// The revision is in force, but some of what it removes is not gone yet.
    Removing { pending: usize },
    /// It is being applied.
    Applying,
    /// A person said to wait.
    Suspended,
    /// Nothing is known of the source's content.
    Unreadable { message: String },
    /// The revision has errors.
    Invalid { problems: Vec<Problem>, total: usize },
    /// The revision takes too much away.
    Held(Held),
    /// Applying failed, and trying the same again would fail, too.
    Failed { message: String },
    /// Applying failed, and is tried again.
    Retrying { message: String },
}

/// The record in a status. A kind that no source may hold is nobody's.
pub(super) fn record(status: &GitSourceStatus) -> Record {
    let objects = status.owns.iter().filter_map(|owned| {
        let key = ObjectKey { kind: Kind::parse(&owned.kind)?, name: owned.name.clone() };
        Some((key, Place { file: owned.file.clone(), line: owned.line }))
    });
    objects.collect()
}

/// Whether a revision was being applied when the status was written.
pub(super) fn is_applying(status: &GitSourceStatus) -> bool {
    status.applying_revision.is_some() && status.applying_revision != status.applied_revision
}

/// The status that follows. What a revision is, is set by the pass before.
pub(super) fn folded(
    mut status: GitSourceStatus,
    record: &Record,
    outcome: &Outcome,
    generation: i64,
    now: Timestamp,
) -> GitSourceStatus {
    status.observed_generation = Some(generation);
    status.owns = record
        .iter()
        .map(|(key, place)| OwnedObject {
            kind: key.kind.as_str().to_owned(),
            name: key.name.clone(),
            file: place.file.clone(),
            line: place.line,
        })
        .collect();
    status.owns_total = count(record.len());
    let (problems, total) = match outcome {
        Outcome::Invalid { problems, total } => (&problems[..], *total),
        _ => (&[][..], 0),
    };
    status.errors = problems.iter().take(MAX_LISTED_ERRORS).map(error).collect();
    status.errors_total = count(total);
    status.held_removal = match outcome {
        Outcome::Held(held) => Some(held_removal(held)),
        _ => None,
    };
    status.conditions = fold(&status.conditions, findings(&status, outcome), generation, now);
    status
}

/// The conditions that kstatus reads: Ready always, Reconciling and Stalled while true.
fn findings(status: &GitSourceStatus, outcome: &Outcome) -> Vec<Finding> {
    let attempted = status.attempted_revision.as_deref().unwrap_or("the source");
    let in_force = match &status.applied_revision {
        Some(revision) => format!("{revision} stays in force"),
        None => "nothing is applied".to_owned(),
    };
    let (why, message) = match outcome {
        Outcome::Applied { objects } => {
            (reason::APPLIED, format!("{attempted} is in force: {}", plural(*objects, "object")))
        }
        Outcome::Removing { pending } => (
            reason::APPLYING,
            format!("{attempted} is in force; {} to be gone", plural(*pending, "object has still")),
        ),
        Outcome::Applying => {
            (reason::APPLYING, format!("{attempted} is being applied; nothing starts meanwhile"))
        }
        Outcome::Suspended => (reason::SUSPENDED, format!("suspended; {in_force}")),
        Outcome::Unreadable { message } => (reason::SOURCE_UNREADABLE, format!("{message}; {in_force}")),
        Outcome::Invalid { problems, total } => {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            (
                reason::REVISION_INVALID,
                format!("{attempted} has {}: {first}; {in_force}", plural(*total, "error")),
            )
        }
        Outcome::Held(held) => (
            reason::REMOVAL_HELD,
            format!(
                "{attempted} waits: {}; set spec.allowRemoval to {} to let it go ahead; {in_force}",
                held.why, held.digest
            ),
        ),
        Outcome::Failed { message } => (reason::APPLY_FAILED, format!("{message}; {in_force}")),
        Outcome::Retrying { message } => (reason::APPLYING, format!("{message}; trying again")),
    };
    let finding = |kind, holds| Finding::new(kind, Some(holds), why, message.clone());
    match outcome {
        Outcome::Applied { .. } => vec![finding(condition::READY, true)],
        Outcome::Suspended => vec![finding(condition::READY, false)],
        Outcome::Removing { .. }
        | Outcome::Applying
        | Outcome::Retrying { .. }
        | Outcome::Unreadable { .. } => {
            vec![finding(condition::READY, false), finding(condition::RECONCILING, true)]
        }
        Outcome::Invalid { .. } | Outcome::Held(_) | Outcome::Failed { .. } => {
            vec![finding(condition::READY, false), finding(condition::STALLED, true)]
        }
    }
}

/// Writes the status if it says something new; `lastCheckedTime` alone is nothing new.
pub(super) async fn write(
    context: &Context,
    source: &GitSource,
    old: &GitSourceStatus,
    mut new: GitSourceStatus,
    now: Timestamp,
) -> Result<GitSourceStatus, kube::Error> {
    if *old == new {
        return Ok(new);
    }
    if old.attempted_revision != new.attempted_revision {
        new.last_checked_time = Some(Time(whole_seconds(now)));
    }
    let api: Api<GitSource> = Api::namespaced(context.client.clone(), &context.namespace);
    let patch = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "GitSource",
        "metadata": {"name": source.name_any(), "uid": source.uid()},
        "status": new,
    });
    api.patch_status(&source.name_any(), &PatchParams::apply(MANAGER_SOURCE).force(), &Patch::Apply(&patch))
        .await?;
    Ok(new)
}

/// Tells people when something changed for them: a new reason, or another revision with the same.
pub(super) async fn tell(
    context: &Context,
    source: &GitSource,
    old: &GitSourceStatus,
    new: &GitSourceStatus,
) {
    let ready = |status: &GitSourceStatus| {
        let ready = status.conditions.iter().find(|found| found.type_ == condition::READY);
        ready.map(|ready| (ready.reason.clone(), status.attempted_revision.clone(), ready.message.clone()))
    };
    let Some((why, revision, message)) = ready(new) else { return };
    let was = ready(old).map(|(why, revision, _)| (why, revision));
    if was == Some((why.clone(), revision)) || why == reason::APPLYING {
        return;
    }
    /// What an event's note can hold, with room for nothing else.
    const MAX_NOTE_BYTES: usize = 1000;
    let mut note = message;
    note.truncate(note.floor_char_boundary(MAX_NOTE_BYTES));
    let is_good = why == reason::APPLIED || why == reason::SUSPENDED;
    let event = Event {
        type_: if is_good { EventType::Normal } else { EventType::Warning },
        reason: why,
        note: Some(note),
        action: "Apply".to_owned(),
        secondary: None,
    };
    let recorder =
        Recorder::new(context.client.clone(), Reporter { controller: MANAGER_SOURCE.into(), instance: None });
    if let Err(error) = recorder.publish(&event, &source.object_ref(&())).await {
        tracing::debug!(%error, "an event was not taken");
    }
}

fn error(problem: &Problem) -> SourceError {
    /// As the schema bounds a field's path.
    const MAX_FIELD: usize = 512;
    let Problem { file, line, column, field, rule, message } = problem.clone();
    let field = field.chars().take(MAX_FIELD).collect();
    SourceError { file, line, column, field, rule, message }
}

fn held_removal(held: &Held) -> HeldRemoval {
    let objects = held.objects.iter().take(MAX_LISTED_REMOVALS);
    HeldRemoval {
        digest: held.digest.clone(),
        objects: objects
            .map(|key| ObjectReference { kind: key.kind.as_str().to_owned(), name: key.name.clone() })
            .collect(),
        total: count(held.objects.len()),
        why: held.why.chars().take(MAX_WHY).collect(),
    }
}

/// As the schema bounds it.
const MAX_WHY: usize = 1024;

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn plural(n: usize, noun: &str) -> String {
    let (first, rest) =
        noun.split_once(' ').map_or((noun, String::new()), |(first, rest)| (first, format!(" {rest}")));
    let rest = if n == 1 { rest } else { rest.replacen(" has", " have", 1) };
    if n == 1 { format!("1 {first}{rest}") } else { format!("{n} {first}s{rest}") }
}
