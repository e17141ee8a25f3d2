//! The boot that an activity carries, if it may be now: a kernel's trial, or a plain reboot (rules B5, K2, W6).
//!
//! A trial is three steps: the kernel is selected for one boot, the machine reboots, and what runs becomes the default. One
//! boot serves everybody who asks for one. What may not boot now goes in all the same, and boots by a later activity.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use muster_model::{
    BaselineRef, Capability, CommandLine, Cover, Followed, InstalledKernel, KernelChoice, PackageKey, Passes,
    Reason, RebootWhen, Reported, Step, StepAction, Transaction, Verdict, WaitingOn, kernel_flavour,
    kernel_release,
};

use crate::attempts::Subject;
use crate::case::Case;
use crate::machine::{State, States, World};
use crate::reboot::boot_limit;
use crate::select::Resources;
use crate::steps::{Load, PACKAGES_TIMEOUT, step};
use crate::target::Outcome;
use crate::window::Opening;

/// How long the boot loader's choice may take to be set.
const LOADER_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// Why a kernel that is installed may not boot now, if so: by the machine, not by its windows.
pub(crate) fn hindered(world: &World<'_>, case: &Case<'_>, choice: &KernelChoice) -> Option<Verdict> {
    let reported = case.reported?;
    if !reported.report.capabilities.contains(&Capability::Reboot) {
        return Some(Verdict::Blocked(Reason::NotCapable { capability: Capability::Reboot }));
    }
    if let Some(verdict) = case.history.retry(case.machine, Subject::Kernel(choice), world.timer) {
        return Some(verdict);
    }
    if reboots_for_kernel(world.resources, case) || case.merged.reboots_any(world.resources) {
        return boot_limit(case.history, world.timer);
    }
    // Selected, and nobody but a person reboots it.
    let selected = reported.report.kernel.next_boot.as_ref() == Some(&choice.release)
        && reported.report.kernel.booted != choice.release;
    selected.then(|| Verdict::Waiting(WaitingOn::ManualReboot { kernel: choice.release.clone() }))
}

/// Why no kernel may be brought now, if so: its own windows are closed.
pub(crate) fn closed(world: &World<'_>, case: &Case<'_>, passes: &Passes) -> Option<Verdict> {
    open(world, case, passes).err().map(Verdict::Waiting)
}

/// What a kernel may be brought in now: long enough for the packages that come with it.
pub(crate) fn open(world: &World<'_>, case: &Case<'_>, passes: &Passes) -> Result<Opening, WaitingOn> {
    let estimates = &world.snapshot.policy.estimates;
    let whole = estimates.of(Cover::Packages) + estimates.of(Cover::Kernel);
    opening(world, case, Cover::Kernel, whole, passes)
}

/// An opening that is long enough for the `whole`; steps of the kind may begin as long as there is time for them alone. What was
/// passed for the whole is on record, also where there would be time enough for them alone.
fn opening(
    world: &World<'_>,
    case: &Case<'_>,
    cover: Cover,
    whole: SignedDuration,
    passes: &Passes,
) -> Result<Opening, WaitingOn> {
    let ask = |estimate| world.windows.ask_past(case.picked.windows, cover, estimate, passes);
    let Opening { passed, .. } = ask(whole)?;
    Ok(Opening { passed, ..ask(world.snapshot.policy.estimates.of(cover))? })
}

/// The kernel that a reboot which the machine asks for is to try: the newest of the flavour that runs, where no kernel
/// baseline decides. The loader's default is the last good one, so a plain reboot would not come to it.
pub(crate) fn waiting(case: &Case<'_>, reported: &Reported) -> Option<KernelChoice> {
    let muster_model::Kernel { booted, installed, .. } = &*reported.report.kernel;
    let selects = reported.report.capabilities.contains(&Capability::KernelSelection);
    if !selects || case.merged.kernel.is_some() {
        return None;
    }
    let running = installed.iter().find(|kernel| kernel.release == *booted)?;
    let newer = |kernel: &&InstalledKernel| {
        kernel.version > running.version && kernel_flavour(&kernel.release) == kernel_flavour(booted)
    };
    let newest = installed.iter().filter(newer).max_by(|a, b| a.version.cmp(&b.version))?;
    Some(KernelChoice {
        release: newest.release.clone(),
        command_line: CommandLine::default(),
        followed: None,
    })
}

/// The kernel that a transaction would take away though it runs, or boots next (rule K3). The last good one is one of these:
/// while a kernel is on trial, that is what boots next.
pub(crate) fn taken_away(case: &Case<'_>, transaction: &Transaction) -> Option<PackageKey> {
    let muster_model::Kernel { booted, next_boot, .. } = &*case.reported?.report.kernel;
    let is_in_use = |release: &str| release == booted || next_boot.as_deref() == Some(release);
    let removals = transaction.changes().filter(|change| change.is_removal());
    let mut packages = removals.map(|change| &change.package);
    packages.find(|package| kernel_release(&package.name).is_some_and(is_in_use)).cloned()
}

