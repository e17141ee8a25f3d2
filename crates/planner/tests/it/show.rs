//! A plan in words. Marks: `=` converged, `+` starts, `~` active or waiting, `!` blocked, `?` unknown, `.` unmanaged.

use std::fmt::Write as _;

use muster_model::{
    Change, CommandLine, ItemProgress, Plan, RequirementVerdict, StepAction, Target, Verdict,
};

use crate::world::World;

pub(crate) fn show(world: &World, plan: &Plan) -> String {
    let mut out = String::new();
    for (name, machine) in &plan.machines {
        writeln!(out, "{} {name}: {}", mark(&machine.verdict), word(&machine.verdict)).unwrap();
        let alike = machine.requirements.iter().all(|one| one.verdict == machine.verdict);
        if !alike && !matches!(machine.verdict, Verdict::Unknown(_)) {
            machine.requirements.iter().for_each(|one| requirement(&mut out, one));
        }
        if world.shown("targets") && alike {
            machine.requirements.iter().for_each(|one| requirement(&mut out, one));
        }
        if world.shown("details")
            && let Verdict::Start(spec) = &machine.verdict
        {
            writeln!(
                out,
                "    expires {}, budgets {:?}, windows {:?}",
                spec.expiry, spec.budgets, spec.windows
            )
            .unwrap();
            writeln!(out, "    health {:?} for {}s", spec.health.units, spec.health.settle_seconds).unwrap();
        }
        if world.shown("wanted") {
            let items = machine.wanted.items.iter().map(|item| match &item.version {
                Some(version) => format!("{}={version}", item.package.name),
                None => format!("{}-", item.package.name),
            });
            writeln!(out, "    wanted {:?}: {}", machine.wanted.interest, list(items)).unwrap();
        }
        if world.shown("holds") {
            writeln!(out, "    holds {}", list(machine.holds.iter().map(|key| key.name.to_string())))
                .unwrap();
        }
    }
    for (name, reason) in &plan.cancels {
        writeln!(out, "x {name}: {}", reason.as_str()).unwrap();
    }
    summaries(world, plan, &mut out);
    out
}

fn summaries(world: &World, plan: &Plan, out: &mut String) {
    for (name, one) in plan.baselines.iter().filter(|_| world.shown("baselines")) {
        writeln!(
            out,
            "# {name}: selected {} = converged {} + not {} + unknown {} + absent {}; active {}, blocked {}, unavailable {}/{}",
            one.selected,
            one.converged,
            one.not_converged,
            one.unknown,
            one.absent,
            one.active,
            one.blocked,
            one.unavailable,
            one.max_unavailable
        )
        .unwrap();
        assert_eq!(one.selected, one.converged + one.not_converged + one.unknown + one.absent);
        for ((package, other), machines) in &one.conflicts {
            writeln!(out, "#   conflicts with {other} about {package} on {machines}").unwrap();
        }
    }
    for (name, one) in plan.budgets.iter().filter(|_| world.shown("budgets")) {
        let (used, most) = (one.unavailable, one.max_unavailable);
        writeln!(out, "# budget {name}: {used}/{most} of {}, {} in flight", one.machines, one.in_flight)
            .unwrap();
    }
    for (name, one) in plan.windows.iter().filter(|_| world.shown("windows")) {
        let show = |at: Option<muster_model::Instant>| at.map_or("-".to_owned(), |at| at.to_string());
        let open = if one.open { "open" } else { "closed" };
        let (opens, closes) = (show(one.next_open), show(one.next_close));
        let capped: Vec<&str> = one.capped.iter().map(|cover| cover.as_str()).collect();
        let capped = match capped.as_slice() {
            [] => String::new(),
            some => format!(", too short for {}", some.join(" and ")),
        };
        writeln!(
            out,
            "# window {name}: {open}, opens {opens}, closes {closes}, {} machines{capped}",
            one.machines
        )
        .unwrap();
    }
    for (name, rollout) in plan.rollouts.iter().filter(|_| world.shown("rollouts")) {
        for (item, one) in &rollout.items {
            let target = match &item.target {
                Target::Version(version) => version.to_string(),
                Target::Absent => "absent".to_owned(),
            };
            let barred = one.barred.map_or(String::new(), |at| format!(", barred since {at}"));
            writeln!(
                out,
                "# rollout {} {}={target}: done {}/{}, failed {}{barred}",
                name.name, item.package.name, one.done, one.wanted, one.failed
            )
            .unwrap();
            if world.shown("waves") {
                waves(out, one);
            }
        }
    }
    if world.shown("next") {
        writeln!(out, "# next {}", plan.next.map_or("-".to_owned(), |at| at.to_string())).unwrap();
    }
}

