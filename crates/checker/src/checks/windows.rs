//! W1 to W4, W6, W7: whether each step may start at that instant, by our own window arithmetic.

use jiff::SignedDuration;
use muster_model::{Cover, Instant, StepAction, WindowAction, WindowsPolicy};

use crate::event::{Event, Policy, Step, StepEvent, What, Window};
use crate::start::Start;
use crate::violation::{About, Findings};
use crate::window::{Calendar, Opening, merge};
use crate::world::{MachineState, World};

/// What a step's begin may be late by: the word that it may begin travels to the machine. An agent that dies after a
/// reboot's fresh word asks for another one when it comes back.
const WORD: SignedDuration = SignedDuration::from_secs(5);

/// What restrains steps of one kind on one machine at one instant.
pub(crate) struct Guards<'w> {
    /// Freezes, by every way in which they may be seen.
    pub(crate) denies: Vec<&'w Window>,
    /// Freezes that overrides let it pass, and until when.
    pub(crate) resuming: Vec<(&'w Window, Instant)>,
    /// Windows that may let it start.
    pub(crate) allows: Vec<&'w Window>,
    /// An Allow surely selects the machine.
    pub(crate) needs_allow: bool,
    /// An override opens a window for it.
    pub(crate) passed: bool,
    /// A window that cannot be read surely closes it.
    unreadable: Option<&'w Window>,
}

/// All steps of a start may start then (rule W6).
pub(crate) fn check(world: &World, start: &Start<'_>, calendar: &mut Calendar, findings: &mut Findings<'_>) {
    let Some(machine) = start.machine else { return };
    let (mut cumulated, mut estimated) = (SignedDuration::ZERO, std::collections::BTreeSet::new());
    let policies = world.policies(start.at);
    for step in &start.spec.steps {
        // Steps of one kind share its estimate: it is of all of them in an activity.
        for cover in covers(step) {
            if estimated.insert(cover) {
                cumulated += policies.iter().map(|policy| estimate(policy, cover)).min().unwrap_or_default();
            }
        }
        for cover in covers(step) {
            let mut guards = guards(world, machine, cover, start.at, world.lag);
            guards.pass(world, start, step, machine, start.at);
            one(start, &guards, &policies, (cover, cumulated), calendar, findings);
        }
    }
    let latest = policies.iter().map(|policy| policy.activity_expiry.length()).max().unwrap_or_default();
    if start.spec.expiry > start.at + latest + world.lag {
        let message =
            format!("it expires at {}, and {latest:#} after {} is the latest", start.spec.expiry, start.at);
        findings.broken("A4", "ExpiryTooLate", About::Activity(&start.spec.name), [], message);
    }
}

/// A step that begins later begins in an open window, too, and not in a freeze: those that were there when it started. A
/// reboot has its gateway's fresh word, which knows those that came since, however late its controller is.
pub(crate) fn check_steps(
    world: &World,
    event: &Event,
    calendar: &mut Calendar,
    findings: &mut Findings<'_>,
) {
    let (name, place, at, acts) = match &event.event {
        What::StepStarted(StepEvent { name, step, at }) => (name, *step, at.unwrap_or(event.time), false),
        What::Acted(acted) if !acted.done => (&acted.activity, acted.step, event.time, true),
        _ => return,
    };
    let Some(activity) = world.activities.get(name) else { return };
    let Some(machine) = world.machines.get(&name.machine) else { return };
    let Some(step) = activity.spec.steps.get(place) else { return };
    let acted = activity.acted.get(place).is_some_and(|(began, _)| *began > 0);
    let again = acted || activity.started.get(place).is_some_and(Option::is_some);
    let steady =
        |kept: &crate::world::Kept<Window>| kept.since().is_some_and(|since| since <= activity.created);
    // On record a reboot begins with its preparation, before the word is asked for.
    let fresh = acts && !acted && matches!(step.action, StepAction::Reboot { .. });
    let judged = fresh || (!again && world.windows.values().all(steady));
    if activity.found || !judged {
        return;
    }
    let start = Start { spec: &activity.spec, at, machine: Some(machine) };
    let lag = if fresh { WORD } else { world.lag };
    for cover in covers(step) {
        let mut guards = guards(world, machine, cover, at, lag);
        // An override that was taken back later, or that ran out: what it let start goes on until it expires.
        guards.pass(world, &start, step, machine, activity.created);
        begins(&start, place, &guards, calendar, findings);
    }
}

