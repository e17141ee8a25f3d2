//! How the machines of each wave stand towards the items that are not released (rule O2).

use std::collections::BTreeMap;

use muster_model::Item;

use crate::along;
use crate::boots;
use crate::budget::{Groups, Standing};
use crate::case::Case;
use crate::evaluate::Evaluation;
use crate::merge::Merged;
use crate::order::mark;
use crate::presence::Hearing;
use crate::rollout::item::{Holding, aim_of, may_come, upgrade_may_come};
use crate::rollout::seats::Seat;
use crate::rollout::stand::{Question, Stand, brings, stand};
use crate::rollout::track::Track;
use crate::rollout::{Facts, Rollouts};
use crate::target::{Judged, Outcome};

/// A requirement of an evaluation that is, or may come to be, about an item.
struct Tie {
    baseline: usize,
    /// The item's number among the baseline's open ones.
    item: usize,
    /// The requirement's number in `Merged::enforced`; without a meaning where it is but may be.
    place: usize,
    holding: Holding,
}

/// What is the same for machines that share an evaluation; worked out once.
#[derive(Default)]
pub(crate) struct Ties(BTreeMap<*const (), Vec<Tie>>);

/// How one machine stands towards one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tied {
    pub(crate) baseline: usize,
    /// The item's number among the baseline's open ones.
    pub(crate) item: usize,
    pub(crate) seat: Seat,
    word: Word,
    /// Tells it from others among those that have the item.
    mark: u64,
}

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// It is silent, and not known to want it.
    Nothing,
    /// It is not known what it wants.
    Unknown,
    /// It may come to want it.
    Undecided,
    Stands(Stand),
}

impl Tied {
    /// Its wave waits until the machine has the item.
    pub(crate) fn is_open(&self) -> bool {
        self.word == Word::Stands(Stand::Open)
    }

    /// Its wave waits for the machine.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_open() || self.word == Word::Unknown
    }

    /// Its wave waits for the machine for a while, if no other of it wants the item.
    pub(crate) fn may_be_awaited(&self) -> bool {
        self.word == Word::Undecided
    }
}

impl Track {
    /// Counts one machine's word in.
    pub(crate) fn tie(&mut self, tied: &Tied) {
        let tally = &mut self.tallies[tied.item][tied.seat.wave];
        match tied.word {
            Word::Nothing => {}
            Word::Unknown => tally.unknown += 1,
            Word::Undecided => tally.undecided += 1,
            Word::Stands(stand) => tally.zones.entry(tied.seat.zone).or_default().add(stand, tied.mark),
        }
    }

    /// Counts one machine's word out.
    pub(crate) fn untie(&mut self, tied: &Tied) {
        let tally = &mut self.tallies[tied.item][tied.seat.wave];
        match tied.word {
            Word::Nothing => {}
            Word::Unknown => tally.unknown -= 1,
            Word::Undecided => tally.undecided -= 1,
            Word::Stands(stand) => tally.zones.entry(tied.seat.zone).or_default().take_away(stand, tied.mark),
        }
    }
}

impl Rollouts {
    /// What one machine says of each item that is not released.
    pub(crate) fn tied(
        &self,
        facts: &Facts<'_>,
        groups: &Groups,
        standing: &Standing,
        ties: &mut Ties,
        case: &Case<'_>,
    ) -> Vec<Tied> {
        if !case.is_member() || case.picked.packages.iter().all(|place| self.tracks[*place].open.is_empty()) {
            return Vec::new();
        }
        let evaluation: &Evaluation<'_> = &case.evaluation;
        let address = std::ptr::from_ref(evaluation).cast::<()>();
        let mark = mark(&case.machine.name);
        let ties = ties.0.entry(address).or_insert_with(|| self.ties(&case.merged, evaluation));
        let tied = ties.iter().filter_map(|tie| {
            let track = &self.tracks[tie.baseline];
            let seat = track.seats.as_ref().and_then(|seats| seats.get(case.place))?;
            let item = &track.open[tie.item];
            let heard = !matches!(case.hearing, Hearing::Silent { .. });
            let word = match tie.holding {
                Holding::Unknown if heard => Word::Unknown,
                Holding::MayCome if heard => Word::Undecided,
                Holding::Unknown | Holding::MayCome => Word::Nothing,
                Holding::Has | Holding::Lacks | Holding::Blocked => {
                    let refused = tie.holding == Holding::Lacks
                        && (groups.has_none(standing) || self.refuses(facts, case, tie, item));
                    let question = Question {
                        resources: facts.resources,
                        baseline: &self.references[tie.baseline],
                        item,
                        holding: tie.holding,
                        failed: track.has_failed(item, case.place),
                        refused,
                        boots: match (tie.holding, evaluation.judged.get(tie.place)) {
                            (Holding::Lacks, Some(judged)) => judged.outcome.boots(),
                            _ => None,
                        },
                        timer: facts.timer,
                    };
                    Word::Stands(stand(&question, case))
                }
            };
            let (baseline, item) = (tie.baseline, tie.item);
            Some(Tied { baseline, item, seat, word, mark })
        });
        let mut tied: Vec<Tied> = tied.collect();
        self.add_moved(case, &mut tied);
        tied
    }

