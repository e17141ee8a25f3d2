//! Activities as kubectl shows them, and what can be told from their times.

use jiff::Timestamp;
use serde_json::Value;

/// An activity, read from its JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Its name, `MACHINE-NUMBER`.
    pub name: String,
    /// Its uid: the same activity is the same uid.
    pub uid: String,
    /// The machine that it disrupts.
    pub machine: String,
    /// Its number among the machine's.
    pub number: u64,
    /// Its phase; empty if nobody has given it one yet.
    pub phase: String,
    /// Its steps, in order.
    pub steps: Vec<Step>,
}

/// One step of an activity: what was to be done, and when that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Such as `InstallPackages` or `Reboot`.
    pub kind: String,
    /// What was asked for.
    pub requested: Vec<Moved>,
    /// What comes along.
    pub dependencies: Vec<Moved>,
    /// When it started; `None` if it has not.
    pub start: Option<Timestamp>,
    /// When it ended; `None` if it has not.
    pub completion: Option<Timestamp>,
}

/// One package that a step moves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moved {
    /// The package's name.
    pub name: String,
    /// The version before; `None` where nothing was installed.
    pub from: Option<String>,
    /// The version after; `None` where nothing stays.
    pub to: Option<String>,
}

/// From when until when something was disrupted; without an end if it still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first moment.
    pub start: Timestamp,
    /// The first moment after.
    pub end: Option<Timestamp>,
}

impl Activity {
    /// Reads one.
    ///
    /// # Panics
    ///
    /// If a field of its contract is missing or is no such thing, naming it.
    #[must_use]
    pub fn read(object: &Value) -> Self {
        let name = text(object, "/metadata/name");
        let number = name.rsplit_once('-').and_then(|(_, number)| number.parse().ok());
        let specified = object.pointer("/spec/steps").and_then(Value::as_array);
        let specified = specified.unwrap_or_else(|| panic!("{name} has no steps: {object}"));
        let told = |index: usize| object.pointer(&format!("/status/steps/{index}")).unwrap_or(&Value::Null);
        Self {
            uid: text(object, "/metadata/uid"),
            machine: text(object, "/spec/machineRef/name"),
            number: number.unwrap_or_else(|| panic!("{name} is not MACHINE-NUMBER (rule A1)")),
            phase: object.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default().to_owned(),
            steps: specified.iter().enumerate().map(|(index, step)| Step::read(step, told(index))).collect(),
            name,
        }
    }

    /// From its first step's start to its last step's end; `None` if no step has started.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        let start = self.steps.iter().filter_map(|step| step.start).min()?;
        let started = self.steps.iter().filter(|step| step.start.is_some());
        let ends: Option<Vec<Timestamp>> = started.map(|step| step.completion).collect();
        Some(Span { start, end: ends.and_then(|ends| ends.into_iter().max()) })
    }

    /// Every package that its steps name, sorted.
    #[must_use]
    pub fn moved(&self) -> Vec<Moved> {
        let both = |step: &Step| [step.requested.clone(), step.dependencies.clone()].concat();
        let mut moved: Vec<Moved> = self.steps.iter().flat_map(both).collect();
        moved.sort();
        moved
    }
}

impl Step {
    fn read(specified: &Value, told: &Value) -> Self {
        let kind = text(specified, "/type");
        // A union is `type` and the member of that name, with a small first letter.
        let member: String =
            kind.chars().take(1).flat_map(char::to_lowercase).chain(kind.chars().skip(1)).collect();
        let packages = |field: &str| {
            let list = specified.pointer(&format!("/{member}/{field}")).and_then(Value::as_array);
            list.into_iter().flatten().map(Moved::read).collect()
        };
        Self {
            requested: packages("requested"),
            dependencies: packages("dependencies"),
            start: time(told, "startTime"),
            completion: time(told, "completionTime"),
            kind,
        }
    }
}