/// A step begins: in an open window and in no freeze.
fn begins(
    start: &Start<'_>,
    place: usize,
    guards: &Guards<'_>,
    calendar: &mut Calendar,
    findings: &mut Findings<'_>,
) {
    let (at, about) = (start.at, About::Activity(&start.spec.name));
    for deny in &guards.denies {
        if let Some((from, to)) = open(deny, at, calendar).filter(|(from, _)| at.duration_since(*from) > WORD)
        {
            let message = format!("step {place} began at {at}, in the freeze from {from} to {to}");
            findings.broken("W6", "StepInFreeze", about, [object(deny)], message);
        }
    }
    let before = at - WORD;
    let opened = guards
        .allows
        .iter()
        .any(|allow| open(allow, at, calendar).is_some() || open(allow, before, calendar).is_some());
    if guards.needs_allow && !opened {
        let message = format!("step {place} began at {at}, when no window was open");
        findings.broken("W6", "StepOutsideWindows", about, [], message);
    }
}

fn covers(step: &Step) -> Vec<Cover> {
    match &step.action {
        StepAction::InstallPackages(_) if brings_kernel(step) => vec![Cover::Packages, Cover::Kernel],
        StepAction::InstallPackages(_)
        | StepAction::RemovePackages(_)
        | StepAction::HoldPackages { .. }
        | StepAction::RepairPackages => vec![Cover::Packages],
        StepAction::SelectKernel(_) | StepAction::SetDefaultKernel(_) => vec![Cover::Kernel],
        StepAction::Reboot { .. } => vec![Cover::Reboot],
    }
}

/// Whether a kernel's image comes that was not there: its name goes on with a digit.
pub(crate) fn brings_kernel(step: &Step) -> bool {
    step.changes().filter(|change| change.from.is_none() && change.to.is_some()).any(|change| {
        let image = change.package.name.as_str().strip_prefix("linux-image-");
        let release = image.map(|image| image.strip_prefix("unsigned-").unwrap_or(image));
        release.is_some_and(|release| release.starts_with(|first: char| first.is_ascii_digit()))
            && !change.package.name.as_str().ends_with("-dbg")
    })
}

/// An old kernel makes room for the one that comes: nobody asks for that by itself.
pub(crate) fn goes_with_a_kernel(step: &Step, change: &muster_model::Change) -> bool {
    let image = change.package.name.as_str().strip_prefix("linux-image-");
    let is_kernel = image.is_some_and(|image| image.starts_with(|first: char| first.is_ascii_digit()));
    change.to.is_none() && is_kernel && brings_kernel(step)
}

fn estimate(policy: &Policy, cover: Cover) -> SignedDuration {
    match cover {
        Cover::Packages => policy.estimate_packages.length(),
        Cover::Kernel => policy.estimate_kernel.length(),
        Cover::Reboot => policy.estimate_reboot.length(),
    }
}

/// By whom windows may be seen `lag` late.
fn guards<'w>(
    world: &'w World,
    machine: &MachineState,
    cover: Cover,
    at: Instant,
    lag: SignedDuration,
) -> Guards<'w> {
    let mut guards = Guards {
        denies: Vec::new(),
        resuming: Vec::new(),
        allows: Vec::new(),
        needs_allow: false,
        passed: false,
        unreadable: None,
    };
    for kept in world.windows.values() {
        let versions: Vec<Option<&Window>> = kept.possible(at, lag);
        let covers = |window: &Window| window.covers.as_ref().is_none_or(|covers| covers.contains(&cover));
        let surely = versions.iter().all(|window| {
            window.is_some_and(|window| covers(window) && machine.surely(&window.selector, at, lag))
        });
        let is = |action| versions.iter().flatten().all(|window| window.action == action);
        if surely && versions.iter().flatten().all(|window| window.unreadable.is_some()) {
            guards.unreadable = versions.iter().flatten().next().copied();
        }
        // A freeze that was just edited is judged by its shortest form: here, if it is one thing only.
        if surely && is(WindowAction::Deny) && versions.len() == 1 {
            guards.denies.extend(versions.iter().flatten());
        }
        guards.needs_allow |= surely && is(WindowAction::Allow);
        guards.allows.extend(versions.into_iter().flatten().filter(|window| {
            window.action == WindowAction::Allow && covers(window) && machine.maybe(&window.selector, at, lag)
        }));
    }
    guards
}

fn object(window: &Window) -> String {
    format!("MaintenanceWindow/{}", window.name)
}

/// The opening that `at` lies in.
fn open(window: &Window, at: Instant, calendar: &mut Calendar) -> Option<Opening> {
    let openings = calendar.around(window, at).ok()?;
    openings.iter().copied().find(|(from, to)| *from <= at && at < *to)
}

