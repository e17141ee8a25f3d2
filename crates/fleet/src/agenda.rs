//! What is to be looked at when: so that a pass costs what came due, not what there is.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::Instant;

/// Things that are to be looked at again, and when.
#[derive(Debug)]
pub(crate) struct Agenda<K> {
    at: BTreeMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Clone + Ord> Agenda<K> {
    /// It is to be looked at then, and not before; `None`: not at all.
    pub(crate) fn set(&mut self, what: &K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.at.insert(what.clone(), at),
            None => self.at.remove(what),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, what.clone()));
        }
        self.order.extend(at.map(|at| (at, what.clone())));
    }

    /// It is to be looked at in each pass that there is, and none is made for it.
    pub(crate) fn set_always(&mut self, what: &K) {
        self.set(what, Some(Instant::MIN));
    }

    /// What is to be looked at by now.
    pub(crate) fn due(&self, now: Instant) -> impl Iterator<Item = &K> {
        self.order.iter().take_while(move |(at, _)| *at <= now).map(|(_, what)| what)
    }

    /// When the next of them is due after that.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let later = self.order.iter().skip_while(move |(at, _)| *at <= now);
        later.map(|(at, _)| *at).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_looked_at_until_it_is_put_off() {
        let at = |seconds| Instant::from_second(seconds).unwrap();
        let mut agenda = Agenda::default();
        agenda.set(&"a", Some(at(30)));
        agenda.set(&"b", Some(at(10)));
        agenda.set(&"a", Some(at(20)));
        agenda.set_always(&"c");
        let due = |agenda: &Agenda<&'static str>, now| agenda.due(at(now)).copied().collect::<Vec<_>>();
        assert_eq!((due(&agenda, 9), agenda.next(at(9))), (vec!["c"], Some(at(10))));
        assert_eq!((due(&agenda, 20), agenda.next(at(20))), (vec!["c", "b", "a"], None));
        agenda.set(&"a", None);
        agenda.set(&"c", None);
        assert_eq!((due(&agenda, 20), agenda.next(at(9))), (vec!["b"], Some(at(10))));
    }
}
