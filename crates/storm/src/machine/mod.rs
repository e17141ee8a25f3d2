//! One machine as a value: what is on its disk, what is under way on it, whom it talks to.
//!
//! The journal is the real one. What the machine does is in `act`, what it says to its gateway in `talk`.

mod act;
mod found;
mod loader;
mod resume;
mod talk;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;
use muster_journal::{Journal, Moment, Observation};
use muster_model::{
    ActivityName, Digest, Instant, Inventory, MachineName, StepAction, Uid, UnitName, WantedSet,
};
use smol_str::{SmolStr, format_smolstr};

pub(crate) use act::unit_of;

use crate::archive::Dpkg;
use crate::recorded::Recorded;

/// One machine.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) name: MachineName,
    /// What it is called in the log: a clone is another machine.
    pub(crate) label: MachineName,
    /// Of the FleetMachine that its certificate is for.
    pub(crate) uid: Uid,
    pub(crate) suite: usize,
    pub(crate) dpkg: Dpkg,
    pub(crate) journal: Journal,
    /// The journal as it is on disk.
    disk: Vec<u8>,
    /// Grows whenever the agent dies: what was planned in an earlier life is void.
    pub(crate) life: u64,
    pub(crate) on: bool,
    pub(crate) agent: bool,
    pub(crate) reachable: bool,
    pub(crate) boots: u32,
    pub(crate) booted: Instant,
    /// How far its clock is ahead.
    pub(crate) skew: SignedDuration,
    pub(crate) release: SmolStr,
    /// The running kernel's command line.
    pub(crate) line: SmolStr,
    pub(crate) loader: loader::Loader,
    /// Since when a reboot is required, by its own clock.
    pub(crate) reboot_since: Option<Instant>,
    pub(crate) failed_units: BTreeSet<UnitName>,
    pub(crate) disk_full: bool,
    pub(crate) locked: bool,
    pub(crate) mirror_down: bool,
    /// What goes wrong with the next thing that it does.
    pub(crate) next_act: Option<Mishap>,
    /// What runs, whether or not the agent lives.
    pub(crate) busy: Option<Busy>,
    /// What ran last, and what came of it.
    ran: Option<(Uid, usize, Observation)>,
    /// Who asked for the boot that is to come, and how.
    pub(crate) boot_for: Option<(ActivityName, StepAction)>,
    /// The step that is being prepared.
    preparing: Option<(Uid, usize)>,
    /// When the activity that it has may not be begun any more.
    expires: Option<Instant>,
    /// How long its units must be well.
    settle_seconds: u32,
    /// How long each of its steps may take.
    timeouts: Vec<SignedDuration>,
    /// The next boot is of the kernel of before.
    pub(crate) falls_back: bool,
    pub(crate) gateway: Option<usize>,
    pub(crate) session: u64,
    pub(crate) sequence: u64,
    /// The report that its gateway has.
    pub(crate) told: Option<Digest>,
    report_sent: Option<Instant>,
    proposal_sent: Option<Instant>,
    asked: Option<Instant>,
    pub(crate) wanted: WantedSet,
    proposed: Option<Digest>,
    inventory: Option<(Digest, Arc<Inventory>)>,
    /// The digest of what it would report, and the last activity that it names.
    report: Option<(u64, Digest)>,
    /// What a state file has of it; then there is no suite, and its dpkg is not looked at.
    pub(crate) recorded: Option<Box<Recorded>>,
}

/// What goes wrong with one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    Fails,
    Hangs,
    RebootSlow,
    RebootIgnored,
    FallsBack,
}

/// An operation under way.
#[derive(Clone, Debug)]
pub(crate) struct Busy {
    pub(crate) activity: ActivityName,
    pub(crate) uid: Uid,
    pub(crate) step: usize,
    pub(crate) action: StepAction,
    pub(crate) ends: Instant,
    fails: bool,
    /// Tells it from others before it.
    number: u64,
}

impl Host {
    pub(crate) fn new(
        name: MachineName,
        uid: Uid,
        suite: usize,
        dpkg: Dpkg,
        release: SmolStr,
        booted: Instant,
    ) -> Self {
        Self {
            label: name.clone(),
            name,
            uid,
            suite,
            dpkg,
            journal: Journal::default(),
            disk: Journal::default().to_bytes(),
            life: 1,
            on: true,
            agent: true,
            reachable: true,
            boots: 1,
            booted,
            skew: SignedDuration::ZERO,
            release,
            line: SmolStr::new_static("quiet"),
            loader: loader::Loader::default(),
            reboot_since: None,
            failed_units: BTreeSet::new(),
            disk_full: false,
            locked: false,
            mirror_down: false,
            next_act: None,
            busy: None,
            ran: None,
            boot_for: None,
            preparing: None,
            expires: None,
            settle_seconds: 0,
            timeouts: Vec::new(),
            falls_back: false,
            gateway: None,
            session: 0,
            sequence: 0,
            told: None,
            report_sent: None,
            proposal_sent: None,
            asked: None,
            wanted: WantedSet::default(),
            proposed: None,
            inventory: None,
            report: None,
            recorded: None,
        }
    }

    pub(crate) fn boot_id(&self) -> SmolStr {
        if let Some(recorded) = self.recorded.as_ref().filter(|_| self.boots == 1) {
            return recorded.report.boot.id.clone().into();
        }
        format_smolstr!("{}-boot-{}", self.name, self.boots)
    }

    /// Now, by its own clocks.
    pub(crate) fn moment(&self, now: Instant) -> Moment {
        let up = now.duration_since(self.booted);
        Moment {
            boot: self.boot_id(),
            uptime_micros: u64::try_from(up.as_micros()).unwrap_or(0),
            wall_micros: self.wall(now).as_microsecond(),
        }
    }

    pub(crate) fn wall(&self, now: Instant) -> Instant {
        now.checked_add(self.skew).unwrap_or(now)
    }

    /// Tells the journal, and writes it down before anything else happens.
    fn tell(&mut self, input: muster_journal::Input, now: Instant) {
        let moment = self.moment(now);
        self.journal.apply(input, &moment);
        self.disk = self.journal.to_bytes();
    }

    /// The agent's process is gone, with all that it had not written down.
    pub(crate) fn agent_dies(&mut self) {
        self.agent = false;
        self.life += 1;
        self.gateway = None;
        self.preparing = None;
        self.report_sent = None;
        self.proposal_sent = None;
        self.asked = None;
        self.told = None;
        self.proposed = None;
    }

    /// The agent's process is back: its journal goes on from the disk.
    pub(crate) fn agent_starts(&mut self, now: Instant) {
        self.agent = true;
        let moment = self.moment(now);
        self.journal = Journal::resume(&self.disk, &moment).expect("it is what the journal wrote");
        self.disk = self.journal.to_bytes();
    }

    /// What the machine is changes: the inventory is worked out anew.
    pub(crate) fn changed(&mut self) {
        self.inventory = None;
        self.report = None;
    }

    /// It is enrolled anew, as another FleetMachine.
    pub(crate) fn enroll(&mut self, uid: Uid) {
        self.uid = uid;
        self.session = 0;
        self.sequence = 0;
        self.told = None;
        self.wanted = WantedSet::default();
        self.proposed = None;
        self.changed();
    }
}
