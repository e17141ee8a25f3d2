//! How items spread, worked out anew where their counts changed.

use muster_model::Machine;

use crate::budget::Standing;
use crate::case::Case;
use crate::known::{Dirty, Kept, Known};
use crate::rollout::{Facts, Ties, Track};
use crate::timer::Timers;

impl Known {
    /// Finds places, and takes in counts, records and what people said; names the machines that have to be asked besides,
    /// if there are any.
    pub(super) fn hear(&mut self, facts: &Facts<'_>, dirty: &Dirty) -> Option<Vec<usize>> {
        let Self { rollouts, kept, groups, .. } = self;
        for (place, track) in rollouts.tracks.iter_mut().enumerate() {
            if track.must_seat {
                let all = kept.iter().enumerate();
                let members = all.filter(|(_, kept)| kept.is_member && kept.picked.packages.contains(&place));
                let members: Vec<(usize, &Machine)> =
                    members.map(|(number, kept)| (number, kept.machine.as_ref())).collect();
                track.seat(facts, place, &members, kept.len());
            }
        }
        for (place, (track, record)) in rollouts.tracks.iter_mut().zip(&facts.records).enumerate() {
            let machines = groups.package_baseline(facts.resources, place).machines;
            track.hear_if_due(facts, place, *record, machines);
        }
        self.unasked(dirty)
    }

    /// Asks machines how they stand towards the items that are not released.
    pub(super) fn ask(&mut self, facts: &Facts<'_>, cases: &[Case<'_>], timers: &mut Timers<'_>) {
        let Self { rollouts, kept, groups, .. } = self;
        let mut ties = Ties::default();
        for (number, case) in cases.iter().enumerate() {
            let kept = &mut kept[case.place];
            let Some(standing) = &kept.standing else { continue };
            let tied = timers.of(number, |_| rollouts.tied(facts, groups, standing, &mut ties, case));
            if tied.is_empty() && kept.tied.is_empty() {
                continue;
            }
            // Where all are asked, the count begins from nothing.
            for old in
                kept.tied.iter().filter(|old| !rollouts.tracks[old.baseline].must_ask).collect::<Vec<_>>()
            {
                rollouts.tracks[old.baseline].untie(old);
            }
            for new in &tied {
                rollouts.tracks[new.baseline].tie(new);
            }
            let differ = kept.tied.iter().filter(|old| !tied.contains(old));
            let differ = differ.chain(tied.iter().filter(|new| !kept.tied.contains(new)));
            let differ: Vec<usize> = differ.map(|tied| tied.baseline).collect();
            differ.into_iter().for_each(|baseline| rollouts.tracks[baseline].is_stale = true);
            kept.tied = tied.into_boxed_slice();
        }
        for track in &mut rollouts.tracks {
            track.must_ask = false;
        }
    }

    /// Judges what is to be judged anew.
    pub(super) fn judge(&mut self, facts: &Facts<'_>) {
        let Self { rollouts, groups, judged, .. } = self;
        let _ = facts.timer.take();
        for (place, (track, record)) in rollouts.tracks.iter_mut().zip(&facts.records).enumerate() {
            let machines = groups.package_baseline(facts.resources, place).machines;
            if track.hear_if_due(facts, place, *record, machines) {
                track.judge(facts, place);
                judged.insert(place);
            }
        }
    }

    /// The machines that have to be asked anew, of those that are not to be decided already.
    fn unasked(&self, dirty: &Dirty) -> Option<Vec<usize>> {
        let tracks = self.tracks_that(dirty, |track| track.must_ask)?;
        self.missing_from(dirty, |_, kept| kept.picked.packages.iter().any(|place| tracks.contains(place)))
    }

    /// The machines that have to be decided anew, of those that are not to be already: what is said of a baseline's items
    /// makes no difference to who has them, unless an activity may be canceled for it, or they come along in what is to start.
    pub(super) fn undecided(&mut self, dirty: &Dirty) -> Option<Vec<usize>> {
        let tracks = self.tracks_that(dirty, |track| track.must_decide);
        // They are named once.
        self.rollouts.tracks.iter_mut().for_each(|track| track.must_decide = false);
        let tracks = tracks?;
        let comes_along = |number: &usize| {
            tracks.iter().any(|track| self.along.get(track).is_some_and(|all| all.contains(number)))
        };
        self.missing_from(dirty, |number, kept| {
            let is_picked = || tracks.iter().any(|place| kept.picked.packages.contains(place));
            let waits = kept.standing.as_ref().is_some_and(Standing::waits);
            kept.share.as_ref().is_some_and(|share| share.lacks_of(&tracks))
                || ((waits || kept.share.is_none()) && is_picked())
                || comes_along(&number)
        })
    }

    fn tracks_that(&self, dirty: &Dirty, picks: impl Fn(&Track) -> bool) -> Option<Vec<usize>> {
        if matches!(dirty, Dirty::All) {
            return None;
        }
        let tracks = self.rollouts.tracks.iter().enumerate().filter(|(_, track)| picks(track));
        let tracks: Vec<usize> = tracks.map(|(place, _)| place).collect();
        (!tracks.is_empty()).then_some(tracks)
    }

    fn missing_from(&self, dirty: &Dirty, picks: impl Fn(usize, &Kept) -> bool) -> Option<Vec<usize>> {
        let all = self.kept.iter().enumerate();
        let missing = all.filter(|(number, kept)| picks(*number, kept) && !dirty.contains(*number));
        let missing: Vec<usize> = missing.map(|(number, _)| number).collect();
        (!missing.is_empty()).then_some(missing)
    }
}