/// A reboot that only kernels ask for is the kernel baselines' affair, where there are any: it stands as theirs does.
pub(crate) fn leave_to_kernels(case: &Case<'_>, states: &mut States) {
    let Some(wish) = &case.merged.kernel else { return };
    if is_for_kernels(case) && states.reboot != State::Met && *states.of(wish.place) != State::Met {
        states.reboot = states.of(wish.place).clone();
    }
}

/// Whether the machine asks for a reboot for nothing but kernels.
fn is_for_kernels(case: &Case<'_>) -> bool {
    let required = case.reported.and_then(|reported| reported.report.reboot_required.as_ref());
    let is_kernels = |package: &smol_str::SmolStr| {
        let name = muster_model::PackageName::parse(package).ok();
        package == "linux-base" || name.is_some_and(|name| kernel_release(&name).is_some())
    };
    required.is_some_and(|required| !required.packages.is_empty() && required.packages.iter().all(is_kernels))
}

/// A boot to make.
struct Boot {
    /// The kernel to try; `None`: a plain reboot.
    choice: Option<KernelChoice>,
    /// For whom it is tried.
    by: BTreeSet<usize>,
    /// For whom the machine is rebooted; nobody: a person does that.
    reboots: BTreeSet<usize>,
    /// It runs already, and is only to become the default.
    runs: bool,
}

/// Adds the boot, or says why not.
pub(crate) fn add(world: &World<'_>, case: &Case<'_>, states: &mut States, load: &mut Load, name: &Verdict) {
    let place = case.merged.kernel.as_ref().map(|wish| wish.place);
    let boots = |states: &States| {
        place.filter(|place| {
            let outcome = case.evaluation.judged.get(*place).map(|judged| &judged.outcome);
            states.of(*place).is_ready() && matches!(outcome, Some(Outcome::Boot(_) | Outcome::SetDefault(_)))
        })
    };
    let stick = |states: &mut States, verdict: &Verdict| {
        states.reboot.stick(verdict);
        if let Some(place) = boots(states) {
            states.stick(place, verdict);
        }
    };
    if load.repairs {
        return stick(states, name);
    }
    // Packages that are moments away may ask for a reboot, too: one is enough.
    let soon = states.enforced.iter().find_map(|(_, state)| match state {
        State::Stuck(verdict @ Verdict::Waiting(WaitingOn::Proposal | WaitingOn::Inventory { .. })) => {
            Some(verdict.clone())
        }
        State::Stuck(_) | State::Met | State::Ready => None,
    });
    if let Some(verdict) = soon {
        return stick(states, &verdict);
    }
    let Some(boot) = boot(world, case, states, load) else {
        // What asks for a reboot and has no plain one of its own waits for the kernel's.
        return stick(states, name);
    };
    if let Err(closed) = push(world, case, &boot, load) {
        stick(states, &Verdict::Waiting(closed));
    }
}

/// What is to boot.
fn boot(world: &World<'_>, case: &Case<'_>, states: &States, load: &Load) -> Option<Boot> {
    let enforced = |places: &[usize]| -> BTreeSet<usize> {
        places.iter().copied().filter(|place| world.resources.enforces(*place)).collect()
    };
    let asked = if states.reboot.is_ready() { enforced(&case.merged.reboots) } else { BTreeSet::new() };
    if let Some((choice, runs)) = wished(case, states, load)
        && (runs || hindered(world, case, &choice).is_none())
    {
        let by: BTreeSet<usize> = case.merged.kernel.iter().flat_map(|wish| wish.by.clone()).collect();
        let mut reboots = asked;
        if !reboots.is_empty() || reboots_for_kernel(world.resources, case) {
            reboots.extend(&by);
        }
        return Some(Boot { choice: Some(choice), by, reboots, runs });
    }
    let reported = case.reported?;
    // A transaction of this activity brings a kernel that nobody follows: it is tried for those who reboot.
    let brought = load.brought().filter(|_| case.merged.kernel.is_none() && case.evaluation.selects_kernels);
    let brought = brought.and_then(|transaction| came(case, transaction)).map(|release| KernelChoice {
        release,
        command_line: CommandLine::default(),
        followed: None,
    });
    let reboots = enforced(&case.merged.reboots);
    if let Some(choice) = brought
        && !reboots.is_empty()
        && hindered(world, case, &choice).is_none()
    {
        return Some(Boot { choice: Some(choice), by: reboots.clone(), reboots, runs: false });
    }
    // A plain reboot comes to none of the kernels that it would be for.
    if asked.is_empty() || (case.merged.kernel.is_some() && is_for_kernels(case)) {
        return None;
    }
    Some(Boot { choice: waiting(case, reported), by: asked.clone(), reboots: asked, runs: false })
}

