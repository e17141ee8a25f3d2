//! The storm itself: one world, one queue of what is to happen, one seed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use muster_checker::event::{Decided, Event, ReleasedItem, What};
use muster_fleet::{Change, Key, Written};
use muster_model::{BaselineRef, Digest, Instant, MachineName, ProposalKey, StepAction, Uid};
use muster_recorder::Recorder;
use smol_str::SmolStr;

use crate::api::{Api, Kind, Shown, Value};
use crate::archive::Suite;
use crate::controller::Controller;
use crate::count::Counts;
use crate::dice::Dice;
use crate::effect::Write;
use crate::fault::{Fault, Faults};
use crate::gateway::{Delivery, Gateway, Request, Word};
use crate::machine::Host;
use crate::options::Options;
use crate::pace::Pace;
use crate::people::{Act, People};
use crate::plant::{Bent, Plant};
use crate::queue::Queue;
use crate::recorded::Lore;

/// Something that is to happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// To a controller, in that life of it.
    Controller { c: usize, life: u64, what: ForController },
    /// To a gateway, in that life of it; `None`: in any.
    Gateway { g: usize, life: Option<u64>, what: ForGateway },
    /// To a machine, in that life of its agent; `None`: in any.
    Host { m: usize, life: Option<u64>, what: ForHost },
    /// What runs on a machine ends.
    OperationEnds { m: usize, number: u64 },
    /// A write reaches the API.
    WriteLands(Box<Write>),
    /// A person does something.
    Person(Act),
    /// Something goes wrong.
    Trouble,
    /// Something that went wrong ends.
    TroubleEnds(Fault, usize),
}

#[derive(Debug)]
pub(crate) enum ForController {
    Contend,
    Starts,
    Resumes,
    LooksAtLease,
    List(Kind),
    Watched(Kind),
    Pass,
    Compare,
    ClockBack,
    LagEnds(Kind),
    Answered { key: Key, written: Written, shown: Vec<Change> },
}

#[derive(Debug)]
pub(crate) enum ForGateway {
    Renew,
    Starts,
    LeaseExpires,
    Publish,
    Sweep { machine: MachineName },
    Asked { m: usize, life: u64, request: Box<Request> },
    News { m: usize },
    DeliverIfCurrent(Delivery),
    Deliver(Delivery),
}

#[derive(Debug)]
pub(crate) enum ForHost {
    Turn,
    Connect,
    Poll,
    Waited,
    Prepared {
        uid: Uid,
        step: usize,
        action: StepAction,
    },
    Hear(Box<Word>),
    ReportAnswered {
        session: u64,
        sequence: u64,
        digest: Digest,
    },
    ProposalAnswered {
        key: ProposalKey,
        taken: bool,
    },
    AgentStarts,
    Boots,
    Unreachable {
        lasts: SignedDuration,
    },
    Reachable,
    /// Its package lists are refreshed.
    ListsChanged,
}

/// One world.
pub(crate) struct Storm {
    pub(crate) options: Options,
    pub(crate) now: Instant,
    pub(crate) dice: Dice,
    queue: Queue<Happening>,
    pub(crate) api: Api,
    pub(crate) suites: Vec<Suite>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) controllers: Vec<Controller>,
    pub(crate) people: People,
    pub(crate) bent: Bent,
    /// From here on nothing goes wrong.
    pub(crate) calm: bool,
    pub(crate) faults: Faults,
    pub(crate) counts: Counts,
    pub(crate) events: Vec<Event>,
    /// Machines that some gateway hears.
    pub(crate) heard: BTreeSet<MachineName>,
    pub(crate) gateways_up: bool,
    /// Numbers operations on machines.
    pub(crate) acts: u64,
    pub(crate) passes: u64,
    pub(crate) stale_deliveries: u64,
    /// The decisions that were logged last, and their verdicts in words.
    pub(crate) decided: BTreeMap<MachineName, (Decided, String)>,
    /// What was logged last of what each baseline's rollout released.
    pub(crate) released: BTreeMap<BaselineRef, Vec<ReleasedItem>>,
    /// When an object that is ours was written last, and which.
    pub(crate) last_write: (Instant, String),
    pub(crate) happened: u64,
    /// Writes the log from what the controller sees, as the product does; `None`: the log says what is true.
    pub(crate) recorder: Option<Recorder>,
    /// How long steps take on recorded machines; invented ones are all alike.
    pub(crate) pace: Option<Pace>,
    /// What is known of recorded machines' apt.
    pub(crate) lore: Lore,
    /// The places of machines, by name: a clone has the name of its original.
    places: BTreeMap<MachineName, Vec<usize>>,
    /// How many machines [`Self::places`] knows.
    placed: usize,
}

