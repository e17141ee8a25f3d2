//! Things that go wrong by themselves, one after the other; those that happen to a message or a write are where these are.

use jiff::SignedDuration;
use muster_model::PackageName;

use crate::api::{KINDS, Kind, Value};
use crate::archive::{self, Bad, KERNEL};
use crate::fault::Fault;
use crate::machine::{Host, Mishap};
use crate::people::Act;
use crate::storm::{ForController, Happening, Storm};
use crate::world::{self, PUBLISHED, name};

/// How late a watch may be, at the most. The log says so to the checker.
pub(crate) const LONGEST_LAG: i64 = 60;

/// Faults that happen by themselves, in equal parts.
const BY_THEMSELVES: [Fault; 34] = [
    Fault::WatchLags,
    Fault::WatchLost,
    Fault::Relist,
    Fault::LeaderPaused,
    Fault::LeaderPaused,
    Fault::LeaderSlow,
    Fault::ClockJumps,
    Fault::GatewayDies,
    Fault::AllGatewaysDie,
    Fault::MachineSilent,
    Fault::MachineSilent,
    Fault::MachineAbsent,
    Fault::PowerFails,
    Fault::SessionLost,
    Fault::Cloned,
    Fault::ClockSkewed,
    Fault::StepFails,
    Fault::StepHangs,
    Fault::Locked,
    Fault::MirrorDown,
    Fault::DiskFull,
    Fault::UnitFails,
    Fault::RebootSlow,
    Fault::RebootIgnored,
    Fault::KernelFallsBack,
    Fault::RebootsItself,
    Fault::HeldByOthers,
    Fault::BadScript,
    Fault::BadService,
    Fault::BadSilence,
    Fault::BadKernel,
    Fault::VersionVanishes,
    Fault::Unreadable,
    Fault::MachineAnew,
];

impl Storm {
    /// Something goes wrong, and the next thing is planned.
    pub(crate) fn trouble(&mut self) {
        if self.calm {
            return;
        }
        let mean = self.options.trouble_every.as_secs();
        let wait = self.dice.seconds(1, 2 * mean);
        self.plan_after(wait, Happening::Trouble);
        let possible: Vec<Fault> =
            BY_THEMSELVES.iter().copied().filter(|fault| self.options.enabled.contains(fault)).collect();
        if !possible.is_empty() {
            let fault = *self.dice.pick(&possible);
            self.go_wrong(fault);
        }
    }

    fn go_wrong(&mut self, fault: Fault) {
        let c = self.dice.below(self.controllers.len());
        let g = self.dice.below(self.gateways.len());
        let m = self.dice.below(self.options.machines);
        match fault {
            Fault::WatchLags => {
                let kind = *self.dice.pick(&KINDS);
                let (lag, lasts) = (self.dice.seconds(1, LONGEST_LAG), self.dice.minutes(1, 60));
                self.note_fault(fault, c);
                self.delay_watch(c, kind, lag, lasts);
            }
            Fault::WatchLost | Fault::Relist => {
                let kind = *self.dice.pick(&KINDS);
                let most = if fault == Fault::Relist { 0 } else { LONGEST_LAG };
                let lasts = self.dice.seconds(0, most);
                self.note_fault(fault, c);
                self.break_watch(c, kind, lasts);
            }
            Fault::LeaderPaused | Fault::LeaderSlow => {
                let Some(c) = (0..self.controllers.len()).find(|c| self.controllers[*c].leads()) else {
                    return;
                };
                let lasts = if fault == Fault::LeaderSlow {
                    self.dice.seconds(1, 10)
                } else {
                    self.dice.seconds(16, 240)
                };
                self.note_fault(fault, c);
                self.pause(c, lasts);
            }
            Fault::ClockJumps => {
                let off = self.dice.minutes(1, 300);
                self.note_fault(fault, c);
                self.controllers[c].offset = if self.dice.permille(500) { off } else { -off };
                self.compare_clocks(c);
                let lasts = self.dice.minutes(1, 60);
                self.for_controller(c, lasts, ForController::ClockBack);
                self.plan_after(lasts, Happening::TroubleEnds(fault, c));
            }
            Fault::GatewayDies => {
                self.note_fault(fault, g);
                let lasts = self.dice.seconds(5, 1800);
                self.gateway_dies(g, lasts);
            }
            Fault::AllGatewaysDie => {
                self.note_fault(fault, 0);
                let lasts = self.dice.minutes(1, 90);
                for g in 0..self.gateways.len() {
                    self.gateway_dies(g, lasts);
                }
            }
            Fault::Unreadable => self.make_unreadable(),
            Fault::MachineAnew => self.make_anew(m),
            Fault::BadScript => self.publish_bad(fault, Bad::Configure),
            Fault::BadService => self.publish_bad(fault, Bad::Unit),
            Fault::BadSilence => self.publish_bad(fault, Bad::Silence),
            Fault::BadKernel => self.publish_bad(fault, Bad::Boot),
            Fault::VersionVanishes => self.make_vanish(),
            _ => self.machine_goes_wrong(fault, m),
        }
    }

