//! Planted bugs: each stands between the world and fleet (or the gateway), and bends what goes in or comes out as if a
//! line of the product were missing. The storm must find every one of them, else it would not find the real ones.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use muster_fleet::{Change, Effect, Key, Written};
use muster_model::{
    AbsentMachines, ActivityName, BudgetLimit, Instant, PackageName, Permit, Phase, Recurrence, Share,
    StepAction, When, Window, WindowAction, WindowsPolicy,
};
use std::sync::Arc;

use crate::storm::Storm;

macro_rules! plants {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// A bug that is planted on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Plant {
            $($(#[doc = $doc])* $name,)*
        }

        impl Plant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What it is, in a sentence.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

plants! {
    /// Budgets allow one machine more than they say.
    BudgetPlusOne,
    /// Baselines' maxUnavailable allows one machine more than it says.
    MaxUnavailablePlusOne,
    /// Windows end a second later than they do.
    WindowEndPlusOne,
    /// Freezes are not seen.
    FreezeIgnored,
    /// `windows: Required` is taken for `Optional`.
    RequiredIgnored,
    /// A failed activity is taken for one that was stopped between two steps.
    FailureNotCounted,
    /// A reservation counts only once a watch shows it.
    StaleCacheTrusted,
    /// What is created is created again under the next number.
    TwoUnfinished,
    /// An activity that is over is given to the machine again, which has forgotten it.
    DoubleDispatch,
    /// Gateways deliver activities of any epoch.
    LateLeaderDelivered,
    /// Budgets leave silent machines out that they should count.
    AbsentNotCounted,
    /// Gateways tell machines a deadline that is a week late.
    ExpiryIgnored,
    /// A failure's time is not known: the next attempt comes at once.
    RetryWithoutBackoff,
    /// A success frees its place at once.
    MinReadyIgnored,
    /// Silent machines are taken for present.
    SilentStarted,
    /// A revision that is being applied is taken for the whole.
    ApplyingIgnored,
    /// Machines that nobody admitted are planned for.
    NotAdmittedStarted,
    /// No number of failures bars an item.
    BarredStarted,
    /// The policy's `suspend` is not seen.
    SuspendIgnored,
    /// A machine's `suspend` is not seen.
    MachineSuspendIgnored,
    /// Every baseline seems to allow downgrades.
    DowngradeAllowed,
    /// Holds of others are not seen.
    HoldsIgnored,
    /// Failed units are not seen: an unhealthy machine counts as well.
    UnhealthyNotCounted,
    /// The fresh word before a reboot is always yes.
    FreshWordAlwaysYes,
    /// Nobody ends what no gateway delivered in time, and gateways deliver it ever after.
    UndeliveredForEver,
    /// The agent's late word takes an activity that is over back.
    PhaseGoesBack,
    /// Nothing soaks.
    SoakSkipped,
    /// There are no waves.
    WavesIgnored,
    /// Zones have no order.
    ZoneOrderIgnored,
    /// An unreadable window is taken for none.
    UnreadableIgnored,
    /// Every activity may begin for an hour, however soon its window ends.
    ExpiryStretched,
    /// Of several things that a transaction was asked for it leaves out the last.
    LastLeftOut,
}

/// What the planted bugs remember.
#[derive(Debug, Default)]
pub(crate) struct Bent {
    doubled: BTreeSet<ActivityName>,
}

impl Bent {
    /// Whether it is the first time for an activity.
    pub(crate) fn doubled(&mut self, name: &ActivityName) -> bool {
        self.doubled.insert(name.clone())
    }
}

/// One more, whatever it counts.
fn one_more(share: Share) -> Share {
    match share {
        Share::Count(count) => Share::Count(count + 1),
        Share::Percent(percent) => Share::Percent((percent + 3).min(100)),
    }
}

/// Ends a second later.
fn longer(when: When) -> When {
    let second = SignedDuration::from_secs(1);
    match when {
        When::Once { from, to } => When::Once { from, to: to + second },
        When::Recurring(recurrence) => {
            let longer = Recurrence::new(
                recurrence.schedule().clone(),
                recurrence.offset_days(),
                recurrence.zone().clone(),
                recurrence.duration() + second,
            );
            When::Recurring(longer.unwrap_or(recurrence))
        }
    }
}

/// A window that says nothing about anybody, and is there all the same: what a revision owns has to be seen (rule G2).
fn of_no_account(window: Window) -> Window {
    let long_ago = When::Once { from: Instant::MIN, to: Instant::MIN + SignedDuration::from_secs(1) };
    Window { when: Ok(long_ago), covers: Some(BTreeSet::new()), ..window }
}

impl Storm {
    /// What fleet is told of a change; `None`: nothing.
    pub(crate) fn bend(&self, change: Change) -> Option<Change> {
        let Some(plant) = self.options.plant else { return Some(change) };
        Some(match (plant, change) {
            (Plant::BudgetPlusOne, Change::Budget(mut budget)) => {
                budget.limit = match budget.limit {
                    BudgetLimit::MaxUnavailable(share) => BudgetLimit::MaxUnavailable(one_more(share)),
                    BudgetLimit::MinAvailable(share) => BudgetLimit::MinAvailable(match share {
                        Share::Count(count) => Share::Count(count.saturating_sub(1)),
                        Share::Percent(percent) => Share::Percent(percent.saturating_sub(3)),
                    }),
                };
                Change::Budget(budget)
            }
            (Plant::AbsentNotCounted, Change::Budget(mut budget)) => {
                budget.absent = AbsentMachines::Ignore;
                Change::Budget(budget)
            }
            (Plant::MaxUnavailablePlusOne, Change::PackageBaseline(mut baseline)) => {
                baseline.rollout.max_unavailable = one_more(baseline.rollout.max_unavailable);
                Change::PackageBaseline(baseline)
            }
            (Plant::MinReadyIgnored, Change::PackageBaseline(mut baseline)) => {
                baseline.rollout.min_ready = SignedDuration::ZERO;
                Change::PackageBaseline(baseline)
            }
            (Plant::BarredStarted, Change::PackageBaseline(mut baseline)) => {
                baseline.rollout.max_failures = Share::Percent(100);
                Change::PackageBaseline(baseline)
            }
            (Plant::SoakSkipped, Change::PackageBaseline(mut baseline)) => {
                baseline.rollout.waves.iter_mut().for_each(|wave| wave.soak = SignedDuration::ZERO);
                Change::PackageBaseline(baseline)
            }
            (Plant::WavesIgnored, Change::PackageBaseline(mut baseline)) => {
                baseline.rollout.waves.clear();
                Change::PackageBaseline(baseline)
            }
            (Plant::ZoneOrderIgnored, Change::PackageBaseline(mut baseline)) => {
                baseline.rollout.zone_key = None;
                Change::PackageBaseline(baseline)
            }
            (Plant::ZoneOrderIgnored, Change::KernelBaseline(mut baseline)) => {
                baseline.rollout.zone_key = None;
                Change::KernelBaseline(baseline)
            }
            (Plant::DowngradeAllowed, Change::PackageBaseline(mut baseline)) => {
                baseline.downgrades = Permit::Allow;
                Change::PackageBaseline(baseline)
            }
            (Plant::WindowEndPlusOne, Change::Window(mut window)) if window.action == WindowAction::Allow => {
                window.when = window.when.map(longer);
                Change::Window(window)
            }
            (Plant::FreezeIgnored, Change::Window(window)) if window.action == WindowAction::Deny => {
                Change::Window(of_no_account(window))
            }
            (Plant::UnreadableIgnored, Change::Window(window)) if window.when.is_err() => {
                Change::Window(of_no_account(window))
            }
            (Plant::UnreadableIgnored, Change::Unreadable(_, Some(_))) => return None,
            (Plant::RequiredIgnored, Change::Policy(Some((mut policy, revision)))) => {
                policy.windows = WindowsPolicy::Optional;
                Change::Policy(Some((policy, revision)))
            }
            (Plant::SuspendIgnored, Change::Policy(Some((mut policy, revision)))) => {
                policy.suspend = false;
                Change::Policy(Some((policy, revision)))
            }
            (Plant::MachineSuspendIgnored, Change::Machine(mut machine)) => {
                machine.suspend = false;
                Change::Machine(machine)
            }
            (Plant::NotAdmittedStarted, Change::Machine(mut machine)) => {
                machine.admitted = true;
                Change::Machine(machine)
            }
            (Plant::UnhealthyNotCounted, Change::Machine(mut machine)) => {
                if let Some(reported) = &mut machine.reported {
                    reported.report.failed_units.clear();
                }
                Change::Machine(machine)
            }
            (Plant::HoldsIgnored, Change::Inventory(digest, inventory, marked)) => {
                // Those that a baseline asks for are ours.
                let baselines = self.people.desired.baselines.values();
                let ours: BTreeSet<PackageName> = baselines
                    .flat_map(|baseline| baseline.packages.iter().filter(|asked| asked.hold))
                    .map(|asked| asked.name.clone())
                    .collect();
                let mut inventory = muster_model::Inventory::clone(&inventory);
                for package in inventory.packages.iter_mut().filter(|one| !ours.contains(&one.key.name)) {
                    if let Some(installed) = &mut package.installed {
                        installed.held = false;
                    }
                }
                Change::Inventory(digest, Arc::new(inventory), marked)
            }
            (Plant::FailureNotCounted, Change::Activity(mut activity)) if activity.phase == Phase::Failed => {
                activity.phase = Phase::Interrupted;
                Change::Activity(activity)
            }
            (Plant::RetryWithoutBackoff, Change::Activity(mut activity)) => {
                activity.finished = activity.finished.map(|at| at - SignedDuration::from_hours(2));
                Change::Activity(activity)
            }
            (Plant::SilentStarted, Change::Presence(gateway, shard, Some(mut heard))) => {
                heard.present.extend(heard.silent.keys().cloned());
                heard.silent.clear();
                Change::Presence(gateway, shard, Some(heard))
            }
            (Plant::ApplyingIgnored, Change::Source(name, Some(mut state))) => {
                state.applying = false;
                state.owns.clear();
                Change::Source(name, Some(state))
            }
            (_, change) => change,
        })
    }

    /// What is carried out of what fleet says.
    pub(crate) fn bend_effects(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let Some(plant) = self.options.plant else { return effects };
        let mut bent = Vec::with_capacity(effects.len());
        for mut effect in effects {
            match (plant, &mut effect) {
                (Plant::TwoUnfinished, Effect::CreateActivity { spec, epoch }) => {
                    let mut second = muster_model::ActivitySpec::clone(spec);
                    second.name.number += 1;
                    if self.bent.doubled(&second.name) {
                        bent.push(Effect::CreateActivity { spec: Arc::new(second), epoch: *epoch });
                    }
                }
                (Plant::ExpiryStretched, Effect::CreateActivity { spec, .. }) => {
                    let mut later = muster_model::ActivitySpec::clone(spec);
                    later.expiry = self.now + SignedDuration::from_hours(1);
                    *spec = Arc::new(later);
                }
                (Plant::LastLeftOut, Effect::CreateActivity { spec, .. }) => {
                    let mut less = muster_model::ActivitySpec::clone(spec);
                    let mut steps = less.steps.to_vec();
                    for step in &mut steps {
                        if let StepAction::InstallPackages(transaction) = &mut step.action
                            && transaction.requested.len() > 1
                        {
                            transaction.requested.pop();
                        }
                    }
                    less.steps = steps.into();
                    *spec = Arc::new(less);
                }
                (
                    Plant::UndeliveredForEver,
                    Effect::EndActivity { phase: Phase::Expired, seen: Phase::Pending, .. },
                ) => {
                    continue;
                }
                _ => {}
            }
            bent.push(effect);
        }
        bent
    }

    /// How fleet is told that a write ended, and what the answer shows.
    pub(crate) fn bend_answer(
        &self,
        key: &Key,
        written: Written,
        shown: Vec<Change>,
    ) -> (Written, Vec<Change>) {
        if !self.plants(Plant::StaleCacheTrusted) || !matches!(key, Key::Activity(_)) {
            return (written, shown);
        }
        (if written == Written::Done { Written::Refused } else { written }, Vec::new())
    }
}