impl Storm {
    /// An empty world.
    pub(crate) fn empty(options: Options) -> Self {
        let mut dice = Dice::new(options.seed);
        Self {
            now: options.begins,
            queue: Queue::new(),
            api: Api::default(),
            suites: Vec::new(),
            hosts: Vec::new(),
            gateways: Vec::new(),
            controllers: Vec::new(),
            people: People::new(dice.fork()),
            bent: Bent::default(),
            calm: false,
            faults: Faults::default(),
            counts: Counts::default(),
            events: Vec::new(),
            heard: BTreeSet::new(),
            gateways_up: false,
            acts: 0,
            passes: 0,
            stale_deliveries: 0,
            decided: BTreeMap::new(),
            released: BTreeMap::new(),
            last_write: (options.begins, String::new()),
            happened: 0,
            recorder: None,
            pace: None,
            lore: Lore::default(),
            places: BTreeMap::new(),
            placed: 0,
            dice,
            options,
        }
    }

    /// Lets everything happen that is due before `until`.
    pub(crate) fn run(&mut self, until: Instant) {
        while let Some((at, what)) = self.queue.pop_before(until) {
            self.now = at;
            self.happened += 1;
            self.happens(what);
            while !self.api.news.is_empty() {
                self.spread_news();
            }
        }
        self.now = until;
    }

    fn happens(&mut self, what: Happening) {
        match what {
            Happening::Controller { c, life, what } => {
                if self.controllers[c].life == life {
                    self.controller(c, what);
                }
            }
            Happening::Gateway { g, life, what } => {
                if life.is_none_or(|life| self.gateways[g].life == life) {
                    self.gateway(g, what);
                }
            }
            Happening::Host { m, life, what } => {
                if life.is_none_or(|life| self.hosts[m].life == life) {
                    self.host(m, what);
                }
            }
            Happening::OperationEnds { m, number } => self.operation_ends(m, number),
            Happening::WriteLands(write) => self.write_lands(*write),
            Happening::Person(act) => self.person(act),
            Happening::Trouble => self.trouble(),
            Happening::TroubleEnds(fault, target) => self.trouble_ends(fault, target),
        }
    }

    fn gateway(&mut self, g: usize, what: ForGateway) {
        match what {
            ForGateway::Renew => self.renew(g),
            ForGateway::Starts => self.gateway_starts(g),
            ForGateway::LeaseExpires => self.gateway_lease_expires(g),
            ForGateway::Publish => self.publish(g),
            ForGateway::Sweep { machine } => self.sweep(g, machine),
            ForGateway::Asked { m, life, request } => self.asked(g, m, life, *request),
            ForGateway::News { m } => self.news(g, m),
            ForGateway::DeliverIfCurrent(delivery) => self.deliver_if_current(g, delivery),
            ForGateway::Deliver(delivery) => self.deliver(g, delivery),
        }
    }

    fn host(&mut self, m: usize, what: ForHost) {
        match what {
            ForHost::Turn => self.turn(m),
            ForHost::Connect => self.connect(m),
            ForHost::Poll => self.poll(m),
            ForHost::Waited => self.waited(m),
            ForHost::Prepared { uid, step, action } => self.prepared(m, &uid, step, &action),
            ForHost::Hear(word) => self.hear(m, *word),
            ForHost::ReportAnswered { session, sequence, digest } => {
                self.report_answered(m, session, sequence, digest);
            }
            ForHost::ProposalAnswered { key, taken } => self.proposal_answered(m, &key, taken),
            ForHost::AgentStarts => self.agent_starts(m),
            ForHost::Boots => self.boots(m),
            ForHost::Unreachable { lasts } => self.unreachable(m, lasts),
            ForHost::Reachable => self.reachable(m),
            ForHost::ListsChanged => {
                self.keep_back(m);
                self.hosts[m].changed();
                self.turn(m);
            }
        }
    }