fn waves(out: &mut String, progress: &ItemProgress) {
    for (name, wave) in &progress.waves {
        let since = wave.since.map_or(String::new(), |at| format!(" since {at}"));
        let zone = wave.zone.as_ref().map_or(String::new(), |zone| format!(", through zone {zone:?}"));
        let passed = wave.passed.map_or(String::new(), |at| format!(", passed {at}"));
        writeln!(
            out,
            "#   wave {name}: {}/{} have it{since}, {} skipped, {} failed{zone}{passed}",
            wave.done, wave.wanted, wave.skipped, wave.failed
        )
        .unwrap();
    }
    let times = [
        ("released", progress.released),
        ("approved", progress.approved),
        ("resumed", progress.resumed),
        ("paused", progress.paused),
    ];
    for (what, at) in times {
        if let Some(at) = at {
            writeln!(out, "#   {what} {at}").unwrap();
        }
    }
}

fn mark(verdict: &Verdict) -> char {
    match verdict {
        Verdict::Converged => '=',
        Verdict::Start(_) => '+',
        Verdict::Active { .. } | Verdict::Waiting(_) => '~',
        Verdict::Blocked(_) => '!',
        Verdict::Unmanaged(_) => '.',
        Verdict::Unknown(_) => '?',
    }
}

fn word(verdict: &Verdict) -> String {
    let until = verdict.until().map_or(String::new(), |until| format!(", until {until}"));
    match verdict {
        Verdict::Start(spec) => {
            let steps = spec.steps.iter().map(|step| {
                let by: Vec<&str> = step.baselines.keys().map(|baseline| baseline.name.as_str()).collect();
                format!("{} for {}", action(&step.action), by.join("+"))
            });
            let passed: Vec<String> = spec
                .passed
                .iter()
                .map(|one| format!(" past {} for {} by {}", one.window, one.cover.as_str(), one.by))
                .collect();
            format!("starts {}: {}{}", spec.name, steps.collect::<Vec<_>>().join(" | "), passed.concat())
        }
        Verdict::Converged => "converged".to_owned(),
        other => format!("{} {}: {}{until}", other.reason(), other.rule(), other.message()),
    }
}

fn requirement(out: &mut String, one: &RequirementVerdict) {
    let verdict = match &one.verdict {
        Verdict::Start(spec) => format!("Start {}", spec.name),
        other => word(other),
    };
    let (installed, target) = (one.installed.as_deref().unwrap_or("-"), one.target.as_deref().unwrap_or("-"));
    let line = format!(
        "  {} {} {} [{installed} → {target}] {verdict}",
        mark(&one.verdict),
        one.baseline.name,
        one.resource
    );
    writeln!(out, "{line}").unwrap();
}

fn action(action: &StepAction) -> String {
    match action {
        StepAction::InstallPackages(transaction) | StepAction::RemovePackages(transaction) => {
            let more = match transaction.dependencies.as_slice() {
                [] => String::new(),
                more => format!(" with {}", list(more.iter().map(change))),
            };
            let verb = if matches!(action, StepAction::RemovePackages(_)) { "remove" } else { "install" };
            let files = match transaction.conffiles {
                muster_model::Conffiles::Keep => String::new(),
                other => format!(" ({other:?} conffiles)"),
            };
            format!("{verb} {}{more}{files}", list(transaction.requested.iter().map(change)))
        }
        StepAction::HoldPackages { hold, unhold } => {
            let names = |keys: &std::collections::BTreeSet<muster_model::PackageKey>, sign: &str| {
                keys.iter().map(|key| format!("{sign}{}", key.name)).collect::<Vec<_>>()
            };
            format!("hold {}", list([names(hold, "+"), names(unhold, "-")].concat()))
        }
        StepAction::RepairPackages => "repair".to_owned(),
        StepAction::SelectKernel(choice) => {
            format!("select {}{}", choice.release, line(&choice.command_line))
        }
        StepAction::Reboot { kernel, command_line } => {
            let kernel = kernel.as_ref().map_or(String::new(), |kernel| format!(" {kernel}"));
            format!("reboot{kernel}{}", line(command_line))
        }
        StepAction::SetDefaultKernel(choice) => {
            format!("default {}{}", choice.release, line(&choice.command_line))
        }
    }
}

fn line(line: &CommandLine) -> String {
    let present = line.present.iter().map(|word| format!(" +{word}"));
    present.chain(line.absent.iter().map(|word| format!(" -{word}"))).collect()
}

fn change(change: &Change) -> String {
    let show = |version: &Option<muster_model::DebianVersion>| {
        version.as_ref().map_or("-".to_owned(), ToString::to_string)
    };
    format!("{} {} > {}", change.package.name, show(&change.from), show(&change.to))
}

fn list(words: impl IntoIterator<Item = String>) -> String {
    let words: Vec<String> = words.into_iter().collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}
