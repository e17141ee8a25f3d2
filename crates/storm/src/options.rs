//! What kind of storm it is: how large the world, how bad the weather. Each seed has its own (a "swarm"): with every
//! fault switched on all the time, some would hide others.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use muster_model::Instant;

use crate::dice::Dice;
use crate::fault::Fault;
use crate::plant::Plant;

/// Zones whose clocks change, in both hemispheres, at whole and at half hours.
pub(crate) const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Pacific/Auckland",
    "UTC",
];

/// Tells the dice of what came later from those of a seed.
const MORE: u64 = 0x6d6f_7265;

/// Passes of a recorded world are so far apart: a start comes that much later at the most, and a fleet at work plans half
/// as often as with a second.
const FAIR_PASSES: SignedDuration = SignedDuration::from_secs(5);

/// Who asks for kernels in a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// A package baseline that names the meta-package, and reboots where that is required.
    Packages,
    /// A kernel baseline.
    Kernel,
    /// That package baseline, and a kernel baseline of higher priority that also has a say about the command line.
    Both,
}

/// One storm's settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed: the same seed makes the same storm.
    pub seed: u64,
    /// How many machines.
    pub machines: usize,
    /// When it begins.
    pub begins: Instant,
    /// How long things go wrong.
    pub misbehaves: SignedDuration,
    /// How long the fleet has to arrive afterwards.
    pub calms: SignedDuration,
    /// A bug that is planted in front of fleet, to see that it is found.
    pub plant: Option<Plant>,
    /// Whether the log of events is kept.
    pub log: bool,
    /// How many controllers.
    pub controllers: usize,
    pub(crate) gateways: usize,
    /// Passes are at least so far apart.
    pub(crate) pass_every: SignedDuration,
    /// The zone of the windows.
    pub(crate) zone: &'static str,
    /// The mean time between two things that go wrong.
    pub(crate) trouble_every: SignedDuration,
    /// Who asks for kernels.
    pub(crate) kernels: Kernels,
    /// Whether some waves ask for approval.
    pub(crate) asks_approval: bool,
    /// The faults that happen at all.
    pub(crate) enabled: BTreeSet<Fault>,
    rates: BTreeMap<Fault, u32>,
}

impl Options {
    /// The storm of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let zone = *dice.pick(&ZONES);
        let enabled: BTreeSet<Fault> = Fault::ALL.iter().copied().filter(|_| dice.permille(700)).collect();
        let intensity = u32::try_from(dice.between(1, 3)).unwrap_or(1);
        // Dice of their own: what was rolled before these were thought of stays.
        let mut more = Dice::new(seed ^ MORE);
        let rates = enabled.iter().map(|fault| (*fault, fault.usual_rate() * intensity)).collect();
        Self {
            seed,
            machines: usize::try_from(dice.between(50, 60)).unwrap_or(50),
            begins: begins(&mut dice, zone),
            misbehaves: SignedDuration::from_hours(48),
            calms: SignedDuration::from_hours(72),
            plant: None,
            log: true,
            controllers: usize::try_from(dice.between(1, 2)).unwrap_or(1),
            gateways: usize::try_from(dice.between(1, 2)).unwrap_or(1),
            pass_every: *dice.pick(&[
                SignedDuration::from_millis(500),
                SignedDuration::from_secs(5),
                SignedDuration::from_secs(15),
                SignedDuration::from_secs(30),
            ]),
            zone,
            trouble_every: dice.minutes(6, 20),
            kernels: *more.pick(&[Kernels::Packages, Kernels::Kernel, Kernels::Kernel, Kernels::Both]),
            asks_approval: more.permille(600),
            enabled,
            rates,
        }
    }

    /// No weather at all, for a world that was recorded: one controller, one gateway, nothing goes wrong.
    pub(crate) fn fair(seed: u64, machines: usize, begins: Instant, lasts: SignedDuration) -> Self {
        Self {
            seed,
            machines,
            begins,
            misbehaves: SignedDuration::ZERO,
            calms: lasts,
            plant: None,
            log: false,
            controllers: 1,
            gateways: 1,
            pass_every: FAIR_PASSES,
            zone: "UTC",
            trouble_every: lasts,
            kernels: Kernels::Packages,
            asks_approval: false,
            enabled: BTreeSet::new(),
            rates: BTreeMap::new(),
        }
    }

    /// How often a fault happens where it may, in a thousand times.
    pub(crate) fn rate(&self, fault: Fault) -> u32 {
        self.rates.get(&fault).copied().unwrap_or(0)
    }
}

/// Half of the storms are around a change of the clocks.
fn begins(dice: &mut Dice, zone: &str) -> Instant {
    let base: Instant = "2026-01-01T00:00:00Z".parse().expect("a constant that is an instant");
    let some = base + SignedDuration::from_hours(dice.between(0, 365 * 24)) + dice.seconds(0, 3600);
    if dice.permille(500) {
        return some;
    }
    let change =
        TimeZone::get(zone).ok().and_then(|zone| zone.following(some).next().map(|next| next.timestamp()));
    change
        .filter(|at| at.duration_since(some) < SignedDuration::from_hours(400 * 24))
        .map_or(some, |at| at - dice.minutes(60, 40 * 60))
}