    fn machine_goes_wrong(&mut self, fault: Fault, m: usize) {
        self.note_fault(fault, m);
        let lasts = self.dice.minutes(1, 180);
        let packages: Vec<PackageName> = self.hosts[m].packages().into_iter().collect();
        let host = &mut self.hosts[m];
        match fault {
            Fault::MachineSilent => return self.unreachable(m, lasts),
            Fault::MachineAbsent => {
                let days = self.dice.minutes(25 * 60, 40 * 60);
                return self.unreachable(m, days);
            }
            Fault::PowerFails => {
                let away = self.dice.seconds(20, 3600);
                return self.power_off(m, away);
            }
            Fault::RebootsItself => {
                let away = self.dice.seconds(20, 200);
                return self.power_off(m, away);
            }
            Fault::Cloned => return self.clone_host(m, lasts),
            Fault::SessionLost => {
                (host.session, host.sequence, host.told) = (0, 0, None);
                return self.turn(m);
            }
            Fault::ClockSkewed => {
                let off = self.dice.minutes(-600, 600);
                self.hosts[m].skew = off;
                self.hosts[m].changed();
            }
            Fault::StepFails => host.next_act = Some(Mishap::Fails),
            Fault::StepHangs => host.next_act = Some(Mishap::Hangs),
            Fault::RebootSlow => host.next_act = Some(Mishap::RebootSlow),
            Fault::RebootIgnored => host.next_act = Some(Mishap::RebootIgnored),
            Fault::KernelFallsBack => host.next_act = Some(Mishap::FallsBack),
            Fault::Locked => host.locked = true,
            Fault::MirrorDown => host.mirror_down = true,
            Fault::DiskFull => host.disk_full = true,
            Fault::UnitFails => {
                let package = packages[self.dice.below(packages.len())].clone();
                let host = &mut self.hosts[m];
                host.failed_units.insert(crate::machine::unit_of(&package));
                host.changed();
                self.turn(m);
            }
            Fault::HeldByOthers => {
                let package = packages[self.dice.below(packages.len())].clone();
                let host = &mut self.hosts[m];
                host.dpkg.held.insert(package);
                host.changed();
                self.turn(m);
            }
            _ => {}
        }
        self.plan_after(lasts, Happening::TroubleEnds(fault, m));
    }

    /// What lasts for a while is over.
    pub(crate) fn trouble_ends(&mut self, fault: Fault, target: usize) {
        match fault {
            Fault::ClockJumps => {
                self.controllers[target].offset = SignedDuration::ZERO;
                self.compare_clocks(target);
            }
            Fault::ClockSkewed => {
                self.hosts[target].skew = SignedDuration::ZERO;
                self.hosts[target].changed();
                self.turn(target);
            }
            Fault::Locked => self.hosts[target].locked = false,
            Fault::MirrorDown => self.hosts[target].mirror_down = false,
            Fault::DiskFull => self.hosts[target].disk_full = false,
            Fault::UnitFails => {
                let suite = &self.suites[self.hosts[target].suite];
                let host = &mut self.hosts[target];
                host.restart_units(suite);
                host.changed();
                self.turn(target);
            }
            Fault::HeldByOthers => {
                let ours =
                    self.api.machine(&self.hosts[target].name).map(|object| object.machine.holds.clone());
                let host = &mut self.hosts[target];
                host.dpkg.held.retain(|name| ours.iter().flatten().any(|key| key.name == *name));
                host.changed();
                self.turn(target);
            }
            Fault::Cloned => self.clone_goes(target),
            Fault::Unreadable => self.make_readable(),
            _ => {}
        }
    }

