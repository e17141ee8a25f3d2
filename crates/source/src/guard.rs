//! Which change sets wait for a person because of what they would take away (rule G4).

use std::collections::BTreeSet;

use muster_model::Digest;

use crate::loosened::{Loosened, Loosening};
use crate::validate::ObjectKey;

/// From how many owned objects on the limit counts: below, one file of a small source would always be too much.
pub const REMOVAL_LIMIT_FROM: usize = 5;

/// What a change set would take away.
#[derive(Clone, Debug)]
pub struct Removals<'a> {
    /// What the source owns, by its record.
    pub owned: &'a BTreeSet<ObjectKey>,
    /// What it is to own.
    pub wanted: &'a BTreeSet<ObjectKey>,
    /// Guards that machines would lose; see [`loosened`](crate::loosened()).
    pub loosened: &'a [Loosened],
    /// The most that may go by itself, in percent of `owned`.
    pub limit_percent: u32,
    /// The digest that the spec allows.
    pub allowed: Option<&'a str>,
}

/// A change set that waits for `spec.allowRemoval`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Names what would be taken away; the same for every revision that takes away the same.
    pub digest: String,
    /// What would be removed or loosened, sorted.
    pub objects: Vec<ObjectKey>,
    /// Why it waits, for people.
    pub why: String,
}

/// Whether it waits; `None` if it may go ahead.
#[must_use]
pub fn judge_removals(removals: &Removals<'_>) -> Option<Held> {
    let Removals { owned, wanted, loosened, limit_percent, allowed } = removals;
    let removed: BTreeSet<&ObjectKey> = owned.difference(wanted).collect();
    let mut reasons = Vec::new();
    if !removed.is_empty() && removed.len() == owned.len() {
        reasons
            .push(format!("it removes everything that the source owns ({})", count(owned.len(), "object")));
    } else if owned.len() >= REMOVAL_LIMIT_FROM && removed.len() * 100 > owned.len() * *limit_percent as usize
    {
        reasons.push(format!(
            "it removes {} of {} objects, more than {limit_percent}%",
            removed.len(),
            owned.len()
        ));
    }
    for why in [Loosening::Freeze, Loosening::Windows, Loosening::Budget] {
        let names: Vec<String> =
            loosened.iter().filter(|lost| lost.why == why).map(|lost| lost.key.to_string()).collect();
        if !names.is_empty() {
            reasons.push(format!("machines lose {}: {}", why.as_str(), some(&names)));
        }
    }
    if reasons.is_empty() {
        return None;
    }
    let digest = digest(&removed, loosened);
    if *allowed == Some(digest.as_str()) {
        return None;
    }
    let objects: BTreeSet<&ObjectKey> =
        removed.into_iter().chain(loosened.iter().map(|lost| &lost.key)).collect();
    Some(Held { digest, objects: objects.into_iter().cloned().collect(), why: reasons.join("; ") })
}

fn digest(removed: &BTreeSet<&ObjectKey>, loosened: &[Loosened]) -> String {
    let mut lines = String::new();
    for ObjectKey { kind, name } in removed {
        lines += &format!("remove {kind} {name}\n");
    }
    for Loosened { key, seen, why } in loosened {
        lines += &format!("loosen {} {} {} {seen}\n", key.kind, key.name, why.as_str());
    }
    Digest::of(lines.as_bytes()).to_string()
}

/// The first few of a list.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}
