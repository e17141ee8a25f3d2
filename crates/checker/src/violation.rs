//! What a check finds.

use std::collections::BTreeSet;
use std::fmt;

use muster_model::{ActivityName, Instant, MachineName};
use serde::Serialize;
use smol_str::SmolStr;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Severity {
    /// A rule of the design was broken.
    Violation,
    /// The log contradicts itself, or says something that this checker cannot judge: nothing can be concluded there.
    Unjudged,
}

/// A rule that was broken, where, when, and what would have been allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// How bad it is.
    pub severity: Severity,
    /// The rule of design §5: `W1`.
    pub rule: &'static str,
    /// What was broken, from the closed set of the checks: `StartedInFreeze`.
    pub kind: &'static str,
    /// The event's number in the log, from 1: its line is one more.
    pub event: u64,
    /// The event's time.
    pub time: Instant,
    /// The machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineName>,
    /// The activity.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "named")]
    pub activity: Option<ActivityName>,
    /// Other objects that it is about, as `Kind/name`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub objects: BTreeSet<SmolStr>,
    /// What happened, and what was allowed.
    pub message: String,
}

fn named<S: serde::Serializer>(name: &Option<ActivityName>, serializer: S) -> Result<S::Ok, S::Error> {
    match name {
        Some(name) => serializer.collect_str(name),
        None => serializer.serialize_none(),
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.severity {
            Severity::Violation => "!",
            Severity::Unjudged => "?",
        };
        write!(f, "{mark} {} {} {}", self.time, self.rule, self.kind)?;
        if let Some(activity) = &self.activity {
            write!(f, " {activity}")?;
        } else if let Some(machine) = &self.machine {
            write!(f, " {machine}")?;
        }
        write!(f, ": {}", self.message)?;
        if !self.objects.is_empty() {
            let objects: Vec<&str> = self.objects.iter().map(SmolStr::as_str).collect();
            write!(f, " [{}]", objects.join(", "))?;
        }
        Ok(())
    }
}

/// What checks say about one event.
pub(crate) struct Findings<'a> {
    pub(crate) event: u64,
    pub(crate) time: Instant,
    pub(crate) found: &'a mut Vec<Violation>,
}

/// Whom a finding is about.
#[derive(Clone, Copy)]
pub(crate) enum About<'a> {
    Activity(&'a ActivityName),
    Machine(&'a MachineName),
    Fleet,
}

impl Findings<'_> {
    /// A rule was broken.
    pub(crate) fn broken<const N: usize>(
        &mut self,
        rule: &'static str,
        kind: &'static str,
        about: About<'_>,
        objects: [String; N],
        message: String,
    ) {
        self.add(
            Severity::Violation,
            rule,
            kind,
            about,
            objects.into_iter().map(SmolStr::from).collect(),
            message,
        );
    }

    /// Nothing can be concluded.
    pub(crate) fn unjudged(
        &mut self,
        rule: &'static str,
        kind: &'static str,
        about: About<'_>,
        message: String,
    ) {
        self.add(Severity::Unjudged, rule, kind, about, BTreeSet::new(), message);
    }

    fn add(
        &mut self,
        severity: Severity,
        rule: &'static str,
        kind: &'static str,
        about: About<'_>,
        objects: BTreeSet<SmolStr>,
        message: String,
    ) {
        let (machine, activity) = match about {
            About::Activity(name) => (Some(name.machine.clone()), Some(name.clone())),
            About::Machine(name) => (Some(name.clone()), None),
            About::Fleet => (None, None),
        };
        let (event, time) = (self.event, self.time);
        self.found.push(Violation { severity, rule, kind, event, time, machine, activity, objects, message });
    }
}
