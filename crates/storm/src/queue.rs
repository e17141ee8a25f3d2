//! What is to happen, in the order of time; what is due at the same instant happens in the order in which it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use muster_model::Instant;

/// Things to come.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Planned<T>>>,
    planned: u64,
}

#[derive(Debug)]
struct Planned<T> {
    at: Instant,
    number: u64,
    what: T,
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl<T> Eq for Planned<T> {}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Planned<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), planned: 0 }
    }

    pub(crate) fn plan(&mut self, at: Instant, what: T) {
        self.planned += 1;
        self.heap.push(Reverse(Planned { at, number: self.planned, what }));
    }

    /// The next thing, unless it is due at `until` or later.
    pub(crate) fn pop_before(&mut self, until: Instant) -> Option<(Instant, T)> {
        if self.heap.peek().is_none_or(|Reverse(planned)| planned.at >= until) {
            return None;
        }
        self.heap.pop().map(|Reverse(planned)| (planned.at, planned.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_in_the_order_of_time_then_in_that_of_planning() {
        let at = |second| Instant::from_second(second).unwrap();
        let mut queue = Queue::new();
        for (second, what) in [(5, "late"), (1, "first"), (1, "second"), (0, "before")] {
            queue.plan(at(second), what);
        }
        let mut seen = Vec::new();
        while let Some((_, what)) = queue.pop_before(at(5)) {
            seen.push(what);
        }
        assert_eq!(seen, ["before", "first", "second"], "what is due at the end does not happen");
    }
}
