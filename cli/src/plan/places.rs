//! Where requirements are written, and what is wrong between them, as problems with both places: conflicts (rule S2), and
//! rollouts that wait for each other (rule O1).

use std::collections::BTreeMap;

use muster_model::{BaselineKind, BaselineRef, BaselineSummary, PackageKey, Plan};
use muster_planner::Circle;
use muster_source::{ChangeSet, Kind, Object, Problem};
use serde_json::Value;

use super::groups::count;
use crate::waits::{baselines, in_circle, target};

/// The files of the planned revision.
pub(crate) struct Places<'a> {
    objects: BTreeMap<(Kind, &'a str), &'a Object>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: u32,
}

impl<'a> Places<'a> {
    /// Those of a change set; `None`: nothing is known of files.
    pub(crate) fn of_set(set: Option<&'a ChangeSet>) -> Self {
        let objects = set.map_or(&[][..], |set| set.objects.as_slice()).iter();
        Self {
            objects: objects.map(|object| ((object.key.kind, object.key.name.as_str()), object)).collect(),
        }
    }

    fn object(&self, baseline: &BaselineRef) -> Option<&'a Object> {
        let kind = match baseline.kind {
            BaselineKind::PackageBaseline => Kind::PackageBaseline,
            BaselineKind::KernelBaseline => Kind::KernelBaseline,
        };
        self.objects.get(&(kind, baseline.name.as_str())).copied()
    }

    /// Where a requirement of a baseline stands: `resource` is `openssl:amd64`, `reboot`, `kernel`.
    pub(crate) fn of(&self, baseline: &BaselineRef, resource: &str) -> Option<Place> {
        let object = self.object(baseline)?;
        let Problem { file, line, .. } = object.problem(&field(object, resource), "", "");
        Some(Place { file, line })
    }

    /// Every contradiction between two baselines, once for each side that a file of the revision says.
    pub(crate) fn conflicts(&self, plan: &Plan) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (baseline, summary) in &plan.baselines {
            let BaselineSummary { conflicts, .. } = summary;
            for ((package, other), machines) in conflicts {
                problems.extend(self.conflict(baseline, package, other, *machines));
            }
        }
        problems.sort();
        problems
    }

    /// Every circle of rollouts that wait for each other's machines, once for each of them that a file of the revision says; by
    /// the first of them where none does.
    pub(crate) fn circles(&self, circles: &[Circle]) -> Vec<Problem> {
        let mut problems: Vec<Problem> = circles.iter().flat_map(|circle| self.circle(circle)).collect();
        problems.sort();
        problems
    }

    fn circle(&self, circle: &Circle) -> Vec<Problem> {
        let resource = circle.item.package.to_string();
        let (target, machines) = (target(&circle.item), count(circle.machines.len()));
        let message = format!("{resource} {target}, on {machines}: {}", in_circle(&baselines(circle)));
        let objects: Vec<&Object> = circle.baselines.iter().filter_map(|one| self.object(one)).collect();
        if objects.is_empty() {
            let first = circle.baselines.first();
            return first.map(|baseline| outside(baseline, "O1", message)).into_iter().collect();
        }
        let problem = |object: &&Object| object.problem(&field(object, &resource), "O1", message.clone());
        objects.iter().map(problem).collect()
    }

    fn conflict(
        &self,
        baseline: &BaselineRef,
        package: &PackageKey,
        other: &BaselineRef,
        machines: usize,
    ) -> Option<Problem> {
        let resource = package.to_string();
        let there = self.of(other, &resource);
        let machines = count(machines);
        let place = match &there {
            Some(there) => format!("{other} in {}:{}", there.file, there.line),
            None => format!("{other}, which is not in these files"),
        };
        let message = format!(
            "{package} is asked for otherwise by {place}, on {machines}: give one of them a higher priority, or let them agree"
        );
        if let Some(object) = self.object(baseline) {
            return Some(object.problem(&field(object, &resource), "S2", message));
        }
        there.is_none().then(|| outside(baseline, "S2", message))
    }
}

/// All that it is between is outside the revision: it is no matter of these files, but nobody else would say it.
fn outside(baseline: &BaselineRef, rule: &str, message: String) -> Problem {
    let (file, field, rule) = (baseline.to_string(), "spec.packages".to_owned(), rule.to_owned());
    Problem { file, line: 0, column: 0, field, rule, message }
}

/// The field that says it; the whole object where no single one does.
fn field(object: &Object, resource: &str) -> String {
    if resource == "reboot" {
        return "spec.reboot".to_owned();
    }
    let (name, architecture) = resource.split_once(':').unwrap_or((resource, ""));
    let packages = object.value.pointer("/spec/packages").and_then(Value::as_array);
    let says = |package: &Value| {
        package["name"] == name
            && package["architecture"].as_str().is_none_or(|written| written == architecture)
    };
    match packages.and_then(|packages| packages.iter().position(says)) {
        Some(place) => format!("spec.packages[{place}]"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use muster_model::{Item, Target};

    use super::*;

    #[test]
    fn a_circle_of_baselines_that_no_file_has_is_said_by_the_first_of_them() {
        let baseline =
            |name: &str| BaselineRef { kind: BaselineKind::PackageBaseline, name: name.parse().unwrap() };
        let package = PackageKey { name: "openssl".parse().unwrap(), architecture: "amd64".parse().unwrap() };
        let circle = Circle {
            item: Item { package, target: Target::Absent },
            baselines: ["a", "b"].map(baseline).into(),
            machines: ["web-01".parse().unwrap()].into(),
        };
        let problems = Places::of_set(None).circles(&[circle]);
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert_eq!((problem.file.as_str(), problem.rule.as_str()), ("PackageBaseline/a", "O1"));
        assert!(problem.message.starts_with("openssl:amd64 absent, on 1 machine: "), "{}", problem.message);
    }
}