    /// A second machine with the first one's disk, and so its identity.
    fn clone_host(&mut self, m: usize, lasts: SignedDuration) {
        let now = self.now;
        let mut twin: Host = self.hosts[m].clone();
        twin.label = muster_model::MachineName::parse(&format!("{}-twin-{}", twin.name, self.hosts.len()))
            .expect("a machine's name and a number make one");
        twin.gateway = None;
        twin.boots += 1000;
        twin.booted = now;
        twin.on = true;
        twin.reachable = true;
        twin.agent_dies();
        twin.changed();
        self.hosts.push(twin);
        let place = self.hosts.len() - 1;
        self.agent_starts(place);
        self.plan_after(lasts, Happening::TroubleEnds(Fault::Cloned, place));
    }

    fn clone_goes(&mut self, place: usize) {
        self.disconnect(place);
        self.hosts[place].agent_dies();
        self.hosts[place].on = false;
        self.hosts[place].reachable = false;
        let name = self.hosts[place].name.clone();
        let original = self.hosts.iter().position(|host| host.name == name);
        let shut_out = self.api.machine(&name).is_some_and(|object| object.quarantined);
        if let (Some(original), true) = (original, shut_out) {
            self.enroll_anew(original);
        }
    }

    fn make_anew(&mut self, m: usize) {
        self.note_fault(Fault::MachineAnew, m);
        self.enroll_anew(m);
    }

    /// A person deletes the FleetMachine and enrols the machine under the same name.
    pub(crate) fn enroll_anew(&mut self, m: usize) {
        let host = self.hosts[m].name.clone();
        let Some(labels) = self.api.machine(&host).map(|object| object.machine.labels.clone()) else {
            return;
        };
        self.log_gone(Kind::Machine, host.as_str());
        self.api.delete(Kind::Machine, host.as_str());
        let uid = self.api.uid();
        self.put_machine(world::machine(host, uid.clone(), labels, true));
        self.disconnect(m);
        self.hosts[m].enroll(uid);
        self.connect(m);
    }

    fn publish_bad(&mut self, fault: Fault, bad: Bad) {
        let package = match bad {
            Bad::Boot => archive::package(KERNEL),
            Bad::Unit => archive::package(*self.dice.pick(&["nginx", "postgresql"])),
            Bad::Configure | Bad::Silence => archive::package(*self.dice.pick(&PUBLISHED[..6])),
        };
        // One bad version spreads over the fleet: fewer of them leave the weather to the others.
        if self.dice.permille(500) {
            return;
        }
        self.note_fault(fault, 0);
        self.publish_version(&package, Some(bad));
        let wait = self.dice.minutes(60, 480);
        self.plan_after(wait, Happening::Person(Act::Mend(package)));
    }

    fn make_vanish(&mut self) {
        let package = archive::package(*self.dice.pick(&PUBLISHED));
        let suite = self.dice.below(self.suites.len());
        let all: Vec<_> = self.suites[suite].on_offer(&package).cloned().collect();
        if all.len() > 1 {
            self.note_fault(Fault::VersionVanishes, 0);
            let version = self.dice.pick(&all).clone();
            self.suites[suite].withdraw(&package, &version);
            self.lists_changed();
        }
    }

    fn make_unreadable(&mut self) {
        if self.people.whims.permille(300) {
            self.note_fault(Fault::Unreadable, 0);
            self.make_resource_unreadable();
            let lasts = self.people.whims.minutes(1, 30);
            return self.plan_after(lasts, Happening::TroubleEnds(Fault::Unreadable, 0));
        }
        let nights = name("nights");
        let Some(Value::Window(window)) =
            self.api.get(Kind::Window, nights.as_str()).map(|stored| stored.value.as_ref())
        else {
            return;
        };
        let mut window = window.clone();
        window.when = Err("no such zone: Europe/Nowhere".to_owned());
        window.generation += 1;
        self.note_fault(Fault::Unreadable, 0);
        self.put(Value::Window(window));
        let lasts = self.dice.minutes(1, 60);
        self.plan_after(lasts, Happening::TroubleEnds(Fault::Unreadable, 0));
    }

    pub(crate) fn make_readable(&mut self) {
        self.make_resource_readable();
        let nights = name("nights");
        let provenance = match self.api.get(Kind::Window, nights.as_str()).map(|stored| stored.value.as_ref())
        {
            Some(Value::Window(window)) if window.when.is_err() => window.provenance.clone(),
            _ => return,
        };
        if let Some(window) = self.people.desired.windows.get_mut(&nights) {
            window.generation += 2;
            let window = muster_model::Window { provenance, ..window.clone() };
            self.put(Value::Window(window));
        }
    }
}