/// What the kernel baselines want booted: what is installed, or what this activity installs. Whether it runs already.
fn wished(case: &Case<'_>, states: &States, load: &Load) -> Option<(KernelChoice, bool)> {
    let wish = case.merged.kernel.as_ref()?;
    if !states.of(wish.place).is_ready() {
        return None;
    }
    match &case.evaluation.judged[wish.place].outcome {
        Outcome::Boot(choice) => Some((KernelChoice::clone(choice), false)),
        Outcome::SetDefault(choice) => Some((KernelChoice::clone(choice), true)),
        Outcome::Change(Some(version)) => {
            let package: &PackageKey = &case.merged.enforced[wish.place].key;
            let transaction = load.brought()?;
            if !transaction.requested.iter().any(|change| change.package == *package) {
                return None;
            }
            let choice = KernelChoice {
                release: came(case, transaction)?,
                command_line: wish.line.clone(),
                followed: Some(Followed { package: package.clone(), version: version.clone() }),
            };
            Some((choice, false))
        }
        Outcome::Change(None)
        | Outcome::Met
        | Outcome::Hold
        | Outcome::Repair
        | Outcome::NotCovered
        | Outcome::Blocked(_) => None,
    }
}

/// The release that a transaction brings: where there are several, the one of the flavour that runs. Which it is where that
/// does not tell, the next report does.
fn came(case: &Case<'_>, transaction: &Transaction) -> Option<smol_str::SmolStr> {
    let all: Vec<&str> = transaction.new_kernels().collect();
    if let [alone] = all.as_slice() {
        return Some((*alone).into());
    }
    let flavour = kernel_flavour(&case.reported?.report.kernel.booted);
    let mut alike = all.into_iter().filter(|release| kernel_flavour(release) == flavour);
    let first = alike.next()?;
    alike.next().is_none().then(|| first.into())
}

/// Adds the steps, if the windows are open long enough to all of them.
fn push(world: &World<'_>, case: &Case<'_>, boot: &Boot, load: &mut Load) -> Result<(), WaitingOn> {
    let Boot { choice, by, reboots, runs } = boot;
    let (tries, restarts) = (choice.is_some(), !reboots.is_empty() && !runs);
    let mut kinds: BTreeSet<Cover> =
        load.steps.iter().flat_map(|step| step.action.covers()).copied().collect();
    kinds.extend(tries.then_some(Cover::Kernel));
    kinds.extend(restarts.then_some(Cover::Reboot));
    let estimates = &world.snapshot.policy.estimates;
    let whole = kinds.iter().fold(SignedDuration::ZERO, |sum, kind| sum + estimates.of(*kind));
    let named: Vec<BaselineRef> =
        by.union(reboots).map(|place| world.resources.packages[*place].reference()).collect();
    // Who lets a kernel pass has not let the machine go down: that is named by itself.
    let reboot = world.overrides.of_reboot(&named);
    let mut kernel = reboot.clone();
    if let Some(followed) = choice.as_ref().and_then(|choice| choice.followed.as_ref()) {
        kernel.extend(world.overrides.of_package(&named, &followed.package, &followed.version));
    }
    let mut openings = Vec::new();
    if tries {
        openings.push((Cover::Kernel, opening(world, case, Cover::Kernel, whole, &kernel)?));
    }
    if restarts {
        openings.push((Cover::Reboot, opening(world, case, Cover::Reboot, whole, &reboot)?));
    }
    for (cover, opening) in openings {
        load.openings.entry(cover).or_insert(opening);
    }
    let about = |action, by: &BTreeSet<usize>, timeout| Step { timeout, ..step(world.resources, action, by) };
    if let Some(choice) = choice.as_ref().filter(|_| !runs) {
        load.steps.push(about(StepAction::SelectKernel(choice.clone()), by, LOADER_TIMEOUT));
    }
    if restarts {
        let timeouts = reboots.iter().map(|place| world.resources.packages[*place].reboot.timeout);
        let action = StepAction::Reboot {
            kernel: choice.as_ref().map(|choice| choice.release.clone()),
            command_line: choice.as_ref().map(|choice| choice.command_line.clone()).unwrap_or_default(),
        };
        load.steps.push(about(action, reboots, timeouts.min().unwrap_or(PACKAGES_TIMEOUT)));
    }
    if let Some(choice) = choice.as_ref().filter(|_| restarts || *runs) {
        load.steps.push(about(StepAction::SetDefaultKernel(choice.clone()), by, LOADER_TIMEOUT));
    }
    Ok(())
}

/// Whether a deciding kernel baseline has the machine rebooted.
pub(crate) fn reboots_for_kernel(resources: &Resources<'_>, case: &Case<'_>) -> bool {
    let wish = case.merged.kernel.as_ref();
    wish.is_some_and(|wish| {
        wish.by.iter().any(|place| resources.packages[*place].reboot.policy == RebootWhen::WhenRequired)
    })
}