    /// Whether a machine cannot have an item that it lacks until somebody does something: its apt refuses the change even by
    /// itself, or a baseline does, or another one has barred it, or what comes along.
    fn refuses(&self, facts: &Facts<'_>, case: &Case<'_>, tie: &Tie, item: &Item) -> bool {
        let mut others = case.merged.enforced[tie.place].by.iter().filter(|other| **other != tie.baseline);
        if others.any(|other| self.tracks[*other].has_barred(item)) {
            return true;
        }
        let alone = case.evaluation.alone(facts.snapshot, facts.resources, &case.merged, tie.place);
        let answer = alone.answer.as_ref();
        !alone.refused.is_empty()
            || answer.is_some_and(|(_, transaction)| {
                along::is_barred(self, case, transaction) || boots::taken_away(case, transaction).is_some()
            })
    }

    /// Adds that a machine is about to get an item that it does not want any more, or not yet again. An apt that saw something
    /// newer does not take that back (rules O2, O6).
    fn add_moved(&self, case: &Case<'_>, tied: &mut Vec<Tied>) {
        let Some(unfinished) = case.history.unfinished() else { return };
        for baseline in case.picked.packages.iter().copied() {
            let track = &self.tracks[baseline];
            let Some(seat) = track.seats.as_ref().and_then(|seats| seats.get(case.place)) else { continue };
            for (item, open) in track.open.iter().enumerate() {
                let mut known = tied.iter().filter(|tied| tied.baseline == baseline && tied.item == item);
                let stands = known.any(|known| matches!(known.word, Word::Stands(_)));
                if !stands && brings(unfinished, &self.references[baseline], open) {
                    let (word, mark) = (Word::Stands(Stand::Open), mark(&case.machine.name));
                    tied.push(Tied { baseline, item, seat, word, mark });
                }
            }
        }
    }

    /// How machines of one evaluation stand towards the items that are not released, by their inventory.
    fn ties(&self, merged: &Merged, evaluation: &Evaluation<'_>) -> Vec<Tie> {
        let mut ties: BTreeMap<(usize, usize), (usize, Holding)> = BTreeMap::new();
        let looked = |baseline: usize, item: &Item| {
            let lists = evaluation.inventory.map(|inventory| &inventory.lists);
            lists.is_some_and(|lists| self.tracks[baseline].has_offered(item, lists))
        };
        for (place, requirement) in merged.enforced.iter().enumerate() {
            let judged = evaluation.judged.get(place).map(|judged| &**judged);
            let aim = judged.and_then(|judged| aim_of(evaluation, requirement, judged));
            for baseline in requirement.by.iter().copied() {
                for (number, item) in self.tracks[baseline].open_items_of(&requirement.key) {
                    let holding = match (&aim, judged) {
                        (Some((aim, holding)), _) if aim == item => *holding,
                        (_, None) => Holding::Unknown,
                        (_, Some(Judged { outcome: Outcome::NotCovered, .. })) => Holding::Unknown,
                        (_, Some(judged)) => {
                            if looked(baseline, item) || !may_come(requirement, judged, item) {
                                continue;
                            }
                            Holding::MayCome
                        }
                    };
                    // What is named and upgraded is one item: what is known of it goes before what may be.
                    let known = ties.entry((baseline, number)).or_insert((place, holding));
                    if holding < known.1 {
                        *known = (place, holding);
                    }
                }
            }
        }
        for (baseline, track) in self.tracks.iter().enumerate() {
            if !merged.upgrades.asks(baseline) {
                continue;
            }
            for (number, item) in track.open.iter().enumerate() {
                let Some(holding) = upgrade_may_come(evaluation, item) else { continue };
                if holding == Holding::Unknown || !looked(baseline, item) {
                    ties.entry((baseline, number)).or_insert((0, holding));
                }
            }
        }
        let ties = ties.into_iter();
        ties.map(|((baseline, item), (place, holding))| Tie { baseline, item, place, holding }).collect()
    }
}
