//! The report for people: machines with the same change are one group, the most destructive first.
//!
//! Deliberately not here: layout (`text`, `markdown`).

use std::collections::{BTreeMap, BTreeSet};

use muster_model::DebianVersion;

use super::report::{
    Answer, ChangeKind, MachineReport, PackageChange, Report, RequirementReport, StepReport,
};

/// How many packages that come along a group names; the rest is counted, and in the JSON.
const DEPENDENCIES_SHOWN: usize = 8;

/// How bad a change may turn out; the order is that of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Packages go, or go back.
    Destructive,
    /// Machines reboot.
    Reboot,
    /// Packages change.
    Change,
    /// Packages come.
    Addition,
    /// What happens is not known exactly.
    Inexact,
    /// Nothing happens unless somebody does something.
    Blocked,
    /// Nothing can be said.
    Unknown,
    /// What happens stays; when, or why not, changes.
    Timing,
}

impl Severity {
    /// One character, for the beginning of a line.
    pub(crate) fn mark(self) -> char {
        match self {
            Self::Destructive => '-',
            Self::Reboot => '!',
            Self::Change => '~',
            Self::Addition => '+',
            Self::Inexact | Self::Unknown => '?',
            Self::Blocked => 'x',
            Self::Timing => '=',
        }
    }
}

/// Machines with the same change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) severity: Severity,
    /// What happens, a line each.
    pub(crate) what: Vec<String>,
    /// What would have happened without the change.
    pub(crate) instead_of: Vec<String>,
    /// Their names, in order.
    pub(crate) machines: Vec<String>,
    /// When, or why not, and for how many of them.
    pub(crate) when: Vec<(String, usize)>,
}

/// What is the same for all machines of a group.
type Key = (Severity, Vec<String>, Vec<String>);

/// All groups, the most destructive first, then the biggest.
pub(crate) fn groups(report: &Report) -> Vec<Group> {
    let mut found: BTreeMap<Key, Vec<&MachineReport>> = BTreeMap::new();
    for machine in &report.machines {
        let key = match (&report.base, &machine.change) {
            (Some(_), None) => continue,
            (Some(_), Some(change)) => {
                let before = &change.before;
                match change.of {
                    ChangeKind::Work => {
                        let (severity, what) = describe(&machine.answer);
                        (severity, what, describe(before).1)
                    }
                    ChangeKind::Time => (Severity::Timing, Vec::new(), vec![when(before)]),
                }
            }
            (None, _) if machine.answer.is_work() || machine.answer.verdict == "Unknown" => {
                let (severity, what) = describe(&machine.answer);
                (severity, what, Vec::new())
            }
            (None, _) => continue,
        };
        found.entry(key).or_default().push(machine);
    }
    let mut groups: Vec<Group> = found.into_iter().map(|(key, machines)| group(key, &machines)).collect();
    groups.sort_by(|a, b| {
        let rank = |group: &Group| (group.severity, std::cmp::Reverse(group.machines.len()));
        rank(a).cmp(&rank(b)).then_with(|| (&a.what, &a.instead_of).cmp(&(&b.what, &b.instead_of)))
    });
    groups
}

fn group((severity, what, instead_of): Key, machines: &[&MachineReport]) -> Group {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for machine in machines {
        *counts.entry(when(&machine.answer)).or_default() += 1;
    }
    let mut when: Vec<(String, usize)> = counts.into_iter().collect();
    when.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let machines = machines.iter().map(|machine| machine.name.clone()).collect();
    Group { severity, what, instead_of, machines, when }
}

/// When a machine does it, or why it does not, in the same words for all that wait for the same thing.
pub(crate) fn when(answer: &Answer) -> String {
    let because = match &answer.blocker {
        Some(blocker) if answer.verdict != "Active" => {
            format!("{} {}/{}, rule {}", answer.reason, blocker.kind, blocker.name, answer.rule)
        }
        Some(_) | None => format!("{}, rule {}", answer.reason, answer.rule),
    };
    match answer.verdict {
        "Start" => "now".to_owned(),
        "Converged" => "as wanted".to_owned(),
        "Active" => "under way".to_owned(),
        "Waiting" => format!("later ({because}): {}", answer.clears),
        "Blocked" => format!("blocked ({because}): {}", answer.clears),
        "Unmanaged" => format!("unmanaged ({because})"),
        _ => format!("cannot be judged ({because}): {}", answer.clears),
    }
}

/// What a machine does, and how bad that may turn out.
fn describe(answer: &Answer) -> (Severity, Vec<String>) {
    let mut told = Told::default();
    for step in &answer.steps {
        told.step(step, "");
    }
    for step in &answer.later {
        told.step(step, ", later");
    }
    let mut seen = BTreeSet::new();
    for requirement in &answer.requirements {
        // Several baselines may ask for the same.
        if !requirement.is_observed()
            && !told.covered.contains(&requirement.resource)
            && seen.insert((&requirement.resource, &requirement.target, requirement.verdict))
        {
            told.requirement(requirement);
        }
    }
    if answer.may_reboot {
        told.lines.push("perhaps a reboot afterwards, if the packages ask for one".to_owned());
    }
    if told.lines.is_empty() {
        return match answer.verdict {
            "Unknown" => (Severity::Unknown, vec![answer.message.clone()]),
            "Blocked" => (Severity::Blocked, vec![answer.message.clone()]),
            "Converged" => (Severity::Timing, vec!["nothing: it is as wanted".to_owned()]),
            "Unmanaged" => (Severity::Timing, vec![format!("nothing: {}", answer.message)]),
            _ => (Severity::Timing, vec![answer.message.clone()]),
        };
    }
    (told.severity.unwrap_or(Severity::Change), told.lines)
}