impl Moved {
    fn read(package: &Value) -> Self {
        let version = |field: &str| package[field].as_str().map(str::to_owned);
        Self { name: text(package, "/name"), from: version("from"), to: version("to") }
    }
}

/// How many of the activities were under way at one time, at most. One that ends at the moment at which another
/// starts was not under way with it. One without an end goes on for ever.
#[must_use]
pub fn most_at_once(activities: &[Activity]) -> usize {
    let mut changes: Vec<(Timestamp, bool)> = Vec::new();
    for Span { start, end } in activities.iter().filter_map(Activity::span) {
        changes.push((start, true));
        changes.extend(end.map(|end| (end, false)));
    }
    // Ends (false) come before starts (true) of the same moment.
    changes.sort();
    let mut now = 0_usize;
    changes.iter().fold(0, |most, (_, starts)| {
        now = if *starts { now + 1 } else { now.saturating_sub(1) };
        most.max(now)
    })
}

fn text(object: &Value, pointer: &str) -> String {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("there is no text at {pointer} of {object}")).to_owned()
}

fn time(step: &Value, field: &str) -> Option<Timestamp> {
    let written = step[field].as_str()?;
    Some(written.parse().unwrap_or_else(|error| panic!("{field} {written} is no time: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn activity(name: &str, start: &str, completion: Option<&str>) -> Activity {
        let steps = json!([{"type": "InstallPackages", "installPackages": {
            "requested": [{"name": "ferry", "architecture": "amd64", "from": "1.0", "to": "1.1"}],
            "dependencies": [{"name": "oar", "architecture": "all", "to": "2.0"}],
        }}]);
        let machine = name.rsplit_once('-').expect("named in the test").0;
        Activity::read(&json!({
            "metadata": {"name": name, "uid": name},
            "spec": {"machineRef": {"name": machine, "uid": "u"}, "steps": steps},
            "status": {"phase": "Succeeded", "steps": [
                {"type": "InstallPackages", "startTime": start, "completionTime": completion},
            ]},
        }))
    }

    #[test]
    fn an_activity_tells_what_it_moved_and_when() {
        let read = activity("web-01-42", "2026-11-23T01:00:00.000001Z", Some("2026-11-23T01:00:02.500000Z"));
        assert_eq!((read.machine.as_str(), read.number), ("web-01", 42));
        let names: Vec<_> =
            read.moved().into_iter().map(|moved| (moved.name, moved.from, moved.to)).collect();
        let version = |text: &str| Some(text.to_owned());
        assert_eq!(
            names,
            [("ferry".to_owned(), version("1.0"), version("1.1")), ("oar".to_owned(), None, version("2.0"))]
        );
        let span = read.span().expect("its step started");
        assert_eq!(span.start.to_string(), "2026-11-23T01:00:00.000001Z");
        assert_eq!(span.end.expect("its step ended").to_string(), "2026-11-23T01:00:02.5Z");
    }

    #[test]
    fn one_microsecond_together_is_two_at_once() {
        let first = activity("a-1", "2026-11-23T01:00:00Z", Some("2026-11-23T01:00:05.000001Z"));
        let second = activity("b-1", "2026-11-23T01:00:05Z", Some("2026-11-23T01:00:09Z"));
        assert_eq!(most_at_once(&[first, second]), 2);
    }

    #[test]
    fn one_after_the_other_is_one_at_once() {
        let first = activity("a-1", "2026-11-23T01:00:00Z", Some("2026-11-23T01:00:05Z"));
        let second = activity("b-1", "2026-11-23T01:00:05Z", Some("2026-11-23T01:00:09Z"));
        assert_eq!(most_at_once(&[second, first]), 1);
    }

    #[test]
    fn what_has_not_ended_is_still_there() {
        let first = activity("a-1", "2026-11-23T01:00:00Z", None);
        let second = activity("b-1", "2026-11-23T07:00:00Z", Some("2026-11-23T07:00:09Z"));
        assert_eq!(most_at_once(&[first, second]), 2);
    }
}
