//! A machine that is a value: what is on its disk, what was done to it, and a process that can die at any moment.

use std::collections::BTreeMap;

use muster_journal::{Input, Journal, Moment, Next, Observation, Offer, OfferedStep, Progress};
use muster_model::{
    ActivityName, Change, CommandLine, HealthCheck, OutcomeReason, PackageKey, StepAction, Transaction,
};

pub(crate) fn key(name: &str) -> PackageKey {
    PackageKey { name: name.parse().unwrap(), architecture: "amd64".parse().unwrap() }
}

pub(crate) fn install(package: &str) -> StepAction {
    let change = Change { package: key(package), from: None, to: Some("1.0".parse().unwrap()) };
    StepAction::InstallPackages(Transaction { requested: vec![change], ..Transaction::default() })
}

pub(crate) fn reboot(kernel: Option<&str>) -> StepAction {
    StepAction::Reboot { kernel: kernel.map(Into::into), command_line: CommandLine::default() }
}

pub(crate) fn offer(number: u64, steps: Vec<StepAction>, asked: &Moment) -> Offer {
    Offer {
        name: ActivityName::parse(&format!("web-{number}")).unwrap(),
        uid: format!("uid-{number}").parse().unwrap(),
        steps: steps.into_iter().map(|action| OfferedStep { action, timeout_seconds: 600 }).collect(),
        health: HealthCheck::default(),
        asked: asked.clone(),
        expires_in_seconds: 3600,
        cancel: false,
    }
}

/// Where the process can die: before the next of these moments, which are counted.
#[derive(Debug)]
pub(crate) struct Died;

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) now: Moment,
    pub(crate) boots: u32,
    /// What runs after a reboot.
    pub(crate) next_release: String,
    pub(crate) release: String,
    /// The running kernel's command line.
    pub(crate) line: String,
    /// Whether `systemctl reboot` does anything.
    pub(crate) reboots: bool,
    disk: Option<Vec<u8>>,
    journal: Journal,
    /// By step: how often the action began to change the machine.
    pub(crate) effects: BTreeMap<usize, u32>,
    /// By step: how often it was issued.
    pub(crate) issued: BTreeMap<usize, u32>,
    /// Moments from now at which the process dies, and whether the power fails with it.
    pub(crate) deaths: Vec<(usize, bool)>,
    pub(crate) units_active: bool,
    pub(crate) reported: Vec<Progress>,
    pub(crate) refuse: Option<OutcomeReason>,
    /// The gateway's word.
    pub(crate) word: Result<(), OutcomeReason>,
    /// How often that was asked for.
    pub(crate) asked: u32,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let now = Moment { boot: "boot-0".into(), uptime_micros: 60_000_000, wall_micros: 1_000_000_000_000 };
        Self {
            now,
            boots: 0,
            next_release: "6.1.0-2".into(),
            release: "6.1.0-1".into(),
            line: "ro quiet".into(),
            reboots: true,
            disk: None,
            journal: Journal::default(),
            effects: BTreeMap::new(),
            issued: BTreeMap::new(),
            deaths: Vec::new(),
            units_active: true,
            reported: Vec::new(),
            refuse: None,
            word: Ok(()),
            asked: 0,
        }
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now.uptime_micros += seconds * 1_000_000;
        self.now.wall_micros += i64::try_from(seconds).unwrap() * 1_000_000;
    }

    pub(crate) fn tell(&mut self, input: Input) -> Result<(), Died> {
        self.may_die()?;
        self.journal.apply(input, &self.now);
        self.may_die()?;
        self.disk = Some(self.journal.to_bytes());
        self.may_die()
    }

    /// The process starts again on what is on the disk.
    pub(crate) fn restart(&mut self) {
        self.journal = match &self.disk {
            Some(bytes) => Journal::resume(bytes, &self.now).unwrap(),
            None => Journal::default(),
        };
    }

    pub(crate) fn boot(&mut self) {
        self.boots += 1;
        self.now.boot = format!("boot-{}", self.boots).into();
        self.now.uptime_micros = 5_000_000;
        self.now.wall_micros += 30_000_000;
        self.release = self.next_release.clone();
    }

    fn may_die(&mut self) -> Result<(), Died> {
        let Some((left, power)) = self.deaths.first_mut() else { return Ok(()) };
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        let power = *power;
        self.deaths.remove(0);
        if power {
            self.boot();
        }
        Err(Died)
    }

    /// Offers it (again and again, as gateways do) and runs the machine until the activity is reported.
    pub(crate) fn carry_out(&mut self, offer: &Offer) -> Progress {
        for _ in 0..20_000 {
            if self.reported.iter().any(|progress| progress.uid == offer.uid && progress.phase.is_finished())
            {
                return self.reported.last().unwrap().clone();
            }
            let died = match self.journal.next(&self.now) {
                Next::Idle => self.tell(Input::Offered(Box::new(offer.clone()))),
                next => self.perform(next),
            };
            if died.is_err() {
                self.restart();
            }
        }
        panic!("it never ends: {:?}", self.journal)
    }

    /// Does the one thing that the journal wants now.
    pub(crate) fn perform(&mut self, next: Next) -> Result<(), Died> {
        self.pass(1);
        match next {
            Next::Idle => Ok(()),
            Next::Prepare { step, action: _ } => {
                let result = self.refuse.map_or(Ok(()), |reason| Err((reason, "as the story has it".into())));
                self.tell(Input::Prepared { step, result })
            }
            Next::Report(progress) => {
                self.reported.push(progress.clone());
                self.tell(Input::Acknowledged { uid: progress.uid, phase: progress.phase })
            }
            Next::AskMayStart { step, .. } => {
                self.asked += 1;
                self.tell(Input::MayStart { step, allowed: self.word })
            }
            Next::Act { step, action, .. } => self.act(step, &action),
            Next::Observe { step, action, .. } => {
                let observation = self.observe(step, &action);
                self.tell(Input::Observed { step, observation })
            }
            Next::WatchHealth { units } => {
                let starting = if self.units_active { Vec::new() } else { units };
                self.tell(Input::Health { starting, failed: Vec::new() })
            }
        }
    }

    fn act(&mut self, step: usize, action: &StepAction) -> Result<(), Died> {
        assert_ne!(
            self.journal,
            Journal::default(),
            "an action is issued only with its intent in the journal"
        );
        assert_eq!(self.disk.as_deref(), Some(self.journal.to_bytes().as_slice()), "and the journal on disk");
        self.may_die()?;
        *self.issued.entry(step).or_default() += 1;
        if let StepAction::Reboot { .. } = action {
            if self.reboots {
                *self.effects.entry(step).or_default() += 1;
                self.boot();
                return Err(Died);
            }
        } else {
            *self.effects.entry(step).or_default() += 1;
        }
        self.tell(Input::Issued { step })
    }

    fn observe(&self, step: usize, action: &StepAction) -> Observation {
        if let StepAction::Reboot { .. } = action {
            return Observation::Booted {
                release: self.release.as_str().into(),
                command_line: self.line.as_str().into(),
            };
        }
        if self.effects.contains_key(&step) {
            Observation::Done
        } else {
            Observation::NotDone { reason: OutcomeReason::Preflight, message: "it never began".into() }
        }
    }
}
