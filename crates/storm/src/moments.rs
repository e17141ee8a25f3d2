//! What goes wrong just when it matters: while a machine changes, or before something new reaches it. Faults that come by
//! chance alone seldom meet what they could break.

use muster_model::PackageName;

use crate::api::Kind;
use crate::fault::Fault;
use crate::storm::{Happening, Storm};
use crate::trouble::LONGEST_LAG;

/// How often the leader sees activities late from here on, in a thousand times.
const LATE: u32 = 30;

/// How often somebody holds a package of which a newer version is there, in a thousand times.
const KEEPS_BACK: u32 = 15;

impl Storm {
    /// A machine begins an activity, and the leader's watch of activities is late from here on: what it wrote itself counts
    /// all the same (rule A3).
    pub(crate) fn lose_sight(&mut self) {
        let enabled = !self.calm && self.options.enabled.contains(&Fault::WatchLags);
        let leader = (0..self.controllers.len()).find(|c| self.controllers[*c].leads());
        let Some(c) = leader.filter(|_| enabled && self.people.whims.permille(LATE)) else { return };
        let (lag, lasts) = (self.people.whims.seconds(20, LONGEST_LAG), self.people.whims.minutes(5, 40));
        self.note_fault(Fault::WatchLags, c);
        self.delay_watch(c, Kind::Activity, lag, lasts);
    }

    /// A machine's lists are fresh: somebody may keep a package as it is before the newer one comes (rule V6).
    pub(crate) fn keep_back(&mut self, m: usize) {
        let enabled = self.options.enabled.contains(&Fault::HeldByOthers);
        if self.calm || !enabled || !self.people.whims.permille(KEEPS_BACK) {
            return;
        }
        let host = &self.hosts[m];
        let suite = &self.suites[host.suite];
        let newer = |(name, installed): &(&PackageName, &muster_model::DebianVersion)| {
            !host.dpkg.held.contains(*name) && suite.on_offer(name).any(|version| version > *installed)
        };
        let all: Vec<PackageName> =
            host.dpkg.installed.iter().filter(newer).map(|(name, _)| name.clone()).collect();
        if all.is_empty() {
            return;
        }
        let package = self.people.whims.pick(&all).clone();
        let lasts = self.people.whims.minutes(30, 360);
        self.note_fault(Fault::HeldByOthers, m);
        self.hosts[m].dpkg.held.insert(package);
        self.plan_after(lasts, Happening::TroubleEnds(Fault::HeldByOthers, m));
    }
}
