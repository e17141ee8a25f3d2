//! Who of those that could start may, as far as budgets allow, and what the others wait for (rules B1 to B3, O6).
//!
//! Machines that count alike in the same groups are one class. Places only ever fill up while turn after turn is taken, so
//! in each class the first may start, and from some turn on all wait for the same group, until that of another class that
//! comes earlier in their list is full, too. So what a class's machines are told is a few stretches of turns, however many
//! machines there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::budget::{Charge, Full, Groups, Standing};

/// A machine's turn, in order: machines that count as unavailable anyway go first, since mending them takes no second
/// place (rule B3); then by the priority and name of the baselines served, then by a stable hash (rule O6), then by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    pub(crate) takes_place: bool,
    /// The rank of the baseline that decides.
    pub(crate) served: Option<usize>,
    pub(crate) hash: u64,
    /// The machine's number.
    pub(crate) place: usize,
}

/// What a machine is told: `None`, to start.
pub(crate) type Told = Option<Full>;

/// From which turn on machines are told what.
type Stretches = Vec<(Turn, Told)>;

/// A class while turns are taken, with what its machines are told by then.
type Turning<'a> = (&'a Arc<[Charge]>, &'a mut Class, Stretches);

/// Machines that count alike.
#[derive(Debug, Default)]
struct Class {
    turns: BTreeSet<Turn>,
    stretches: Stretches,
}

/// What a machine is told; `None`: nothing was said for its turn yet.
fn told(stretches: &[(Turn, Told)], turn: Turn) -> Option<Told> {
    let number = stretches.partition_point(|(from, _)| *from <= turn);
    number.checked_sub(1).map(|number| stretches[number].1)
}

/// All machines that could start.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    classes: BTreeMap<Arc<[Charge]>, Class>,
    /// Who was taken away, from which class, and is gone unless he comes back to it before turns are taken: most do.
    leaving: BTreeMap<Turn, Arc<[Charge]>>,
    /// Somebody came or went since turns were taken.
    is_stale: bool,
}

/// The class of what takes no place anywhere is that of no charges.
fn class_of(standing: &Standing) -> Arc<[Charge]> {
    if standing.places().is_empty() { Arc::default() } else { standing.charges.clone() }
}

impl Queue {
    pub(crate) fn add(&mut self, standing: &Standing, turn: Turn) {
        let class = class_of(standing);
        if self.leaving.get(&turn) == Some(&class) {
            self.leaving.remove(&turn);
        } else {
            self.is_stale = true;
            self.classes.entry(class).or_default().turns.insert(turn);
        }
    }

    pub(crate) fn take_away(&mut self, standing: &Standing, turn: Turn) {
        let known = self.leaving.insert(turn, class_of(standing));
        debug_assert!(known.is_none(), "who left comes back before he leaves again");
    }

    /// Lets go who did not come back.
    fn part(&mut self) {
        for (turn, class) in std::mem::take(&mut self.leaving) {
            self.is_stale = true;
            if let Some(known) = self.classes.get_mut(&class) {
                known.turns.remove(&turn);
                if known.turns.is_empty() {
                    self.classes.remove(&class);
                }
            }
        }
    }

    /// Turns have to be taken anew: the groups have changed.
    pub(crate) fn renew(&mut self) {
        self.is_stale = true;
    }

    pub(crate) fn told(&self, standing: &Standing, turn: Turn) -> Told {
        let class = self.classes.get(&class_of(standing));
        class.and_then(|class| told(&class.stretches, turn)).flatten()
    }

    /// Takes turn after turn, from `groups` as they are before; gives the groups as they are then, and the machines (by
    /// number) that are told something else than before, those that came among them.
    pub(crate) fn take_turns(&mut self, groups: &Groups) -> Option<(Groups, Vec<usize>)> {
        self.part();
        if !std::mem::take(&mut self.is_stale) {
            return None;
        }
        let mut groups = groups.clone();
        let mut next: BTreeSet<(Turn, usize)> = BTreeSet::new();
        let mut classes: Vec<Turning<'_>> = self
            .classes
            .iter_mut()
            .enumerate()
            .map(|(number, (charges, class))| {
                next.extend(class.turns.first().map(|turn| (*turn, number)));
                (charges, class, Stretches::new())
            })
            .collect();
        let mut shut: Vec<usize> = Vec::new();
        while let Some((turn, number)) = next.pop_first() {
            let (charges, class, stretches) = &mut classes[number];
            match groups.admit(charges) {
                Err(full) => {
                    stretches.push((turn, Some(full)));
                    shut.push(number);
                }
                Ok(()) => {
                    if stretches.is_empty() {
                        stretches.push((turn, None));
                    }
                    let after = (std::ops::Bound::Excluded(turn), std::ops::Bound::Unbounded);
                    next.extend(class.turns.range(after).next().map(|turn| (*turn, number)));
                    for shut in &shut {
                        let (charges, _, stretches) = &mut classes[*shut];
                        let full = groups.full(charges);
                        if stretches.last().is_none_or(|(_, told)| *told != full) {
                            stretches.push((turn, full));
                        }
                    }
                }
            }
        }
        let mut others = Vec::new();
        for (_, class, stretches) in classes {
            class.differing(&stretches, &mut others);
            class.stretches = stretches;
        }
        Some((groups, others))
    }
}

impl Class {
    /// The machines that are told something else by `new` than by what they were told so far.
    fn differing(&self, new: &[(Turn, Told)], machines: &mut Vec<usize>) {
        if self.stretches == new {
            return;
        }
        let mut edges: Vec<Turn> = self.stretches.iter().chain(new).map(|(from, _)| *from).collect();
        edges.sort_unstable();
        edges.dedup();
        for (number, from) in edges.iter().enumerate() {
            if told(&self.stretches, *from) == told(new, *from) {
                continue;
            }
            let turns = self.turns.range(*from..);
            let until = edges.get(number + 1);
            machines.extend(
                turns.take_while(|turn| until.is_none_or(|until| *turn < until)).map(|turn| turn.place),
            );
        }
    }
}