    pub(crate) fn plan_after(&mut self, wait: SignedDuration, what: Happening) {
        let at = self.now.checked_add(wait).unwrap_or(Instant::MAX);
        self.queue.plan(at, what);
    }

    pub(crate) fn for_controller(&mut self, c: usize, wait: SignedDuration, what: ForController) {
        let life = self.controllers[c].life;
        self.plan_after(wait, Happening::Controller { c, life, what });
    }

    pub(crate) fn for_gateway(&mut self, g: usize, wait: SignedDuration, what: ForGateway) {
        let life = match what {
            ForGateway::LeaseExpires | ForGateway::Sweep { .. } => None,
            _ => Some(self.gateways[g].life),
        };
        self.plan_after(wait, Happening::Gateway { g, life, what });
    }

    pub(crate) fn for_host(&mut self, m: usize, wait: SignedDuration, what: ForHost) {
        let life = Some(self.hosts[m].life);
        self.plan_after(wait, Happening::Host { m, life, what });
    }

    pub(crate) fn for_host_of_any_life(&mut self, m: usize, wait: SignedDuration, what: ForHost) {
        self.plan_after(wait, Happening::Host { m, life: None, what });
    }

    /// Whether a fault happens now, here; noted if so.
    pub(crate) fn strikes(&mut self, fault: Fault, target: usize) -> bool {
        let often = self.options.rate(fault);
        if self.calm || often == 0 || !self.dice.permille(often) {
            return false;
        }
        self.note_fault(fault, target);
        true
    }

    pub(crate) fn note_fault(&mut self, fault: Fault, target: usize) {
        self.faults.note(fault);
        let target = match fault.target() {
            crate::fault::Target::Machine => Some(self.hosts[target].name.as_str().into()),
            crate::fault::Target::Controller => Some(self.controllers[target].name.clone()),
            crate::fault::Target::Gateway => Some(self.gateways[target].name.clone()),
            crate::fault::Target::Fleet => None,
        };
        self.log(What::Fault { kind: SmolStr::new_static(fault.as_str()), target, begins: true });
    }

    pub(crate) fn log(&mut self, event: What) {
        // Until its identity is shut out, a clone does what its original is told: nobody can tell the two apart, so what
        // it does on its own disk is not the fleet's to answer for.
        let twins = match &event {
            What::Acted(acted) => acted.machine != acted.activity.machine,
            _ => false,
        };
        if self.options.log && !twins {
            self.events.push(Event { time: self.now, event });
        }
    }

    /// Something was written: the gateways of the machines that it is about have news.
    pub(crate) fn note_written(&mut self, shown: &Shown) {
        let machine = match shown.value.as_ref() {
            Value::Machine(object) => object.machine.name.clone(),
            Value::Activity(activity) => activity.spec.name.machine.clone(),
            Value::Gateway(..) | Value::Presence { .. } => return,
            // They are collected a day after nothing refers to them any more, however restful the fleet is.
            Value::Inventory(..) | Value::Proposal(..) => return,
            other => {
                self.last_write = (self.now, format!("{:?} {}", other.kind(), other.name()));
                return;
            }
        };
        self.last_write = (self.now, format!("{:?} {}", shown.value.kind(), shown.value.name()));
        for m in self.places_of(&machine) {
            self.poll(m);
        }
    }

    /// The machines of that name, in the order in which they came.
    fn places_of(&mut self, machine: &MachineName) -> Vec<usize> {
        for (place, host) in self.hosts.iter().enumerate().skip(self.placed) {
            self.places.entry(host.name.clone()).or_default().push(place);
        }
        self.placed = self.hosts.len();
        self.places.get(machine).cloned().unwrap_or_default()
    }

    pub(crate) fn plants(&self, plant: Plant) -> bool {
        self.options.plant == Some(plant)
    }
}