#[derive(Default)]
struct Told {
    severity: Option<Severity>,
    lines: Vec<String>,
    covered: BTreeSet<String>,
}

/// What the command line is to say and not to say.
fn words_of(step: &StepReport) -> String {
    let line = &step.command_line;
    let present = line.present.iter().map(|word| format!(" with {word}"));
    present.chain(line.absent.iter().map(|word| format!(" without {word}"))).collect()
}

impl Told {
    /// The worst counts.
    fn rate(&mut self, severity: Severity) {
        self.severity = Some(self.severity.map_or(severity, |known| known.min(severity)));
    }

    fn step(&mut self, step: &StepReport, suffix: &str) {
        match step.type_ {
            "Reboot" => {
                self.rate(Severity::Reboot);
                self.covered.insert("reboot".to_owned());
                let kernel = step.kernel.as_ref().map_or(String::new(), |kernel| format!(" into {kernel}"));
                self.lines.push(format!("reboot{kernel}{}{suffix}", words_of(step)));
            }
            "SelectKernel" => {
                self.rate(Severity::Change);
                let kernel = step.kernel.as_deref().unwrap_or_default();
                self.lines.push(format!("boot {kernel} once, the default stays{suffix}"));
            }
            "SetDefaultKernel" => {
                self.rate(Severity::Change);
                self.covered.insert("kernel".to_owned());
                let kernel = step.kernel.as_deref().unwrap_or_default();
                self.lines.push(format!("make {kernel} the default once the machine is healthy{suffix}"));
            }
            "RepairPackages" => {
                self.rate(Severity::Change);
                self.lines.push(format!("dpkg --configure -a{suffix}"));
            }
            "HoldPackages" => {
                self.rate(Severity::Change);
                for (what, packages) in [("hold", &step.hold), ("lift the hold of", &step.unhold)] {
                    for package in packages {
                        self.covered.insert(format!("{}:{}", package.name, package.architecture));
                        self.lines.push(format!("{what} {}{suffix}", package.name));
                    }
                }
            }
            _ => self.transaction(step, suffix),
        }
    }

    fn transaction(&mut self, step: &StepReport, suffix: &str) {
        for change in &step.requested {
            self.rate(rating(change));
            self.covered.insert(format!("{}:{}", change.name, change.architecture));
            self.lines.push(format!("{}{suffix}", in_words(change)));
        }
        // What goes along with it is shown first: it was not asked for.
        let mut along: Vec<&PackageChange> = step.dependencies.iter().collect();
        along.sort_by_key(|change| (rating(change), &change.name, &change.architecture));
        for change in &along {
            self.rate(rating(change));
        }
        if !along.is_empty() {
            let shown: Vec<String> =
                along.iter().take(DEPENDENCIES_SHOWN).map(|change| in_words(change)).collect();
            let more = along.len().saturating_sub(DEPENDENCIES_SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            self.lines.push(format!("with {}{more}{suffix}", shown.join(", ")));
        }
    }

    fn requirement(&mut self, requirement: &RequirementReport) {
        let installed = requirement.installed.as_deref().unwrap_or("absent");
        let target = requirement.target.as_deref().unwrap_or("?");
        let change = format!("{} {installed} → {target}", requirement.resource);
        match (requirement.verdict, requirement.reason) {
            ("Blocked", _) => {
                self.rate(Severity::Blocked);
                self.lines.push(format!("{change}: blocked, {} ({})", requirement.message, requirement.rule));
            }
            (_, "Proposal") => {
                // What is asked to go is known to be asked.
                self.rate(if target == "absent" { Severity::Destructive } else { Severity::Inexact });
                self.lines.push(format!("{change}, and what apt brings along: not simulated yet"));
            }
            (_, "Inventory" | "Report") => {
                self.rate(if target == "absent" { Severity::Destructive } else { Severity::Inexact });
                self.lines.push(format!("{change}: not reported yet what is on offer"));
            }
            _ => {
                self.rate(if target == "absent" { Severity::Destructive } else { Severity::Change });
                self.lines.push(change);
            }
        }
    }
}

fn rating(change: &PackageChange) -> Severity {
    match (&change.from, &change.to) {
        (_, None) => Severity::Destructive,
        (None, Some(_)) => Severity::Addition,
        (Some(from), Some(to)) => {
            let lower = DebianVersion::parse(to).ok() < DebianVersion::parse(from).ok();
            if lower { Severity::Destructive } else { Severity::Change }
        }
    }
}

fn in_words(change: &PackageChange) -> String {
    let PackageChange { name, architecture: _, from, to } = change;
    match (from, to) {
        (Some(from), None) => format!("{name} {from} removed"),
        (None, None) => format!("{name} removed"),
        (None, Some(to)) => format!("{name} {to} installed"),
        (Some(from), Some(to)) if rating(change) == Severity::Destructive => {
            format!("{name} {from} → {to}, a downgrade")
        }
        (Some(from), Some(to)) => format!("{name} {from} → {to}"),
    }
}

/// The first few names, and how many more there are.
pub(crate) fn some(names: &[String], shown: usize) -> String {
    let first = names.iter().take(shown).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(shown) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// `1 machine`, `12 machines`.
pub(crate) fn count(machines: usize) -> String {
    if machines == 1 { "1 machine".to_owned() } else { format!("{machines} machines") }
}