fn one(
    start: &Start<'_>,
    guards: &Guards<'_>,
    policies: &[Policy],
    (cover, cumulated): (Cover, SignedDuration),
    calendar: &mut Calendar,
    findings: &mut Findings<'_>,
) {
    let (at, about) = (start.at, About::Activity(&start.spec.name));
    let what = cover.as_str();
    let own = policies.iter().map(|policy| estimate(policy, cover)).min().unwrap_or_default();
    if let Some(window) = guards.unreadable {
        let message =
            format!("{what} started at {at} under a window that cannot be read, which closes its machines");
        findings.broken("W7", "StartedUnderUnreadable", about, [object(window)], message);
        return;
    }
    for deny in &guards.denies {
        if let Some((from, to)) = open(deny, at, calendar) {
            let message = format!("{what} started at {at}, in the freeze from {from} to {to}");
            findings.broken("W1", "StartedInFreeze", about, [object(deny)], message);
            return;
        }
    }
    let resuming = guards.resuming.iter().filter_map(|(deny, until)| resumed(deny, at, *until, calendar));
    let resuming = resuming.min();
    let freeze = next_freeze(&guards.denies, at, calendar).into_iter().chain(resuming).min();
    if !guards.needs_allow {
        if !guards.passed
            && guards.allows.is_empty()
            && policies.iter().all(|policy| policy.windows == WindowsPolicy::Required)
        {
            let message =
                format!("{what} started at {at}: windows are Required, and none selects the machine");
            findings.broken("W1", "StartedWithoutWindow", about, [], message);
        }
        if let Some((from, _)) = freeze {
            if from.duration_since(at) < cumulated {
                return too_late(start, what, from, cumulated, findings);
            }
            expires_in_time(start, what, (from, from - own), findings);
        }
        return;
    }
    // Openings of several windows that overlap or touch are one (rule W3); the cutoff is that of the last to close.
    let mut spans = Vec::new();
    for allow in &guards.allows {
        match calendar.around(allow, at) {
            Ok(openings) => spans.extend(openings.iter().copied()),
            Err(why) => findings.unjudged("W7", "WindowUnread", about, format!("{}: {why}", object(allow))),
        }
    }
    let merged = merge(spans);
    let Some((opened, closes)) = merged.into_iter().find(|(from, to)| *from <= at && at < *to) else {
        let names: Vec<String> = guards.allows.iter().map(|allow| allow.name.to_string()).collect();
        let message = format!("{what} started at {at}, when none of {} was open", names.join(", "));
        findings.broken("W1", "StartedOutsideWindows", about, [], message);
        return;
    };
    let cutoff = guards
        .allows
        .iter()
        .filter_map(|allow| {
            let openings = calendar.around(allow, at).ok()?;
            let last = openings.iter().filter(|(from, to)| *from >= opened && *to <= closes);
            last.map(|(_, to)| *to - allow.cutoff.length()).max()
        })
        .max();
    if let Some(cutoff) = cutoff
        && at >= cutoff
    {
        let message =
            format!("{what} started at {at}; from {cutoff} on nothing starts before the close at {closes}");
        findings.broken("W2", "StartedAfterCutoff", about, [], message);
        return;
    }
    let close = freeze.map_or(closes, |(from, _)| from.min(closes));
    let needed = cumulated.min(closes.duration_since(opened) / 2);
    if close.duration_since(at) < needed {
        return too_late(start, what, close, needed, findings);
    }
    let last = close - own.min(closes.duration_since(opened) / 2);
    expires_in_time(start, what, (close, cutoff.map_or(last, |cutoff| last.min(cutoff))), findings);
}

/// What is on its way to its machine may begin until its expiry: by then there must be time enough before the close, and the
/// cutoff not past (rules A4, W1, W2, W6).
fn expires_in_time(
    start: &Start<'_>,
    what: &str,
    (close, last): (Instant, Instant),
    findings: &mut Findings<'_>,
) {
    if start.spec.expiry > last {
        let expiry = start.spec.expiry;
        let message = format!(
            "{what} may begin until {expiry}, and {last} is the last moment before the close at {close}"
        );
        findings.broken("A4", "ExpiryTooLate", About::Activity(&start.spec.name), [], message);
    }
}

fn too_late(
    start: &Start<'_>,
    what: &str,
    close: Instant,
    needed: SignedDuration,
    findings: &mut Findings<'_>,
) {
    let left = close.duration_since(start.at);
    let message =
        format!("{what} started at {}, {left:#} before the close at {close}, and takes {needed:#}", start.at);
    findings.broken("W2", "StartedTooLate", About::Activity(&start.spec.name), [], message);
}

/// When a freeze that an override lets the step pass is on again, once that has ended.
fn resumed(deny: &Window, at: Instant, until: Instant, calendar: &mut Calendar) -> Option<Opening> {
    let openings = calendar.around(deny, at).ok()?;
    let next = openings.iter().copied().find(|(_, to)| *to > until);
    next.map(|(from, to)| (from.max(until), to)).filter(|(from, _)| *from > at)
}

fn next_freeze(denies: &[&Window], at: Instant, calendar: &mut Calendar) -> Option<Opening> {
    let mut next: Option<Opening> = None;
    for deny in denies {
        let openings = calendar.around(deny, at).ok()?;
        let coming = openings.iter().copied().find(|(from, _)| *from > at);
        next = match (next, coming) {
            (Some(known), Some(coming)) => Some(known.min(coming)),
            (known, coming) => known.or(coming),
        };
    }
    next
}
